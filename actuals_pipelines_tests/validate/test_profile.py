"""What is measured of a unit, and that measures add up."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actuals_pipelines.validate import CountsIncomplete, Measuring, Profile, ProfileUnreadable, merge
from actuals_pipelines.validate import sample as samples
from actuals_pipelines.validate.profile import AmountSums, CurrencyTotals
from actuals_pipelines_tests.validate.units import a_profile, a_row, a_statement, a_table, counts_of, flows_of, measured


def test_a_unit_is_measured_into_rows_days_and_control_totals() -> None:
    profile = a_profile(
        [
            a_row("a", amount_minor_units=6000),
            a_row("b", amount_minor_units=-250, booked_on=date(2026, 2, 2)),
            a_row("c", amount_minor_units=12, currency="JPY", transaction_id=None, booked_on=None),
        ]
    )

    assert (profile.units, profile.rows, profile.null_ids) == (1, 3, 1)
    assert (profile.first_booked_on, profile.last_booked_on) == (date(2026, 1, 31), date(2026, 2, 2))
    assert profile.totals == {"EUR": CurrencyTotals(2, 6000, 250), "JPY": CurrencyTotals(1, 12, 0)}
    assert (profile.missing_records, profile.missing_rows, profile.currencies_off) == (0, 0, 0)


def test_a_payment_and_its_fee_share_an_id_without_repeating_it() -> None:
    together = a_profile([a_row("1", transaction_id="o"), a_row("2", transaction_id="o", kind="fee")])
    twice = a_profile([a_row("1", transaction_id="o"), a_row("2", transaction_id="o")])

    assert (together.repeated_ids, twice.repeated_ids) == (0, 1)


def test_the_same_row_twice_in_a_unit_is_counted() -> None:
    assert a_profile([a_row("1"), a_row("1")]).repeated_row_uids == 1


def test_cleaned_and_keyed_ids_count_as_matching_sees_them() -> None:
    """Two spellings of one order number have one key."""
    rows = [a_row("1", transaction_id="ORDER-1"), a_row("2", transaction_id="order-1")]
    keys = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(16)] * 2, pa.binary(16)))

    profile = measured(a_table(rows).append_column("key_transaction_id", keys), counts_of(2), flows_of(rows))

    assert profile.repeated_ids == 1


@pytest.mark.parametrize(
    ("counts", "figure"),
    [
        (counts_of(1) | {"raw": 3}, "missing_records"),
        (counts_of(1) | {"raw": 0}, "missing_records"),
        (counts_of(1) | {"transactions": 2}, "missing_rows"),
    ],
    ids=["records vanished", "records appeared", "rows vanished"],
)
def test_what_does_not_add_up_is_counted(counts: dict[str, int], figure: str) -> None:
    assert getattr(a_profile([a_row("a")], counts=counts), figure) > 0


@pytest.mark.parametrize(
    "flow",
    [AmountSums(1234, 0, 1234), AmountSums(1235, 1234, 0), AmountSums(1235, 1235, 0)],
    ids=["stored is not what is there", "read is more than stored and rejected", "all agree, the table does not"],
)
def test_amounts_that_leak_are_counted_by_currency(flow: AmountSums) -> None:
    assert measured(a_table([a_row("a")]), counts_of(1), {"EUR": flow}).currencies_off == 1


def test_a_currency_that_normalising_never_saw_is_off() -> None:
    assert measured(a_table([a_row("a")]), counts_of(1), {}).currencies_off == 1


def test_statements_that_disagree_are_counted_and_gaps_among_them() -> None:
    profile = a_profile(
        controls=[
            a_statement(100, 150, credits=50),
            a_statement(150, 999, credits=50),
            a_statement(None, None, credits=50, stated_credits=51),
        ]
    )

    assert (profile.statements, profile.statements_disagreeing, profile.statement_gaps) == (3, 2, 1)


def test_a_unit_without_counts_is_refused_by_name() -> None:
    with pytest.raises(CountsIncomplete, match="stored, rejected"):
        measured(a_table([]), {"raw": 0}, {})


def test_a_unit_in_chunks_is_measured_as_in_one() -> None:
    """With repeats within a chunk and between two."""
    rows = [a_row(str(number % 40)) for number in range(50)]
    in_chunks = Measuring()
    for start in range(0, 50, 7):
        in_chunks.add(a_table(rows[start : start + 7]))

    found = in_chunks.profile(counts_of(50), flows_of(rows))

    assert found.to_bytes() == a_profile(rows).to_bytes()
    assert found.repeated_ids == 10


def test_a_profile_comes_back_from_its_bytes() -> None:
    profile = a_profile([a_row("a"), a_row("b")], rejected=1, controls=[a_statement(1, 2, credits=1)])

    back = Profile.from_bytes(profile.to_bytes())

    assert back.to_bytes() == profile.to_bytes()
    assert (back.rows, back.rejected, back.totals, back.balances) == (2, 1, profile.totals, profile.balances)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"version":99}', b"\xff", b'{"version":1}'])
def test_bytes_that_are_no_profile_are_refused(content: bytes) -> None:
    with pytest.raises(ProfileUnreadable):
        Profile.from_bytes(content)


_ROWS = st.lists(
    st.tuples(
        st.sampled_from(["EUR", "JPY", "KWD"]),
        st.integers(-(10**15), 10**15),
        st.one_of(st.none(), st.sampled_from(["x", "y", "z"])),
        st.one_of(st.none(), st.dates(date(2026, 1, 1), date(2026, 3, 1))),
        st.integers(0, 2),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(_ROWS)
def test_the_parts_merged_are_the_whole_measured(drawn: list[tuple[str, int, str | None, date | None, int]]) -> None:
    rows = [
        (part, a_row(str(place), currency=code, amount_minor_units=amount, transaction_id=name, booked_on=day))
        for place, (code, amount, name, day, part) in enumerate(drawn)
    ]

    whole = a_profile([row for _, row in rows])
    merged = merge([a_profile([row for own, row in rows if own == part]) for part in range(3)])

    for name in ("rows", "raw", "stored", "rejected", "null_ids", "missing_records", "currencies_off"):
        assert getattr(merged, name) == getattr(whole, name), name
    assert merged.totals == whole.totals
    assert merged.amounts == whole.amounts
    assert (merged.first_booked_on, merged.last_booked_on) == (whole.first_booked_on, whole.last_booked_on)
    assert merged.ids.ids == whole.ids.ids


def test_merging_knows_no_order_and_no_grouping() -> None:
    one, two, three = (a_profile([a_row(n), a_row("shared" + n, transaction_id="shared")]) for n in "abc")

    together = merge([one, two, three]).to_bytes()

    assert merge([three, merge([two, one])]).to_bytes() == together
    assert merge([merge([one, two]), three]).to_bytes() == together


def test_an_id_in_two_units_is_a_duplicate_unless_its_rows_are_the_same() -> None:
    first = a_profile([a_row("1", transaction_id="order-1")])
    again = a_profile([a_row("1", transaction_id="order-1")])
    other = a_profile([a_row("2", transaction_id="order-1")])

    assert merge([first, again]).ids.in_several_units == 0
    assert merge([first, other]).ids.in_several_units == 1


def test_beyond_the_limit_duplicates_are_estimated_from_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "LIMIT", 500)
    first = a_profile([a_row(f"a{n}", transaction_id=str(n)) for n in range(2000)])
    second = a_profile([a_row(f"b{n}", transaction_id=str(n)) for n in range(2000)])

    merged = merge([first, Profile.from_bytes(second.to_bytes())])

    assert len(merged.ids.ids) == 500
    assert 1700 < merged.ids.in_several_units < 2300


def test_an_empty_day_is_a_profile_of_nothing() -> None:
    assert merge([]).to_bytes() == Profile().to_bytes()
