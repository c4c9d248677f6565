from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from actuals_pipelines.encryption.door import DoorKey, EventRefused, MinuteSealer, TooManyEvents
from actuals_pipelines.encryption.hpke import SealedRefused
from actuals_pipelines.encryption.keyring import TenantKeys
from actuals_pipelines.encryption.secrecy import KeysStayHere
from actuals_pipelines_tests.encryption.keys import ACME, ACME_TEST, BOLT, a_keyring

NOON = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
SOURCE = UUID(int=7)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> TenantKeys:
    return a_keyring(tmp_path_factory.mktemp("keyrings"))


def test_what_the_door_sealed_only_the_tenant_opens(keys: TenantKeys, tmp_path: Path) -> None:
    door = MinuteSealer(keys.public_key, ACME).current(NOON)
    row_id = uuid4()
    sealed = door.seal(row_id, SOURCE, b'{"order": "order-123"}')

    opened = keys.open_minute_key(door.key_id, door.sealed)

    assert opened.open(row_id, SOURCE, sealed) == b'{"order": "order-123"}'
    assert b"order-123" not in sealed
    assert not hasattr(door, "open")
    with pytest.raises(SealedRefused):
        a_keyring(tmp_path, BOLT).open_minute_key(door.key_id, door.sealed)


def test_a_key_serves_its_minute_and_is_then_forgotten(keys: TenantKeys) -> None:
    sealer = MinuteSealer(keys.public_key, ACME)

    first = sealer.current(NOON)
    same = sealer.current(NOON + timedelta(seconds=59))
    second = sealer.current(NOON + timedelta(seconds=60))

    assert same is first
    assert (second.key_id, second.sealed) != (first.key_id, first.sealed)
    assert second.created == NOON + timedelta(seconds=60)
    assert first not in [getattr(sealer, name) for name in sealer.__slots__]


def test_a_quiet_door_lets_go_of_its_key(keys: TenantKeys) -> None:
    sealer = MinuteSealer(keys.public_key, ACME)
    first = sealer.current(NOON)

    sealer.forget()

    assert sealer.current(NOON) is not first


def test_an_event_moved_to_another_row_source_or_key_is_refused(keys: TenantKeys) -> None:
    door, other = DoorKey(keys.public_key, ACME, NOON), DoorKey(keys.public_key, ACME, NOON)
    row_id = uuid4()
    sealed = door.seal(row_id, SOURCE, b"canary")
    ours, theirs = (keys.open_minute_key(each.key_id, each.sealed) for each in (door, other))

    for opener, row, source, text in [
        (ours, uuid4(), SOURCE, sealed),
        (ours, row_id, uuid4(), sealed),
        (theirs, row_id, SOURCE, sealed),
        *((ours, row_id, SOURCE, sealed[:at]) for at in range(len(sealed))),
        *(
            (ours, row_id, SOURCE, sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :])
            for at in range(len(sealed))
        ),
    ]:
        with pytest.raises(EventRefused) as refused:
            opener.open(row, source, text)
        assert "canary" not in str(refused.value)


def test_a_key_row_under_another_id_or_environment_is_refused(keys: TenantKeys) -> None:
    door = DoorKey(keys.public_key, ACME, NOON)
    for_test = DoorKey(keys.public_key, ACME_TEST, NOON)

    with pytest.raises(SealedRefused, match="minute key"):
        keys.open_minute_key(uuid4(), door.sealed)
    with pytest.raises(SealedRefused):
        keys.open_minute_key(for_test.key_id, for_test.sealed)


def test_no_nonce_repeats(keys: TenantKeys) -> None:
    door = DoorKey(keys.public_key, ACME, NOON)
    nonces = {door.seal(uuid4(), SOURCE, b"")[:12] for _ in range(5_000)}

    assert len(nonces) == 5_000


def test_the_bound_of_a_key_is_kept(keys: TenantKeys) -> None:
    door = DoorKey(keys.public_key, ACME, NOON)
    door._count = 1 << 32  # as after so many events

    with pytest.raises(TooManyEvents, match="next minute"):
        door.seal(uuid4(), SOURCE, b"")


def test_a_doors_keys_show_nothing_and_do_not_travel(keys: TenantKeys) -> None:
    sealer = MinuteSealer(keys.public_key, ACME)
    door = sealer.current(NOON)

    for holder in (sealer, door, keys.open_minute_key(door.key_id, door.sealed)):
        assert repr(holder) == f"<{type(holder).__name__}>"
        for travel in (pickle.dumps, copy.deepcopy):
            with pytest.raises(KeysStayHere):
                travel(holder)
