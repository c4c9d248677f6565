"""The invariants of MATCHING.md 7 over random histories: late, changed and removed rows, keys in texts, currencies.

Beside the engine stands a toy of the same definition, written with dictionaries, one row after another.
"""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actuals_pipelines.domain.package import Due, ExplanationRule, MatchingPackage, Pass, Side, Tolerance
from actuals_pipelines.engine import engine
from actuals_pipelines.reconcile.close import Pins, close
from actuals_pipelines.reconcile.digest import added, digest, from_hexadecimal, in_hexadecimal, lanes_of
from actuals_pipelines.reconcile.solve import solve
from actuals_pipelines_tests.reconcile.ledgers import (
    BY_ID,
    BY_PAYOUT,
    IN_TEXT,
    ORDERS_VS_PSP,
    SEVERAL_IN_TEXT,
    rows_of,
)

FEW = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
DAY = date(2026, 1, 31)

PACKAGE = replace(
    ORDERS_VS_PSP,
    tolerance=Tolerance({"EUR": 1}),
    due={Side.IST: Due(1, business=True)},
    passes=(BY_ID, IN_TEXT, BY_PAYOUT, SEVERAL_IN_TEXT),
    explanations=(
        ExplanationRule("small", "small", "abs(balance_difference) <= money('0.02 EUR')"),
        ExplanationRule("aged", "aged", "age_days > 3 and kind = 'sale'"),
    ),
)
PASS_ORDERS = [
    (BY_ID,),
    (BY_ID, IN_TEXT),
    (SEVERAL_IN_TEXT,),
    (BY_PAYOUT, BY_ID, SEVERAL_IN_TEXT),
    (BY_ID, IN_TEXT, BY_PAYOUT, SEVERAL_IN_TEXT),
]

_maybe = st.one_of(st.none(), st.sampled_from(["1", "2", "3"]))


@st.composite
def a_row(draw: st.DrawFn, name: str) -> dict[str, str]:
    """Few ids and small amounts, so that rows meet, balance, double and miss often."""
    words = draw(st.lists(st.sampled_from(["order-1", "order-2", "order-3"]), max_size=2))
    number, payout = draw(_maybe), draw(_maybe)
    return {
        "row": name,
        "side": draw(st.sampled_from(["SOLL", "IST"])),
        "id": f"order-{number}" if number else "-",
        "payout": f"po-{payout}" if payout else "-",
        "booked": str(DAY - timedelta(days=draw(st.integers(0, 5)))),
        "amount": f"{draw(st.sampled_from(['0.01', '0.02', '0.03', '-0.01', '0.00']))} "
        f"{draw(st.sampled_from(['EUR', 'EUR', 'EUR', 'USD']))}",
        "text": " ".join(words) or "-",
    }


@st.composite
def a_ledger(draw: st.DrawFn, most: int = 14) -> list[dict[str, str]]:
    return [draw(a_row(f"r{number}")) for number in range(draw(st.integers(3, most)))]


def outcomes(solved: pa.Table) -> dict[Any, tuple[Any, ...]]:
    """Row -> its group's identity and verdict."""
    return {o["row_uid"]: (o["group_key"], o["currency"], o["status"], o["difference"]) for o in solved.to_pylist()}


@settings(FEW, max_examples=30)
@given(a_ledger(), st.sampled_from(PASS_ORDERS[1:]))
def test_the_engine_groups_as_the_definition_does(rows: list[dict[str, str]], passes: tuple[Pass, ...]) -> None:
    """Against the toy below: the same rows together, and the same of them balanced."""
    package = replace(PACKAGE, passes=passes, explanations=())
    table = rows_of(rows)

    solved = solve(table, package)

    together: dict[Any, set[int]] = defaultdict(set)
    for place, row in enumerate(table["row_uid"].to_pylist()):
        key, currency, status, _ = outcomes(solved)[row]
        together[key, currency].add(place)
        together[key, currency, status].add(place)
    engine = {(frozenset(v), k[2] == "matched") for k, v in together.items() if len(k) == 3}
    assert engine == toy(table.to_pylist(), package)


@FEW
@given(a_ledger())
def test_every_row_is_in_exactly_one_group_and_matched_means_what_it_says(rows: list[dict[str, str]]) -> None:
    """Invariant 1."""
    solved = solve(rows_of(rows), PACKAGE).to_pylist()

    assert len(solved) == len({each["row_uid"] for each in solved}) == len(rows)
    groups = defaultdict(list)
    for each in solved:
        groups[each["group_key"], each["currency"], each["continuation"]].append(each)
    for (_, currency, _), members in groups.items():
        total = sum(each["contribution"] for each in members)
        assert {each["difference"] for each in members} == {total}
        [status] = {each["status"] for each in members}
        has_both = len({each["side"] for each in members}) == 2
        balances = abs(total) <= (PACKAGE.tolerance.minor_units.get(currency, 0) if has_both else 0)
        assert (status == "matched") == balances


@FEW
@given(a_ledger(), st.randoms(use_true_random=False))
def test_neither_the_rows_order_nor_the_number_of_workers_matters(
    rows: list[dict[str, str]], chance: random.Random
) -> None:
    """Invariant 2."""
    table = rows_of(rows)
    order = list(range(len(rows)))
    chance.shuffle(order)

    one = solve(table, PACKAGE, as_of=DAY, threads=1)
    other = solve(table.take(order), PACKAGE, as_of=DAY, threads=4)

    assert digest(one) == digest(other)


@st.composite
def a_history(draw: st.DrawFn) -> list[tuple[list[dict[str, str]], list[str]]]:
    """For each close: the rows that are new or changed, and the names of those removed."""
    closes = []
    live: set[str] = set()
    for number in range(draw(st.integers(2, 4))):
        new = [f"c{number}r{place}" for place in range(draw(st.integers(0, 6)))]
        changed = draw(st.lists(st.sampled_from(sorted(live)), unique=True, max_size=2)) if live else []
        others = sorted(live - set(changed))
        gone = draw(st.lists(st.sampled_from(others), unique=True, max_size=2)) if others else []
        closes.append(([draw(a_row(name)) for name in (*new, *changed)], gone))
        live = (live | set(new)) - set(gone)
    return closes


@settings(FEW, max_examples=6)
@given(a_history(), st.sampled_from(PASS_ORDERS[1:]))
def test_carrying_a_state_gives_what_solving_everything_gives(
    history: list[tuple[list[dict[str, str]], list[str]]], passes: tuple[Pass, ...]
) -> None:
    """Invariants 3, 4, 6 and 7: the digests are equal at every close, and every close proves itself."""
    package = replace(PACKAGE, passes=passes)
    live: dict[str, dict[str, str]] = {}
    state = None
    statuses: dict[Any, Any] = {}
    for number, (rows, gone) in enumerate(history):
        pins = Pins(DAY + timedelta(days=number))
        old = rows_of([live[name] for name in gone])["row_uid"] if gone else pa.array([], pa.uuid())
        for name in gone:
            del live[name]
        live.update({row["row"]: row for row in rows})

        closed = close(state, rows_of(rows), old, package, pins)
        unknown = replace(state, summary=None) if state else None  # what it adds up to is found in its rows
        again = close(unknown, rows_of(rows), old, package, pins)
        full = close(None, rows_of(list(live.values())), [], package, pins)

        assert closed.digest == full.digest == again.digest
        assert closed.summary == full.summary == again.summary
        assert all(bridge.residual == 0 for bridge in closed.figures.bridges)
        assert all(flow.residual.rows == flow.residual.amount == 0 for flow in closed.proofs.stock_and_flow)
        state = closed.state
        for change in closed.changes.to_pylist():
            assert statuses.get(change["row_uid"]) == change["was_status"]
            statuses[change["row_uid"]] = change["status"]
        assert {k: v for k, v in statuses.items() if v} == {r["row_uid"]: r["status"] for r in state.rows.to_pylist()}


@FEW
@given(a_ledger(), st.integers(0, 40))
def test_neither_rules_nor_time_move_a_row_between_groups(rows: list[dict[str, str]], days: int) -> None:
    """Invariant 12."""
    table = rows_of(rows)

    plain = solve(table, replace(PACKAGE, explanations=()))
    judged = solve(table, PACKAGE, as_of=DAY + timedelta(days=days), coverage={"psp": DAY})

    groups = [{o["row_uid"]: (o["group_key"], o["difference"]) for o in each.to_pylist()} for each in (plain, judged)]
    assert groups[0] == groups[1]
    matched = [{o["row_uid"] for o in each.to_pylist() if o["status"] == "matched"} for each in (plain, judged)]
    assert matched[0] == matched[1]


@FEW
@given(a_ledger(), st.integers(0, 14))
def test_digests_add_up_as_their_rows_do(rows: list[dict[str, str]], place: int) -> None:
    """What is taken away and added again, in any order, leaves the digest of all."""
    solved = solve(rows_of(rows), PACKAGE)
    with engine() as con:
        con.register("few_rows", solved.slice(0, place))
        con.register("other_rows", solved.slice(place))
        some, others = lanes_of(con, "few_rows"), lanes_of(con, "other_rows")

    assert in_hexadecimal(added(others, some)) == in_hexadecimal(added(some, others)) == digest(solved)
    assert added(added(some, others), some, -1) == others
    assert from_hexadecimal(in_hexadecimal(some)) == some


def test_the_digest_is_the_sum_of_the_rows_hashes() -> None:
    """Worked out by hand, from the words of `reconcile.digest`."""
    solved = solve(rows_of([{"row": name, "side": "SOLL", "id": name, "amount": "1.00 EUR"} for name in "ab"]), PACKAGE)

    totals = [0, 0, 0, 0]
    for row in solved.to_pylist():
        line = [row["row_uid"], row["group_key"], "EUR", 1, "unmatched", "missing_ist", "", 1, 100, ""]
        hashed = hashlib.sha256("\x1f".join(map(str, line)).encode()).digest()
        for lane in range(4):
            totals[lane] += int.from_bytes(hashed[8 * lane : 8 * lane + 8], "little")
    assert digest(solved) == b"".join((total % 2**64).to_bytes(8, "little") for total in totals).hex()


@pytest.mark.parametrize("field", ["status", "reason", "category", "difference"])
def test_the_digest_sees_every_part_of_the_verdict(field: str) -> None:
    """Another value in one row is another digest."""
    solved = solve(rows_of([{"row": "a", "side": "SOLL", "id": "1", "amount": "1.00 EUR"}]), PACKAGE)
    index = solved.schema.get_field_index(field)
    other = pa.array([7 if field == "difference" else "x"], solved.schema.field(index).type)

    assert digest(solved) != digest(solved.set_column(index, solved.schema.field(index), other))


def toy(rows: list[dict[str, Any]], package: MatchingPackage) -> set[tuple[frozenset[int], bool]]:
    """The keyed passes of MATCHING.md 4, by hand: {(places of the rows together, whether they balance)}."""
    units = [frozenset([place]) for place in range(len(rows))]
    matched: set[frozenset[int]] = set()
    for each in package.passes:
        keys = [_toy_keys(rows, unit, each, units) for unit in units]
        joined = _toy_components(units, keys)
        matched |= {unit for unit in joined if _toy_balances(rows, unit, package)}
        units = []
        for unit in joined:
            if len({rows[place]["source"] for place in unit}) < 2:
                units += [frozenset([place]) for place in unit]
            elif unit not in matched:
                units.append(unit)
    left = [unit for unit in units if len(unit) == 1]
    first = [next((rows[p][f"key_{e.by}"] for e in package.passes if rows[p][f"key_{e.by}"]), None) for (p,) in left]
    own = [{(key, rows[p]["currency"])} if key else set() for (p,), key in zip(left, first, strict=True)]
    for unit in [*_toy_components(left, own), *(unit for unit in units if len(unit) > 1)]:
        balances = len({rows[p]["source"] for p in unit}) == 1 and _toy_sum(rows, unit) == 0
        (matched.add if balances else matched.discard)(unit)
        units.append(unit)
    final = matched | {u for u in units if u not in matched and not any(u < other for other in [*units, *matched])}
    return {(unit, unit in matched) for unit in final}


def _toy_keys(rows: list[dict[str, Any]], unit: frozenset[int], each: Pass, units: list[frozenset[int]]) -> set[Any]:
    everyone = [place for other in units for place in other]
    keys = set()
    for place in unit:
        row = rows[place]
        own = row[f"key_{each.by}"]
        texts = row["keys_transaction_id_in_text"] if each.look_in else []
        found = {
            key
            for key in texts
            if key != own
            and any(
                rows[other][f"key_{each.by}"] == key
                and rows[other]["source"] != row["source"]
                and rows[other]["currency"] == row["currency"]
                for other in everyone
            )
        }
        counted = found if each.several or len(found) == 1 else set()
        keys |= {(key, row["currency"]) for key in counted | ({own} if own else set())}
    return keys


def _toy_components(units: list[frozenset[int]], keys: list[set[Any]]) -> list[frozenset[int]]:
    parts = [(unit, set(mine)) for unit, mine in zip(units, keys, strict=True)]
    done: list[tuple[frozenset[int], set[Any]]] = []
    for unit, mine in parts:
        near = [part for part in done if part[1] & mine]
        done = [part for part in done if part not in near]
        done.append((unit.union(*(part[0] for part in near)), mine.union(*(part[1] for part in near))))
    return [unit for unit, _ in done]


def _toy_sum(rows: list[dict[str, Any]], unit: frozenset[int]) -> int:
    return sum(rows[p]["amount_minor_units"] * (1 if rows[p]["source"] == "shop" else -1) for p in unit)


def _toy_balances(rows: list[dict[str, Any]], unit: frozenset[int], package: MatchingPackage) -> bool:
    [currency] = {rows[place]["currency"] for place in unit}
    has_both = len({rows[place]["source"] for place in unit}) == 2
    return has_both and abs(_toy_sum(rows, unit)) <= package.tolerance.minor_units.get(currency, 0)
