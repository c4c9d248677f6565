"""Finding card numbers (PAN), so that a record with one is refused and its value never kept.

ISO/IEC 7812-1: 13 to 19 digits, a first digit of 2 to 6 (banking, travel, merchandising), a Luhn check digit; written
in one piece, in fours, or as 4-6-5. A valid IBAN (ISO 13616) is no card number, though its digits may look like one.
"""

from __future__ import annotations

import re
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

PREFILTER = (
    r"(^|[^0-9])([2-6][0-9]{12,18}|[2-6][0-9]{3}[ .-][0-9]{4}[ .-][0-9]{4}[ .-][0-9]{1,7}"
    r"|3[0-9]{3}[ .-][0-9]{6}[ .-][0-9]{4,5})([^0-9]|$)"
)
"""RE2; what does not match holds no card number. Almost every text stops here, inside DuckDB."""

_RUN = re.compile(r"(?<![0-9])[2-6][0-9]{12,18}(?![0-9])")
_SPACED = re.compile(
    r"(?=(?<![0-9])([2-6][0-9]{3}([ .-])[0-9]{4}\2[0-9]{4}\2[0-9]{1,7}|3[0-9]{3}([ .-])[0-9]{6}\3[0-9]{4,5})(?![0-9]))"
)
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")


def lines_with_card_numbers(connection: duckdb.DuckDBPyConnection, table: str, columns: dict[str, str]) -> pa.Table:
    """Return where card numbers stand: (line: int64, field: string), from `table`'s `line` and the text `columns`.

    Args:
        columns: column in the table -> field's name.
    """
    parts = [
        f"SELECT DISTINCT line, '{field}' AS field, {column} AS text FROM {table} "  # noqa: S608 - our own names
        f"WHERE strlen({column}) >= 13 AND regexp_matches({column}, '{PREFILTER}')"  # most ids are shorter
        for column, field in columns.items()
    ]
    if not parts:
        return pa.table({"line": pa.array([], pa.int64()), "field": pa.array([], pa.string())})
    found = connection.sql(" UNION ALL ".join(parts)).to_arrow_table()
    return found.filter(holds_card_number(found["text"])).select(["line", "field"])


def holds_card_number(texts: pa.ChunkedArray) -> pa.Array:
    """Return whether each text holds a card number (bool, not null)."""
    encoded = texts.combine_chunks().dictionary_encode()
    distinct = encoded.dictionary.to_pylist()
    suspicious = _suspicious(distinct)
    verdicts = [flagged and _is_real(text) for text, flagged in zip(distinct, suspicious, strict=True)]
    return pa.array(verdicts, pa.bool_()).take(encoded.indices)


def luhn(numbers: list[str]) -> Any:
    """Return whether each digit string (at most 19 digits) passes the Luhn check of ISO/IEC 7812-1 annex B."""
    width = 19
    text = "".join(number.rjust(width, "0") for number in numbers).encode("ascii")
    digits = (np.frombuffer(text, np.uint8) - ord("0")).reshape(-1, width).astype(np.int64)
    doubled = digits[:, -2::-2] * 2
    total = digits[:, -1::-2].sum(axis=1) + (doubled - 9 * (doubled > 9)).sum(axis=1)
    return total % 10 == 0


def _candidates(text: str) -> list[str]:
    spaced = [re.sub(r"[ .-]", "", match[1]) for match in _SPACED.finditer(text)]
    return _RUN.findall(text) + [number for number in spaced if 13 <= len(number) <= 19]


def _suspicious(texts: list[str]) -> list[bool]:
    """Whether some candidate in each text passes Luhn: one vectorised check over all candidates."""
    flagged = [False] * len(texts)
    owners: list[int] = []
    numbers: list[str] = []
    for index, text in enumerate(texts):
        found = _candidates(text)
        owners.extend([index] * len(found))
        numbers.extend(found)
    if numbers:
        for place in np.flatnonzero(luhn(numbers)):
            flagged[owners[place]] = True
    return flagged


def _is_real(text: str) -> bool:
    """Still a card number when valid IBANs are taken out? Only texts that passed Luhn come here."""
    rest = _IBAN.sub(lambda match: " " if _is_iban(match[0]) else match[0], text)
    compact = re.sub(r"(?<=[0-9A-Z]{4}) (?=[0-9A-Z]{1,4}\b)", "", text) if _IBAN_SPACED.search(text) else None
    if compact is not None:
        rest = _IBAN.sub(lambda match: " " if _is_iban(match[0]) else match[0], compact)
    found = _candidates(rest)
    return bool(found) and bool(luhn(found).any())


_IBAN_SPACED = re.compile(r"\b[A-Z]{2}[0-9]{2}( [A-Z0-9]{4}){2,7}")


def _is_iban(text: str) -> bool:
    """ISO 13616: move four characters to the end, letters to numbers, modulo 97 is 1."""
    moved = text[4:] + text[:4]
    return int("".join(str(int(character, 36)) for character in moved)) % 97 == 1
