# ruff: noqa: S608 - SQL is put together from our own names, quoted columns and checked expressions
"""Which rows a package takes, on which side, with which sign, and which of them count from its start on."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import duckdb

from actuals_pipelines.domain.package import MatchingPackage, Member, Pass, Side
from actuals_pipelines.engine import number_of
from actuals_pipelines.expressions import Expression, ExpressionRefused, literal, parse, quoted
from actuals_pipelines.reconcile.decisions import effective
from actuals_pipelines.reconcile.errors import KeysMissing, NotBuiltYet, RowTakenTwice, SourceNotInPackage
from actuals_pipelines.reconcile.fees import fee_conditions, fee_sql
from actuals_pipelines.reconcile.schema import FOUND, KEY_PREFIX

KEYLESS = ("amount", "sum")

AMOUNTS = frozenset(["amount", "amount_minor_units", "balance_difference", "expected_difference", "soll_amount",
                     "ist_amount", "money"])  # fmt: skip
"""What a rule may not compare with a bare number."""


def refuse_unbuilt(package: MatchingPackage) -> None:
    """Raise NotBuiltYet for what a package may ask for and this engine has not yet (MATCHING.md 8)."""
    for each in package.passes:
        if (each.result == "matched") == (each.by in KEYLESS):
            raise NotBuiltYet(package.name, f"pass {each.name!r} (by: {each.by}, result: {each.result})")
    if package.ties:
        raise NotBuiltYet(package.name, "`ties`")
    for rule in package.explanations:
        if rule.final:
            raise NotBuiltYet(package.name, f"explanation {rule.name!r} (final: true)")


def keyed(package: MatchingPackage) -> tuple[Pass, ...]:
    """The passes that join rows by ids, in order."""
    return tuple(each for each in package.passes if each.by not in KEYLESS)


def keyless(package: MatchingPackage) -> tuple[Pass, ...]:
    """The passes that look at amounts and days alone, in order; they run after all keyed ones."""
    return tuple(each for each in package.passes if each.by in KEYLESS)


def schemes(package: MatchingPackage) -> tuple[str, ...]:
    """The id schemes of the package's passes, in order, each once."""
    return tuple(dict.fromkeys(each.by for each in keyed(package)))


def first_own_key(package: MatchingPackage) -> str:
    """SQL for a row's first own key, in the order of the package's schemes."""
    own = [quoted(KEY_PREFIX + scheme) for scheme in schemes(package)]
    return f"coalesce({', '.join(own)})" if own else "NULL::UUID"


def found_columns(each: Pass) -> tuple[str, ...]:
    """The list columns that a pass with `look_in` reads."""
    return tuple(FOUND.format(scheme=each.by, field=field) for field in each.look_in)


def key_columns(package: MatchingPackage) -> tuple[str, ...]:
    """Every key column that matching the package reads: key_<scheme>, then keys_<scheme>_in_<field>."""
    own = [KEY_PREFIX + scheme for scheme in schemes(package)]
    return tuple(dict.fromkeys([*own, *(name for each in keyed(package) for name in found_columns(each))]))


def keys_of_schemes(package: MatchingPackage) -> dict[str, str]:
    """Key column -> the column of the same scheme's own ids: itself, or that of ids found in texts."""
    own = {name: name for name in (KEY_PREFIX + scheme for scheme in schemes(package))}
    return own | {name: KEY_PREFIX + each.by for each in keyed(package) for name in found_columns(each)}


def columns_read(package: MatchingPackage, available: Collection[str]) -> frozenset[str]:
    """The rows' columns that `take` and `within` read, so that a state keeps no more than it needs."""
    read = {name for each in keyless(package) for name in each.within}
    for _, member in package.members():
        expression = _taken(package, member, available)
        read |= expression.columns if expression else frozenset()
    read.update(*(condition.columns for condition in fee_conditions(package, available, AMOUNTS)))
    return frozenset(read) & frozenset(available)


def select_live(con: duckdb.DuckDBPyConnection, package: MatchingPackage, rows: str, available: Sequence[str]) -> None:
    """Create views `taken` and `relevant` over the table `rows`, so that nothing is copied.

    taken: rid: int64 (the table's rowid), the rows' columns (`status` as `row_status`), side: string, contribution:
    int64, is_live: bool. Contribution is +amount on SOLL and -amount on IST, turned where the member says reversed.
    relevant (rid, row_uid, is_soll: bool, currency, contribution, fee: what may be kept of a SOLL row, and every key
    column): the rows that count, with the keys that people gave them (`decisions.take_decisions`).

    Raises:
        KeysMissing, RowTakenTwice, SourceNotInPackage, ExpressionRefused
    """
    check_keys(package, available)
    sources = [member.source for _, member in package.members()]
    listed = ", ".join(literal(source) for source in sources)
    strangers = con.execute(f"SELECT DISTINCT source FROM {rows} WHERE source NOT IN ({listed})").fetchall()
    if strangers:
        raise SourceNotInPackage(package.name, sorted(name for (name,) in strangers))
    tests = [(side, member, _test(con, package, member, rows, available)) for side, member in package.members()]
    from_rows = f"(SELECT rowid AS rid, *, amount_minor_units AS amount FROM {rows})"
    for source in {name for name in sources if sources.count(name) > 1}:
        counted = " + ".join(f"CAST({test} AS INTEGER)" for _, member, test in tests if member.source == source)
        twice = number_of(con, f"SELECT count(*) FROM {from_rows} WHERE {counted} > 1")
        if twice:
            raise RowTakenTwice(package.name, source, twice)
    in_time = f"coalesce(booked_on >= DATE '{package.start}', TRUE)" if package.start else "TRUE"
    soll = " OR ".join(test for side, _, test in tests if side is Side.SOLL)
    minus = [test for side, member, test in tests if (side is Side.IST) != member.is_reversed]
    home_side = " ".join(f"WHEN source = {literal(member.source)} THEN '{side}'" for side, member, _ in tests)
    is_taken = " OR ".join(test for _, _, test in tests)
    columns = ", ".join(f"{quoted(name)} AS row_status" if name == "status" else quoted(name) for name in available)
    turned = " OR ".join(minus) or "FALSE"
    contribution = f"CASE WHEN {turned} THEN -amount_minor_units ELSE amount_minor_units END AS contribution"
    con.execute(f"""
        CREATE OR REPLACE TEMP VIEW taken AS
        SELECT rid, {columns},
               CASE WHEN {soll} THEN 'soll' WHEN {is_taken} THEN 'ist' ELSE CASE {home_side} END END AS side,
               {contribution}, ({is_taken}) AND {in_time} AS is_live
        FROM {from_rows}""")
    keys = "".join(f", {quoted(name)}" for name in key_columns(package))
    fee = fee_sql(package, available, AMOUNTS, lambda condition, where: check_types(con, condition, from_rows, where))
    kept = f"CASE WHEN {soll} THEN {fee} ELSE 0 END" if package.fees else "0"
    con.execute(f"""
        CREATE OR REPLACE TEMP VIEW relevant AS
        SELECT rid, row_uid, ({soll}) AS is_soll, currency, {contribution}, {kept} AS fee{keys}
        FROM {effective(con, keys_of_schemes(package), from_rows)} WHERE ({is_taken}) AND {in_time}""")


def check_keys(package: MatchingPackage, available: Collection[str]) -> None:
    """Raise KeysMissing unless every keyed pass finds its key columns."""
    for each in keyed(package):
        for column in (KEY_PREFIX + each.by, *found_columns(each)):
            if column not in available:
                raise KeysMissing(package.name, each.name, column)


def _taken(package: MatchingPackage, member: Member, available: Collection[str]) -> Expression | None:
    if member.take is None:
        return None
    where = f"package {package.name}, source {member.source}, take"
    return parse(member.take, [*available, "amount"], where, amounts=AMOUNTS, is_predicate=True)


def _test(
    con: duckdb.DuckDBPyConnection, package: MatchingPackage, member: Member, rows: str, available: Collection[str]
) -> str:
    source = f"source = {literal(member.source)}"
    taken = _taken(package, member, available)
    if taken is None:
        return f"({source})"
    check_types(con, taken, f"(SELECT *, amount_minor_units AS amount FROM {rows})",
                f"package {package.name}, source {member.source}, take")  # fmt: skip
    return f"({source} AND coalesce({taken.sql}, FALSE))"


def check_types(con: duckdb.DuckDBPyConnection, expression: Expression, relation: str, where: str) -> None:
    """Try the expression on a few rows, so that a text beside a number is refused by name and place."""
    try:
        con.execute(f"SELECT bool_or({expression.sql}) FROM (SELECT * FROM {relation} LIMIT 100)").fetchall()
    except duckdb.Error:
        what = f"the types in `{expression.text.strip()}` do not fit together"
        raise ExpressionRefused(where, what, "texts with texts, dates with dates, amounts with amounts") from None
