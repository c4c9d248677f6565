"""What who reads the whole memory of a running inbox finds of what came before the current minute."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from actuals_pipelines.database.tables import inbox_data_key
from actuals_pipelines.encryption.door import _key_info
from actuals_pipelines.sources.inbox.keys import new_key
from actuals_pipelines.tenants.projections import ApiKeyView
from actuals_pipelines_tests.sources.conftest import AHome, eventually
from actuals_pipelines_tests.sources.inbox.conftest import AnInbox, TlsFiles
from actuals_pipelines_tests.sources.inbox.test_app import PATH, an_order

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def inbox(a_home: AHome, tls_files: TlsFiles) -> Iterator[AnInbox]:
    """An inbox whose clock can be put forward."""
    acme, key = a_home.tenants["acme"], new_key("prod", a_home.door_key)
    a_home.write_view(replace(acme.view, api_keys=(ApiKeyView(key.key_id, key.hash, "prod", "shop"),)))
    module = "actuals_pipelines_tests.sources.inbox.door_of_tomorrow"
    files = ("--certificate", str(tls_files.certificate), "--key", str(tls_files.key))
    environment = {"ACTUALS_TLS_PASSPHRASE": tls_files.passphrase, "ACTUALS_HOME": str(a_home.home.root)}
    door = a_home.start_door("inbox", *files, module=module, **environment)
    yield AnInbox(a_home, door, tls_files, {"acme": key})
    assert door.stop() == 0


def memory_of(pid: int) -> bytes:
    """All that is mapped, as its owner or root may read it."""
    parts = []
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line)
            if found is None or line.endswith(("[vvar]", "[vsyscall]")):
                continue
            start, end = (int(each, 16) for each in found.groups())
            try:
                memory.seek(start)
                parts.append(memory.read(end - start))
            except (OSError, OverflowError):
                continue
    return b"\n".join(parts)


def test_no_key_of_an_earlier_minute_is_in_a_doors_memory_and_few_bytes_of_its_requests(inbox: AnInbox) -> None:
    """The minute's data key is there while it serves, and gone after; the private key never was. What a library keeps
    in buffers that it uses again is not ours to wipe: a few of the last requests are found, and THREATS.md says so."""
    acme, pid = inbox.home.tenants["acme"], inbox.door.process.pid
    canaries = [f"canary-{number}-9d1c77" for number in range(100)]
    private_key = acme.keys._private._key.private_bytes_raw()
    _post(inbox, *canaries)
    with acme.app.connect() as connection:
        [row] = connection.execute(sa.select(inbox_data_key)).all()
    data_key = acme.keys.open_sealed(bytes(row.sealed), _key_info(acme.ref, row.id), "the minute's key")
    during = memory_of(pid)

    inbox.home.home.run.mkdir(exist_ok=True)
    (inbox.home.home.run / "ahead").write_text("130")
    eventually(lambda: data_key not in memory_of(pid), 30)
    _post(inbox, *["later"] * 20)
    after = memory_of(pid)

    assert inbox.home.door_key in during  # the search finds what is there
    assert data_key in during
    assert data_key not in after
    assert private_key not in during
    assert private_key not in after
    assert sum(canary.encode() in after for canary in canaries) < 25


def _post(inbox: AnInbox, *notes: str) -> None:
    with inbox.client() as client:
        for note in notes:
            answer = client.post(PATH, json=an_order(data={"amount": "1.00", "note": note}))
            assert answer.status_code == 201, answer.text
