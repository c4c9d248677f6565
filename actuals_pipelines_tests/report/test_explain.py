"""Why a row has its status, in sentences that an accountant can check."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from actuals_pipelines.domain.package import Member
from actuals_pipelines.reconcile.close import Pins, close
from actuals_pipelines.report.explain import Explanation, as_document, explain, not_processed
from actuals_pipelines.report.wanted import Wanted
from actuals_pipelines_tests.reconcile.ledgers import key, ledger
from actuals_pipelines_tests.report.states import DAY, ORDERS, PAYOUTS, closed, facts


def told(rows: str, wanted: str, coverage: dict[str, date] | None = None) -> Explanation:
    """The one explanation of what is wanted, at a close that knew this coverage."""
    done = close(None, ledger(rows), [], ORDERS, Pins(DAY, coverage=coverage))
    [explanation] = explain(done.state.rows, Wanted(wanted), facts(coverage=coverage))
    return explanation


def test_a_match_names_its_pass_its_key_and_its_sums() -> None:
    """Both sides with their rows."""
    found = told(
        "side  id  amount\nSOLL  order-1  60.00 EUR\nIST  order-1  40.00 EUR\nIST  order-1  20.00 EUR", "order-1"
    )

    assert found.sentences == (
        "Matched in orders_vs_psp, at the close of 2026-02-10: pass 'transaction id' joined its rows, because they "
        "carry the same transaction id.",
        "SOLL (what should be) adds up to 60.00 EUR in 1 row, IST (what is) to 60.00 EUR in 2 rows: no difference.",
    )
    assert [(row["side"], row["amount"]) for row in found.rows.to_pylist()] == [
        ("soll", 6000),
        ("ist", 4000),
        ("ist", 2000),
    ]
    assert found.candidates.num_rows == 0


def test_a_match_within_tolerance_says_how_much_was_allowed() -> None:
    """3 cents of 5."""
    found = told("side  id  amount\nSOLL  order-1  60.00 EUR\nIST  order-1  59.97 EUR", "order-1")

    assert "the difference is 0.03 EUR (IST falls short)" in found.sentences[1]
    assert found.sentences[2] == "It is off by 0.03 EUR, which is within the tolerance of 0.05 EUR."


def test_an_id_found_in_text_says_where() -> None:
    """The second pass looked into the text."""
    found = told("side  id  amount  text\nSOLL  order-1  60.00 EUR  -\nIST  -  60.00 EUR  for order-1", "order-1")

    assert (
        "pass 'id in text' joined its rows, because one side's transaction id stands in the other's text"
        in (found.sentences[0])
    )


def test_an_order_and_its_cancellation_cancel_out() -> None:
    """One side alone, exactly 0."""
    found = told("side  id  amount\nSOLL  order-1  60.00 EUR\nSOLL  order-1  -60.00 EUR", "order-1")

    assert found.sentences[0].endswith("all its rows are on SOLL (what should be) and cancel out to exactly 0.")


def test_a_missing_payment_names_the_side_the_source_and_the_day_it_was_due() -> None:
    """3 business days after Friday 2026-01-30 are over on Wednesday 2026-02-04."""
    found = told("side  id  booked  amount\nSOLL  order-1  2026-01-30  60.00 EUR", "order-1")

    assert found.reason == "missing_ist"
    assert found.sentences[-1] == (
        "No row of psp on IST (what is) has this id in EUR; due 3 business days after booking were over on 2026-02-04."
    )


def test_what_is_not_due_says_until_when() -> None:
    """Booked on Monday 2026-02-09."""
    found = told("side  id  booked  amount\nSOLL  order-1  2026-02-09  60.00 EUR", "order-1")

    assert found.sentences[-1] == "No row of psp on IST (what is) has this id yet; it is in time until 2026-02-12."


def test_a_late_source_is_named_with_what_it_has_delivered() -> None:
    """Nobody can say that a row is missing that may still come."""
    rows = "side  id  booked  amount\nSOLL  order-1  2026-01-30  60.00 EUR"

    found = told(rows, "order-1", coverage={"psp": date(2026, 2, 1), "shop": DAY})

    assert found.reason == "source_late"
    assert found.sentences[-1] == (
        "It is not known yet whether a row on IST (what is) is missing: psp has delivered through 2026-02-01."
    )


def test_an_explained_group_names_category_and_rule() -> None:
    """And still why it is open."""
    found = told("side  id  amount\nSOLL  order-1  60.00 EUR\nIST  order-1  59.65 EUR", "order-1")

    assert found.sentences[0].endswith("because they carry the same transaction id, but it does not balance.")
    assert "more than the tolerance of 0.05 EUR" in found.sentences[2]
    assert found.sentences[-2:] == (
        "It is on both sides with different amounts.",
        "Explained as 'fee' by rule 'fee kept' (balance_difference = money('0.35 EUR')).",
    )


def test_a_typo_in_the_id_is_the_first_candidate_with_what_failed() -> None:
    """Then other ids of that amount; the next number with another amount is no candidate, nor is what matched."""
    found = told(
        """
        row    side  id          booked      amount
        first  SOLL  order-1001  2026-01-30  60.00 EUR
        typo   IST   order-1011  2026-01-30  60.00 EUR
        other  IST   other-77    2026-01-30  60.00 EUR
        usd    IST   order-1001  2026-01-30  65.00 USD
        next   IST   order-1002  2026-01-30  61.00 EUR
        good   IST   order-9     2026-01-30  60.00 EUR
        good9  SOLL  order-9     2026-01-30  60.00 EUR
        """,
        "first",
    )

    assert [(c["transaction_id"], c["fits"], c["fails"]) for c in found.candidates.to_pylist()] == [
        ("order-1011", "currency, amount", "id differs in 1 character"),
        ("other-77", "currency, amount", "another id"),
        ("order-1001", "id", "another currency, another amount"),
    ]


def test_a_group_that_does_not_balance_finds_the_row_that_would_close_it() -> None:
    """SOLL 60.00 against IST 40.00: the missing 20.00 carries another id."""
    found = told(
        "side  id  amount\nSOLL  order-1  60.00 EUR\nIST  order-1  40.00 EUR\nIST  order-77x  20.00 EUR", "order-1"
    )

    assert found.candidates["transaction_id"].to_pylist() == ["order-77x"]


def test_a_row_is_found_by_transaction_id_row_id_row_uid_token_key_and_group_id() -> None:
    """Whatever people have at hand."""
    rows = closed("row  side  id  amount\nr1  SOLL  order-1  60.00 EUR\nr2  IST  order-2  1.00 EUR").state.rows
    by_id = explain(rows, Wanted("order-1"), facts())
    group_id = by_id[0].group_id
    assert group_id is not None

    ways = [
        Wanted("r1"),
        Wanted(str(key("row", "r1"))),
        Wanted("typed", token="order-1"),
        Wanted("ORDER 1", keys={"key_transaction_id": key("order", "order-1"), "key_unknown": key("a", "b")}),
        Wanted(group_id),
    ]

    assert [explain(rows, way, facts())[0].sentences for way in ways] == [by_id[0].sentences] * 5
    assert explain(rows, Wanted("order-3"), facts()) == ()
    assert explain(rows, Wanted(group_id.replace("orders_vs_psp", "other")), facts()) == ()


def test_a_row_that_no_member_takes_says_what_they_take() -> None:
    """Not relevant in this package; another may take it."""
    rows = "source  kind  id  payout  amount\npsp  payment  1  tx1  5.00 EUR\npsp  payout  p1  tx1  -5.00 EUR"
    package = replace(PAYOUTS, soll=(Member("psp", take="kind = 'fee'"),))

    [found] = explain(closed(rows, package).state.rows, Wanted("1"), facts(package))

    assert (found.status, found.group_id) == ("not_relevant", None)
    assert found.sentences[1] == "The members take: psp: kind = 'fee'; psp: kind = 'payout'."


def test_as_plain_data_amounts_are_minor_units_beside_their_currency() -> None:
    """For --json."""
    [row] = as_document(told("side  id  amount\nSOLL  order-1  5.00 EUR", "order-1"))["rows"]

    assert (row["amount"], row["currency"]) == (500, "EUR")


def test_a_row_that_no_close_has_seen_says_so() -> None:
    """It was published after the last one."""
    found = not_processed(ledger("side  id  amount\nSOLL  order-1  5.00 EUR"), "orders_vs_psp")

    assert (found.status, found.row_count, found.rows.num_rows) == ("not_processed", 1, 1)
    assert found.sentences[0].startswith("Not processed in orders_vs_psp: published, and in no close yet.")
