"""What matching means, in ledgers small enough to check by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pyarrow as pa
import pytest

from actuals_pipelines.domain.package import Due, ExplanationRule, MatchingPackage, Member, Pass, Side, Tolerance
from actuals_pipelines.expressions import ExpressionRefused
from actuals_pipelines.reconcile.errors import (
    AmountOverflow,
    KeysMissing,
    NotBuiltYet,
    RowTakenTwice,
    SourceNotInPackage,
)
from actuals_pipelines.reconcile.schema import SOLVED
from actuals_pipelines.reconcile.solve import solve
from actuals_pipelines_tests.reconcile.ledgers import (
    BY_ID,
    BY_PAYOUT,
    IN_TEXT,
    ORDERS_VS_PSP,
    SEVERAL_IN_TEXT,
    by_row,
    ledger,
    words,
)


def outcome(text: str, package: MatchingPackage = ORDERS_VS_PSP, **options: object) -> dict[str, str]:
    rows = ledger(text)
    return words(by_row(solve(rows, package, **options), rows))  # type: ignore[arg-type]


def test_the_worked_example_of_the_definition() -> None:
    """MATCHING.md 3: 123 is -20, 124 is 10, 125 is missing with 30; both sides of a group carry its difference."""
    found = outcome(
        """
        row    side  id   amount
        A 123  SOLL  123  60.00 EUR
        B 123  IST   123  80.00 EUR
        A 124  SOLL  124  70.00 EUR
        B 124  IST   124  60.00 EUR
        A 125  SOLL  125  30.00 EUR
        """
    )

    assert found == {
        "A 123": "unmatched amount_differs -2000",
        "B 123": "unmatched amount_differs -2000",
        "A 124": "unmatched amount_differs 1000",
        "B 124": "unmatched amount_differs 1000",
        "A 125": "unmatched missing_ist 3000",
    }


def test_rows_of_one_id_add_up_on_each_side() -> None:
    """Two partial payments make the order whole; nothing is compared row by row."""
    found = outcome(
        """
        row    side  id       amount
        order  SOLL  order-1  60.00 EUR
        part1  IST   order-1  50.00 EUR
        part2  IST   order-1  10.00 EUR
        """
    )

    assert set(found.values()) == {"matched transaction id 0"}


def test_a_row_without_an_id_stands_alone() -> None:
    """An empty id has no key: two empty ids are not the same id."""
    rows = ledger(
        """
        row    side  id  amount
        order  SOLL  -   60.00 EUR
        paid   IST   -   60.00 EUR
        """
    )

    solved = by_row(solve(rows, ORDERS_VS_PSP), rows)

    assert words(solved) == {"order": "unmatched missing_ist 6000", "paid": "unmatched missing_soll -6000"}
    assert all(each["group_key"] == each["row_uid"] for each in solved.values())


def test_a_cancelled_order_matches_itself_only_if_the_sum_is_exactly_nothing() -> None:
    """Pass `offset`: the order and its cancellation, whatever the tolerance."""
    package = replace(ORDERS_VS_PSP, tolerance=Tolerance({"EUR": 100}))
    found = outcome(
        """
        row     side  id       amount
        order   SOLL  order-1  60.00 EUR
        cancel  SOLL  order-1  -60.00 EUR
        other   SOLL  order-2  60.00 EUR
        nearly  SOLL  order-2  -59.99 EUR
        """,
        package,
    )

    assert found["order"] == found["cancel"] == "matched offset 0"
    assert found["other"] == found["nearly"] == "unmatched missing_ist 1"


@pytest.mark.parametrize(
    ("tolerance", "paid", "expected"),
    [
        (Tolerance({"EUR": 5}), "59.95 EUR", "matched"),
        (Tolerance({"EUR": 5}), "60.05 EUR", "matched"),
        (Tolerance({"EUR": 5}), "59.94 EUR", "unmatched"),
        (Tolerance({"USD": 5}), "59.95 EUR", "unmatched"),
        (Tolerance(basis_points=100), "59.40 EUR", "matched"),
        (Tolerance(basis_points=100), "59.39 EUR", "unmatched"),
        (Tolerance(basis_points=1), "59.99 EUR", "unmatched"),  # floor(1 bp of 60.00) is 0
        (Tolerance({"EUR": 70}, basis_points=100), "59.30 EUR", "matched"),
    ],
)
def test_tolerance_is_the_larger_of_an_amount_and_a_share_of_soll(
    tolerance: Tolerance, paid: str, expected: str
) -> None:
    """max(absolute per currency, floor(basis points x |SOLL|))."""
    found = outcome(
        f"""
        row    side  id       amount
        order  SOLL  order-1  60.00 EUR
        paid   IST   order-1  {paid}
        """,
        replace(ORDERS_VS_PSP, tolerance=tolerance),
    )

    assert found["order"].startswith(expected)


def test_a_lone_row_has_no_tolerance() -> None:
    """One cent that is missing is missing."""
    found = outcome(
        "row  side  id  amount\na  SOLL  order-1  0.01 EUR", replace(ORDERS_VS_PSP, tolerance=Tolerance({"EUR": 5}))
    )

    assert found == {"a": "unmatched missing_ist 1"}


def test_an_order_paid_in_another_currency_is_one_exception_not_two_missing_rows() -> None:
    """The same id in two currencies makes two linked groups."""
    rows = ledger(
        """
        row    side  id       amount
        order  SOLL  order-1  60.00 EUR
        paid   IST   order-1  60.00 USD
        """
    )

    solved = by_row(solve(rows, ORDERS_VS_PSP), rows)

    assert {each["reason"] for each in solved.values()} == {"currency_differs"}
    assert solved["order"]["group_key"] == solved["paid"]["group_key"]


def test_a_payment_taken_twice_is_a_duplicate() -> None:
    """Without one of the two equal payments the group would balance."""
    found = outcome(
        """
        row    side  id       amount
        order  SOLL  order-1  60.00 EUR
        paid   IST   order-1  60.00 EUR
        again  IST   order-1  60.00 EUR
        """
    )

    assert set(found.values()) == {"unmatched duplicate -6000"}


def test_an_id_in_text_joins_what_the_id_alone_did_not() -> None:
    """It counts only if the other side has it as an id: order-9 is nobody's."""
    found = outcome(
        """
        row     side  id       amount     text
        order   SOLL  order-1  60.00 EUR  -
        paid    IST   -        60.00 EUR  thanks for order-1 and order-9
        stray   IST   -        5.00 EUR   order-9
        """,
        replace(ORDERS_VS_PSP, passes=(BY_ID, IN_TEXT)),
    )

    assert found["order"] == found["paid"] == "matched id in text 0"
    assert found["stray"] == "unmatched missing_soll -500"


def test_a_text_with_two_ids_joins_both_only_where_the_pass_says_several() -> None:
    """One bank credit pays two orders."""
    text = """
        row     side  id       amount      text
        first   SOLL  order-1  60.00 EUR   -
        second  SOLL  order-2  40.00 EUR   -
        credit  IST   -        100.00 EUR  order-1 order-2
        """

    several = outcome(text, replace(ORDERS_VS_PSP, passes=(BY_ID, SEVERAL_IN_TEXT)))
    single = outcome(text, replace(ORDERS_VS_PSP, passes=(BY_ID, IN_TEXT)))

    assert set(several.values()) == {"matched ids in text 0"}
    assert single["credit"] == "unmatched missing_soll -10000"


def test_a_group_that_does_not_balance_may_grow_in_a_later_pass() -> None:
    """The refund names its order only in its text; with it the group balances."""
    found = outcome(
        """
        row     side  id       amount      text
        order   SOLL  order-1  60.00 EUR   -
        paid    IST   order-1  80.00 EUR   -
        refund  IST   -        -20.00 EUR  order-1
        """,
        replace(ORDERS_VS_PSP, passes=(BY_ID, IN_TEXT)),
    )

    assert set(found.values()) == {"matched id in text 0"}


def test_a_group_that_balances_is_closed_to_later_passes() -> None:
    """A second payment that names a paid order in its text stays open by itself."""
    found = outcome(
        """
        row    side  id       amount     text
        order  SOLL  order-1  60.00 EUR  -
        paid   IST   order-1  60.00 EUR  -
        extra  IST   -        60.00 EUR  order-1
        """,
        replace(ORDERS_VS_PSP, passes=(BY_ID, IN_TEXT)),
    )

    assert found["order"] == "matched transaction id 0"
    assert found["extra"] == "unmatched missing_soll -6000"


def test_what_one_side_has_alone_falls_apart_before_the_next_pass() -> None:
    """Two orders under one id with no payment are free for the payout pass, each by itself."""
    found = outcome(
        """
        row     side  id       payout  amount
        first   SOLL  order-1  po-1    60.00 EUR
        second  SOLL  order-1  po-2    40.00 EUR
        payout  IST   -        po-1    60.00 EUR
        """,
        replace(ORDERS_VS_PSP, passes=(BY_ID, BY_PAYOUT)),
    )

    assert found["first"] == found["payout"] == "matched payout 0"
    assert found["second"] == "unmatched missing_ist 4000"


def test_a_chain_of_shared_ids_is_one_group_however_long() -> None:
    """Each credit names two orders in a row of 200: all hang together."""
    lines = ["row  side  id  amount  text"]
    lines += [f"o{n}  SOLL  order-{n}  1.00 EUR  -" for n in range(200)]
    lines += [f"c{n}  IST  -  1.00 EUR  order-{n} order-{n + 1}" for n in range(199)]
    rows = ledger("\n".join(lines))

    solved = solve(rows, replace(ORDERS_VS_PSP, passes=(SEVERAL_IN_TEXT,)))

    assert len(set(solved["group_key"].to_pylist())) == 1
    assert set(solved["difference"].to_pylist()) == {100}


def test_an_id_that_too_many_rows_of_both_sides_share_joins_nothing() -> None:
    """A placeholder such as 0000 would make one heap of everything."""
    text = "row  side  id  amount\n" + "\n".join(
        f"{s}{n}  {s}  0000  1.00 EUR" for s in ("SOLL", "IST") for n in range(3)
    )

    assert set(outcome(text).values()) == {"matched transaction id 0"}
    assert {each.split()[1] for each in outcome(text, max_rows_per_key=2).values()} == {"key_too_common"}


def test_a_payout_may_have_any_number_of_legs() -> None:
    """Too common means many on both sides."""
    text = (
        "row  side  id  amount\n"
        + "\n".join(f"{n}  SOLL  po-1  1.00 EUR" for n in range(9))
        + "\np  IST  po-1  9.00 EUR"
    )

    assert set(outcome(text, max_rows_per_key=2).values()) == {"matched transaction id 0"}


TWO_DAYS = replace(ORDERS_VS_PSP, due={Side.IST: Due(2, business=True)})
FRIDAY_ORDER = "row  side  id  booked  amount\na  SOLL  order-1  2026-01-30  1.00 EUR"


@pytest.mark.parametrize(
    ("as_of", "coverage", "reason"),
    [
        (date(2026, 2, 3), None, "not_due"),  # Friday and two business days is Tuesday
        (date(2026, 2, 4), None, "missing_ist"),
        (date(2026, 2, 4), {"shop": date(2026, 2, 4), "psp": date(2026, 2, 2)}, "source_late"),
        (date(2026, 2, 4), {"shop": date(2026, 2, 4)}, "source_late"),
        (date(2026, 2, 4), {"psp": date(2026, 2, 3)}, "missing_ist"),
        (None, None, "missing_ist"),
    ],
)
def test_a_missing_payment_is_overdue_when_its_day_is_over_and_its_source_complete(
    as_of: date | None, coverage: dict[str, date] | None, reason: str
) -> None:
    """`due: {ist: 2 business days}`."""
    assert outcome(FRIDAY_ORDER, TWO_DAYS, as_of=as_of, coverage=coverage) == {"a": f"unmatched {reason} 100"}


def test_holidays_are_no_business_days() -> None:
    """With Monday off, Wednesday is still in time."""
    found = outcome(FRIDAY_ORDER, TWO_DAYS, as_of=date(2026, 2, 4), holidays=frozenset([date(2026, 2, 2)]))

    assert found == {"a": "unmatched not_due 100"}


def test_rows_older_than_the_start_and_rows_nobody_takes_are_not_relevant() -> None:
    """They are in no group, and they are not lost."""
    package = MatchingPackage(
        name="p", soll=(Member("shop", take="kind <> 'gift'"),), ist=(Member("psp"),), start=date(2026, 1, 1)
    )
    rows = ledger(
        """
        row   side  id       kind  booked      amount
        old   SOLL  order-1  sale  2025-12-31  60.00 EUR
        gift  SOLL  order-2  gift  2026-01-31  60.00 EUR
        paid  IST   order-1  -     2026-01-01  60.00 EUR
        """
    )

    solved = by_row(solve(rows, package), rows)

    assert solved["old"]["status"] == solved["gift"]["status"] == "not_relevant"
    assert solved["old"]["group_key"] is None
    assert words(solved)["paid"] == "unmatched missing_soll -6000"


def test_a_payout_leaves_one_account_and_enters_the_other() -> None:
    """`sign: reversed` turns the member's amounts; the row keeps its own."""
    package = MatchingPackage(
        name="p", soll=(Member("psp", take="kind = 'payout'", is_reversed=True),), ist=(Member("bank"),)
    )
    rows = ledger(
        """
        row     source  id   kind     amount
        payout  psp     p-1  payout   -90.00 EUR
        credit  bank    p-1  credit   90.00 EUR
        sale    psp     p-1  payment  90.00 EUR
        """
    )

    solved = by_row(solve(rows, package), rows)

    assert words(solved) == {
        "payout": "matched transaction id 0",
        "credit": "matched transaction id 0",
        "sale": "not_relevant",
    }
    assert (solved["payout"]["amount_minor_units"], solved["payout"]["contribution"]) == (-9000, 9000)


EXPLAINED = replace(
    ORDERS_VS_PSP,
    explanations=(
        ExplanationRule("charged back", "chargeback", "balance_difference = -ist_amount('chargeback')"),
        ExplanationRule(
            "paid twice", "refund_due", "ist_count('payment') > soll_count('sale') and balance_difference < 0"
        ),
        ExplanationRule(
            "fee kept",
            "fee",
            "soll_rows > 0 and ist_rows > 0 and balance_difference between money('0.01 EUR') and money('0.35 EUR')",
        ),
        ExplanationRule("gift card", "gift", "source = 'shop' and text like '%gift%' and reason = 'missing_ist'"),
        ExplanationRule("old", "too_old", "age_days > 30 and soll_rows > 0 and ist_rows = 0"),
    ),
)  # fmt: skip


def test_the_first_rule_that_fits_explains_an_open_group() -> None:
    """Conditions that a shop has for its PSP, on ledgers made for them."""
    rows = ledger(
        """
        row         side  id       kind        booked      amount       text
        order       SOLL  order-1  sale        2026-01-31  60.00 EUR    -
        paid        IST   order-1  payment     2026-01-31  60.00 EUR    -
        back        IST   order-1  chargeback  2026-01-31  -60.00 EUR   -
        twice o     SOLL  order-2  sale        2026-01-31  10.00 EUR    -
        twice 1     IST   order-2  payment     2026-01-31  10.00 EUR    -
        twice 2     IST   order-2  payment     2026-01-31  10.00 EUR    -
        fee o       SOLL  order-3  sale        2026-01-31  10.00 EUR    -
        fee         IST   order-3  payment     2026-01-31  9.65 EUR     -
        fee o usd   SOLL  order-4  sale        2026-01-31  10.00 USD    -
        fee usd     IST   order-4  payment     2026-01-31  9.65 USD     -
        gift        SOLL  order-5  sale        2026-01-31  10.00 EUR    paid by gift card
        old         SOLL  order-6  sale        2025-12-01  10.00 EUR    -
        balanced o  SOLL  order-7  sale        2025-12-01  10.00 EUR    gift
        balanced    IST   order-7  payment     2025-12-01  10.00 EUR    -
        """
    )

    solved = by_row(solve(rows, EXPLAINED, as_of=date(2026, 1, 31)), rows)

    category = {name: each["category"] for name, each in solved.items() if each["category"]}
    assert category == {
        "order": "chargeback", "paid": "chargeback", "back": "chargeback", "twice o": "refund_due",
        "twice 1": "refund_due",
        "twice 2": "refund_due", "fee o": "fee", "fee": "fee", "gift": "gift", "old": "too_old",
    }  # fmt: skip
    assert {each["status"] for name, each in solved.items() if name in category} == {"explained"}
    assert solved["fee o usd"]["status"] == "unmatched"  # money('0.35 EUR') is null in dollars


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ("balance_difference > 35", "bare number"),
        ("no_such_column = 'x'", "no column"),
        ("money('35') > 0", "money"),
        ("ist_amount() > 0", "ist_amount"),
        ("balance_difference = 'much'", "do not fit"),
        ("kind", "not a condition"),
    ],
)
def test_a_rule_that_cannot_be_read_names_package_rule_and_place(when: str, words: str) -> None:
    """Even if no group is open."""
    rows = ledger("row  side  id  amount\na  SOLL  order-1  1.00 EUR")
    package = replace(ORDERS_VS_PSP, explanations=(ExplanationRule("mine", "c", when),))

    with pytest.raises(ExpressionRefused, match=words) as refused:
        solve(rows, package)

    assert "package orders_vs_psp, explanation 'mine', when" in str(refused.value)


def test_a_row_on_both_sides_stops_the_run() -> None:
    """Its money would stand against itself."""
    package = MatchingPackage(name="p", soll=(Member("psp"),), ist=(Member("psp", take="kind = 'payment'"),))

    with pytest.raises(RowTakenTwice, match="'psp'"):
        solve(ledger("row  side  id  amount\na  IST  order-1  1.00 EUR"), package)


def test_one_source_may_be_on_both_sides_with_different_rows() -> None:
    """Every leg of a payout against the payout row."""
    package = MatchingPackage(
        name="p",
        soll=(Member("psp", take="kind <> 'payout'"),),
        ist=(Member("psp", take="kind = 'payout'", is_reversed=True),),
        passes=(BY_PAYOUT,),
    )
    found = outcome(
        """
        row     side  id  kind     payout  amount
        leg     IST   a   payment  po-1    100.00 EUR
        fee     IST   b   fee      po-1    -3.00 EUR
        payout  IST   c   payout   po-1    -97.00 EUR
        """,
        package,
    )

    assert set(found.values()) == {"matched payout 0"}


@pytest.mark.parametrize(
    ("package", "words"),
    [
        (
            replace(ORDERS_VS_PSP, passes=(BY_ID, Pass(name="same amount", by="amount", result="matched"))),
            "same amount",
        ),
        (replace(ORDERS_VS_PSP, passes=(BY_ID, Pass(name="sums", by="sum", result="matched"))), "sums"),
        (replace(ORDERS_VS_PSP, passes=(replace(BY_ID, result="proposed"),)), "transaction id"),
        (replace(ORDERS_VS_PSP, ties={Side.SOLL: "closing_balance"}), "ties"),
    ],
)
def test_what_is_not_built_is_refused_by_name(package: MatchingPackage, words: str) -> None:
    """A result without the pass would look complete."""
    with pytest.raises(NotBuiltYet, match=words):
        solve(ledger("row  side  id  amount\na  SOLL  order-1  1.00 EUR"), package)


def test_rows_without_the_key_a_pass_needs_are_refused() -> None:
    """They were normalised for other id schemes."""
    rows = ledger("row  side  id  amount\na  SOLL  order-1  1.00 EUR").drop_columns(["key_transaction_id"])

    with pytest.raises(KeysMissing, match="key_transaction_id"):
        solve(rows, ORDERS_VS_PSP)


def test_rows_of_a_source_that_is_no_member_are_refused() -> None:
    """Silently leaving them out would hide a wrong call."""
    with pytest.raises(SourceNotInPackage, match="bank"):
        solve(ledger("row  source  id  amount\na  bank  order-1  1.00 EUR"), ORDERS_VS_PSP)


def test_a_sum_beyond_64_bits_stops_the_run() -> None:
    """It never wraps."""
    rows = ledger("row  side  id  amount\n" + "\n".join(f"r{n}  SOLL  order-1  9.00 EUR" for n in range(3)))
    huge = pa.array([2**62] * 3, pa.int64())
    index = rows.schema.get_field_index("amount_minor_units")

    with pytest.raises(AmountOverflow):
        solve(rows.set_column(index, rows.schema.field(index), huge), ORDERS_VS_PSP)


def test_nothing_to_reconcile_is_an_empty_result() -> None:
    """An empty day is a day."""
    rows = ledger("row  side  id  amount\na  SOLL  order-1  1.00 EUR").slice(0, 0)

    solved = solve(rows, replace(EXPLAINED, passes=(BY_ID, SEVERAL_IN_TEXT)), as_of=date(2026, 1, 31))

    assert solved.num_rows == 0
    assert solved.schema.equals(SOLVED)
