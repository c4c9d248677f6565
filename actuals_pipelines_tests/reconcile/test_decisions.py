"""What people decide: worked examples, and over random histories the same result however a close was reached."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actuals_pipelines.domain.package import ExplanationRule, MatchingPackage, Pass, Tolerance
from actuals_pipelines.engine import engine
from actuals_pipelines.reconcile.close import Closed, Pins, close
from actuals_pipelines.reconcile.decisions import LINES, fingerprint_sql
from actuals_pipelines.reconcile.state import State
from actuals_pipelines_tests.reconcile.ledgers import BY_ID, BY_PAYOUT, IN_TEXT, ORDERS_VS_PSP, key, ledger, rows_of
from actuals_pipelines_tests.reconcile.test_properties import DAY, FEW, PACKAGE, PASS_ORDERS, a_row

TWO_PASSES = replace(ORDERS_VS_PSP, passes=(BY_ID, BY_PAYOUT), tolerance=Tolerance({"EUR": 1}))


def decisions(*made: dict[str, Any]) -> pa.Table:
    """Lines from decisions in short: kind, rows by their ledger names, and what else the kind has."""
    lines: list[dict[str, Any]] = []
    for number, one in enumerate(made, 1):
        name = one.get("name", f"d{number}")
        also = {k: v for k, v in one.items() if k not in ("name", "rows", "adds")}
        base = {"decision": key("decision", name), "sequence": number, "is_approved": False, **also}
        lines += [{**base, "row_uid": key("row", row)} for row in one["rows"]]
        if "adds" in one:
            amount, currency = one["adds"]
            new = {"amount_minor_units": amount, "currency": currency, "booked_on": DAY}
            lines.append({**base, **new, "row_uid": key("adjustment", name)})
    columns = []
    for each in LINES:
        values = [line.get(each.name) for line in lines]
        if each.type == pa.uuid():
            raw = [value.bytes if value else None for value in values]
            columns.append(pa.array(raw, pa.binary(16)).cast(pa.uuid()))
        else:
            columns.append(pa.array(values, each.type))
    return pa.table(columns, schema=LINES)


def outcomes(closed: Closed) -> dict[str, str]:
    """Row -> status, reason or pass, category, difference."""
    return {
        row["row_id"]: " ".join(
            str(part)
            for part in (row["status"], row["reason"] or row["pass"], row["category"], row["difference"])
            if part is not None
        )
        for row in closed.state.rows.to_pylist()
    }


def print_of(closed: Closed, name: str) -> str:
    """The fingerprint of the group that a row is in."""
    with engine() as con:
        con.register("rows_given", closed.state.rows)
        [(found,)] = con.execute(
            f"""SELECT {fingerprint_sql()} FROM rows_given SEMI JOIN (
                SELECT group_key, currency FROM rows_given WHERE row_id = ?) USING (group_key, currency)""",  # noqa: S608
            [name],
        ).fetchall()
    return str(found)


def closed_with(made: pa.Table, rows: pa.Table, package: MatchingPackage = TWO_PASSES, **more: Any) -> Closed:
    return close(None, rows, [], package, Pins(DAY), decisions=made, **more)


STRANGERS = ledger("""
    row   side  id       amount
    sale  SOLL  order-1  10.00 EUR
    paid  IST   order-2  10.00 EUR
    rest  IST   order-3  4.00 EUR
""")


def test_rows_that_a_person_put_together_are_matched() -> None:
    """Under an id of their own; and each is open again without the decision."""
    match = {"kind": "match", "rows": ["sale", "paid"]}

    with_it = closed_with(decisions(match), STRANGERS)
    without = closed_with(decisions(), STRANGERS)

    assert outcomes(with_it)["sale"] == outcomes(with_it)["paid"] == "matched decision 0"
    assert {row["group_key"] for row in with_it.state.rows.to_pylist()} == {
        key("decision", "d1"),
        key("order", "order-3"),
    }
    assert outcomes(without)["sale"] == "unmatched missing_ist 1000"


def test_what_does_not_balance_holds_only_as_another_person_approved_it() -> None:
    """10.00 against 4.00: one person alone changes nothing; and an approval is of 6.00, not of any difference."""
    match = {"kind": "match", "rows": ["sale", "rest"], "difference": 600}

    alone = closed_with(decisions(match), STRANGERS)
    approved = closed_with(decisions(match | {"is_approved": True}), STRANGERS)
    of_another = closed_with(decisions(match | {"is_approved": True, "difference": 500}), STRANGERS)

    assert outcomes(alone)["sale"] == outcomes(of_another)["sale"] == "unmatched missing_ist 1000"
    assert outcomes(approved)["sale"] == "matched decision 600"


def test_a_claim_of_which_a_row_is_gone_is_void() -> None:
    match = {"kind": "match", "rows": ["sale", "paid"]}

    first = closed_with(decisions(match), STRANGERS)
    after = close(
        first.state, STRANGERS.slice(0, 0), [key("row", "paid").bytes], TWO_PASSES,
        Pins(DAY + timedelta(days=1)), decisions=decisions(match),
    )  # fmt: skip

    assert outcomes(after)["sale"] == "unmatched missing_ist 1000"


LATE = ledger("row  side  id  amount\nlate  IST  order-1  10.00 EUR")


@pytest.mark.parametrize(
    ("made_by", "sale", "late"),
    [(None, "matched contested 0", "unmatched missing_soll -1000"),
     ("amount", "matched transaction id 0", "matched transaction id 0")],
    ids=["by hand it stays and says so", "by a pass it is void"],
)  # fmt: skip
def test_an_opposite_row_with_the_same_id_contests_a_claim(made_by: str | None, sale: str, late: str) -> None:
    """The order was matched with another payment before its own came."""
    made = decisions({"kind": "match", "rows": ["sale", "paid"], "pass": made_by})
    first = closed_with(made, STRANGERS)

    after = close(first.state, LATE, [], TWO_PASSES, Pins(DAY + timedelta(days=1)), decisions=made)

    assert (outcomes(after)["sale"], outcomes(after)["late"]) == (sale, late)


def test_two_pairs_under_one_id_may_be_told_apart_by_hand() -> None:
    """Neither contests the other: every row of that id is in a claim."""
    rows = ledger("""
        row    side  id       amount
        sale1  SOLL  order-1  10.00 EUR
        sale2  SOLL  order-1  20.00 EUR
        paid1  IST   order-1  10.00 EUR
        paid2  IST   order-1  20.00 EUR
    """)
    made = decisions({"kind": "match", "rows": ["sale1", "paid1"]}, {"kind": "match", "rows": ["sale2", "paid2"]})

    assert set(outcomes(closed_with(made, rows)).values()) == {"matched decision 0"}


PAIR = ledger("""
    row    side  id       payout  amount     text
    sale   SOLL  order-1  -       10.00 EUR  -
    other  SOLL  order-2  -       10.00 EUR  -
    paid   IST   order-1  po-1    10.00 EUR  order-1
""")


def test_a_detached_row_stands_alone_whatever_ids_it_carries() -> None:
    """In its texts too."""
    package = replace(TWO_PASSES, passes=(BY_ID, IN_TEXT))

    detached = closed_with(decisions({"kind": "detach", "rows": ["paid"]}), PAIR, package)

    assert outcomes(detached)["paid"] == "unmatched missing_soll -1000"
    assert outcomes(detached)["sale"] == "unmatched missing_ist 1000"


def test_a_row_with_another_id_goes_where_that_id_is() -> None:
    """The payment was booked on the wrong order; withdrawn, it goes back."""
    new = {"kind": "rekey", "rows": ["paid"], "key_column": "key_transaction_id", "key": key("order", "order-2")}
    first = closed_with(decisions(), PAIR)

    moved = close(first.state, PAIR.slice(0, 0), [], TWO_PASSES, Pins(DAY), decisions=decisions(new))
    back = close(moved.state, PAIR.slice(0, 0), [], TWO_PASSES, Pins(DAY), decisions=decisions())

    assert outcomes(moved) == {
        "sale": "unmatched missing_ist 1000",
        "other": "matched transaction id 0",
        "paid": "matched transaction id 0",
    }
    assert back.digest == first.digest
    assert back.state.rows["key_transaction_id"].to_pylist() == first.state.rows["key_transaction_id"].to_pylist()


def test_a_write_off_is_a_row_that_makes_its_group_match() -> None:
    """It is counted as a row of `adjustments`; withdrawn, it leaves, and nothing of it is left."""
    made = decisions({"kind": "adjust", "rows": ["sale", "rest"], "adds": (600, "EUR"), "is_approved": True})
    first = closed_with(decisions(), STRANGERS)

    written = close(first.state, STRANGERS.slice(0, 0), [], TWO_PASSES, Pins(DAY), decisions=made)
    back = close(written.state, STRANGERS.slice(0, 0), [], TWO_PASSES, Pins(DAY), decisions=decisions())

    assert outcomes(written)["sale"] == outcomes(written)[str(key("decision", "d1"))] == "matched decision 0"
    [adjusted] = [one for one in written.figures.sources if one.source == "adjustments"]
    assert (adjusted.rows, adjusted.amount) == (1, 600)
    [impact] = [impact for currency, impact in written.figures.impact if currency == "EUR"]
    assert impact.net == -1000  # `paid` alone
    assert back.digest == first.digest


def test_an_explanation_beats_a_rule_until_its_group_is_another() -> None:
    """It is one of the rows and amounts it spoke of. Then the group says that it lost it."""
    rule = ExplanationRule("all", "by rule", "balance_difference <> 0")
    package = replace(TWO_PASSES, explanations=(rule,))
    first = closed_with(decisions(), STRANGERS, package)
    said = decisions(
        {"kind": "explain", "rows": ["sale"], "category": "lost parcel", "fingerprint": print_of(first, "sale")}
    )
    more = ledger("row  side  id  amount\nmore  SOLL  order-1  1.00 EUR")

    explained = close(first.state, STRANGERS.slice(0, 0), [], package, Pins(DAY), decisions=said)
    grown = close(explained.state, more, [], replace(package, explanations=()), Pins(DAY), decisions=said, is_full=True)

    assert outcomes(explained)["sale"] == "explained missing_ist lost parcel 1000"
    assert outcomes(explained)["rest"] == "explained missing_soll by rule -400"
    assert outcomes(grown)["sale"] == "unmatched explanation_void 1100"


@pytest.mark.parametrize(("days", "status"), [(1, "explained"), (2, "unmatched")], ids=["on its last day", "after it"])
def test_an_explanation_expires(days: int, status: str) -> None:
    first = closed_with(decisions(), STRANGERS)
    said = {"kind": "explain", "rows": ["sale"], "category": "wait", "fingerprint": print_of(first, "sale"),
            "expires_on": DAY + timedelta(days=1)}  # fmt: skip

    after = close(
        first.state, STRANGERS.slice(0, 0), [], TWO_PASSES, Pins(DAY + timedelta(days=days)), decisions=decisions(said)
    )

    assert outcomes(after)["sale"].startswith(status)


@dataclass
class Story:
    """For each close: rows that are new or changed, names of those removed, and the decisions in force."""

    closes: list[tuple[list[dict[str, str]], list[str], list[dict[str, Any]]]] = field(default_factory=list)


@st.composite
def a_story(draw: st.DrawFn) -> Story:
    """Decisions come, are approved and are withdrawn, over rows that change and go, some of them of one decision."""
    story, live, standing = Story(), set[str](), dict[str, dict[str, Any]]()
    for number in range(draw(st.integers(2, 4))):
        new = [f"c{number}r{place}" for place in range(draw(st.integers(0, 5)))]
        changed = draw(st.lists(st.sampled_from(sorted(live)), unique=True, max_size=2)) if live else []
        others = sorted(live - set(changed))
        gone = draw(st.lists(st.sampled_from(others), unique=True, max_size=1)) if others else []
        rows = [draw(a_row(name)) for name in (*new, *changed)]
        live = (live | set(new)) - set(gone)
        for name in draw(st.lists(st.sampled_from(sorted(standing)), unique=True, max_size=2)) if standing else []:
            del standing[name]
        for place in range(draw(st.integers(0, 3)) if live else 0):
            name = f"c{number}d{place}"
            standing[name] = {"name": name, **draw(a_decision(live, standing))}
            if not standing[name]["rows"]:
                del standing[name]
        story.closes.append((rows, gone, list(standing.values())))
    return story


@st.composite
def a_decision(draw: st.DrawFn, live: set[str], standing: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A row is in one claim at most and has its keys decided once, as the database has it."""
    kind = draw(st.sampled_from(["match", "match", "adjust", "detach", "rekey", "explain"]))
    family = {"match": "claim", "adjust": "claim", "detach": "key", "rekey": "key"}.get(kind)
    taken = {row for one in standing.values() if one["family"] == family for row in one["rows"]} if family else set()
    most = 1 if family == "key" else 4
    rows = draw(st.lists(st.sampled_from(sorted(live)), unique=True, min_size=1, max_size=most))
    made: dict[str, Any] = {"kind": kind, "family": family, "rows": [row for row in rows if row not in taken]}
    if kind == "match":
        made["pass"] = draw(st.sampled_from([None, "same amount"]))
        made["is_approved"] = draw(st.booleans())
        made["difference"] = draw(st.integers(-3, 3))
    elif kind == "adjust":
        made |= {"adds": (draw(st.integers(-3, 3)), "EUR"), "is_approved": True}
    elif kind == "rekey":
        made |= {"key_column": "key_transaction_id", "key": key("order", draw(st.sampled_from(["order-1", "order-2"])))}
    elif kind == "explain":
        made |= {"category": "said", "fingerprint": draw(st.sampled_from(["?", "now"]))}
    return made


def lines_of(made: list[dict[str, Any]], state: State | None) -> pa.Table:
    """The decisions in force; an explanation of "now" has the fingerprint of the group its first row is in."""
    final = []
    for one in made:
        if one.get("fingerprint") == "now":
            found = state is not None and one["rows"][0] in state.rows["row_id"].to_pylist()
            closed_like = type("Seen", (), {"state": state})()
            one["fingerprint"] = print_of(closed_like, one["rows"][0]) if found else "?"
        final.append({k: v for k, v in one.items() if k != "family"})
    return decisions(*final)


@settings(FEW, max_examples=5)
@given(a_story(), st.sampled_from(PASS_ORDERS))
def test_carrying_a_state_with_decisions_gives_what_solving_everything_gives(
    story: Story, passes: tuple[Pass, ...]
) -> None:
    """Invariants 3, 5, 6 and 7: decisions taken, approved and withdrawn over rows that come late, change and go."""
    package = replace(PACKAGE, passes=passes)
    live: dict[str, dict[str, str]] = {}
    state: State | None = None
    nothing = STRANGERS.slice(0, 0)
    for number, (rows, gone, made) in enumerate(story.closes):
        pins = Pins(DAY + timedelta(days=number))
        old = rows_of([live[name] for name in gone])["row_uid"] if gone else pa.array([], pa.uuid())
        for name in gone:
            del live[name]
        live.update({row["row"]: row for row in rows})
        given = rows_of(rows) if rows else nothing
        before = close(state, given, old, package, pins, decisions=state.decisions if state else decisions())
        lines = lines_of(made, before.state)

        closed = close(state, given, old, package, pins, decisions=lines)
        full = close(None, rows_of(list(live.values())) if live else nothing, [], package, pins, decisions=lines)
        again = close(before.state, nothing, [], package, pins, decisions=lines)
        back = close(again.state, nothing, [], package, pins, decisions=before.state.decisions)

        assert closed.digest == full.digest == again.digest
        assert closed.summary == full.summary
        assert back.digest == before.digest  # invariant 5: withdrawn, what was decided leaves nothing
        assert all(bridge.residual == 0 for bridge in closed.figures.bridges)
        assert_claims_mean_what_they_say(closed, lines)
        state = closed.state


def assert_claims_mean_what_they_say(closed: Closed, lines: pa.Table) -> None:
    """A claim is in force as a whole or not at all, and what one person alone said balances."""
    claims: dict[UUID, set[UUID]] = {}
    approved = set()
    for line in lines.to_pylist():
        if line["kind"] in ("match", "adjust"):
            claims.setdefault(line["decision"], set()).add(line["row_uid"])
            approved |= {line["decision"]} if line["is_approved"] else set()
    groups: dict[UUID, set[UUID]] = {}
    for row in closed.state.rows.to_pylist():
        groups.setdefault(row["group_key"], set()).add(row["row_uid"])
        if row["group_key"] in claims:
            assert row["status"] == "matched"
            most = PACKAGE.tolerance.minor_units.get(row["currency"], 0)
            assert row["group_key"] in approved or abs(row["difference"]) <= most
    for claim, rows in claims.items():
        assert groups.get(claim, rows) == rows
