"""From a user name and a public key to one tenant's folders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import asyncssh
import pytest

from actuals_pipelines.domain.source import SourceKind
from actuals_pipelines.domain.tenant import TenantRef
from actuals_pipelines.sources.sftp.accounts import Accounts, Login
from actuals_pipelines.sources.sftp.errors import NotPermitted
from actuals_pipelines.tenants.projections import DatabaseLogin, DoorSource, DoorView, SftpView

KEY = asyncssh.generate_private_key("ssh-ed25519")
LOGIN = DatabaseLogin("127.0.0.1", 5432, "t", "t_door", "secret")


def a_view(user: str, *keys: asyncssh.SSHKey) -> DoorView:
    sources = {
        "bank": DoorSource(uuid4(), SourceKind.SFTP, "camt053"),
        "psp": DoorSource(uuid4(), SourceKind.SFTP, "csv"),
        "shop": DoorSource(uuid4(), SourceKind.INBOX, "ndjson"),
    }
    lines = tuple(key.export_public_key().decode() for key in keys)
    return DoorView(
        TenantRef(uuid4()), user, bytes(32), LOGIN, sources, sftp=(SftpView(user, lines, ("bank", "shop")),)
    )


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    return Accounts(tmp_path, bytes(32))


def test_an_account_has_its_own_sftp_sources_as_folders(accounts: Accounts) -> None:
    accounts.take([a_view("acme", KEY)])
    found = accounts.find("acme", KEY.public_data)
    assert found is not None
    assert set(found.folders) == {"bank"}  # "psp" is not its own, "shop" is not for files
    assert accounts.find("nobody", KEY.public_data) is None


def test_two_tenants_may_have_the_same_user_name_and_the_key_tells(accounts: Accounts) -> None:
    other_key = asyncssh.generate_private_key("ssh-ed25519")
    first, second = a_view("files", KEY), a_view("files", other_key)
    accounts.take([first, second])
    for view, key in ((first, KEY), (second, other_key)):
        found = accounts.find("files", key.public_data)
        assert found is not None
        assert found.tenant.ref == view.ref


def test_a_second_tenant_cannot_take_over_a_user_name_and_key(accounts: Accounts) -> None:
    first, second = a_view("files", KEY), a_view("files", KEY)
    accounts.take([first, second])
    found = accounts.find("files", KEY.public_data)
    assert found is not None
    assert found.tenant.ref == first.ref


def test_a_short_rsa_key_and_a_broken_line_are_left_out_and_the_others_stay(accounts: Accounts) -> None:
    short, long = (asyncssh.generate_private_key("ssh-rsa", key_size=bits) for bits in (1024, 2048))
    view = a_view("acme", short, long)
    [shown] = view.sftp
    accounts.take([replace(view, sftp=(replace(shown, public_keys=("nonsense", *shown.public_keys)),))])
    assert accounts.find("acme", short.public_data) is None
    assert accounts.find("acme", long.public_data) is not None


def test_a_session_notices_that_its_account_was_closed(accounts: Accounts) -> None:
    view = a_view("acme", KEY)
    accounts.take([view])
    login = Login(accounts, "acme", KEY.public_data, view.ref)
    assert login.account().user == "acme"

    accounts.take([])

    with pytest.raises(NotPermitted):
        login.account()
