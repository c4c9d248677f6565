"""The registry keeps each applied file as a version of its own, and refuses what would break what is there."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from actuals_pipelines.domain.tenant import TenantRef
from actuals_pipelines.encryption.providers import FileProvider, WrappedKeyRefused
from actuals_pipelines.tenants.api_keys import ApiKeyUnknown, add_api_key, list_api_keys, mark_revoked
from actuals_pipelines.tenants.audit import entries
from actuals_pipelines.tenants.credentials import credentials, save_credentials
from actuals_pipelines.tenants.projections import ApiKeyView
from actuals_pipelines.tenants.registry import (
    SftpUserTaken,
    SourceKindChanged,
    TenantChangedMeanwhile,
    TenantUnknown,
    current,
    list_tenants,
    plan,
    store,
    versions,
)
from actuals_pipelines_tests.tenants.examples import ACME, changed

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def test_a_new_tenant_gets_version_one_and_an_opaque_id(control: sa.Engine) -> None:
    planned = plan(control, ACME, "acme.yaml")
    assert planned.before is None

    stored = store(control, planned)

    assert current(control, "acme") == stored
    assert stored.version == 1
    assert stored.yaml == ACME
    assert [one.tenant.name for one in list_tenants(control)] == ["acme"]


def test_applying_the_same_file_again_adds_no_version(control: sa.Engine) -> None:
    first = store(control, plan(control, ACME, "acme.yaml"))

    planned = plan(control, ACME, "acme.yaml")

    assert not planned.difference
    assert store(control, planned) == first


def test_a_change_adds_a_version_and_the_old_one_stays(control: sa.Engine) -> None:
    first = store(control, plan(control, ACME, "acme.yaml"))
    changed_yaml = changed("amount: total", "amount: gross")

    second = store(control, plan(control, changed_yaml, "acme.yaml"))

    assert second.version == 2
    assert versions(control, first.uuid) == [(1, ACME), (2, changed_yaml)]
    assert second.uuid == first.uuid


def test_a_comment_is_kept_as_a_version_that_says_so(control: sa.Engine) -> None:
    store(control, plan(control, ACME, "acme.yaml"))

    planned = plan(control, "# why\n" + ACME, "acme.yaml")

    assert [change.path for change in planned.difference.changes] == ["comments and layout"]
    assert store(control, planned).yaml.startswith("# why")


def test_a_source_cannot_change_its_way_in_not_even_after_it_was_gone(control: sa.Engine) -> None:
    bank = "- name: bank\n  kind: sftp\n  format: camt053\n"
    as_upload = bank.replace("sftp", "upload")
    without = ACME.replace(bank, "").replace("[{source: bank}]", "[{source: shop}]")
    store(control, plan(control, ACME, "acme.yaml"))

    with pytest.raises(SourceKindChanged, match="of kind sftp and cannot become upload"):
        plan(control, ACME.replace(bank, as_upload), "acme.yaml")
    store(control, plan(control, without, "acme.yaml"))
    with pytest.raises(SourceKindChanged):
        plan(control, ACME.replace(bank, as_upload), "acme.yaml")


def test_an_sftp_user_belongs_to_one_tenant(control: sa.Engine) -> None:
    store(control, plan(control, ACME, "acme.yaml"))

    with pytest.raises(SftpUserTaken, match="acme_drop"):
        plan(control, changed("name: acme", "name: beta"), "beta.yaml")


def test_two_people_cannot_apply_over_one_another(control: sa.Engine) -> None:
    store(control, plan(control, ACME, "acme.yaml"))
    mine = plan(control, changed("amount: total", "amount: mine"), "acme.yaml")
    theirs = plan(control, changed("amount: total", "amount: theirs"), "acme.yaml")
    store(control, theirs)

    with pytest.raises(TenantChangedMeanwhile):
        store(control, mine)


def test_an_unknown_tenant_is_refused_with_those_that_exist(control: sa.Engine) -> None:
    store(control, plan(control, ACME, "acme.yaml"))

    with pytest.raises(TenantUnknown, match="There are: acme"):
        current(control, "acmee")


def test_passwords_are_kept_wrapped_for_their_role_and_tenant(control: sa.Engine, tmp_path: Path) -> None:
    provider = FileProvider.create(tmp_path / "kek")
    stored = store(control, plan(control, ACME, "acme.yaml"))
    ref = TenantRef(stored.uuid)

    save_credentials(control, provider, ref, {"app": "first", "door": "other"})
    save_credentials(control, provider, ref, {"app": "second", "door": "other"})

    assert credentials(control, provider, ref) == {"app": "second", "door": "other"}
    assert credentials(control, provider, TenantRef(stored.uuid, "test")) is None
    assert current(control, "acme").environments == ("prod",)
    with pytest.raises(WrappedKeyRefused):
        credentials(control, FileProvider.create(tmp_path / "another"), ref)


def test_an_api_key_is_kept_as_a_hash_and_can_be_revoked_once(control: sa.Engine) -> None:
    tenant = store(control, plan(control, ACME, "acme.yaml"))
    view = ApiKeyView("00ff", os.urandom(32), "prod", "shop", sources=("shop",))
    add_api_key(control, tenant.uuid, view)

    mark_revoked(control, tenant.uuid, "acme", "00ff", NOW)
    mark_revoked(control, tenant.uuid, "acme", "00ff", datetime(2027, 1, 1, tzinfo=UTC))

    [key] = list_api_keys(control, tenant.uuid)
    assert (key.view.hash, key.view.sources, key.view.revoked_at) == (view.hash, ("shop",), NOW)
    with pytest.raises(ApiKeyUnknown):
        mark_revoked(control, tenant.uuid, "acme", "11ff", NOW)


def test_what_is_done_to_a_tenant_is_recorded(control: sa.Engine) -> None:
    tenant = store(control, plan(control, ACME, "acme.yaml"))
    view = ApiKeyView("00fe", b"hash", "prod", "web shop", None, None, None)
    add_api_key(control, tenant.uuid, view)
    mark_revoked(control, tenant.uuid, "acme", "00fe", NOW)

    listed = [(entry.action, entry.about) for entry in entries([], control, tenant.uuid)]

    assert listed == [("tenant.apply", "version 1"), ("api-key.create", "00fe (prod)"), ("api-key.revoke", "00fe")]
