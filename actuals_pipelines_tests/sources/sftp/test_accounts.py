"""From a user name and a public key to one tenant's folders."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from uuid import uuid4

import asyncssh
import pytest

from actuals_pipelines.domain.source import SourceKind
from actuals_pipelines.domain.tenant import SftpKey, TenantRef
from actuals_pipelines.sources.sftp.accounts import Accounts, Login
from actuals_pipelines.sources.sftp.errors import NotPermitted, NotThere
from actuals_pipelines.tenants.projections import DatabaseLogin, DoorSource, DoorView, SftpView

KEY = asyncssh.generate_private_key("ssh-ed25519")
HERE = "192.0.2.7"
LOGIN = DatabaseLogin("127.0.0.1", 5432, "t", "t_door", "secret")


def a_view(user: str, *keys: asyncssh.SSHKey) -> DoorView:
    sources = {
        "bank": DoorSource(uuid4(), SourceKind.SFTP, "camt053"),
        "psp": DoorSource(uuid4(), SourceKind.SFTP, "csv"),
        "shop": DoorSource(uuid4(), SourceKind.INBOX, "ndjson"),
    }
    lines = tuple(SftpKey(key.export_public_key().decode()) for key in keys)
    return DoorView(
        TenantRef(uuid4()), user, bytes(32), LOGIN, sources, sftp=(SftpView(user, lines, ("bank", "shop")),)
    )


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    return Accounts(tmp_path, bytes(32))


def test_an_account_has_its_own_sftp_sources_as_folders(accounts: Accounts) -> None:
    accounts.take([a_view("acme", KEY)])
    found = accounts.by_key("acme", KEY.public_data, HERE)
    assert found is not None
    assert set(found.folders) == {"bank"}  # "psp" is not its own, "shop" is not for files
    assert accounts.by_key("nobody", KEY.public_data, HERE) is None


def test_two_tenants_may_have_the_same_user_name_and_the_key_tells(accounts: Accounts) -> None:
    other_key = asyncssh.generate_private_key("ssh-ed25519")
    first, second = a_view("files", KEY), a_view("files", other_key)
    accounts.take([first, second])
    for view, key in ((first, KEY), (second, other_key)):
        found = accounts.by_key("files", key.public_data, HERE)
        assert found is not None
        assert found.tenant.ref == view.ref


def test_a_second_tenant_cannot_take_over_a_user_name_and_key(accounts: Accounts) -> None:
    first, second = a_view("files", KEY), a_view("files", KEY)
    accounts.take([first, second])
    found = accounts.by_key("files", KEY.public_data, HERE)
    assert found is not None
    assert found.tenant.ref == first.ref


def test_a_short_rsa_key_and_a_broken_line_are_left_out_and_the_others_stay(accounts: Accounts) -> None:
    short, long = (asyncssh.generate_private_key("ssh-rsa", key_size=bits) for bits in (1024, 2048))
    view = a_view("acme", short, long)
    [shown] = view.sftp
    accounts.take([replace(view, sftp=(replace(shown, public_keys=(SftpKey("nonsense"), *shown.public_keys)),))])
    assert accounts.by_key("acme", short.public_data, HERE) is None
    assert accounts.by_key("acme", long.public_data, HERE) is not None


def test_a_key_holds_to_its_last_day_and_no_longer(tmp_path: Path) -> None:
    today = date(2026, 6, 30)
    accounts = Accounts(tmp_path, bytes(32), lambda: today)
    view = a_view("acme", KEY)
    key = SftpKey(KEY.export_public_key().decode(), "payroll", expires_on=date(2026, 6, 30))
    accounts.take([replace(view, sftp=(replace(view.sftp[0], public_keys=(key,)),))])
    login = Login(accounts, "acme", HERE, KEY.public_data, view.ref)
    assert login.account().user == "acme"

    today = date(2026, 7, 1)

    assert accounts.by_key("acme", KEY.public_data, HERE) is None
    with pytest.raises(NotPermitted):  # a session that is still open ends, too
        login.account()


@pytest.mark.parametrize(
    ("address", "is_let_in"),
    [
        ("192.0.2.7", True),
        ("::ffff:192.0.2.7", True),
        ("192.0.3.7", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
    ],
)
def test_an_account_with_addresses_enters_from_there_alone(accounts: Accounts, address: str, is_let_in: bool) -> None:
    view = a_view("acme", KEY)
    limited = replace(view.sftp[0], addresses=("192.0.2.0/24", "2001:db8::/32"), password_hash="$argon2id$...")
    accounts.take([replace(view, sftp=(limited,))])
    assert (accounts.by_key("acme", KEY.public_data, address) is not None) is is_let_in
    assert (accounts.by_password("acme", address) is not None) is is_let_in


def test_a_password_without_addresses_opens_nothing(accounts: Accounts) -> None:
    view = a_view("acme", KEY)
    accounts.take([replace(view, sftp=(replace(view.sftp[0], password_hash="$argon2id$..."),))])
    assert accounts.by_password("acme", HERE) is None
    assert accounts.by_key("acme", KEY.public_data, HERE) is not None


def test_a_folder_has_the_senders_name_for_it_and_the_sources(accounts: Accounts) -> None:
    view = a_view("acme", KEY)
    bank = replace(view.sources["bank"], folder="ING - Statements")
    accounts.take([replace(view, sources={**view.sources, "bank": bank})])
    account = accounts.by_key("acme", KEY.public_data, HERE)
    assert account is not None
    assert account.shown_folders == {"ING - Statements"}
    assert account.folder("bank") is account.folder("ING - Statements")
    with pytest.raises(NotThere):
        account.folder("ing - statements")


def test_a_session_notices_that_its_account_was_closed(accounts: Accounts) -> None:
    view = a_view("acme", KEY)
    accounts.take([view])
    login = Login(accounts, "acme", HERE, KEY.public_data, view.ref)
    assert login.account().user == "acme"

    accounts.take([])

    with pytest.raises(NotPermitted):
        login.account()
