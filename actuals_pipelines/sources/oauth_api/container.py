r"""A pull's pages as one stream for landing: every page byte for byte, and an end that proves that none is missing.

    {"actuals_api_pages": 1, "connector": "psp", "records": {"transactions": "data", "payouts": "data"}}\n
    {"endpoint": "transactions", "page": 1, "size": 4711}\n   followed by 4711 bytes and \n
    ...
    {"end": true, "pages": 12}\n

The lines between the pages are JSON. `records` says where the list of records stands in each endpoint's pages, so that
the reader (readers/api_pages.py) needs no connector. A stream without its end is half a pull and is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from actuals_pipelines.sources.oauth_api.connector import Connector
from actuals_pipelines.sources.oauth_api.pull import Page

VERSION = 1


def page_container(connector: Connector, pages: Iterable[Page]) -> Iterator[bytes]:
    """Give the container piece by piece; what `pages` raises passes through, and the end is never written."""
    records = {endpoint.name: endpoint.records for endpoint in connector.endpoints}
    yield _line({"actuals_api_pages": VERSION, "connector": connector.name, "records": records})
    count = 0
    for page in pages:
        count += 1
        yield _line({"endpoint": page.endpoint, "page": page.number, "size": len(page.body)})
        yield page.body
        yield b"\n"
    yield _line({"end": True, "pages": count})


def _line(facts: dict[str, object]) -> bytes:
    return json.dumps(facts).encode() + b"\n"
