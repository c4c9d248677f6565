"""Entries read by columns are what they are one by one: `row.py` is the definition, `columns.py` only quicker."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actuals_pipelines.readers.amounts import Amounts
from actuals_pipelines.readers.mt940.columns import columns
from actuals_pipelines.readers.mt940.entry import read_line
from actuals_pipelines.readers.mt940.row import ROW, row
from actuals_pipelines.readers.mt940.statement import Statement
from actuals_pipelines_tests.readers.reading import read

_GIVEN = ("statement", "account", "level", "status", "currency")  # by the statement, or of every regular entry
LINES = [
    "2601310131C12,30NTRFINV-17//BANK1",
    "260131RDR0,50NMSCNONREF",
    "260131D7,NCHGNONREF//B 2 ",
    "260230C1,00N024EREF//0",
    "2512310102DR000123,4SINT //X//Y",
    "260131C5,00FTRFDE89370400440532013000",
    "260131C5,001NTRFA",
]
TEXTS = [
    None,
    "Office rent",
    "166?00GUTSCHRIFT?100399?20EREF+order-1             ?21SVWZ+Payment for order nu?22mber 1"
    "?30DEUTDEFF?31DE89370400440532013000?32Customer?33 Ltd",
    "805?00FEE?20KREF+NOTPROVIDED?21MREF+M1 CRED+C1?22ABWA+Some One IBAN+NL1 x",
    "?20text without a tag?21?22next",
    "NL91ABNA0417164300 Some One\nrent",
    "a line that is exactly as long as a line can be in this message\nand goes on",
    "/TRTP/SEPA/EREF/E1/REMI/x",
    "~20text~32name",
]
_words = st.lists(
    st.sampled_from(
        [*"0123456789?+/ \n~AZaz\"\\é", "?20", "?21", "?32", "?31", "?60", "EREF+", "SVWZ+", "KREF+", "MTLG:", "IBAN+",
         "ABWE+", "166", "/EREF/", "NONREF", "//", "x" * 27]
    ),
    max_size=14,
).map("".join)  # fmt: skip


def assert_same(line: str, text: str | None) -> bool:
    found = columns([line], [text], pa.array(["EUR"]))
    if not found.is_regular[0]:
        return False
    statement = Statement(currency="EUR")
    read = read_line(line, "EUR", Amounts("mt940", {}))
    expected = dict(zip(ROW, row(read, [] if text is None else [("86", text)], statement), strict=True))
    made = {name: found.found[name][0].as_py() if name in found.found else None for name in ROW}
    names = [name for name in ROW if name not in _GIVEN]
    assert {name: made[name] for name in names} == {name: expected[name] for name in names}
    assert found.minor_units[0] == read.amount.minor_units
    return True


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("line", LINES)
def test_a_column_says_what_the_entry_says_alone(line: str, text: str | None) -> None:
    assert_same(line, text)


def test_the_common_dialect_is_regular() -> None:
    assert assert_same(LINES[0], TEXTS[2])
    assert assert_same(LINES[3], TEXTS[1])


@settings(max_examples=100, deadline=None)
@given(line=st.one_of(st.sampled_from(LINES), _words.map(lambda more: f"260131C1,00NTRF{more}")), text=_words)
def test_any_text_says_the_same_by_columns_and_alone(line: str, text: str) -> None:
    assert_same(line, text)


def test_many_entries_give_the_rows_and_sums_that_few_at_a_time_give() -> None:
    """Regular and other entries, rejects among them, in an order that only the lines tell."""
    fields = [f":61:{line}\n" + (f":86:{text}\n" if text is not None else "") for line in LINES for text in TEXTS] * 6
    messages = [
        f":20:M{place}\n:25:NL1\n:28C:{place}\n:60F:C260101EUR0,00\n"
        f"{''.join(fields[place : place + 50])}:62F:C260131EUR1,00\n-\n"
        for place in range(0, len(fields), 50)
    ]

    rows, together = read("mt940", "".join(messages).encode())
    apart = [read("mt940", message.encode()) for message in messages]

    def told(row: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in row.items() if name != "_line"}

    assert len(fields) > 256
    assert [told(row) for row in rows] == [told(row) for each, _ in apart for row in each]
    assert [row["_line"] for row in rows] == sorted(row["_line"] for row in rows)
    assert together.controls == [controls for _, each in apart for controls in each.controls]
    assert len(together.rejects) == sum(len(each.rejects) for _, each in apart) > 0
