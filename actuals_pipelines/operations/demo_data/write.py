"""Write one tenant's demo data: the files in the makers' formats, the truth about the defects, a summary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from actuals_pipelines.operations.demo_data.bank_statement import write_bank_statements
from actuals_pipelines.operations.demo_data.defects import TRUTH
from actuals_pipelines.operations.demo_data.psp_rows import write_psp_rows
from actuals_pipelines.operations.demo_data.settlement_report import write_settlement_reports
from actuals_pipelines.operations.demo_data.shop_orders import write_shop_orders
from actuals_pipelines.operations.demo_data.world import Wanted, make_world

TRUTH_FILE = "truth.parquet"

_ROWS = """
SELECT 'shop', count(*) FROM shop UNION ALL SELECT 'psp', count(*) FROM psp_leg
UNION ALL SELECT 'payouts', count(*) FROM payout UNION ALL SELECT 'bank', count(*) FROM bank
"""


@dataclass(frozen=True, slots=True)
class DemoData:
    """What was written for one tenant. Paths of a list are one per day, first day first."""

    folder: Path
    shop: tuple[Path, ...]
    psp_api: tuple[Path, ...]  # two per day: transactions, payouts
    settlement: tuple[Path, ...]
    bank: tuple[Path, ...]
    truth: Path
    rows: Mapping[str, int]  # shop, psp, payouts, bank
    defects: Mapping[str, int]  # kind -> how many

    @property
    def size_bytes(self) -> int:
        """Of all files together."""
        return sum(p.stat().st_size for p in (*self.shop, *self.psp_api, *self.settlement, *self.bank, self.truth))


def write_demo_data(wanted: Wanted, folder: Path) -> DemoData:
    """Write into `folder`: shop/, psp_api/, psp/, bank/ and truth.parquet; files that stand there are replaced."""
    world = make_world(wanted)
    shop = write_shop_orders(world, wanted, folder / "shop")
    psp_api = write_psp_rows(world, wanted, folder / "psp_api")
    settlement = write_settlement_reports(world, wanted, folder / "psp")
    bank = write_bank_statements(world, wanted, folder / "bank")
    truth = folder / TRUTH_FILE
    pq.write_table(world.sql("SELECT * FROM truth").to_arrow_table().cast(TRUTH), truth)
    rows = world.execute(_ROWS)
    kinds = "SELECT kind, count(DISTINCT defect_id) FROM truth GROUP BY kind ORDER BY kind"
    return DemoData(
        folder=folder,
        shop=tuple(shop),
        psp_api=tuple(psp_api),
        settlement=tuple(settlement),
        bank=tuple(bank),
        truth=truth,
        rows=dict(rows.fetchall()),
        defects=dict(world.execute(kinds).fetchall()),
    )
