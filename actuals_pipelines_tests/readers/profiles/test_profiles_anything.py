"""Whatever a file holds, a profile gives entries, rejects or a refusal: no record is lost, and no sum is wrong."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from actuals_pipelines.readers import FileRefused
from actuals_pipelines.readers.profiles import ProfileReader, find, load

PROFILE = load(
    """
name: anything
columns: {id: Id, type: Type, credit: Credit, debit: Debit, fee: Fee, text: Text}
amounts: {columns: [credit, debit, fee], decimal: ".", thousands: ","}
entry: {currency: "'EUR'", transaction_id: id, kind: {of: type, is: {a: payment}}, amount: credit - debit, text: text}
entries:
  - {}
  - {when: fee <> 0, transaction_id: "", kind: fee, parent_id: id, amount: -fee}
""",
    "anything.yaml",
)
DOCUMENT = load(
    """
name: document
file: json
records: data
columns: {id: id, amount: amount.value}
amounts: {columns: amount, decimal: "."}
entry: {currency: "'EUR'", transaction_id: id, kind: payment, amount: amount}
""",
    "document.yaml",
)

cents = st.integers(-(10**9), 10**9).map(lambda each: Decimal(each) / 100)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=12)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(texts, st.sampled_from(["a", "b", ""]), cents, cents, cents, texts), max_size=12))
def test_entries_add_up_to_the_file_s_columns(records: list[tuple[str, str, Decimal, Decimal, Decimal, str]]) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["Id", "Type", "Credit", "Debit", "Fee", "Text"])
    for name, kind, credit, debit, fee, text in records:
        writer.writerow([name, kind, f"{credit:,}", debit, fee, text])

    reading = ProfileReader(PROFILE).read(io.BytesIO(out.getvalue().encode()), {})
    rows = reading.table().to_pylist()

    expected = sum((credit - debit - fee for _, _, credit, debit, fee, _ in records), Decimal(0))
    assert reading.rejects == []
    assert len(rows) == len(records) + sum(fee != 0 for *_, fee, _ in records)
    assert sum((Decimal(row["amount"]) for row in rows), Decimal(0)) == expected
    assert sum(control.credits - control.debits for control in reading.controls) == expected * 100
    assert [row["_line"] for row in rows] == sorted(row["_line"] for row in rows)


@settings(max_examples=20, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 200), st.booleans())
def test_a_damaged_file_gives_entries_rejects_or_a_refusal(noise: bytes, at: int, has_header: bool) -> None:
    whole = b"Id,Type,Credit,Debit,Fee,Text\n" + b'1,a,"1,234.50",,0.10,x\n2,b,,5,,"y\nz"\n' * 3
    keep = 30 if has_header else 0
    data = whole[: max(at, keep)] + noise + whole[max(at, keep) :]

    try:
        reading = ProfileReader(PROFILE).read(io.BytesIO(data), {})
        rows = reading.table().to_pylist()
    except FileRefused as refused:
        assert noise.decode("latin-1") not in str(refused) or len(noise) < 4
        return

    assert all(Decimal(row["amount"]).is_finite() and row["kind"] for row in rows)
    assert sum(control.entries for control in reading.controls) == len(rows)


@settings(max_examples=20, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["data", "id", "amount", "value", "x"]), inner, max_size=4)
        ),
        max_leaves=15,
    )
)
def test_any_document_gives_entries_rejects_or_a_refusal(document: object) -> None:
    data = json.dumps({"data": [document, {"id": "1", "amount": {"value": "2.50"}}]}).encode()

    reading = ProfileReader(DOCUMENT).read(io.BytesIO(data), {})
    rows = reading.table().to_pylist()

    assert "2.50" in [row["amount"] for row in rows if row["transaction_id"] == "1"]
    assert isinstance(find(data), list)
    assert len(rows) + len({line for line, _, _ in reading.rejects}) >= 2 or document == []
