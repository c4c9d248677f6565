"""Carrying a package from day to day: what changes, what is carried, and what is proved."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pyarrow as pa
import pytest

from actuals_pipelines.domain.package import Due, ExplanationRule, Side
from actuals_pipelines.reconcile.close import Closed, Pins, close
from actuals_pipelines.reconcile.errors import ProofFailed, RowRepeated, StateOutdated
from actuals_pipelines.reconcile.schema import WAS
from actuals_pipelines.reconcile.state import State
from actuals_pipelines_tests.reconcile.ledgers import BY_ID, IN_TEXT, ORDERS_VS_PSP, key, ledger

FIRST, SECOND = date(2026, 1, 31), date(2026, 2, 1)
PACKAGE = replace(
    ORDERS_VS_PSP,
    passes=(BY_ID, IN_TEXT),
    due={Side.IST: Due(1, business=False)},
    explanations=(ExplanationRule("old", "write_off", "age_days > 10"),),
)

DAY_ONE = """
    row     side  id       booked      amount
    order1  SOLL  order-1  2026-01-31  60.00 EUR
    paid1   IST   order-1  2026-01-31  60.00 EUR
    order2  SOLL  order-2  2026-01-31  40.00 EUR
    """


def removed(*rows: str) -> list[bytes]:
    return [key("row", row).bytes for row in rows]


def changes(closed: Closed) -> dict[str, str]:
    """Row -> what happened, in words."""
    names = {key("row", name): name for name in ("order1", "paid1", "order2", "paid2", "back1")}
    return {
        names[each["row_uid"]]: f"{each['change']} {each['was_status']} {each['status']} {each['reason']}"
        for each in closed.changes.to_pylist()
    }


@pytest.fixture(scope="module")
def first() -> Closed:
    return close(None, ledger(DAY_ONE), [], PACKAGE, Pins(FIRST))


def test_the_first_close_takes_every_row_in(first: Closed) -> None:
    """Nothing was before; every row entered on that day."""
    assert changes(first) == {
        "order1": "entered None matched None",
        "paid1": "entered None matched None",
        "order2": "entered None unmatched not_due",
    }
    assert set(first.state.rows["taken_in"].to_pylist()) == {FIRST}
    assert set(WAS) <= set(first.changes.column_names)


def test_time_alone_makes_an_open_item_overdue_and_carries_all_else(first: Closed) -> None:
    """Reasons are judged at each close; nothing is solved again."""
    closed = close(first.state, ledger(DAY_ONE).slice(0, 0), [], PACKAGE, Pins(date(2026, 2, 2)))

    assert changes(closed) == {"order2": "moved unmatched unmatched missing_ist"}
    assert closed.solved_rows == 0


def test_a_late_payment_matches_its_order_and_touches_no_other(first: Closed) -> None:
    """Its order was open; the group that balances is carried."""
    late = ledger("row  side  id  amount\npaid2  IST  order-2  40.00 EUR")

    closed = close(first.state, late, [], PACKAGE, Pins(SECOND))

    assert changes(closed) == {"order2": "moved unmatched matched None", "paid2": "entered None matched None"}
    assert closed.solved_rows == 2


def test_a_late_chargeback_opens_a_group_that_balanced(first: Closed) -> None:
    """The group's rows are found again by its key."""
    late = ledger("row  side  id  kind  amount\nback1  IST  order-1  chargeback  -60.00 EUR")

    closed = close(first.state, late, [], PACKAGE, Pins(SECOND))

    assert changes(closed) == {
        "order1": "moved matched unmatched amount_differs",
        "paid1": "moved matched unmatched amount_differs",
        "back1": "entered None unmatched amount_differs",
    }


def test_a_row_that_is_removed_leaves_its_group_open(first: Closed) -> None:
    """The unit that brought it was superseded."""
    closed = close(first.state, ledger(DAY_ONE).slice(0, 0), removed("paid1"), PACKAGE, Pins(SECOND))

    assert changes(closed)["paid1"] == "left matched None None"
    assert changes(closed)["order1"] == "moved matched unmatched not_due"
    assert closed.state.rows.num_rows == 2


def test_a_row_that_changed_keeps_the_day_it_was_taken_in(first: Closed) -> None:
    """Its amount was corrected; its age is the old one."""
    changed = ledger("row  side  id  amount\norder1  SOLL  order-1  61.00 EUR")

    closed = close(first.state, changed, [], PACKAGE, Pins(SECOND))

    assert changes(closed)["order1"] == "restated matched unmatched amount_differs"
    assert set(closed.state.rows["taken_in"].to_pylist()) == {FIRST}


def test_a_close_without_news_on_the_same_day_is_the_same_close(first: Closed) -> None:
    """Same pins, same digest; and a full close gives the same."""
    nothing = ledger(DAY_ONE).slice(0, 0)

    again = close(first.state, nothing, [], PACKAGE, Pins(FIRST))
    full = close(first.state, nothing, [], PACKAGE, Pins(FIRST), is_full=True)

    assert again.digest == full.digest == first.digest
    assert again.changes.num_rows == full.changes.num_rows == 0
    assert full.solved_rows == 3


def test_age_explains_what_stays_open(first: Closed) -> None:
    """A rule on the clock moves no row between groups."""
    closed = close(first.state, ledger(DAY_ONE).slice(0, 0), [], PACKAGE, Pins(date(2026, 2, 20)))

    [change] = closed.changes.to_pylist()
    assert (change["status"], change["category"]) == ("explained", "write_off")
    assert change["group_key"] == change["was_group_key"]


def test_every_term_of_stock_and_flow_is_shown(first: Closed) -> None:
    """closing = opening + entered - removed + restated + moved in - moved out, in rows and cents."""
    news = ledger("row  side  id  amount\npaid2  IST  order-2  40.00 EUR\norder1  SOLL  order-1  61.00 EUR")

    closed = close(first.state, news, removed("paid1"), PACKAGE, Pins(SECOND))

    lines = {(f.source, f.status): f for f in closed.proofs.stock_and_flow}
    assert (lines["psp", "matched"].opening.amount, lines["psp", "matched"].removed.amount) == (6000, 6000)
    assert lines["psp", "not_processed"].entered.rows == 1
    assert lines["shop", "matched"].restated.amount == 100
    assert lines["shop", "matched"].closing.amount == 4000
    assert all((f.residual.rows, f.residual.amount) == (0, 0) for f in closed.proofs.stock_and_flow)


def test_the_catalogues_control_total_is_a_proof_without_amounts_in_its_words(first: Closed) -> None:
    """The close holds what the store says is live, or it is not taken."""
    nothing = ledger(DAY_ONE).slice(0, 0)
    good = {("shop", "EUR"): (2, 10000), ("psp", "EUR"): (1, 6000)}
    close(first.state, nothing, [], PACKAGE, Pins(SECOND), control=good)

    with pytest.raises(ProofFailed) as failed:
        close(first.state, nothing, [], PACKAGE, Pins(SECOND), control={**good, ("psp", "EUR"): (1, 6001)})

    assert "control total" in str(failed.value)
    assert "psp" in str(failed.value)
    assert "600" not in str(failed.value)
    assert failed.value.figures["catalogue"] == (1, 6001)


def test_a_state_that_was_tampered_with_does_not_close(first: Closed) -> None:
    """A difference that its rows do not add up to leaves a residual in the bridge."""
    rows = first.state.rows
    index = rows.schema.get_field_index("difference")
    wrong = rows.set_column(index, rows.schema.field(index), pa.array([1] * rows.num_rows, pa.int64()))

    with pytest.raises(ProofFailed, match="bridge"):
        close(State(PACKAGE.name, FIRST, (wrong,)), ledger(DAY_ONE).slice(0, 0), [], PACKAGE, Pins(SECOND))


def test_a_row_handed_over_twice_is_refused() -> None:
    """Repeats are taken out when a unit is published."""
    rows = ledger(DAY_ONE)

    with pytest.raises(RowRepeated, match="3 row ids"):
        close(None, pa.concat_tables([rows, rows]), [], PACKAGE, Pins(FIRST))


def test_a_package_that_reads_a_new_column_needs_all_rows_again(first: Closed) -> None:
    """The state keeps no more than matching needed."""
    reads_text = replace(PACKAGE, explanations=(ExplanationRule("gift", "gift", "contains(text, 'gift')"),))

    with pytest.raises(StateOutdated, match="text"):
        close(first.state, ledger(DAY_ONE).slice(0, 0), [], reads_text, Pins(SECOND))

    closed = close(first.state, ledger(DAY_ONE), [], reads_text, Pins(SECOND))
    assert "text" in closed.state.rows.column_names
