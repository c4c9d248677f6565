"""Code locations: whom each serves, and that its process opens no other tenant's view or keyring."""

from __future__ import annotations

import pytest

from actuals_pipelines.encryption.keyring import KeyringRefused, open_keyring
from actuals_pipelines.encryption.providers import platform_key, provider_for
from actuals_pipelines.operations.loaded import load_tenant, load_tenants
from actuals_pipelines.operations.locations import COMMON, location_of, project
from actuals_pipelines.operations.platform import Platform
from actuals_pipelines.operations.provision import Applied, HomeNotItsOwn, apply
from actuals_pipelines.settings import Home, find_home
from actuals_pipelines.tenants.environment import keyring_path
from actuals_pipelines.tenants.projections import ViewRefused, read_location_views
from actuals_pipelines.tenants.registry import TenantUnknown, current

TENANT = """\
name: {name}
isolation: {isolation}
sources:
- {{name: psp, kind: upload, format: csv, mapping: {{transaction_id: id, amount: a, currency: c, timestamp: t}}}}
"""


def applied(platform: Platform, name: str, isolation: str) -> Applied:
    """A tenant of that tier."""
    done = apply(platform, TENANT.format(name=name, isolation=isolation), f"{name}.yaml")
    assert done is not None
    return done


@pytest.fixture(scope="module")
def tenants(platform: Platform) -> tuple[Applied, Applied]:
    """One that shares, and one with a process of its own."""
    return applied(platform, "shares", "shared"), applied(platform, "apart", "process")


def as_location(home: Home, name: str, patch: pytest.MonkeyPatch) -> Home:
    """Be the process of that code location: what it is given, and not the KEK's folder."""
    given = project(home)[name]
    patch.setenv("ACTUALS_KEYS", "/nonexistent")
    for variable, value in {**given, "ACTUALS_HOME": str(home.root)}.items():
        patch.setenv(variable, value)
    return find_home()


def test_a_process_of_its_own_lists_its_tenant_alone(
    platform: Platform, tenants: tuple[Applied, Applied], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = as_location(platform.home, "tenant_apart", monkeypatch)

    [loaded] = load_tenants()
    assert loaded.asset_prefix == "apart"
    with loaded.opened() as environment:
        assert environment.keys.ref == tenants[1].ref
    with pytest.raises(TenantUnknown):
        load_tenant(home, "shares")


def test_the_common_location_lists_the_others(
    platform: Platform, tenants: tuple[Applied, Applied], monkeypatch: pytest.MonkeyPatch
) -> None:
    as_location(platform.home, COMMON, monkeypatch)

    prefixes = {loaded.asset_prefix for loaded in load_tenants()}
    assert "shares" in prefixes
    assert "apart" not in prefixes


@pytest.mark.parametrize(("who", "other"), [("tenant_apart", 0), (COMMON, 1)], ids=["own process", "common location"])
def test_a_location_opens_no_other_tenants_view_or_keyring(
    platform: Platform, tenants: tuple[Applied, Applied], monkeypatch: pytest.MonkeyPatch, who: str, other: int
) -> None:
    """They lie in the home and are readable to one OS user: keys are what keeps them apart."""
    whole, ref = platform.home, tenants[other].ref
    seen = as_location(whole, who, monkeypatch)
    own = provider_for(seen)

    with pytest.raises(KeyringRefused):
        open_keyring(keyring_path(whole, ref), ref, own)
    with pytest.raises(ViewRefused):
        read_location_views(whole.locations, platform_key(own, whole.uuid, "locations"))
    another = whole.projected("tenant_apart" if who == COMMON else COMMON)
    with pytest.raises(KeyringRefused):
        open_keyring(keyring_path(another, ref), ref, own)


def test_a_tenant_that_gives_its_process_back_leaves_no_projection(platform: Platform) -> None:
    applied(platform, "moves", "process")
    assert "tenant_moves" in project(platform.home)

    applied(platform, "moves", "shared")

    assert "tenant_moves" not in project(platform.home)
    assert not platform.home.projected("tenant_moves").keyrings.exists()


def test_a_lost_keyring_leaves_out_its_tenant_alone(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    done = applied(platform, "loses", "shared")
    path = keyring_path(platform.home, done.ref)
    kept = path.read_bytes()
    path.unlink()
    try:
        as_location(platform.home, COMMON, monkeypatch)
        prefixes = {loaded.asset_prefix for loaded in load_tenants()}
    finally:
        path.write_bytes(kept)

    assert "loses" not in prefixes
    assert "shares" in prefixes


def test_a_test_environment_has_a_process_of_its_own_too(platform: Platform) -> None:
    done = apply(platform, TENANT.format(name="both", isolation="process"), "both.yaml", environment="test")

    assert done is not None
    names = {loaded.asset_prefix: location_of(loaded) for loaded in load_tenants(platform.home)}
    assert names["both_test"] == "tenant_both_test"


def test_a_tenant_that_shares_nothing_is_refused_beside_others(
    platform: Platform, tenants: tuple[Applied, Applied]
) -> None:
    """Whoever holds a home's Dagster can start any of its tenants' runs, so `instance` is a home."""
    with pytest.raises(HomeNotItsOwn, match="actuals init --home DIR"):
        applied(platform, "lonely", "instance")

    with pytest.raises(TenantUnknown):
        current(platform.control, "lonely")
