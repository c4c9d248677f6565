"""What keyless passes propose, in ledgers small enough to check by hand; and that they decide nothing."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actuals_pipelines.domain.package import Due, ExplanationRule, MatchingPackage, Pass, Side
from actuals_pipelines.reconcile.close import Closed, Pins, close
from actuals_pipelines.reconcile.proposals import MAX_CANDIDATES, MAX_UNITS
from actuals_pipelines_tests.reconcile.ledgers import BY_ID, IN_TEXT, ORDERS_VS_PSP, by_row, ledger, rows_of

DAY = date(2026, 2, 28)
AMOUNT = Pass("same amount", "amount", days=(0, 3), result="proposed")
SUM = Pass("several in one", "sum", one=Side.IST, many=Side.SOLL, days=(0, 5), result="proposed")
MANY = Pass("several in several", "sum", days=(0, 5), result="proposed")
FEW = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def package(*passes: Pass, **more: Any) -> MatchingPackage:
    return replace(ORDERS_VS_PSP, passes=(BY_ID, *passes), **more)


def closed(text: str, each: MatchingPackage) -> Closed:
    return close(None, ledger(text), [], each, Pins(DAY))


def proposals(found: Closed) -> list[str]:
    """Each proposal in words: "proposed a + b, c: 0 days, difference 0"."""
    names = {}
    for row in found.state.rows.to_pylist():
        names.setdefault((row["group_key"], row["currency"]), []).append(row["row_id"])
    together: dict[Any, list[dict[str, Any]]] = {}
    for line in found.proposals.to_pylist():
        together.setdefault((line["pass"], line["proposal"], line["currency"]), []).append(line)
    said = []
    for lines in together.values():
        first = lines[0]
        sides = [
            " + ".join(sorted(name for e in lines if e["side"] == s for name in names[e["group_key"], e["currency"]]))
            for s in ("soll", "ist")
        ]
        said.append(f"{first['verdict']}: {' = '.join(sides)}; {first['days_apart']} days; {first['difference']}")
    return sorted(said)


def reasons(found: Closed) -> dict[str, str]:
    return {row["row_id"]: f"{row['status']} {row['reason']}" for row in found.state.rows.to_pylist()}


def test_equal_amounts_within_the_window_are_proposed_and_stay_unmatched() -> None:
    """IST 0 to 3 days after SOLL, same currency; a day early, four days late or another currency are none."""
    found = closed(
        """
        row    side  id  booked      amount
        order  SOLL  1   2026-01-10  60.00 EUR
        paid   IST   2   2026-01-12  60.00 EUR
        early  SOLL  3   2026-01-10  70.00 EUR
        late   IST   4   2026-01-14  70.00 EUR
        after  SOLL  5   2026-01-11  80.00 EUR
        first  IST   6   2026-01-10  80.00 EUR
        euro   SOLL  7   2026-01-10  90.00 EUR
        yen    IST   8   2026-01-10  9000 JPY
        """,
        package(AMOUNT),
    )

    assert proposals(found) == ["proposed: order = paid; 2 days; 0"]
    assert reasons(found)["order"] == reasons(found)["paid"] == "unmatched proposed"
    assert reasons(found)["early"] == "unmatched missing_ist"


def test_five_equal_lines_against_five_are_one_set_and_against_four_ambiguous() -> None:
    """Nine open rows whose difference is one line."""
    line = "        {name}  {side}  {id}  2026-01-10  {amount} EUR"
    rows = [line.format(name=f"s{n}", side="SOLL", id=f"s{n}", amount="10.00") for n in range(5)]
    rows += [line.format(name=f"i{n}", side="IST", id=f"i{n}", amount="10.00") for n in range(5)]
    rows += [line.format(name=f"t{n}", side="SOLL", id=f"t{n}", amount="20.00") for n in range(5)]
    rows += [line.format(name=f"j{n}", side="IST", id=f"j{n}", amount="20.00") for n in range(4)]

    found = closed("row  side  id  booked  amount\n" + "\n".join(rows), package(AMOUNT))

    assert proposals(found) == [
        "ambiguous: t0 + t1 + t2 + t3 + t4 = j0 + j1 + j2 + j3; None days; 2000",
        "proposed: s0 + s1 + s2 + s3 + s4 = i0 + i1 + i2 + i3 + i4; 0 days; 0",
    ]


def test_a_payment_that_balances_what_a_group_lacks_is_proposed() -> None:
    """An order paid in part stands on SOLL with what is missing; one paid too much on IST with what is over."""
    found = closed(
        """
        row     side  id  booked      amount
        order   SOLL  1   2026-01-10  60.00 EUR
        part    IST   1   2026-01-10  45.00 EUR
        rest    IST   2   2026-01-11  15.00 EUR
        other   SOLL  3   2026-01-10  10.00 EUR
        double  IST   3   2026-01-12  33.00 EUR
        wrong   SOLL  4   2026-01-10  23.00 EUR
        """,
        package(AMOUNT),
    )

    assert proposals(found) == [
        "proposed: order + part = rest; 1 days; 0",
        "proposed: wrong = double + other; 2 days; 0",
    ]


def test_nothing_is_proposed_for_what_is_not_due() -> None:
    """The order is in time until 10 March; only then it is looked for elsewhere."""
    text = """
        row    side  id  booked      amount
        order  SOLL  1   2026-02-27  60.00 EUR
        paid   IST   2   2026-02-27  60.00 EUR
        """
    each = package(AMOUNT, due={Side.IST: Due(10, business=False)})

    now, then = (close(None, ledger(text), [], each, Pins(day)) for day in (DAY, DAY + timedelta(days=30)))

    assert proposals(now) == []
    assert reasons(now)["order"] == "unmatched not_due"
    assert proposals(then) == ["proposed: order = paid; 0 days; 0"]


def test_within_a_column_only_equal_values_fit_and_nothing_fits_no_value() -> None:
    """The column is the text here; the last two have none."""
    found = closed(
        """
        row    side  id  text  booked      amount
        order  SOLL  1   NL01  2026-01-10  60.00 EUR
        here   IST   2   NL01  2026-01-10  60.00 EUR
        there  IST   3   NL02  2026-01-10  60.00 EUR
        some   SOLL  4   -     2026-01-10  70.00 EUR
        none   IST   5   -     2026-01-10  70.00 EUR
        """,
        package(replace(AMOUNT, within=("text",))),
    )

    assert proposals(found) == ["proposed: order = here; 0 days; 0"]


def test_one_credit_of_several_payouts_less_a_return_is_found_by_its_sum() -> None:
    """60 + 45 - 5 is 100; the 30 fits nowhere."""
    found = closed(
        """
        row     side  id  booked      amount
        po 1    SOLL  1   2026-01-10  60.00 EUR
        po 2    SOLL  2   2026-01-11  45.00 EUR
        return  SOLL  3   2026-01-11  -5.00 EUR
        po 3    SOLL  4   2026-01-11  30.00 EUR
        credit  IST   5   2026-01-12  100.00 EUR
        """,
        package(AMOUNT, SUM),
    )

    assert proposals(found) == ["proposed: po 1 + po 2 + return = credit; 2 days; 0"]
    assert reasons(found)["po 3"] == "unmatched missing_ist"


def test_two_ways_to_make_the_sum_and_two_that_want_the_same_rows_are_ambiguous() -> None:
    """100 is 60 + 40 or 70 + 30; and of two credits of 55 in dollars only one can have the 50 and the 5."""
    found = closed(
        """
        row  side  id  booked      amount
        a    SOLL  1   2026-01-10  60.00 EUR
        b    SOLL  2   2026-01-10  40.00 EUR
        c    SOLL  3   2026-01-10  70.00 EUR
        d    SOLL  4   2026-01-10  30.00 EUR
        x    IST   5   2026-01-10  100.00 EUR
        e    SOLL  6   2026-01-10  50.00 USD
        f    SOLL  7   2026-01-10  5.00 USD
        y    IST   8   2026-01-10  55.00 USD
        z    IST   9   2026-01-10  55.00 USD
        """,
        package(SUM),
    )

    assert proposals(found) == [
        "ambiguous: a + b + c + d = x; None days; 10000",
        "ambiguous: e + f = y + z; None days; -5500",
    ]


def test_many_against_many_are_proposed_where_one_set_alone_adds_up() -> None:
    """60 + 15 is 50 + 25; no part of it balances."""
    found = closed(
        """
        row  side  id  booked      amount
        a    SOLL  1   2026-01-10  60.00 EUR
        b    SOLL  2   2026-01-10  15.00 EUR
        c    SOLL  3   2026-01-10  33.00 EUR
        x    IST   4   2026-01-11  50.00 EUR
        y    IST   5   2026-01-13  25.00 EUR
        """,
        package(MANY),
    )

    assert proposals(found) == ["proposed: a + b = x + y; 3 days; 0"]


def test_a_budget_that_is_spent_leaves_the_search_unfinished() -> None:
    """Whoever asked says so; the payouts stay what they were."""
    rows = [{"row": f"po{n}", "side": "SOLL", "id": f"{n}", "booked": "2026-01-10", "amount": f"{10 + n}.{n} EUR"}
            for n in range(10, 30)]  # fmt: skip
    rows.append({"row": "credit", "side": "IST", "id": "x", "booked": "2026-01-10", "amount": "300.50 EUR"})

    found = close(None, rows_of(rows), [], package(replace(SUM, steps=100)), Pins(DAY))

    assert proposals(found) == ["search_unfinished:  = credit; None days; -30050"]
    assert reasons(found)["po10"] == "unmatched missing_ist"


def many(n: int, side: str, amount: str = "9.95 EUR") -> list[dict[str, str]]:
    return [{"row": f"{side}{k}", "side": side, "id": f"{side}{k}", "booked": "2026-01-10", "amount": amount}
            for k in range(n)]  # fmt: skip


@pytest.mark.parametrize(
    ("soll", "ist", "verdict"), [(3000, 3000, "proposed"), (3000, 2999, "ambiguous")], ids=["as many", "one less"]
)
def test_one_amount_thousands_of_times_is_judged_by_its_counts(soll: int, ist: int, verdict: str) -> None:
    """Nine million pairs are not tried: equal sides are a set, others ambiguous."""
    found = close(None, rows_of([*many(soll, "SOLL"), *many(ist, "IST")]), [], package(AMOUNT), Pins(DAY))

    lines = found.proposals
    assert lines.num_rows == soll + ist
    assert set(lines["verdict"].to_pylist()) == {verdict}
    assert set(lines["difference"].to_pylist()) == {995 * (soll - ist)}


def test_crowded_amounts_over_several_days_are_left_unfinished_rather_than_guessed() -> None:
    """More than can be assigned, and not everyone fits everyone."""
    rows = [*many(MAX_UNITS, "SOLL"), *many(MAX_UNITS - 1, "IST")]
    for number, row in enumerate(rows):
        row["booked"] = f"2026-01-{10 + number % 9:02d}"

    found = close(None, rows_of(rows), [], package(AMOUNT), Pins(DAY))

    assert set(found.proposals["verdict"].to_pylist()) == {"search_unfinished"}


def test_a_sum_over_more_candidates_than_can_be_searched_is_not_begun() -> None:
    """Only the credit says that it was not searched."""
    rows = [*many(MAX_CANDIDATES + 1, "SOLL"), *many(1, "IST", "19.90 EUR")]

    found = close(None, rows_of(rows), [], package(SUM), Pins(DAY))

    assert proposals(found) == ["search_unfinished:  = IST0; None days; -1990"]


def test_a_package_without_ids_only_proposes() -> None:
    """No keyed pass at all: every row is a group of its own."""
    text = """
        row    side  id  booked      amount
        order  SOLL  1   2026-01-10  60.00 EUR
        paid   IST   1   2026-01-12  60.00 EUR
        """
    first = close(None, ledger(text), [], replace(ORDERS_VS_PSP, passes=(AMOUNT,)), Pins(DAY))
    next_ = close(first.state, ledger(text).slice(0, 1), [], replace(ORDERS_VS_PSP, passes=(AMOUNT,)), Pins(DAY))

    assert proposals(first) == proposals(next_) == ["proposed: order = paid; 2 days; 0"]


@st.composite
def some_rows(draw: st.DrawFn) -> list[dict[str, str]]:
    rows = []
    for number in range(draw(st.integers(2, 14))):
        rows.append(
            {
                "row": f"r{number}",
                "side": draw(st.sampled_from(["SOLL", "IST"])),
                "id": draw(st.sampled_from(["-", "-", "order-1", "order-2", f"order-{number}x"])),
                "booked": str(DAY - timedelta(days=draw(st.integers(0, 6)))),
                "amount": f"{draw(st.sampled_from(['0.01', '0.02', '0.03', '0.05', '-0.01', '-0.02']))} EUR",
                "text": draw(st.sampled_from(["-", "order-1"])),
            }
        )
    return rows


KEYED = package(
    IN_TEXT,
    due={Side.IST: Due(2, business=False)},
    explanations=(ExplanationRule("gone", "gone", "reason = 'missing_ist' and age_days > 3"),),
)
PROPOSING = [(AMOUNT,), (SUM,), (MANY,), (AMOUNT, SUM, MANY)]


@settings(FEW, max_examples=6)
@given(some_rows(), st.sampled_from(PROPOSING), st.randoms(use_true_random=False))
def test_proposing_changes_no_status_no_difference_and_no_figure(
    rows: list[dict[str, str]], passes: tuple[Pass, ...], chance: random.Random
) -> None:
    """Invariants 2, 10 and 11: the same but for the reason, in any order; and a proposal adds up to nothing."""
    shuffled = chance.sample(rows, len(rows))
    proposing = replace(KEYED, passes=(*KEYED.passes, *passes))

    without = close(None, rows_of(rows), [], KEYED, Pins(DAY))
    with_ = close(None, rows_of(rows), [], proposing, Pins(DAY))

    assert close(None, rows_of(shuffled), [], proposing, Pins(DAY)).digest == with_.digest
    before, after = (
        {row["row_uid"]: {name: row[name] for name in row if name != "reason"} for row in each.state.rows.to_pylist()}
        for each in (without, with_)
    )
    assert before == after
    assert with_.figures.sources == without.figures.sources
    assert with_.figures.impact == without.figures.impact
    assert _kinds(with_) == _kinds(without)
    _check_lines(with_)


def _kinds(found: Closed) -> dict[tuple[str, str], int]:
    """What the bridge says by kind; only the words for what is unmatched may be others."""
    sums: dict[tuple[str, str], int] = {}
    for bridge in found.figures.bridges:
        for line in bridge.lines:
            sums[bridge.currency, line.kind] = sums.get((bridge.currency, line.kind), 0) + line.amount
    return {place: total for place, total in sums.items() if total}


def _check_lines(found: Closed) -> None:
    lines = found.proposals.to_pylist()
    groups = [(line["group_key"], line["currency"]) for line in lines]
    assert len(set(groups)) == len(groups)
    said = {(row["group_key"], row["currency"]): (row["status"], row["reason"]) for row in found.state.rows.to_pylist()}
    for line in lines:
        status, reason = said[line["group_key"], line["currency"]]
        assert status != "matched"
        assert reason == line["verdict"]
        assert line["verdict"] != "proposed" or line["difference"] == 0


@settings(FEW, max_examples=3)
@given(st.lists(some_rows(), min_size=2, max_size=2), st.sampled_from(PROPOSING))
def test_carrying_a_state_proposes_what_solving_everything_does(
    history: list[list[dict[str, str]]], passes: tuple[Pass, ...]
) -> None:
    """Invariant 3: proposals are found anew over all open groups, whether touched or carried."""
    proposing = replace(KEYED, passes=(*KEYED.passes, *passes))
    live: dict[str, dict[str, str]] = {}
    state = None
    for number, rows in enumerate(history):
        live.update({row["row"]: row for row in rows})  # the second day changes rows of the first
        pins = Pins(DAY + timedelta(days=number))

        carried = close(state, rows_of(rows), pa.array([], pa.uuid()), proposing, pins)
        full = close(None, rows_of(list(live.values())), [], proposing, pins)

        assert carried.digest == full.digest
        assert _in_order(carried) == _in_order(full)
        state = carried.state


def _in_order(found: Closed) -> list[dict[str, Any]]:
    return sorted(found.proposals.to_pylist(), key=lambda line: (line["group_key"], line["currency"]))


def test_a_row_goes_to_a_person_by_its_own_pass_only() -> None:
    """What the first pass says, a later one does not look at again."""
    found = closed(
        """
        row    side  id  booked      amount
        a      SOLL  1   2026-01-10  60.00 EUR
        b      SOLL  2   2026-01-10  40.00 EUR
        x      IST   3   2026-01-10  60.00 EUR
        both   IST   4   2026-01-10  100.00 EUR
        """,
        package(AMOUNT, SUM),
    )

    assert proposals(found) == ["proposed: a = x; 0 days; 0"]
    assert by_row(found.state.rows, found.state.rows)["both"]["reason"] == "missing_soll"
