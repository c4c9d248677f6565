"""A state in parts: the last word on each row holds, and a checkpoint says the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from actuals_pipelines.reconcile.close import Pins, close
from actuals_pipelines.reconcile.errors import ProofFailed
from actuals_pipelines.reconcile.state import MAX_PARTS, State
from actuals_pipelines.reconcile.summary import from_document, to_document
from actuals_pipelines_tests.reconcile.ledgers import ORDERS_VS_PSP, key, ledger

DAY = date(2026, 1, 31)


def order(number: int, amount: str = "10.00") -> pa.Table:
    return ledger(f"row  side  id  amount\norder{number}  SOLL  order-{number}  {amount} EUR")


def payment(number: int) -> pa.Table:
    return ledger(f"row  side  id  amount\npaid{number}  IST  order-{number}  10.00 EUR")


@pytest.fixture(scope="module")
def state() -> State:
    """Order 1 is corrected, order 2 paid late, order 3 removed and delivered again, order 4 removed."""
    opening = None
    for number, (adds, gone) in enumerate(
        [
            (pa.concat_tables([order(1), order(2), order(3), order(4)]), []),
            (order(1, "11.00"), ["order3", "order4"]),
            (pa.concat_tables([payment(2), order(3)]), []),
        ]
    ):
        removes = [key("row", name).bytes for name in gone]
        opening = close(opening, adds, removes, ORDERS_VS_PSP, Pins(DAY + timedelta(days=number))).state
    assert opening is not None
    return opening


def test_the_last_word_on_each_row_holds(state: State) -> None:
    """Three parts, five rows spoken of, four of them live."""
    rows = {row["row_id"]: (row["status"], row["difference"]) for row in state.rows.to_pylist()}

    assert rows == {
        "order1": ("unmatched", 1100),
        "order2": ("matched", 0),
        "paid2": ("matched", 0),
        "order3": ("unmatched", 1000),
    }
    assert len(state.parts) == 3


def test_a_part_holds_only_what_its_close_changed(state: State) -> None:
    """What was carried is not written again."""
    words = [
        {row["row_id"]: row["change"] for row in part.to_table().to_pylist()}
        for part in map(ds.dataset, state.parts)  # type: ignore[arg-type] # tables
    ]

    assert words[1] == {"order1": "restated", "order3": "left", "order4": "left"}
    assert words[2] == {"order2": "moved", "paid2": "entered", "order3": "entered"}


def test_a_checkpoint_says_what_the_parts_say(state: State) -> None:
    """A close upon either gives the same."""
    whole = replace(state, parts=(state.rows,))

    upon_parts = close(state, payment(1), [], ORDERS_VS_PSP, Pins(DAY + timedelta(days=3)))
    upon_whole = close(whole, payment(1), [], ORDERS_VS_PSP, Pins(DAY + timedelta(days=3)))

    assert upon_parts.digest == upon_whole.digest
    assert sorted(map(str, upon_parts.state.rows.to_pylist())) == sorted(map(str, upon_whole.state.rows.to_pylist()))


def test_a_close_reads_parts_from_files_as_it_does_from_memory(state: State, tmp_path: Path) -> None:
    """In files of many row groups, of which only those near the news are read whole."""
    parts = []
    for number, part in enumerate(state.parts):
        assert isinstance(part, pa.Table)
        ordered = [field.name for field in part.schema if field.type not in (pa.uuid(), pa.list_(pa.uuid()))]
        pq.write_table(part, tmp_path / f"{number}.parquet", row_group_size=1, write_statistics=ordered)
        parts.append(ds.dataset(tmp_path / f"{number}.parquet"))
    news = pa.concat_tables([payment(1), payment(2).slice(0, 0), order(2, "12.00")])
    pins = Pins(DAY + timedelta(days=3))

    from_memory = close(state, news, [key("row", "paid2").bytes], ORDERS_VS_PSP, pins)
    from_files = close(
        replace(state, parts=tuple(parts), summary=None), news, [key("row", "paid2").bytes], ORDERS_VS_PSP, pins
    )

    assert from_files.summary == from_memory.summary
    assert sorted(map(str, from_files.changes.to_pylist())) == sorted(map(str, from_memory.changes.to_pylist()))


def test_a_checkpoint_is_held_against_what_was_carried(state: State) -> None:
    """Sums and digest that went from close to close are those of the rows, or nothing is kept."""
    with state.opened() as con:
        state.prove(con)
    rows = state.rows
    wrong = rows.set_column(
        rows.schema.get_field_index("difference"), "difference", pa.array([7] * rows.num_rows, pa.int64())
    )
    tampered = replace(state, parts=(wrong,))

    with tampered.opened() as con, pytest.raises(ProofFailed, match="checkpoint"):
        tampered.prove(con)


def test_a_checkpoint_is_due_after_many_closes(state: State) -> None:
    """So that reading a state never opens many files."""
    part = state.parts[1]

    assert not replace(state, parts=(part,) * MAX_PARTS).is_checkpoint_due
    assert replace(state, parts=(part,) * (MAX_PARTS + 1)).is_checkpoint_due


def test_what_a_state_adds_up_to_is_kept_as_plain_data(state: State) -> None:
    """And read back as it was."""
    assert state.summary is not None

    assert from_document(to_document(state.summary)) == state.summary
