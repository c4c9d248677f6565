"""Match keys: how an id is found in a field and cleaned, as SQL; the keyed digest itself is `Pseudonyms`'."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import pyarrow as pa

from actuals_pipelines.domain.source import IdScheme, Source
from actuals_pipelines.encryption.pseudonyms import Pseudonyms
from actuals_pipelines.errors import ConfigurationError
from actuals_pipelines.expressions import literal

MAX_KEYS_PER_TEXT = 50
_WORD = "[0-9A-Za-z][0-9A-Za-z_./-]*[0-9A-Za-z]"  # an id in free text, where its scheme has no pattern
_CLEANINGS = {
    "upper": "upper({})",
    "lower": "lower({})",
    "digits": "regexp_replace({}, '[^0-9]', '', 'g')",
    "alphanumeric": "regexp_replace({}, '[^0-9A-Za-z]', '', 'g')",
    "no_blanks": "regexp_replace({}, '\\s', '', 'g')",
    "no_leading_zeros": "ltrim({}, '0')",
}
CLEANINGS = tuple(_CLEANINGS)


class IdSchemeRefused(ConfigurationError):
    """An id scheme's pattern or cleaning cannot be used."""

    def __init__(self, scheme: str, what: str) -> None:
        super().__init__(scheme, what)
        self.scheme, self.what = scheme, what

    def __str__(self) -> str:
        return f"Id scheme {self.scheme!r}: {self.what}."


def with_transaction_id(ids: Sequence[IdScheme]) -> tuple[IdScheme, ...]:
    """The schemes, and the one that a package without passes uses: the transaction id as it stands."""
    if any(scheme.name == "transaction_id" for scheme in ids):
        return tuple(ids)
    return (*ids, IdScheme(name="transaction_id", field="transaction_id"))


def cleaned_id(scheme: IdScheme, column: str) -> str:
    """SQL: the id of a row's own field, which is trimmed and not empty, cleaned; NULL where there is none."""
    if scheme.find is None and not scheme.clean and not scheme.prefix:
        return column
    found = column
    if scheme.find is not None:
        found = f"regexp_extract({column}, {literal(scheme.find)}, {_group(scheme)})"
    return f"nullif(trim({_clean(scheme, found)}), '')"


def ids_in_text(scheme: IdScheme, column: str) -> str:
    """SQL: every distinct id of the scheme in a text, cleaned and sorted: VARCHAR[], NULL where the text is."""
    pattern, group = (scheme.find, _group(scheme)) if scheme.find is not None else (_WORD, 0)
    found = f"regexp_extract_all({column}, {literal(pattern)}, {group})[:{MAX_KEYS_PER_TEXT}]"
    cleaned = f"list_transform({found}, lambda each: trim({_clean(scheme, 'each')}))"
    return f"list_sort(list_distinct(list_filter({cleaned}, lambda each: each <> '')))"


def keys(values: pa.ChunkedArray, scheme: IdScheme, secrets: Pseudonyms) -> pa.Array:
    """One key per cleaned id: pa.uuid(), null for null."""
    return secrets.match_keys(values, scheme.name, scheme.version)


def key_lists(values: pa.ChunkedArray, scheme: IdScheme, secrets: Pseudonyms) -> pa.Array:
    """The keys of lists of cleaned ids: list<pa.uuid()>, an empty list for a null text."""
    combined = values.combine_chunks()
    lists = pa.concat_arrays(combined.chunks) if isinstance(combined, pa.ChunkedArray) else combined
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    offsets = pa.array([0, *lengths.cumsum().tolist()], pa.int32())
    return pa.ListArray.from_arrays(offsets, secrets.match_keys(lists.flatten(), scheme.name, scheme.version))


def content_domain(ids: Sequence[IdScheme], look_in: Sequence[tuple[str, str]], source: Source) -> str:
    """The domain of a row's content digest: what, when it changes, makes other keys or texts of the same content."""
    schemes = sorted((s.name, s.field, s.find, s.clean, s.prefix, s.version) for s in ids)
    made = repr((schemes, sorted(look_in), sorted(source.columns.items())))
    return f"row_digest {hashlib.sha256(made.encode()).hexdigest()}"


def _clean(scheme: IdScheme, text: str) -> str:
    for each in scheme.clean:
        if each not in _CLEANINGS:
            raise IdSchemeRefused(scheme.name, f"clean is made of {', '.join(CLEANINGS)}")
        text = _CLEANINGS[each].format(text)
    if scheme.prefix:
        text = f"regexp_replace({text}, {literal('^' + re.escape(scheme.prefix))}, '')"
    return text


def _group(scheme: IdScheme) -> int:
    """1 if the pattern has a group, else 0: the whole match."""
    try:
        return min(1, re.compile(scheme.find or "").groups)
    except re.error:
        raise IdSchemeRefused(scheme.name, "find is no regular expression (RE2 syntax)") from None
