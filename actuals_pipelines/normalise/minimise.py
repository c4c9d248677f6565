"""Data minimisation: what of each field leaves normalisation, and which records are refused for a card number.

A field is kept, shown as a token, or dropped. In kept free text IBANs, e-mail addresses and telephone numbers become
tokens; match keys are made before, so that no reference is lost with them. Ids (row_id, transaction_id) stay whole.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from actuals_pipelines.domain import card_number, personal_data
from actuals_pipelines.domain.source import Minimisation, Source
from actuals_pipelines.encryption.pseudonyms import Pseudonyms
from actuals_pipelines.expressions import literal
from actuals_pipelines.tables import REJECTS

IDS = ("row_id", "transaction_id", "kind")
"""Kept fields that are no free text: searched for card numbers alone."""

CARD_NUMBER = "card number"
"""The reason of such a reject."""

SIEVE = literal(f"{card_number.SUSPECT}|{personal_data.SUSPECT}")
"""RE2 as a SQL literal; a text that does not match it needs no closer look."""


def treatment(source: Source, name: str) -> Minimisation:
    """What is kept of a mapped field."""
    return source.columns.get(name, Minimisation.KEEP)


def card_number_rejects(suspects: pa.Table, fields: dict[str, str]) -> pa.Table:
    """Return the records with a card number in a kept field: `tables.REJECTS`, never the value.

    Args:
        suspects: `line` and the text columns of the rows that the sieve let through.
        fields: column in that table -> the field's name.
    """
    found = [REJECTS.empty_table()]
    for column, name in fields.items():
        hits = suspects.filter(_holds_card_number(suspects[column]))
        texts = [pa.array([text] * hits.num_rows, pa.string()) for text in (name, CARD_NUMBER)]
        found.append(pa.table([hits["line"], *texts], schema=REJECTS))
    return pa.concat_tables(found).group_by(REJECTS.names).aggregate([]).select(REJECTS.names).cast(REJECTS)


def tokens(values: pa.ChunkedArray, secrets: Pseudonyms) -> pa.Array:
    """A token per value, alike for one IBAN with and without blanks."""
    is_suspect = pc.match_substring_regex(values, personal_data.SUSPECT)
    return secrets.tokens(_changed(values, is_suspect, personal_data.canonical))


def without_personal_data(values: pa.ChunkedArray, is_suspect: pa.ChunkedArray, secrets: Pseudonyms) -> pa.ChunkedArray:
    """Free text with personal data replaced by tokens; only rows that the sieve let through are looked at."""
    return _changed(values, is_suspect, lambda text: personal_data.without_personal_data(text, secrets.token))


def _holds_card_number(values: pa.ChunkedArray) -> pa.Array:
    encoded = _whole(values).dictionary_encode()
    verdicts = [card_number.holds_card_number(text) for text in encoded.dictionary.to_pylist()]
    return pa.array(verdicts, pa.bool_()).take(encoded.indices).fill_null(False)


def _changed(values: pa.ChunkedArray, is_suspect: pa.ChunkedArray, change: Callable[[str], str]) -> pa.ChunkedArray:
    """The values, those of the suspect rows changed."""
    mask = pc.and_(is_suspect.fill_null(False), values.is_valid())
    if not pc.any(mask).as_py():
        return values
    encoded = _whole(values.filter(mask)).dictionary_encode()
    changed = pa.array([change(text) for text in encoded.dictionary.to_pylist()], pa.string())
    return pc.replace_with_mask(_whole(values), _whole(mask), changed.take(encoded.indices))


def _whole(values: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)
