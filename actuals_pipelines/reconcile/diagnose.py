# ruff: noqa: S608 - SQL is put together from our own names, quoted columns and literals
"""Why nothing matches: what the two sides' ids, signs, amounts, currencies and dates have in common, and what not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from actuals_pipelines.domain.package import MatchingPackage
from actuals_pipelines.engine import engine, number_of
from actuals_pipelines.expressions import quoted
from actuals_pipelines.reconcile.members import schemes
from actuals_pipelines.reconcile.schema import KEY_PREFIX


@dataclass(frozen=True, slots=True)
class Finding:
    """One observation: what was seen, what to do about it (None: nothing), and a few ids to look at."""

    subject: str
    words: str
    advice: str | None = None
    examples: tuple[str, ...] = ()


# Ways to write one id alike, from the mildest; the first that makes ids meet is the advice.
_CLEANINGS = (
    ("blanks at their ends", "trim({})", "`clean: alphanumeric` in an id scheme removes them"),
    ("upper and lower case", "upper(trim({}))", "write an id scheme with `clean: upper`"),
    ("dashes, blanks and other marks", "upper(regexp_replace({}, '[^0-9A-Za-z]', '', 'g'))",
     "write an id scheme with `clean: alphanumeric`"),
    ("zeros in front", "ltrim(upper(trim({})), '0')",
     'write an id scheme with `find: "^0*([0-9A-Za-z]+)$"`'),
    ("letters before or after the number", "ltrim(regexp_replace({}, '[^0-9]', '', 'g'), '0')",
     'write an id scheme with `find: "([0-9]+)"`, or with `clean: digits`'),
)  # fmt: skip


def diagnose(
    rows: pa.Table, package: MatchingPackage, id_fields: Mapping[str, str], texts: pa.Table | None = None
) -> tuple[Finding, ...]:
    """Compare the sides of solved rows.

    Args:
        rows: rows with `side`, `status`, `contribution`, `difference`, the key columns and the id fields as text.
        id_fields: id scheme -> the transaction field in which its ids stand.
        texts: (row_uid, fields...): where fields are that a state's rows do not keep.
    """
    with engine() as con:
        con.register("rows_given", rows)
        relevant = "SELECT * FROM rows_given"
        names = list(rows.column_names)
        if texts is not None:
            con.register("texts", texts)
            more = [name for name in texts.column_names if name not in names]
            names += more
            added = "".join(f", t.{quoted(name)}" for name in more)
            relevant = f"SELECT r.*{added} FROM rows_given r JOIN texts t USING (row_uid)"
        con.execute(f"CREATE TEMP VIEW relevant AS FROM ({relevant}) WHERE status <> 'not_relevant'")
        findings: list[Finding] = []
        for scheme in schemes(package):
            field = id_fields.get(scheme, scheme)
            if field in names:
                findings += _ids(con, scheme, field)
        return (*findings, *_amounts(con), *_currencies(con), *_dates(con))


def _ids(con: duckdb.DuckDBPyConnection, scheme: str, field: str) -> list[Finding]:
    key, text = quoted(KEY_PREFIX + scheme), quoted(field)
    for side in ("soll", "ist"):
        con.execute(f"""
            CREATE OR REPLACE TEMP TABLE {side}_ids AS
            SELECT {text} AS id, any_value({key}) AS k, count(*) AS n
            FROM relevant WHERE side = '{side}' GROUP BY {text}""")
    counts = con.execute("""
        SELECT (SELECT count(*) FROM soll_ids WHERE id IS NOT NULL),
               (SELECT count(*) FROM ist_ids WHERE id IS NOT NULL),
               (SELECT coalesce(sum(n), 0) FROM soll_ids WHERE k IS NULL),
               (SELECT coalesce(sum(n), 0) FROM ist_ids WHERE k IS NULL),
               (SELECT count(*) FROM soll_ids SEMI JOIN ist_ids USING (id) WHERE id IS NOT NULL),
               (SELECT count(DISTINCT k) FROM soll_ids SEMI JOIN ist_ids USING (k) WHERE k IS NOT NULL)""").fetchone()
    soll, ist, soll_without, ist_without, same, same_key = (int(each) for each in counts or (0,) * 6)
    findings = [
        Finding(
            f"ids ({scheme}, from {field})",
            f"SOLL has {soll} different ids, IST {ist}; {same} are written alike on both sides, "
            f"{same_key} are the same once cleaned.",
            None if 2 * same_key >= min(soll, ist) else "Look at the examples: do both columns hold the same number?",
            _examples(con),
        )
    ]
    for side, without in (("SOLL", soll_without), ("IST", ist_without)):
        if without:
            findings.append(
                Finding(
                    f"rows without an id ({side})",
                    f"{without} rows of {side} have no id in {field}.",
                    "They can only match through `look_in`. If the id stands elsewhere, map that column.",
                )
            )
    return findings + _shapes(con, same_key, min(soll, ist))


def _examples(con: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    """A few ids of each side that the other does not have."""
    found = []
    for side, other in (("soll", "ist"), ("ist", "soll")):
        ids = con.execute(f"""
            SELECT id FROM {side}_ids ANTI JOIN {other}_ids USING (k)
            WHERE id IS NOT NULL ORDER BY id LIMIT 3""").fetchall()
        found += [f"{side.upper()} {each!r}" for (each,) in ids]
    return tuple(found)


def _shapes(con: duckdb.DuckDBPyConnection, same: int, possible: int) -> list[Finding]:
    """The mildest way of writing ids alike under which clearly more of them meet."""
    for what, sql, advice in _CLEANINGS:
        alike = number_of(
            con,
            f"""
            SELECT count(*) FROM (SELECT DISTINCT {sql.format("id")} AS c FROM soll_ids) a
            JOIN (SELECT DISTINCT {sql.format("id")} AS c FROM ist_ids) b USING (c) WHERE c <> ''""",
        )
        if alike > same and alike >= max(1, possible // 10):
            words = f"{alike} ids of each side are the same but for {what}."
            return [Finding("how ids are written", words, advice[0].upper() + advice[1:] + ".")]
    return []


def _amounts(con: duckdb.DuckDBPyConnection) -> list[Finding]:
    both = con.execute("""
        SELECT count(*), count(*) FILTER (soll = -ist AND soll <> 0), count(*) FILTER (soll = 100 * ist AND soll <> 0),
               count(*) FILTER (ist = 100 * soll AND soll <> 0), count(*) FILTER (soll = ist)
        FROM (SELECT sum(contribution) FILTER (side = 'soll') AS soll, -sum(contribution) FILTER (side = 'ist') AS ist
              FROM relevant GROUP BY group_key, currency HAVING soll IS NOT NULL AND ist IS NOT NULL)""").fetchone()
    total, mirrored, soll_hundred, ist_hundred, equal = (int(each) for each in both or (0,) * 5)
    if not total:
        return [
            Finding("amounts", "No group has both sides, so amounts cannot be compared.", "First make the ids meet.")
        ]
    findings = [Finding("amounts", f"{equal} of {total} groups with both sides have equal amounts.")]
    if 2 * mirrored > total:
        words = f"In {mirrored} of {total} groups the amounts are equal with opposite signs."
        findings.append(Finding("signs", words, "Say `sign: reversed` at the member that is the mirror."))
    for name, other, count in (("SOLL", "IST", soll_hundred), ("IST", "SOLL", ist_hundred)):
        if 2 * count > total:
            words = f"In {count} of {total} groups {name} is exactly 100 times {other}."
            advice = f"{name} probably counts cents: map `amount_minor_units` instead of `amount` there."
            findings.append(Finding("factor 100", words, advice))
    return findings


def _currencies(con: duckdb.DuckDBPyConnection) -> list[Finding]:
    sides = {
        side: [code for (code,) in con.execute(
            "SELECT DISTINCT currency FROM relevant WHERE side = ? ORDER BY 1", [side]).fetchall()]
        for side in ("soll", "ist")
    }  # fmt: skip
    soll, ist = (", ".join(sides[side]) or "none" for side in ("soll", "ist"))
    words = f"SOLL is in {soll}; IST is in {ist}."
    if sides["soll"] and sides["ist"] and not set(sides["soll"]) & set(sides["ist"]):
        advice = "Groups are per currency: nothing can match. Map the amount in the currency of the other side."
        return [Finding("currencies", words, advice)]
    differing = number_of(con, "SELECT count(*) FROM relevant WHERE reason = 'currency_differs'")
    if differing:
        advice = "Check which column is the transaction's currency, and which the account's."
        return [
            Finding("currencies", f"{words} {differing} rows have an id that is in another currency there.", advice)
        ]
    return [Finding("currencies", words)]


def _dates(con: duckdb.DuckDBPyConnection) -> list[Finding]:
    row = con.execute("""
        SELECT min(d) FILTER (side = 'soll'), max(d) FILTER (side = 'soll'),
               min(d) FILTER (side = 'ist'), max(d) FILTER (side = 'ist')
        FROM (SELECT side, coalesce(booked_on, value_date) AS d FROM relevant)""").fetchone()
    if row is None or any(day is None for day in row):
        return [Finding("dates", "A side has no dates.", "Map `booked_on` or `timestamp`, if there is such a column.")]
    words = f"SOLL is from {row[0]} to {row[1]}; IST is from {row[2]} to {row[3]}."
    apart = row[1] < row[2] or row[3] < row[0]
    return [Finding("dates", words, "They do not overlap: ask for the same period from both." if apart else None)]
