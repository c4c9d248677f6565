from __future__ import annotations

import copy
import json
import pickle
import stat
from pathlib import Path

import pytest

from actuals_pipelines.encryption.keyring import (
    DataKeyRefused,
    KeyringDamaged,
    KeyringExists,
    KeyringMissing,
    KeyringRefused,
    create_keyring,
    destroy_keyring,
    open_keyring,
    public_key,
)
from actuals_pipelines.encryption.providers import EnvironmentProvider
from actuals_pipelines.encryption.secrecy import KeysStayHere
from actuals_pipelines_tests.encryption.keys import ACME, ACME_TEST, BOLT, KEK, OTHER_KEK, a_keyring

PROVIDER = EnvironmentProvider(KEK)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keyrings" / "acme.keyring"


def test_a_keyring_opens_to_the_same_keys(path: Path) -> None:
    made = create_keyring(path, ACME, PROVIDER)
    wrapped = made.wrap_data_key(b"d" * 32, b"file 1")

    opened = open_keyring(path, ACME, PROVIDER)

    assert opened.unwrap_data_key(wrapped, b"file 1") == b"d" * 32
    assert opened.public_key == made.public_key
    assert opened.pseudonyms.token("jane") == made.pseudonyms.token("jane")
    assert opened.ref == ACME


def test_a_door_reads_the_public_key_without_any_provider(path: Path) -> None:
    keys = create_keyring(path, ACME, PROVIDER)

    assert public_key(path) == keys.public_key


def test_the_file_is_its_owners_alone_and_holds_no_key_in_clear(path: Path) -> None:
    create_keyring(path, ACME, PROVIDER)

    content = json.loads(path.read_text())

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert set(content) == {
        "version", "tenant", "environment", "public_key", "root_key", "private_key", "pepper",
    }  # fmt: skip
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_keyring_without_its_kek_opens_nothing(path: Path) -> None:
    create_keyring(path, ACME, PROVIDER)

    with pytest.raises(KeyringRefused, match="the KEK does not open its keys"):
        open_keyring(path, ACME, EnvironmentProvider(OTHER_KEK))


@pytest.mark.parametrize("ref", [BOLT, ACME_TEST], ids=["another tenant", "another environment"])
def test_a_keyring_renamed_to_another_tenant_is_refused(path: Path, ref: object) -> None:
    create_keyring(path, ACME, PROVIDER)

    with pytest.raises(KeyringRefused):
        open_keyring(path, ref, PROVIDER)  # type: ignore[arg-type]

    content = json.loads(path.read_text())  # even when the clear part of the file is made to agree
    content.update(tenant=str(ref.uuid), environment=ref.environment)  # type: ignore[attr-defined]
    path.write_text(json.dumps(content))
    with pytest.raises(KeyringRefused):
        open_keyring(path, ref, PROVIDER)  # type: ignore[arg-type]


def test_keys_that_changed_places_are_refused(path: Path) -> None:
    create_keyring(path, ACME, PROVIDER)
    content = json.loads(path.read_text())
    content["root_key"], content["pepper"] = content["pepper"], content["root_key"]
    path.write_text(json.dumps(content))

    with pytest.raises(KeyringRefused):
        open_keyring(path, ACME, PROVIDER)


def test_a_foreign_public_key_in_the_file_is_found_out(path: Path, tmp_path: Path) -> None:
    """Whoever could write it there would read all that doors seal from then on."""
    create_keyring(path, ACME, PROVIDER)
    content = json.loads(path.read_text())
    other = json.loads((tmp_path / f"{BOLT.prefix}.keyring").read_text()) if a_keyring(tmp_path, BOLT) else {}
    content["public_key"] = other["public_key"]
    path.write_text(json.dumps(content))

    with pytest.raises(KeyringDamaged, match="public key"):
        open_keyring(path, ACME, PROVIDER)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2}', '{"version": 1}'])
def test_a_file_that_is_no_keyring_is_refused(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)

    with pytest.raises(KeyringDamaged, match="mirror"):
        open_keyring(path, ACME, PROVIDER)


def test_a_second_keyring_never_replaces_the_first(path: Path) -> None:
    create_keyring(path, ACME, PROVIDER)
    before = path.read_bytes()

    with pytest.raises(KeyringExists):
        create_keyring(path, ACME, PROVIDER)

    assert path.read_bytes() == before


def test_a_destroyed_keyring_is_gone_and_destroying_twice_is_harmless(path: Path) -> None:
    create_keyring(path, ACME, PROVIDER)

    assert destroy_keyring(path) is True
    assert destroy_keyring(path) is False
    with pytest.raises(KeyringMissing):
        open_keyring(path, ACME, PROVIDER)
    with pytest.raises(KeyringMissing):
        public_key(path)


def test_a_data_key_opens_for_its_own_file_and_tenant_only(tmp_path: Path) -> None:
    acme, bolt = a_keyring(tmp_path, ACME), a_keyring(tmp_path, BOLT)
    wrapped = acme.wrap_data_key(b"d" * 32, b"file 1")

    for keys, text, aad in [
        (acme, wrapped, b"file 2"),
        (bolt, wrapped, b"file 1"),
        (acme, b"", b"file 1"),
        *((acme, wrapped[:at] + bytes([wrapped[at] ^ 1]) + wrapped[at + 1 :], b"file 1") for at in range(len(wrapped))),
    ]:
        with pytest.raises(DataKeyRefused):
            keys.unwrap_data_key(text, aad)


def test_opened_keys_show_nothing_and_do_not_travel(tmp_path: Path) -> None:
    keys = a_keyring(tmp_path)

    assert repr(keys) == str(keys) == f"<TenantKeys {ACME.uuid} prod>"
    assert repr(keys.pseudonyms) == "<Pseudonyms>"
    for holder in (keys, keys.pseudonyms, PROVIDER):
        for travel in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(KeysStayHere, match="cannot be pickled"):
                travel(holder)
