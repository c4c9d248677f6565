"""One transaction through the whole chain: order - payment - payout - bank."""

from __future__ import annotations

import pyarrow as pa
import pytest

from actuals_pipelines.domain.package import MatchingPackage, Member
from actuals_pipelines.reconcile.close import Pins, close
from actuals_pipelines.report import find as room
from actuals_pipelines.report.find import Found, carrying, find
from actuals_pipelines.report.wanted import Wanted
from actuals_pipelines_tests.reconcile.ledgers import BY_PAYOUT, key, ledger
from actuals_pipelines_tests.report.states import DAY, PAYOUTS

SHOP = """
    row     source  id       amount
    order1  shop    order-1  60.00 EUR
    order2  shop    order-2  40.00 EUR
    """
PSP = """
    row   source  kind     id       payout  amount
    pay1  psp     payment  order-1  tx1     60.00 EUR
    pay2  psp     payment  order-2  tx1     40.00 EUR
    out1  psp     payout   p-1      tx1     -100.00 EUR
    """
BANK = """
    row    source  kind  id   payout  amount
    line1  bank    book  b-1  tx1     100.00 EUR
    """
ORDERS = MatchingPackage("orders_vs_psp", (Member("shop"),), (Member("psp", take="kind = 'payment'"),))
TO_BANK = MatchingPackage(
    "payout_vs_bank", (Member("psp", take="kind = 'payout'", is_reversed=True),), (Member("bank"),), passes=(BY_PAYOUT,)
)


def chain(wanted: str, start: str | None = None) -> Found:
    """What is found over the three packages."""
    states = {
        package.name: close(None, pa.concat_tables(map(ledger, texts)), [], package, Pins(DAY)).state.rows
        for package, texts in ((ORDERS, (SHOP, PSP)), (PAYOUTS, (PSP,)), (TO_BANK, (PSP, BANK)))
    }
    return find(states, Wanted(wanted), ledger(start) if start else None)


def steps(found: Found) -> list[tuple[int, str]]:
    """Step and row, sorted."""
    return sorted((row["step"], row["row_id"]) for row in found.rows.to_pylist())


def test_an_order_leads_to_its_payment_its_payout_and_the_banks_line() -> None:
    """And not to the other order that the same payout paid."""
    found = chain("order-1")

    assert steps(found) == [(0, "order1"), (0, "pay1"), (1, "out1"), (2, "line1")]
    assert found.left_out == 0


def test_a_bank_line_leads_back_to_every_order_it_paid() -> None:
    """The chain is walked in either direction."""
    assert steps(chain("b-1")) == [
        (0, "line1"), (1, "out1"), (2, "pay1"), (2, "pay2"), (3, "order1"), (3, "order2"),
    ]  # fmt: skip


def test_each_row_says_what_it_is_in_each_package() -> None:
    """A payment is in two packages; where it is not relevant it is not named."""
    found = chain("order-1")
    [payment] = [row for row in found.rows.to_pylist() if row["row_id"] == "pay1"]

    assert [
        (o["package"], o["side"], o["status"], o["difference"])
        for o in found.outcomes.to_pylist()
        if o["row_uid"] == payment["row_uid"]
    ] == [("orders_vs_psp", "ist", "matched", 0), ("payout_made_up_of", "soll", "matched", 0)]


def test_a_row_that_is_in_no_close_yet_is_found_by_what_is_live() -> None:
    """It has no outcome; its source is shown all the same."""
    found = chain("order-9", "row  source  id  amount\norder9  shop  order-9  1.00 EUR")

    assert found.rows["row_id"].to_pylist() == ["order9"]
    assert found.outcomes.num_rows == 0


def test_a_step_is_bounded_and_says_what_it_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A payout may have a million payments."""
    monkeypatch.setattr(room, "MAX_ROWS_A_STEP", 1)

    found = chain("b-1")

    assert found.left_out == 1
    assert found.rows.num_rows == 4


def test_nothing_is_found_where_nothing_is() -> None:
    """No packages, no rows."""
    assert find({}, Wanted("order-1")).rows.num_rows == 0
    assert chain("nobody").rows.num_rows == 0


def test_live_rows_that_carry_an_id_are_picked_from_a_stream() -> None:
    """By id, by row and by key; a group id names no live row."""
    rows = ledger(PSP)

    assert carrying(rows.to_reader(), Wanted("order-1"))["row_id"].to_pylist() == ["pay1"]
    assert carrying(rows.to_reader(), Wanted("pay2"))["row_id"].to_pylist() == ["pay2"]
    assert carrying(rows.to_reader(), Wanted("tx 1", keys={"key_payout": key("payout", "tx1")})).num_rows == 3
    assert carrying(rows.to_reader(), Wanted(f"p/{key('a', 'b').hex}/EUR")).num_rows == 0
