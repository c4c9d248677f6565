"""The PSP's own books, as its API hands them out: NDJSON files per booking day, which the emulator serves in pages."""

from __future__ import annotations

from pathlib import Path

import duckdb

from actuals_pipelines.operations.demo_data.world import Wanted

# net = amount - fee in every row. The shopper's e-mail is there to be dropped: nothing maps it.
_TRANSACTIONS = """
COPY (
    SELECT id, type, 'booked' AS status, 'DEMO_SHOP_' || account AS merchant_account, merchant_reference, description,
        major(amount, decimals) AS amount, currency,
        CASE WHEN l.fee > 0 THEN major(l.fee, decimals) END AS fee, major(amount - l.fee, decimals) AS net,
        stamp(at_second, '%Y-%m-%dT%H:%M:%SZ') AS created_at, day_of(day)::VARCHAR AS booked_on,
        payout_reference, first_id AS original_id, shopper_email
    FROM (
        SELECT id, type, account, merchant_reference, description, amount, currency, decimals, fee, at_second, day,
            first_id, 'customer' || i || '@mail.example' AS shopper_email
        FROM psp_leg WHERE day = getvariable('day')
        UNION ALL
        SELECT fee_id, 'fee', account, NULL, 'Monthly fee, shop ' || account, -monthly, currency, decimals, 0,
            day * 86400 + 83700, day, NULL, NULL
        FROM batch WHERE day = getvariable('day')
    ) l
    JOIN batch USING (account, currency, day, decimals)
    ORDER BY at_second, id
) TO (getvariable('path')) (FORMAT json)
"""
_PAYOUTS = """
COPY (
    SELECT payout_id AS id, 'payout' AS type, 'booked' AS status, 'DEMO_SHOP_' || account AS merchant_account,
        payout_reference, 'Payout of batch ' || batch AS description, major(-net, decimals) AS amount, currency,
        stamp(day * 86400 + 84600, '%Y-%m-%dT%H:%M:%SZ') AS created_at, day_of(day)::VARCHAR AS booked_on
    FROM payout WHERE day = getvariable('day') ORDER BY batch
) TO (getvariable('path')) (FORMAT json)
"""
ENDPOINTS = {"transactions": _TRANSACTIONS, "payouts": _PAYOUTS}
"""What the emulator serves: endpoint -> how its rows of a day are made."""


def write_psp_rows(world: duckdb.DuckDBPyConnection, wanted: Wanted, folder: Path) -> list[Path]:
    """Write `transactions-<day>.ndjson` and `payouts-<day>.ndjson` per booking day; return the paths.

    Amounts are decimal texts in major units, signed as on the merchant's balance: a payment is positive, a refund,
    chargeback, fee or payout negative; `fee` is positive and absent (null) where there is none; net = amount - fee.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, day in enumerate(wanted.dates):
        for endpoint, statement in ENDPOINTS.items():
            path = folder / f"{endpoint}-{day}.ndjson"
            world.execute("SET VARIABLE day = $day", {"day": number})
            world.execute("SET VARIABLE path = $path", {"path": str(path)})
            world.execute(statement)
            paths.append(path)
    return paths
