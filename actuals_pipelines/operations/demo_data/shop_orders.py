"""The shop's side: one NDJSON file a day, each line the body of one push to the inbox API."""

from __future__ import annotations

from pathlib import Path

import duckdb

from actuals_pipelines.operations.demo_data.world import Wanted

# The customer's e-mail is there to be dropped: nothing maps it.
_EVENTS = """
COPY (
    SELECT 'shop' AS source_id, id, stamp(at_second, '%Y-%m-%dT%H:%M:%SZ') AS timestamp, type,
        {order_id: order_id, reference: reference, total: major(amount, decimals), currency: currency,
         country: ['NL', 'DE', 'BE', 'FR'][1 + a % 4], customer_email: 'customer' || i || '@mail.example'} AS data
    FROM shop WHERE day = getvariable('day') ORDER BY at_second, id
) TO (getvariable('path')) (FORMAT json)
"""


def write_shop_orders(world: duckdb.DuckDBPyConnection, wanted: Wanted, folder: Path) -> list[Path]:
    """Write `orders-<day>.ndjson` per day; return the paths, first day first.

    A line is `{source_id, id, timestamp, type: sale | refund, data: {order_id, reference, total, currency, ...}}`;
    `total` is a decimal text in the currency's own decimals, negative for a refund.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"orders-{day}.ndjson" for day in wanted.dates]
    for number, path in enumerate(paths):
        world.execute("SET VARIABLE day = $day", {"day": number})
        world.execute("SET VARIABLE path = $path", {"path": str(path)})
        world.execute(_EVENTS)
    return paths
