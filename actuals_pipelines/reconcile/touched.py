# ruff: noqa: S608 - SQL is put together from our own names and quoted columns
"""The touched closure: which rows of a state a change can concern, so that only those are solved again.

The least set that holds the changed rows, old and new versions, and the rows of decisions that came or went, and is
closed under "shares a key of any pass" and "is in the same decision" (`decisions`: a decision ties rows as a key does).
Keys compare whatever their currency, because one id in two currencies is an exception. Rows are grouped by shared keys
and by decisions alone, so the set is closed under "was in the same group" too. A detached row keeps its ties by the
keys its source gave it: the set may be larger than it must, never smaller. A row that is not relevant is so by its own
content and the package alone, and is in no group: a key that it shares with others does not touch it.
"""

from __future__ import annotations

import duckdb

from actuals_pipelines.domain.package import MatchingPackage
from actuals_pipelines.engine import number_of
from actuals_pipelines.expressions import quoted
from actuals_pipelines.reconcile.members import key_columns
from actuals_pipelines.reconcile.state import CHUNK, PART


def find_touched(con: duckdb.DuckDBPyConnection, package: MatchingPackage) -> None:
    """Create table `reached`: row_uid, status, place and keys of the rows to be solved again, and of those of `gone`.

    Reads `opening_at` (a state's rows), `to_solve` (rows that are new or changed), `gone` (row_uid of old versions),
    `ties` and `stirred` (`decisions.take_decisions`).
    A round reads the keys of the whole opening once; most closes need one, because what shares a key with a new row
    has no other.
    """
    columns = key_columns(package)
    keys = "".join(f", {quoted(name)}" for name in columns)
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE reached AS SELECT row_uid, status, {PART}, {CHUNK}{keys} FROM opening_at LIMIT 0"
    )
    con.execute(f"CREATE OR REPLACE TEMP TABLE seen_keys AS SELECT DISTINCT k FROM ({_keys(columns, 'to_solve')})")
    con.execute("CREATE OR REPLACE TEMP TABLE near_keys AS FROM seen_keys")
    near = "FROM near_keys"
    shared = " OR ".join(f"{quoted(name)} IN ({near})" for name in columns if not _is_list(name))
    tests = [f"status <> 'not_relevant' AND ({shared})"] if shared else []
    # Most rows of most sources have no id in their texts, and need no list taken apart.
    lists = [name for name in columns if _is_list(name)]
    row = f"row_uid, status, {PART}, {CHUNK}{keys}"
    if number_of(con, "SELECT count(*) FROM ties"):
        tests.append("row_uid IN (SELECT row_uid FROM ties SEMI JOIN near_keys USING (k))")
    # Else there is nothing to look for.
    is_first = number_of(con, "SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM stirred)") > 0
    while is_first or number_of(con, "SELECT count(*) FROM near_keys"):
        also = ["row_uid IN (FROM gone)", "row_uid IN (FROM stirred)"] if is_first else []
        parts = [f"SELECT {row} FROM opening_at WHERE {' OR '.join([*tests, *also])}"]
        parts += [
            f"SELECT {row} FROM (SELECT *, unnest({quoted(name)}) AS k FROM opening_at "
            f"WHERE status <> 'not_relevant' AND len({quoted(name)}) > 0) SEMI JOIN near_keys USING (k)"
            for name in lists
        ]
        con.execute(f"""
            CREATE OR REPLACE TEMP TABLE step AS
            SELECT * FROM ({" UNION ALL ".join(parts)}) ANTI JOIN reached USING (row_uid)
            QUALIFY row_number() OVER (PARTITION BY row_uid) = 1""")
        con.execute("INSERT INTO reached FROM step")
        con.execute(f"""
            CREATE OR REPLACE TEMP TABLE near_keys AS
            SELECT DISTINCT k FROM ({_keys(columns, "step")}) ANTI JOIN seen_keys USING (k)""")
        con.execute("INSERT INTO seen_keys FROM near_keys")
        is_first = False


def _is_list(column: str) -> bool:
    return column.startswith("keys_")


def _keys(columns: tuple[str, ...], relation: str) -> str:
    """(row_uid, k) for every key of every pass, own ids and ids found in texts, and for every tie by a decision."""
    parts = [f"SELECT row_uid, k FROM ties SEMI JOIN {relation} USING (row_uid)"]
    for column in columns:
        name = quoted(column)
        value = f"unnest({name})" if _is_list(column) else name
        parts.append(f"SELECT row_uid, {value} AS k FROM {relation} WHERE {name} IS NOT NULL")
    return " UNION ALL ".join(parts)
