"""The registry of tenants in the control database: each applied file is kept as a version that never changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID, uuid4

import sqlalchemy as sa

from actuals_pipelines.database import tables
from actuals_pipelines.domain.source import SourceKind
from actuals_pipelines.domain.tenant import Tenant, TenantRef
from actuals_pipelines.errors import ActualsError, ConfigurationError
from actuals_pipelines.tenants.audit import record_on_platform
from actuals_pipelines.tenants.difference import Change, Difference, difference
from actuals_pipelines.tenants.parse import parse_tenant
from actuals_pipelines.yaml_text import Data, load

_STORED = "the registry"  # the origin of complaints about a version that was applied before


class TenantUnknown(ConfigurationError):
    """No tenant of this home has that name."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(name, known)
        self.name, self.known = name, known

    def __str__(self) -> str:
        known = f"There are: {', '.join(self.known)}." if self.known else "There is none yet."
        return f"This home has no tenant {self.name!r}. {known} Make one with `actuals tenant apply FILE`."


class SourceKindChanged(ConfigurationError):
    """A source would get its data in another way than before."""

    def __init__(self, source: str, before: str, after: str) -> None:
        super().__init__(source, before, after)
        self.source, self.before, self.after = source, before, after

    def __str__(self) -> str:
        return (
            f"Source {self.source!r} is of kind {self.before} and cannot become {self.after}: what arrived, its order "
            "and its history belong to that way in. Give the new way in a source of its own, with another name."
        )


class SftpUserTaken(ConfigurationError):
    """An sFTP user name belongs to another tenant."""

    def __init__(self, user: str) -> None:
        super().__init__(user)
        self.user = user

    def __str__(self) -> str:
        return (
            f"The sFTP user {self.user!r} belongs to another tenant of this home. Choose another name, for example "
            "one that begins with the tenant's."
        )


class TenantChangedMeanwhile(ActualsError):
    """Somebody else applied a version between our look and our write."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"Tenant {self.name!r} was changed by somebody else just now. Look at the difference again and apply."


@dataclass(frozen=True, slots=True)
class Registered:
    """One version of one tenant."""

    uuid: UUID
    tenant: Tenant
    version: int
    yaml: str
    environments: tuple[str, ...] = ()  # those that are provisioned

    def ref(self, environment: str = "prod") -> TenantRef:
        """The opaque id that keys, databases and paths use."""
        return TenantRef(self.uuid, environment)


@dataclass(frozen=True, slots=True)
class Plan:
    """What applying a file would do. Nothing is written yet."""

    tenant: Tenant
    yaml: str
    before: Registered | None
    difference: Difference


def current(control: sa.Engine, name: str) -> Registered:
    """The newest version of a tenant. Raises TenantUnknown."""
    found = _find(control, name)
    if found is None:
        raise TenantUnknown(name, tuple(sorted(_names(control))))
    return found


def list_tenants(control: sa.Engine) -> list[Registered]:
    """The newest version of every tenant, by name."""
    return [found for name in sorted(_names(control)) if (found := _find(control, name)) is not None]


def versions(control: sa.Engine, uuid: UUID) -> list[tuple[int, str]]:
    """Every version of a tenant with its YAML, oldest first."""
    table = tables.tenant_version
    query = sa.select(table.c.version, table.c.yaml).where(table.c.tenant_id == uuid).order_by(table.c.version)
    with control.connect() as connection:
        return [(int(row.version), str(row.yaml)) for row in connection.execute(query)]


def plan(control: sa.Engine, yaml: str, origin: str) -> Plan:
    """Read a tenant's file and say what applying it would change.

    Raises:
        YamlRefused: the file is not right.
        SourceKindChanged, SftpUserTaken: it is, but not beside what is there.
    """
    tenant = parse_tenant(yaml, origin)
    before = _find(control, tenant.name)
    _refuse_taken_users(control, tenant)
    if before is None:
        return Plan(tenant, yaml, None, difference(None, load(yaml, origin).data))
    _refuse_changed_kinds(versions(control, before.uuid), tenant)
    changes = difference(load(before.yaml, _STORED).data, load(yaml, origin).data)
    if not changes and before.yaml != yaml:
        changes = Difference((Change("comments and layout", "changed", "as they were", "as in the file"),))
    return Plan(tenant, yaml, before, changes)


def store(control: sa.Engine, planned: Plan) -> Registered:
    """Keep the planned version; one that changes nothing adds none. Raises TenantChangedMeanwhile."""
    before = planned.before
    if before is not None and not planned.difference:
        return before
    uuid, version = (before.uuid, before.version + 1) if before else (uuid4(), 1)
    try:
        with control.begin() as connection:
            if before is None:
                connection.execute(sa.insert(tables.tenant).values(id=uuid, name=planned.tenant.name))
            row = {"tenant_id": uuid, "version": version, "yaml": planned.yaml}
            connection.execute(sa.insert(tables.tenant_version).values(row))
            record_on_platform(connection, uuid, "tenant.apply", f"version {version}")
    except sa.exc.IntegrityError:
        raise TenantChangedMeanwhile(planned.tenant.name) from None
    return Registered(uuid, planned.tenant, version, planned.yaml, before.environments if before else ())


def _names(control: sa.Engine) -> list[str]:
    with control.connect() as connection:
        return [str(name) for name in connection.execute(sa.select(tables.tenant.c.name)).scalars()]


def _find(control: sa.Engine, name: str) -> Registered | None:
    version, environment = tables.tenant_version, tables.tenant_environment
    newest = (
        sa.select(tables.tenant.c.id, version.c.version, version.c.yaml)
        .join(version, version.c.tenant_id == tables.tenant.c.id)
        .where(tables.tenant.c.name == name)
        .order_by(version.c.version.desc())
        .limit(1)
    )
    with control.connect() as connection:
        row = connection.execute(newest).one_or_none()
        if row is None:
            return None
        made = sa.select(environment.c.environment).where(environment.c.tenant_id == row.id)
        environments = tuple(sorted(connection.execute(made).scalars()))
    return Registered(row.id, parse_tenant(row.yaml, _STORED), int(row.version), row.yaml, environments)


def _refuse_changed_kinds(history: list[tuple[int, str]], tenant: Tenant) -> None:
    """Also for a source that was removed and comes back: its rows are still there under its name."""
    kinds: dict[str, str] = {}
    for _, yaml in history:
        kinds.update(_source_kinds(load(yaml, _STORED).data))
    for source in tenant.sources:
        before = kinds.get(source.name, source.kind.value)
        if before != source.kind.value:
            raise SourceKindChanged(source.name, before, source.kind.value)


def _source_kinds(data: Data) -> Iterator[tuple[str, str]]:
    """Read without the schema: an old version need not fit today's."""
    sources = data.get("sources") if isinstance(data, dict) else None
    for source in sources if isinstance(sources, list) else []:
        if isinstance(source, dict) and str(source.get("kind")) in set(SourceKind):
            yield str(source.get("name")), str(source.get("kind"))


def _refuse_taken_users(control: sa.Engine, tenant: Tenant) -> None:
    wanted = {account.user for account in tenant.sftp}
    if not wanted:
        return
    for other in list_tenants(control):
        if other.tenant.name != tenant.name:
            taken = wanted & {account.user for account in other.tenant.sftp}
            if taken:
                raise SftpUserTaken(min(taken))
