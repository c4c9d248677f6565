"""The list that somebody works through, and how old it is."""

from __future__ import annotations

from dataclasses import replace

from actuals_pipelines.reconcile.schema import group_id_sql as engine_group_id_sql
from actuals_pipelines.report.engine import over
from actuals_pipelines.report.group_id import GroupId, group_id_sql
from actuals_pipelines.report.open_items import AGEING, OPEN_ITEMS, ageing, open_items
from actuals_pipelines_tests.reconcile.ledgers import ORDERS_VS_PSP, SEVERAL_IN_TEXT
from actuals_pipelines_tests.report.states import DAY, closed

LEDGER = """
    side  id  booked      amount
    SOLL  1   2026-02-01  60.00 EUR
    IST   1   2026-02-01  60.00 EUR
    SOLL  2   2026-02-02  10.00 EUR
    IST   2   2026-02-03  9.65 EUR
    SOLL  3   2026-01-01  20.00 EUR
    IST   5   2025-10-01  7.00 EUR
    SOLL  6   2026-02-10  500 JPY
    """


def test_open_items_come_oldest_first_with_age_reason_and_category() -> None:
    """What is matched is not on the list; what is explained is, with its category."""
    items = open_items(closed(LEDGER).state.rows, "orders_vs_psp", DAY)

    assert items.schema.equals(OPEN_ITEMS)
    assert [(i["ids"], i["age_days"], i["status"], i["reason"], i["category"]) for i in items.to_pylist()] == [
        ("5", 132, "unmatched", "missing_soll", None),
        ("3", 40, "unmatched", "missing_ist", None),
        ("2", 8, "explained", "amount_differs", "fee"),
        ("6", 0, "unmatched", "not_due", None),
    ]
    fee = items.to_pylist()[2]
    assert (fee["difference"], fee["soll_amount"], fee["ist_amount"], fee["rows"]) == (35, 1000, 965, 2)
    assert fee["sources"] == "psp, shop"
    assert fee["reason_in_words"] == "is on both sides with different amounts"


def test_the_largest_come_first_within_their_currency() -> None:
    """Yen and euros do not compare."""
    items = open_items(closed(LEDGER).state.rows, "orders_vs_psp", DAY, order="largest")

    assert items["ids"].to_pylist() == ["3", "5", "2", "6"]


def test_many_ids_are_counted_and_not_all_shown() -> None:
    """Four orders named in one payment's text: three shown, and the payment, which has no id of its own."""
    rows = closed(
        """
        side  id       amount    text
        SOLL  order-1  1.00 EUR  -
        SOLL  order-2  1.00 EUR  -
        SOLL  order-3  1.00 EUR  -
        SOLL  order-4  1.00 EUR  -
        IST   -        5.00 EUR  order-1 order-2 order-3 order-4
        """,
        replace(ORDERS_VS_PSP, passes=(SEVERAL_IN_TEXT,)),
    ).state.rows

    assert open_items(rows, "p", DAY)["ids"].to_pylist() == ["order-1, order-2, order-3 and 2 more"]


def test_ageing_adds_up_groups_by_age_from_young_to_old() -> None:
    """Net and gross in minor units of the currency."""
    items = open_items(closed(LEDGER).state.rows, "orders_vs_psp", DAY)

    aged = ageing(items)

    assert aged.schema.equals(AGEING)
    assert [tuple(line.values()) for line in aged.to_pylist()] == [
        ("EUR", "8 to 30 days", 1, 2, 35, 35),
        ("EUR", "31 to 60 days", 1, 1, 2000, 2000),
        ("EUR", "over 90 days", 1, 1, -700, 700),
        ("JPY", "0 to 7 days", 1, 1, 500, 500),
    ]


def test_nothing_open_gives_empty_tables_of_the_same_shape() -> None:
    """A package that agrees is no special case."""
    items = open_items(closed("side  id  amount\nSOLL  1  1.00 EUR\nIST  1  1.00 EUR").state.rows, "p", DAY)

    assert items.schema.equals(OPEN_ITEMS)
    assert items.num_rows == ageing(items).num_rows == 0


def test_a_groups_id_is_the_engines_and_can_be_read_back() -> None:
    """The report writes what the engine writes, and reads what it wrote."""
    with over(rows=closed(LEDGER).state.rows) as con:
        pairs = con.execute(f"SELECT {group_id_sql('p')}, {engine_group_id_sql('p')} FROM rows").fetchall()  # noqa: S608

    assert len(pairs) == 7
    assert all(ours == engines for ours, engines in pairs)
    assert all(str(GroupId.read(ours)) == ours for ours, _ in pairs)
    assert GroupId.read("order-123") is None
    assert GroupId.read("a/b/c") is None
