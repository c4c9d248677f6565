"""The PSP's settlement detail report: CSV with debit and credit columns, after the report Adyen gives by that name.

Every batch is complete: its rows, the fee and the payout add up to net 0.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from actuals_pipelines.operations.demo_data.world import Wanted

_REPORT = """
COPY (
    SELECT 'DemoShops' AS "Company Account", 'DEMO_SHOP_' || account AS "Merchant Account",
        psp_reference AS "Psp Reference", merchant_reference AS "Merchant Reference", 'card' AS "Payment Method",
        stamp(at_second, '%Y-%m-%d %H:%M:%S') AS "Creation Date", 'UTC' AS "TimeZone", type AS "Type",
        modification AS "Modification Reference", currency AS "Gross Currency",
        CASE WHEN gross < 0 THEN major(-gross, decimals) END AS "Gross Debit (GC)",
        CASE WHEN gross > 0 THEN major(gross, decimals) END AS "Gross Credit (GC)",
        CASE WHEN gross IS NOT NULL THEN '1' END AS "Exchange Rate", currency AS "Net Currency",
        CASE WHEN net < 0 THEN major(-net, decimals) END AS "Net Debit (NC)",
        CASE WHEN net >= 0 THEN major(net, decimals) END AS "Net Credit (NC)",
        CASE WHEN commission > 0 THEN major(commission, decimals) END AS "Commission (NC)",
        batch AS "Batch Number", day_of(day)::VARCHAR AS "Booking Date"
    FROM (
        SELECT batch, 0 AS place, account, currency, decimals, day, at_second,
            coalesce(first_id, id) AS psp_reference, merchant_reference,
            CASE type WHEN 'payment' THEN 'Settled' WHEN 'refund' THEN 'Refunded' ELSE 'Chargeback' END AS type,
            CASE WHEN first_id IS NOT NULL THEN id END AS modification,
            amount AS gross, amount - l.fee AS net, l.fee AS commission
        FROM psp_leg l JOIN batch USING (account, currency, decimals, day) WHERE day = getvariable('day')
        UNION ALL
        SELECT batch, 1, account, currency, decimals, day, day * 86400 + 83700, NULL, NULL, 'Fee',
            'Transaction Fees ' || fee_id, NULL, -monthly, NULL
        FROM batch WHERE day = getvariable('day')
        UNION ALL
        SELECT batch, 2, account, currency, decimals, day, day * 86400 + 84600, NULL, NULL, 'MerchantPayout',
            payout_reference || ' batch ' || batch || ', DEMO_SHOP_' || account, NULL, -net, NULL
        FROM payout WHERE day = getvariable('day')
    )
    ORDER BY batch, place, at_second, psp_reference, modification
) TO (getvariable('path')) (FORMAT csv, HEADER true)
"""


def write_settlement_reports(world: duckdb.DuckDBPyConnection, wanted: Wanted, folder: Path) -> list[Path]:
    """Write `settlement-<day>.csv` per booking day, all merchant accounts in it; return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"settlement-{day}.csv" for day in wanted.dates]
    for number, path in enumerate(paths):
        world.execute("SET VARIABLE day = $day", {"day": number})
        world.execute("SET VARIABLE path = $path", {"path": str(path)})
        world.execute(_REPORT)
    return paths
