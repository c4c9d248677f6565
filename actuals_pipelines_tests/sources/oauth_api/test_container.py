"""What a pull writes for landing is what the reader reads: every record once, and no half pull."""

from __future__ import annotations

import io

import msgspec
import pytest

from actuals_pipelines.readers.api_pages import ApiPagesReader
from actuals_pipelines.readers.reading import FileRefused
from actuals_pipelines.sources.oauth_api.container import page_container
from actuals_pipelines.sources.oauth_api.failures import ServerFailed
from actuals_pipelines_tests.sources.oauth_api.emulator import DAY, Caller


def test_a_landed_pull_reads_back_as_the_apis_own_rows(caller: Caller) -> None:
    content = b"".join(page_container(caller.connector, caller.pages()))

    table = ApiPagesReader().read(io.BytesIO(content), {}).table()

    rows = [row for each in ("transactions", "payouts") for row in caller.emulator.rows(each, DAY)]
    sent = [msgspec.json.decode(row) for row in rows]
    for key in ("id", "amount", "currency", "fee", "payout_reference", "merchant_reference"):
        assert table[key].to_pylist() == [row.get(key) for row in sent]


def test_pages_lie_in_it_byte_for_byte(caller: Caller) -> None:
    pages = caller.pull()

    content = b"".join(page_container(caller.connector, pages))

    assert all(page.body in content for page in pages)


def test_a_pull_that_fails_on_the_way_leaves_nothing_that_can_be_read(caller: Caller) -> None:
    caller.emulator.fails({"kind": "status", "times": -1, "after": 2})
    written = bytearray()

    with pytest.raises(ServerFailed):
        for piece in page_container(caller.connector, caller.pages()):
            written += piece

    assert written
    with pytest.raises(FileRefused):
        ApiPagesReader().read(io.BytesIO(bytes(written)), {})
