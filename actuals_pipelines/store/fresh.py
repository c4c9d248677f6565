"""Units that bring only rows which nobody had before: the ordinary case, told by one scan for all units of a day.

Nothing has to be compared for them: all of such a unit becomes live, its own file is the difference, and nothing goes.
The others go through `difference`, one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import sqlalchemy as sa

from actuals_pipelines.store import engine, files
from actuals_pipelines.store.difference import totals_by_sequence
from actuals_pipelines.store.log import ROW_KEYS, Publication, Totals, open_log
from actuals_pipelines.store.rewrite import Giver, Written

if TYPE_CHECKING:
    from actuals_pipelines.tenants.environment import TenantEnvironment

# Every row of a unit in force was added once, if not by its own publication then by a newer unit's: what is not in the
# log is in no unit. The side written first is streamed, the second is kept (`store.engine`).
_KNOWN = """
CREATE TABLE candidate AS SELECT row_uid, currency, amount_minor_units, _sequence FROM candidate_files;
CREATE TABLE known AS
  SELECT row_uid FROM candidate GROUP BY row_uid HAVING count(*) > 1
  UNION SELECT row_uid FROM log_added SEMI JOIN candidate USING (row_uid)
"""
_UNITS_WITH_KNOWN = "SELECT DISTINCT _sequence FROM candidate SEMI JOIN known USING (row_uid)"


def fresh_units(
    env: TenantEnvironment, units: Sequence[Giver], history: Sequence[Publication], connection: sa.Connection
) -> dict[int, Written]:
    """Unit sequence -> what its publication names, for those of the units whose rows are all new and there once.

    Args:
        units: generations about to be published, which put no other out of force.
        history: the source's publications so far.
    """
    log = open_log(env, connection, history, schema=ROW_KEYS)
    work = engine.connect()
    try:
        with files.scanning(env, [*(unit.file for unit in units), *log.files]):
            opened = files.dataset(
                env, [unit.file for unit in units], schema=ROW_KEYS, sequences=[unit.sequence for unit in units]
            )
            work.register("candidate_files", opened)
            work.register("log_added", log.added)
            work.execute(_KNOWN)
            known = {row[0] for row in work.execute(_UNITS_WITH_KNOWN).fetchall()}
            brought = totals_by_sequence(work, "candidate")
    finally:
        work.close()
    return {
        unit.sequence: _written(unit, brought.get(unit.sequence, {})) for unit in units if unit.sequence not in known
    }


def _written(unit: Giver, brought: Totals) -> Written:
    rows = sum(count for count, _ in brought.values())
    nothing: Totals = {}
    return Written(
        adds=unit.file,
        removes=None,
        counts={"rows": rows, "added": rows}
        | dict.fromkeys(("removed", "changed", "repeats", "overtaken", "restored"), 0),
        totals={"in": brought, "added": brought}
        | dict.fromkeys(("removed", "repeats", "overtaken", "restored"), nothing),
    )
