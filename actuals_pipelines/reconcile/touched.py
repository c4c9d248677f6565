# ruff: noqa: S608 - SQL is put together from our own names and quoted columns
"""The touched closure: which rows of a state a change can concern, so that only those are solved again.

The least set that holds the changed rows, old and new versions, and is closed under "shares a key of any pass" and
"was in the same group". Keys compare whatever their currency, because one id in two currencies is an exception.
"""

from __future__ import annotations

import duckdb

from actuals_pipelines.domain.package import MatchingPackage
from actuals_pipelines.engine import number_of
from actuals_pipelines.expressions import quoted
from actuals_pipelines.reconcile.members import key_columns

_GROUP = "group_key, currency, continuation"


def find_touched(con: duckdb.DuckDBPyConnection, package: MatchingPackage) -> None:
    """Create table `touched` (row_uid): rows of `opening` that stay live and must be solved again.

    Reads `opening` (a state's rows), `fresh` (rows that are new or changed) and `gone` (row_uid of old versions).
    """
    con.execute("CREATE OR REPLACE TEMP TABLE touched (row_uid UUID)")
    con.execute("CREATE OR REPLACE TEMP TABLE step AS SELECT row_uid FROM opening SEMI JOIN gone USING (row_uid)")
    con.execute(f"CREATE OR REPLACE TEMP TABLE seen_keys AS SELECT DISTINCT k FROM ({_keys(package, 'fresh')})")
    con.execute("CREATE OR REPLACE TEMP TABLE near_keys AS FROM seen_keys")
    con.execute(f"CREATE OR REPLACE TEMP TABLE seen_groups AS SELECT {_GROUP} FROM opening LIMIT 0")
    while True:
        _widen(con, package)
        reached = " UNION ".join(
            [
                f"SELECT row_uid FROM ({_keys(package, 'opening')}) SEMI JOIN near_keys USING (k)",
                f"SELECT row_uid FROM opening SEMI JOIN near_groups USING ({_GROUP})",
            ]
        )
        con.execute(f"""
            CREATE OR REPLACE TEMP TABLE step AS
            SELECT row_uid FROM ({reached}) ANTI JOIN touched USING (row_uid) ANTI JOIN gone USING (row_uid)""")
        if number_of(con, "SELECT count(*) FROM step") == 0:
            return
        con.execute("INSERT INTO touched FROM step")
        con.execute("CREATE OR REPLACE TEMP TABLE near_keys AS SELECT k FROM near_keys LIMIT 0")


def _widen(con: duckdb.DuckDBPyConnection, package: MatchingPackage) -> None:
    """Add the keys and groups of the rows of `step`, and keep apart those that are new: near_keys, near_groups."""
    con.execute("CREATE OR REPLACE TEMP TABLE stepped AS FROM opening SEMI JOIN step USING (row_uid)")
    con.execute(f"""
        INSERT INTO near_keys
        SELECT DISTINCT k FROM ({_keys(package, "stepped")}) ANTI JOIN seen_keys USING (k)""")
    con.execute("INSERT INTO seen_keys SELECT k FROM near_keys ANTI JOIN seen_keys USING (k)")
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE near_groups AS
        SELECT DISTINCT {_GROUP} FROM stepped ANTI JOIN seen_groups USING ({_GROUP}) WHERE group_key IS NOT NULL""")
    con.execute("INSERT INTO seen_groups FROM near_groups")


def _keys(package: MatchingPackage, relation: str) -> str:
    """(row_uid, k) for every key of every pass, own ids and ids found in texts."""
    parts = []
    for column in key_columns(package):
        name = quoted(column)
        value = f"unnest({name})" if column.startswith("keys_") else name
        parts.append(f"SELECT row_uid, {value} AS k FROM {relation} WHERE {name} IS NOT NULL")
    return " UNION ALL ".join(parts)
