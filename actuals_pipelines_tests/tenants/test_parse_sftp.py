"""sFTP accounts and folders in a tenant's file."""

from __future__ import annotations

from datetime import date

import pytest

from actuals_pipelines.domain.source import SideFile
from actuals_pipelines.domain.tenant import SftpKey
from actuals_pipelines.operations.sftp_passwords import new_sftp_password
from actuals_pipelines.tenants.parse import parse_tenant
from actuals_pipelines.yaml_text import YamlRefused
from actuals_pipelines_tests.tenants.examples import PUBLIC_KEY, changed

KEYS = f"public_keys: [{PUBLIC_KEY}]"
BANK = "- name: bank\n  kind: sftp\n  format: camt053\n"
STRONG = new_sftp_password()
WEAK = "$argon2id$v=19$m=1024,t=1,p=1$c29tZXNhbHQ$9f6WbMoqrDXR3Fd2oDPdXlGw8Wp7Sw4Y2nlZ8Yp7bJY"


def test_keys_have_owners_and_a_last_day() -> None:
    several = f"public_keys:\n  - {PUBLIC_KEY}\n  - {{key: {PUBLIC_KEY}, owner: payroll, expires: 2027-01-31}}"
    [account] = parse_tenant(changed(KEYS, several), "t.yaml").sftp
    assert account.public_keys == (
        SftpKey(PUBLIC_KEY, "ops@acme"),
        SftpKey(PUBLIC_KEY, "payroll", date(2027, 1, 31)),
    )


def test_a_password_needs_addresses_and_may_stand_without_keys() -> None:
    text = f'password_hash: {STRONG.password_hash}\n  from: [192.0.2.0/24, "2001:db8::7"]'
    [account] = parse_tenant(changed(KEYS, text), "t.yaml").sftp
    assert account.password_hash == STRONG.password_hash
    assert account.addresses == ("192.0.2.0/24", "2001:db8::7/128")
    assert STRONG.password not in text


@pytest.mark.parametrize(
    ("account", "complaint"),
    [
        (f"{KEYS}\n  password_hash: {STRONG.password_hash}", "no 'password_hash' without 'from'"),
        (f"{KEYS}\n  password_hash: {WEAK}\n  from: 192.0.2.7", "19 MiB"),
        (f"{KEYS}\n  password_hash: correct horse battery staple\n  from: 192.0.2.7", "an argon2id hash"),
        (f"{KEYS}\n  from: [192.0.2.7/24]", "an IP address or network"),
        ("sources: [bank]", "a key 'public_keys'"),
        (f"public_keys: [{{key: {PUBLIC_KEY}}}]", "owner"),
    ],
    ids=["no addresses", "weak hash", "no hash", "no network", "no way in", "no owner"],
)
def test_an_account_that_is_not_safe_is_refused(account: str, complaint: str) -> None:
    with pytest.raises(YamlRefused, match=complaint) as refused:
        parse_tenant(changed(KEYS, account), "t.yaml")
    assert "battery" not in str(refused.value)


def test_a_source_has_the_senders_folder_and_a_side_file() -> None:
    text = changed(BANK, f'{BANK}  folder: "ING - Bank statements"\n  side_file: sha256\n')
    source = parse_tenant(text, "t.yaml").source("bank")
    assert (source.folder, source.side_file) == ("ING - Bank statements", SideFile.SHA256)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (BANK, f"{BANK}  folder: shop\n", "a folder of its own"),
        (BANK, f"{BANK}  folder: ../up\n", "a folder's name"),
        (BANK, f"{BANK}  side_file: md5\n", "done or sha256"),
        ("  kind: inbox\n", "  kind: inbox\n  folder: Shop - Orders\n", "no 'folder' in a source of another kind"),
    ],
    ids=["another's name", "a path", "unknown side file", "not sftp"],
)
def test_a_folder_that_could_mean_something_else_is_refused(old: str, new: str, complaint: str) -> None:
    with pytest.raises(YamlRefused, match=complaint):
        parse_tenant(changed(old, new), "t.yaml")
