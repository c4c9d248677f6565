"""Entries read by columns are what they are one by one: `row.py` is the definition, `columns.py` only quicker."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actuals_pipelines.readers.amounts import Amounts
from actuals_pipelines.readers.mt940.columns import columns
from actuals_pipelines.readers.mt940.entry import read_line
from actuals_pipelines.readers.mt940.row import ROW, row
from actuals_pipelines.readers.mt940.statement import Statement

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


@settings(max_examples=200, deadline=None)
@given(line=st.one_of(st.sampled_from(LINES), _words.map(lambda more: f"260131C1,00NTRF{more}")), text=_words)
def test_any_text_says_the_same_by_columns_and_alone(line: str, text: str) -> None:
    assert_same(line, text)
