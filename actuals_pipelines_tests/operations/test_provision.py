"""`tenant apply`: what a tenant needs is made once, shown once, completed after a failure, and never made anew."""

from __future__ import annotations

import hmac
import secrets
from datetime import timedelta

import pytest
import sqlalchemy as sa

from actuals_pipelines.database import tables
from actuals_pipelines.database.provision import create_tenant
from actuals_pipelines.encryption.keyring import KeyringMissing, create_keyring
from actuals_pipelines.encryption.providers import platform_key
from actuals_pipelines.operations.api_keys import (
    InboxSourceUnknown,
    Wanted,
    create_api_key,
    revoke_api_key,
)
from actuals_pipelines.operations.platform import Platform
from actuals_pipelines.operations.provision import Applied, apply
from actuals_pipelines.operations.views import write_all_views
from actuals_pipelines.sources.inbox.keys import key_hash
from actuals_pipelines.tenants.environment import keyring_path, open_environment
from actuals_pipelines.tenants.projections import DoorView, read_door_views, read_location_views
from actuals_pipelines.tenants.registry import Plan, SourceKindChanged, TenantUnknown, current, plan, store
from actuals_pipelines.tenants.secrets import SecretMissing, SecretRefused, get_secret, list_secrets, set_secret
from actuals_pipelines.validate import ExpectationRefused
from actuals_pipelines_tests.operations.conftest import NOW
from actuals_pipelines_tests.tenants.examples import ACME


def own_yaml() -> tuple[str, str]:
    """A tenant of the test's own, in the session's home: its name and YAML."""
    name = f"t{secrets.token_hex(4)}"
    return name, ACME.replace("name: acme", f"name: {name}").replace("acme_drop", f"{name}_drop")


def applied(platform: Platform, yaml: str, environment: str = "prod") -> Applied:
    done = apply(platform, yaml, "tenant.yaml", environment=environment)
    assert done is not None
    return done


def door_key(platform: Platform) -> bytes:
    return platform_key(platform.provider, platform.home.uuid, "doors")


def door_view(platform: Platform, done: Applied) -> DoorView:
    [view] = [view for view in read_door_views(platform.home.doors, door_key(platform)) if view.ref == done.ref]
    return view


def test_a_new_tenant_can_be_opened_with_its_database_keys_and_folder(platform: Platform) -> None:
    name, yaml = own_yaml()

    done = applied(platform, yaml)

    environment = open_environment(platform.home, name)
    assert environment.ref == done.ref
    assert environment.prefix.stat().st_mode & 0o777 == 0o700
    assert environment.keys.public_key == door_view(platform, done).public_key
    with environment.engine.connect() as connection:
        names = set(connection.execute(sa.select(tables.source.c.name)).scalars())
        packages = set(connection.execute(sa.select(tables.package.c.name)).scalars())
    environment.close()
    assert names == {"shop", "psp", "bank"}
    assert packages == {"orders_vs_psp", "psp_vs_bank"}


def test_a_door_learns_what_it_needs_and_its_login_reads_no_body(platform: Platform) -> None:
    name, yaml = own_yaml()

    view = door_view(platform, applied(platform, yaml))

    assert {source: (each.kind.value, each.format) for source, each in view.sources.items()} == {
        "shop": ("inbox", "ndjson"),
        "psp": ("oauth_api", "ndjson"),
        "bank": ("sftp", "camt053"),
    }
    account = view.sftp_account(f"{name}_drop")
    assert account is not None
    assert account.sources == ("bank",)
    assert view.login.role.endswith("_door")


def test_first_api_keys_are_shown_once_and_the_doors_recognise_them(platform: Platform) -> None:
    _, yaml = own_yaml()

    first, second = applied(platform, yaml), applied(platform, yaml)

    assert [key.mode for key in first.api_keys_shown_once] == ["prod"]
    assert second.api_keys_shown_once == ()
    view = door_view(platform, first)
    for shown in first.api_keys_shown_once:
        known = view.api_key(shown.key_id)
        assert known is not None
        assert hmac.compare_digest(known.hash, key_hash(shown.text, door_key(platform)))
        assert shown.text not in repr(first)


def test_a_tenant_without_an_inbox_gets_no_api_key(platform: Platform) -> None:
    _, yaml = own_yaml()

    assert applied(platform, yaml.replace("kind: inbox", "kind: upload")).api_keys_shown_once == ()


def test_applying_again_changes_nothing(platform: Platform) -> None:
    _, yaml = own_yaml()
    first = applied(platform, yaml)
    before = door_view(platform, first)

    second = applied(platform, yaml)

    assert (second.version, second.is_new, bool(second.difference)) == (1, False, False)
    assert door_view(platform, second) == before


def test_a_change_is_asked_for_and_a_no_leaves_everything_as_it_was(platform: Platform) -> None:
    name, yaml = own_yaml()
    applied(platform, yaml)
    changed = yaml.replace("amount: total", "amount: gross")
    seen: list[str] = []

    def refuse(planned: Plan) -> bool:
        seen.append(str(planned.difference))
        return False

    refused = apply(platform, changed, "tenant.yaml", agree=refuse)

    assert refused is None
    assert seen == ["~ sources.shop.mapping.amount: total -> gross"]
    environment = open_environment(platform.home, name)
    assert environment.tenant.source("shop").mapping.fields["amount"] == "total"
    environment.close()


def test_a_new_source_is_added_beside_the_old_ones_which_keep_their_ids(platform: Platform) -> None:
    name, yaml = own_yaml()
    before = door_view(platform, applied(platform, yaml)).sources
    more = "- {name: erp, kind: upload, format: csv, mapping: {amount: a, currency: c}}\npackages:"

    done = applied(platform, yaml.replace("packages:", more))

    after = door_view(platform, done).sources
    assert done.version == 2
    assert {source: after[source] for source in before} == before
    assert "erp" in after
    location_key = platform_key(platform.provider, platform.home.uuid, "locations")
    [location] = [view for view in read_location_views(platform.home.locations, location_key) if view.name == name]
    assert location.version == 2


def test_a_source_cannot_change_its_way_in(platform: Platform) -> None:
    _, yaml = own_yaml()
    applied(platform, yaml)

    with pytest.raises(SourceKindChanged):
        apply(platform, yaml.replace("kind: sftp", "kind: upload"), "tenant.yaml")


def test_an_expectation_that_could_not_run_is_refused_before_anything_is_made(platform: Platform) -> None:
    name, yaml = own_yaml()
    wrong = "  expectations: [{type: expect_miracles, column: text}]\npackages:"

    with pytest.raises(ExpectationRefused, match="bank"):
        apply(platform, yaml.replace("packages:", wrong), "tenant.yaml")

    with pytest.raises(TenantUnknown):
        current(platform.control, name)


def test_an_apply_that_stopped_after_the_version_was_stored_is_completed(platform: Platform) -> None:
    name, yaml = own_yaml()
    store(platform.control, plan(platform.control, yaml, "tenant.yaml"))

    done = applied(platform, yaml)

    assert len(done.api_keys_shown_once) == 1
    open_environment(platform.home, name).close()


def test_an_apply_that_stopped_before_passwords_were_kept_is_completed(platform: Platform) -> None:
    """Keyring and roles are there, the roles' passwords are lost: they get new ones, the keyring stays."""
    name, yaml = own_yaml()
    ref = store(platform.control, plan(platform.control, yaml, "tenant.yaml")).ref()
    keys = create_keyring(keyring_path(platform.home, ref), ref, platform.provider)
    create_tenant(platform.admin, ref)

    applied(platform, yaml)

    environment = open_environment(platform.home, name)
    with environment.engine.connect() as connection:
        assert connection.execute(sa.text("select 1")).scalar() == 1
    assert environment.keys.public_key == keys.public_key
    environment.close()


def test_a_lost_keyring_is_an_error_and_never_made_anew(platform: Platform) -> None:
    _, yaml = own_yaml()
    done = applied(platform, yaml)
    keyring_path(platform.home, done.ref).unlink()

    with pytest.raises(KeyringMissing):
        apply(platform, yaml, "tenant.yaml")


def test_a_test_environment_has_its_own_database_keys_and_doors(platform: Platform) -> None:
    name, yaml = own_yaml()
    prod = applied(platform, yaml)

    test = applied(platform, yaml, environment="test")

    assert test.ref.uuid == prod.ref.uuid
    prod_view, test_view = door_view(platform, prod), door_view(platform, test)
    assert prod_view.public_key != test_view.public_key
    assert prod_view.login.database != test_view.login.database
    assert prod_view.sources["shop"].uuid != test_view.sources["shop"].uuid
    assert test_view.sftp_account(f"{name}_drop_test") is not None
    assert [key.mode for key in prod_view.api_keys] == ["prod"]
    assert [key.mode for key in test_view.api_keys] == ["test"]


def test_a_change_reaches_both_environments(platform: Platform) -> None:
    name, yaml = own_yaml()
    applied(platform, yaml)
    applied(platform, yaml, environment="test")
    more = "- {name: erp, kind: upload, format: csv, mapping: {amount: a, currency: c}}\npackages:"

    applied(platform, yaml.replace("packages:", more))

    views = [view for view in read_door_views(platform.home.doors, door_key(platform)) if view.name == name]
    assert [(view.ref.environment, "erp" in view.sources) for view in views] == [("prod", True), ("test", True)]


def test_an_api_key_for_one_source_with_an_end_is_made_and_revoked(platform: Platform) -> None:
    name, yaml = own_yaml()
    done = applied(platform, yaml)

    wanted = Wanted("prod", "web shop", sources=("shop",), expires_at=NOW + timedelta(days=30))
    made = create_api_key(platform, name, wanted)
    key = door_view(platform, done).api_key(made.key_id)
    assert key is not None
    assert (key.owner, key.sources, key.expires_at) == ("web shop", ("shop",), NOW + timedelta(days=30))

    revoke_api_key(platform, name, made.key_id, NOW)
    revoked = door_view(platform, done).api_key(made.key_id)
    assert revoked is not None
    assert revoked.revoked_at == NOW


def test_an_api_key_for_a_source_that_takes_no_pushes_is_refused(platform: Platform) -> None:
    name, yaml = own_yaml()
    applied(platform, yaml)

    with pytest.raises(InboxSourceUnknown, match="has no inbox source 'bank'"):
        create_api_key(platform, name, Wanted("prod", "bank", sources=("bank",)))


def test_lost_views_are_written_anew_as_they_were(platform: Platform) -> None:
    _, yaml = own_yaml()
    done = applied(platform, yaml)
    before = door_view(platform, done)
    for path in platform.home.doors.iterdir():
        path.unlink()

    write_all_views(platform)

    assert door_view(platform, done) == before


def test_a_secret_is_kept_sealed_and_given_back_to_its_own_tenant(platform: Platform) -> None:
    (name, yaml), (other_name, other_yaml) = own_yaml(), own_yaml()
    applied(platform, yaml)
    applied(platform, other_yaml)
    environment, other = open_environment(platform.home, name), open_environment(platform.home, other_name)

    set_secret(environment, "psp_secret", b"first")
    set_secret(environment, "psp_secret", b"hunter2-hunter2")

    assert get_secret(environment, "psp_secret") == b"hunter2-hunter2"
    assert [each for each, _ in list_secrets(environment)] == ["psp_secret"]
    with environment.engine.connect() as connection:
        assert b"hunter2" not in bytes(connection.execute(sa.select(tables.secret.c.sealed)).scalar_one())
    with pytest.raises(SecretMissing, match="actuals secret set"):
        get_secret(other, "psp_secret")
    with pytest.raises(SecretRefused):
        set_secret(environment, "PSP secret", b"x")
    environment.close()
    other.close()


def test_an_unknown_tenant_is_named_with_those_that_exist(platform: Platform) -> None:
    with pytest.raises(TenantUnknown):
        open_environment(platform.home, "nobody")


def test_the_platforms_audit_is_only_added_to(platform: Platform) -> None:
    for forged in ("delete from audit_outbox", "update audit_outbox set actor = 'uid:0'"):
        with pytest.raises(sa.exc.ProgrammingError, match="permission denied"), platform.control.begin() as connection:
            connection.exec_driver_sql(forged)


def test_a_test_keys_events_go_to_a_test_environment_and_never_wait_in_prod(platform: Platform) -> None:
    name, yaml = own_yaml()
    applied(platform, yaml)

    create_api_key(platform, name, Wanted("test", "the shop's staging"))

    found = read_door_views(platform.home.doors, door_key(platform))
    views = {view.ref.environment: view for view in found if view.name == name}
    assert [key.mode for key in views["prod"].api_keys] == ["prod"]
    assert [key.mode for key in views["test"].api_keys] == ["test"]
    assert views["prod"].public_key != views["test"].public_key
