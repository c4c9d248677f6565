"""What normalising costs: `python -m actuals_pipelines_tests.benchmarks.normalise [ROWS]`. Nothing is asserted.

The limit it is held against is pyarrow's CSV reader taking the same rows into the same types (an exact decimal, a
date, an instant, texts): what any reader of that file must do, without digests, keys, minimisation, rejects or totals.
"""

from __future__ import annotations

import io
import sys
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from actuals_pipelines.domain.source import FieldMapping, IdScheme, Minimisation, Source, SourceKind
from actuals_pipelines.encryption.pseudonyms import Pseudonyms
from actuals_pipelines.normalise import normalise
from actuals_pipelines.tables import LINE
from actuals_pipelines_tests.benchmarks.stopwatch import interleaved, tell

TYPES = {
    "booked": pa.date32(),
    "created": pa.timestamp("us"),
    "gross": pa.decimal128(18, 2),
    **dict.fromkeys(("id", "order", "what", "cur", "memo", "holder"), pa.string()),
}
FIELDS = {
    "row_id": "id",
    "transaction_id": "order",
    "kind": "what",
    "booked_on": "booked",
    "timestamp": "created",
    "amount": "gross",
    "currency": "cur",
    "text": "memo",
    "shopper": "holder",
}
SCHEMES = (IdScheme("order", "transaction_id", find="ORD-([0-9]+)"),)


def raw_records(count: int) -> pa.Table:
    """Payments as a reader gives them: every value text, ids all different."""
    number = pa.array(range(count), pa.int64())
    text = number.cast(pa.string())
    padded = pc.utf8_lpad(text, 10, "0")
    cents = pc.utf8_lpad(pc.bit_wise_and(pc.multiply(number, 7919), 63).cast(pa.string()), 2, "0")
    euros = pc.bit_wise_and(pc.multiply(number, 104_729), 0xFFF).cast(pa.string())
    day = pc.utf8_lpad(pc.add(pc.bit_wise_and(number, 15), 1).cast(pa.string()), 2, "0")
    second = pc.utf8_lpad(pc.bit_wise_and(number, 31).cast(pa.string()), 2, "0")
    kinds = pa.array(["payment", "payment", "payment", "refund"]).take(pc.bit_wise_and(number, 3))
    columns = {
        "id": pc.binary_join_element_wise("PSP", padded, ""),
        "order": pc.binary_join_element_wise("ORD-", padded, ""),
        "what": kinds,
        "booked": pc.binary_join_element_wise("2026-03-", day, ""),
        "created": pc.binary_join_element_wise("2026-03-", day, "T12:30:", second, ""),
        "gross": pc.binary_join_element_wise(euros, ".", cents, ""),
        "cur": pa.array(["EUR", "EUR", "EUR", "USD"]).take(pc.bit_wise_and(number, 3)),
        "memo": pc.binary_join_element_wise("paid for ORD-", padded, " by card", ""),
        "holder": pc.binary_join_element_wise("shopper ", pc.bit_wise_and(number, 0xFFFF).cast(pa.string()), ""),
        LINE: pc.add(number, 2),
    }
    return pa.table(columns)


def main() -> None:
    """Print CPU seconds of each way, and its ratio to the limit."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    raw = raw_records(rows)
    written = io.BytesIO()
    csv.write_csv(raw.drop_columns([LINE]), written)
    mapping = FieldMapping(fields=FIELDS)
    plain = Source(name="psp", kind=SourceKind.UPLOAD, format="csv", mapping=mapping)
    tokens = Source(
        name="psp", kind=SourceKind.UPLOAD, format="csv", mapping=mapping, columns={"shopper": Minimisation.TOKEN}
    )
    anonymous = FieldMapping(fields={name: column for name, column in FIELDS.items() if name != "row_id"})
    without_id = Source(name="psp", kind=SourceKind.UPLOAD, format="csv", mapping=anonymous)
    secrets = Pseudonyms(b"p" * 32)

    def done(source: Source, ids: tuple[IdScheme, ...] = (), look_in: tuple[tuple[str, str], ...] = ()) -> None:
        result = normalise(raw, source, ids=ids, look_in=look_in, secrets=secrets, unit_id=uuid4())
        assert result.counts["stored"] == rows

    def limit() -> None:
        read = csv.read_csv(io.BytesIO(written.getvalue()), convert_options=csv.ConvertOptions(column_types=TYPES))
        assert read.num_rows == rows

    steps = interleaved(
        3,
        limit=limit,
        three=lambda: done(plain),
        scheme=lambda: done(tokens, SCHEMES),
        look_in=lambda: done(tokens, SCHEMES, (("order", "text"),)),
        without_id=lambda: done(without_id),
    )
    names = {
        "limit": "limit: pyarrow reads the CSV into types",
        "three": "normalise: row_uid, row_digest, one key",
        "scheme": "the same, a second key by pattern, a token",
        "look_in": "the same, ids searched in text",
        "without_id": "row_uid from the raw record",
    }
    base = steps["limit"].cpu_seconds
    tell(f"{rows:,} rows")
    for key, step in steps.items():
        tell(
            f"{names[key]:46} {step.cpu_seconds:7.2f} CPU s {step.wall_seconds:7.2f} s wall "
            f"{step.peak_mib:7.0f} MiB {step.cpu_seconds / base:6.1f} x the limit"
        )


if __name__ == "__main__":
    main()
