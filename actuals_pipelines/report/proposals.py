# ruff: noqa: S608 - SQL is put together from our own names
"""Proposals: what a close's keyless passes found, with the ids, days and amounts that a person decides by.

Source: reconcile/MATCHING.md 4.
"""

from __future__ import annotations

import pyarrow as pa

from actuals_pipelines.report.engine import over, shaped
from actuals_pipelines.report.group_id import GROUP, group_id_sql
from actuals_pipelines.report.words import plural

PROPOSED = pa.schema(
    [
        pa.field("proposal", pa.string(), nullable=False),  # its first group's id: the same as long as it stands
        pa.field("verdict", pa.string(), nullable=False),  # proposed | ambiguous | search_unfinished
        pa.field("pass", pa.string(), nullable=False),
        pa.field("days_apart", pa.int64()),  # of its pairs added up, or from first to last day; null: not decided
        pa.field("difference", pa.int64(), nullable=False),  # minor units: of the whole proposal
        pa.field("currency", pa.string(), nullable=False),
        pa.field("side", pa.string(), nullable=False),
        pa.field("ids", pa.string()),  # of the group: three, and how many more
        pa.field("first_booked_on", pa.date32()),
        pa.field("amount", pa.int64(), nullable=False),  # minor units that the group lacks
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("group_id", pa.string(), nullable=False),
    ]
)

_IDS_SHOWN = 3
_OTHERS_NAMED = 5


def proposed_lines(rows: pa.Table, proposals: pa.Table | None, package: str) -> pa.Table:
    """One line per group in a proposal (schema PROPOSED): what can be decided first, then by proposal, SOLL first.

    Args:
        rows: the close's rows.
        proposals: what the close kept of them; None: nothing.
    """
    if proposals is None:
        return PROPOSED.empty_table()
    with over(rows=rows, proposals=proposals) as con:
        return shaped(
            con.sql(f"""
                WITH of_groups AS (
                    SELECT {GROUP}, list_sort(list(DISTINCT coalesce(transaction_id, row_id))) AS ids, count(*) AS n,
                           min(coalesce(booked_on, value_date)) AS first_booked_on
                    FROM rows SEMI JOIN proposals USING ({GROUP}) GROUP BY {GROUP}),
                lines AS (
                    SELECT *, {group_id_sql(package)} AS group_id,
                           first_value(group_id) OVER (PARTITION BY currency, proposal ORDER BY group_key) AS first,
                           max(abs(amount)) OVER (PARTITION BY currency, proposal) AS largest,
                           min(ids[1]) OVER (PARTITION BY currency, proposal) AS first_id
                    FROM proposals JOIN of_groups USING ({GROUP}))
                SELECT first, verdict, "pass", days_apart, difference, currency, side,
                       array_to_string(ids[:{_IDS_SHOWN}], ', ')
                           || CASE WHEN len(ids) > {_IDS_SHOWN} THEN ' and ' || (len(ids) - {_IDS_SHOWN}) || ' more'
                              ELSE '' END,
                       first_booked_on, amount, n, group_id
                FROM lines
                ORDER BY CASE verdict WHEN 'proposed' THEN 0 WHEN 'ambiguous' THEN 1 ELSE 2 END, currency,
                         largest DESC, first_id, first, side DESC, first_booked_on, ids, group_id"""),
            PROPOSED,
        )


def proposal_sentence(lines: pa.Table, group_id: str) -> str | None:
    """What a pass says of this group, in a sentence; None where it is in no proposal.

    Args:
        lines: from `proposed_lines`.
    """
    with over(lines=lines) as con:
        mine = con.execute(
            """
            SELECT m.verdict, m."pass", m.side, m.days_apart, l.side, l.ids, l.group_id = m.group_id
            FROM lines m JOIN lines l USING (proposal) WHERE m.group_id = ? ORDER BY l.side DESC, l.ids""",
            [group_id],
        ).fetchall()
    if not mine:
        return None
    verdict, by, side, apart, *_ = mine[0]
    others = [ids for *_, their_side, ids, is_it in mine if their_side != side]
    like_it = sum(1 for *_, their_side, _, is_it in mine if their_side == side and not is_it)
    other_side = "IST" if side == "soll" else "SOLL"
    named = ", ".join(str(ids) for ids in others[:_OTHERS_NAMED])
    named += f" and {len(others) - _OTHERS_NAMED} more" if len(others) > _OTHERS_NAMED else ""
    with_ = f"{named} on {other_side}"
    if verdict == "proposed":
        days = "" if apart is None else f", {plural(apart, 'day')} apart"
        beside = f", together with {plural(like_it, 'other')} on its own side" if like_it else ""
        return f"Proposed by pass {by!r} with {with_}{beside}, because they add up exactly{days}; nothing else does."
    if verdict == "ambiguous":
        return (
            f"Pass {by!r} cannot tell what it belongs to: {with_} would fit, and "
            f"{plural(len(others) - 1, 'other')} there and {plural(like_it, 'other')} on its own side fit equally well."
        )
    return (
        f"Pass {by!r} had too much to look through and did not finish: a narrower window (`days`), more fields in "
        "`within`, or more `steps` help."
    )
