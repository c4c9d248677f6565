"""Apply a tenant's file: store the version, make what the tenant needs, and tell doors and code locations.

Each step finds out for itself whether it was done, so an apply that failed half way is simply run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from actuals_pipelines.domain.tenant import Tenant, TenantRef
from actuals_pipelines.errors import ConfigurationError
from actuals_pipelines.operations.api_keys import ShownOnce, first_api_keys
from actuals_pipelines.operations.environments import ensure_environment
from actuals_pipelines.operations.platform import Platform
from actuals_pipelines.operations.views import write_views
from actuals_pipelines.tenants.difference import Difference
from actuals_pipelines.tenants.registry import Plan, Registered, list_tenants, plan, store


class HomeNotItsOwn(ConfigurationError):
    """A tenant that shares nothing would share a home."""

    def __init__(self, alone: str, other: str, asked: str) -> None:
        super().__init__(alone, other, asked)
        self.alone, self.other, self.asked = alone, other, asked

    def __str__(self) -> str:
        return (
            f"Tenant {self.asked!r} is refused here: {self.alone!r} has `isolation: instance`, so it shares no "
            f"database server, Dagster or process with {self.other!r}. Make a home for one of them "
            "(`actuals init --home DIR`) and apply it there; deploy/README.md says how to run both. "
            "`isolation: process` gives a tenant a process and keys of its own in a home that others use."
        )


@dataclass(frozen=True, slots=True)
class Applied:
    """What an apply did."""

    ref: TenantRef
    tenant: Tenant
    version: int
    is_new: bool
    difference: Difference
    api_keys_shown_once: tuple[ShownOnce, ...]
    sftp_users: tuple[str, ...]

    @property
    def name(self) -> str:
        """The tenant's name."""
        return self.tenant.name


def apply(
    platform: Platform,
    yaml: str,
    origin: str,
    *,
    environment: str = "prod",
    agree: Callable[[Plan], bool] | None = None,
) -> Applied | None:
    """Bring a tenant to what its file says.

    Args:
        origin: the file's name, for complaints.
        environment: "prod" or "test"; made on demand. Those that are there already are brought along.
        agree: asked before an existing tenant is changed; None agrees.

    Returns:
        what was done; None if `agree` said no, and nothing was done.

    Raises:
        YamlRefused, ExpectationRefused, HomeNotItsOwn, SourceKindChanged, SftpUserTaken, TenantChangedMeanwhile:
            nothing was done.
    """
    planned = plan(platform.control, yaml, origin)
    _refuse_company(planned.tenant, list_tenants(platform.control))
    _refuse_expectations(planned.tenant)
    changes_something = planned.before is not None and bool(planned.difference)
    if changes_something and agree is not None and not agree(planned):
        return None
    registered = store(platform.control, planned)
    environments = sorted({*registered.environments, environment})
    for each in environments:
        ensure_environment(platform, registered, each)
    # Views before keys: what could fail has then been tried, and a key that is shown works.
    write_views(platform, registered, environments)
    shown = first_api_keys(platform, registered, environments)
    if shown:
        write_views(platform, registered, environments)
    return Applied(
        ref=registered.ref(environment),
        tenant=registered.tenant,
        version=registered.version,
        is_new=planned.before is None,
        difference=planned.difference,
        api_keys_shown_once=shown,
        sftp_users=tuple(account.user for account in registered.tenant.sftp),
    )


def _refuse_company(tenant: Tenant, there: Iterable[Registered]) -> None:
    """`isolation: instance` is a home of its own: whoever holds a home's Dagster can start any of its tenants' runs."""
    for other in (registered.tenant for registered in there if registered.tenant.name != tenant.name):
        alone = next((one.name for one in (tenant, other) if one.isolation == "instance"), None)
        if alone is not None:
            raise HomeNotItsOwn(alone, other.name if alone == tenant.name else tenant.name, tenant.name)


def _refuse_expectations(tenant: Tenant) -> None:
    """What validation could not run is refused now and not at the first delivery."""
    asking = [source for source in tenant.sources if source.expectations]
    if asking:
        from actuals_pipelines.validate import check_expectations  # noqa: PLC0415 - loads Great Expectations: 4 s

        for source in asking:
            check_expectations(source)
