"""From a source's YAML to a `Source`: its mapping, what is kept of it, and how it is reached, without any secret."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import time
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from actuals_pipelines.domain.fetching import KEYS, Fetching, FetchingRefused
from actuals_pipelines.domain.source import (
    FETCHED,
    Expected,
    FieldMapping,
    Minimisation,
    ProcessingSet,
    SideFile,
    Source,
    SourceKind,
)
from actuals_pipelines.tenants.parse_package import complain_of_missing_fields, read_mapping
from actuals_pipelines.tenants.place import Place
from actuals_pipelines.tenants.schema import nearest

SCHEMES = ("https", "sftp")
"""What we may connect to; nothing else, so that a file cannot make us read local files or plain text protocols."""

_BUCKETS = ("s3", "gs", "gcs", "abfs", "file")  # file only below the home's import root, which is looked at when opened
_SFTP_NEEDS, _SFTP_MAY = ("host", "user"), ("port", "folder", "password")
_URL_MAY = ("access_key", "secret_key", "account", "account_key", "region", "endpoint")

_READABLE = (
    *("kind", "status", "booked_on", "value_date", "timestamp"),
    *("amount", "amount_plus", "amount_minus", "amount_minor_units", "currency"),
)
_SECRET_WORDS = ("password", "passwd", "pwd", "token", "secret", "api_key", "apikey", "access_key", "signature", "key")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_OF_A_DERIVED = ("name", "from", "mapping", "iterations", "columns", "long_numbers", "expectations")

_BANK = FieldMapping(
    {"row_id": "transaction_id", "transaction_id": "end_to_end"}
    | {
        name: name
        for name in (
            *("kind", "status", "booked_on", "value_date", "amount", "currency"),
            *("end_to_end", "acct_svcr_ref", "text", "account"),
        )
    }
)
STRUCTURED = dict.fromkeys(("camt053", "camt052", "camt054", "mt940", "mt942"), _BANK)
"""Formats whose fields have fixed meanings: the mapping that holds where the tenant writes none, or not that field."""


def read_sources(places: Sequence[Place], time_zone: str) -> tuple[Source, ...]:
    """Read all sources of a tenant; one that says `from` has the raw records of the source it names.

    Args:
        time_zone: the tenant's, for timestamps that state no offset, unless the source names its own.
    """
    delivered = {place["name"].text(): _delivered(place, time_zone) for place in places if not place["from"].exists}
    return tuple(
        _derived(place, delivered) if place["from"].exists else delivered[place["name"].text()] for place in places
    )


def _delivered(place: Place, time_zone: str) -> Source:
    """A source that delivers itself."""
    for key in ("kind", "format"):
        if not place[key].exists:
            place.complain(f"a key {key!r} in a source", "none", f"Add `{key}:`; or `from:` another source.")
    kind = SourceKind(place["kind"].text(SourceKind.UPLOAD))
    _check_connection(place, kind)
    default_set = ProcessingSet.REPLACE if kind is SourceKind.OAUTH_API else ProcessingSet.ADD
    return Source(
        name=place["name"].text(),
        kind=kind,
        format=place["format"].text(),
        **_what_it_makes(place, place["format"].text()),
        publishes=ProcessingSet(place["publishes"].text(default_set.value)),
        time_zone=place["time_zone"].time_zone(time_zone),
        reader=place["reader"].mapping(),
        optional=place["optional"].texts(),
        iterate=place["iterate"].optional(),
        adds_up={key: part.texts() for key, part in place["adds_up"].fields().items()},
        folder=place["folder"].optional(),
        side_file=SideFile(place["side_file"].text()) if place["side_file"].exists else None,
        connector=place["connector"].optional(),
        connection=place["connection"].mapping(),
        repull_days=place["repull_days"].number(3),
        day_from=place["day_from"].text("arrival"),
        raw_days=place["raw_days"].number(100),
        expected=_expected(place["expected"]),
    )


def _derived(place: Place, delivered: Mapping[str, Source]) -> Source:
    """A source of the same raw records as another: how they are delivered and read is that one's business."""
    parent = delivered.get(place["from"].text())
    if parent is None:
        found = repr(place["from"].text())
        place["from"].complain("a source of this tenant that delivers itself", found, nearest(found, delivered))
    for key in place.fields():
        if key not in _OF_A_DERIVED:
            place[key].complain_at_key(
                f"no {key!r} in a source with `from`",
                "one",
                "It reads what its parent delivers, as its parent reads it.",
            )
    made = _what_it_makes(place, parent.format if parent else "csv")
    if parent is None:
        return Source(name=place["name"].text(), kind=SourceKind.DERIVED, format="csv", **made)
    name = place["name"].text()
    return replace(
        parent,
        name=name,
        kind=SourceKind.DERIVED,
        derived_from=parent.name,
        connector=None,
        connection={},
        expected=None,
        **made,
    )


def _what_it_makes(place: Place, format: str) -> dict[str, Any]:
    """The parts of a source that say what becomes of a raw record."""
    mapping = _mapping(place, format)
    iterations = tuple(read_mapping(part) for part in place["iterations"].items())
    _check_needed_fields(place, format, mapping, iterations)
    mapped = mapped_fields(mapping, iterations)
    for field, part in (*place["columns"].fields().items(), *place["long_numbers"].fields().items()):
        if field not in mapped:
            part.complain_at_key("a mapped field", repr(field), nearest(field, mapped))
    for field, part in place["columns"].fields().items():
        if field in _READABLE and part.text() != Minimisation.KEEP:
            part.complain(f"{field!r} to be kept", repr(part.text()), "Matching needs it readable. Remove this line.")
    return {
        "mapping": mapping,
        "iterations": iterations,
        "columns": _columns(place, format, mapped),
        "long_numbers": place["long_numbers"].mapping(),
        "expectations": tuple(_expectation(part) for part in place["expectations"].items()),
    }


def _expected(place: Place) -> Expected | None:
    if not place.exists:
        return None
    return Expected(time.fromisoformat(place["by"].text()), place["on"].text("every day") == "business days")


def mapped_fields(mapping: FieldMapping, iterations: Collection[FieldMapping]) -> set[str]:
    """The transaction fields that any of a source's mappings fills."""
    return {name for each in (mapping, *iterations) for name in (*each.fields, *each.constants)}


def _mapping(place: Place, format: str) -> FieldMapping:
    written = read_mapping(place["mapping"])
    preset = STRUCTURED.get(format)
    if preset is None:
        if not place["mapping"].exists:
            place.complain("a key 'mapping' in this source", "none", "Add `mapping: {amount: COLUMN, ...}`.")
        return written
    fields = {name: column for name, column in preset.fields.items() if name not in written.constants}
    return replace(written, fields={**fields, **written.fields})


def _columns(place: Place, format: str, mapped: Collection[str]) -> dict[str, Minimisation]:
    columns = {field: Minimisation(part.text()) for field, part in place["columns"].fields().items()}
    if format in STRUCTURED and "account" in mapped:
        columns.setdefault("account", Minimisation.TOKEN)  # an IBAN is personal data: matchable, not readable
    return columns


def _check_needed_fields(
    place: Place, format: str, mapping: FieldMapping, iterations: tuple[FieldMapping, ...]
) -> None:
    if not place["mapping"].exists and not iterations and format not in STRUCTURED:
        return  # complained about already
    own = mapped_fields(mapping, ())
    for index, each in enumerate(iterations or (mapping,)):
        filled = own | mapped_fields(each, ())
        where = place["iterations"].items()[index] if iterations else place["mapping"]
        complain_of_missing_fields(where, filled)


def _check_connection(place: Place, kind: SourceKind) -> None:
    is_pull = kind is SourceKind.OAUTH_API
    if is_pull and not place["connector"].exists:
        place.complain("a key 'connector' in a source of kind oauth_api", "none", "Name the connector.")
    if is_pull and not place["connection"]["base_url"].exists:
        place.complain("a key 'base_url' in the connection of a source of kind oauth_api", "none", "Add the API's URL.")
    if kind in FETCHED:
        _check_fetching(place["connection"], kind)
    elif place["day_from"].text() == "name":
        place["day_from"].complain("'name' only where files are fetched", f"kind {kind.value}", "Remove it.")
    for key in ("connector", "repull_days", *(() if kind in FETCHED else ("connection",))):
        if place[key].exists and not is_pull:
            place[key].complain_at_key(f"{key!r} only at kind oauth_api", f"kind {kind.value}", "Remove it.")
    for key, part in place["connection"].fields().items():
        text = part.text()
        if "://" in text and key not in KEYS:
            _check_url(part, text, _BUCKETS if kind is SourceKind.FILES and key == "url" else SCHEMES)
        elif key.endswith(("secret", "password", "token", "key")) and not _NAME.fullmatch(text):
            part.complain(
                "the name of a secret (small letters, digits, _)",
                "something else",
                "Set it with `actuals secret set` and write its name here: no secret belongs in this file.",
            )


def _check_fetching(place: Place, kind: SourceKind) -> None:
    """Where the files lie, and how they are fetched; no key that nobody reads."""
    needed = _SFTP_NEEDS if kind is SourceKind.SFTP_REMOTE else ("url",)
    for key in needed:
        if not place[key].exists:
            place.complain(
                f"a key {key!r} in the connection of a source of kind {kind.value}", "none", f"Add `{key}:`."
            )
    known = (*needed, *KEYS, *(_SFTP_MAY if kind is SourceKind.SFTP_REMOTE else _URL_MAY))
    for key, part in place.fields().items():
        if key not in known:
            part.complain_at_key("a key of a connection of this kind", repr(key), nearest(key, known))
    port = place["port"].text("22")
    if not port.isdecimal() or not 1 <= int(port) <= 65535:
        place["port"].complain("a port from 1 to 65535", "something else", "sFTP's own is 22.")
    try:
        Fetching.of(place.mapping())
    except FetchingRefused as refused:
        place[refused.key].complain(refused.expected, "something else", "Correct or remove this line.")


def _check_url(place: Place, text: str, schemes: Sequence[str] = SCHEMES) -> None:
    """Refuse a URL that carries credentials or a scheme that is not allowed; its text is not repeated."""
    try:
        url = urlsplit(text)
        host = url.hostname
    except ValueError:
        place.complain("a URL", "something else", "Write it as in https://api.example.com/v1.")
        return
    if url.scheme not in schemes:
        place.complain(f"a URL of scheme {' or '.join(schemes)}", f"{url.scheme!r}", "Other schemes are not allowed.")
    if not host and url.scheme != "file":
        place.complain("a URL with a host", "none", "Write it as in https://api.example.com/v1.")
    query = {key.lower() for key, _ in parse_qsl(url.query, keep_blank_values=True)}
    if "@" in url.netloc or any(word in query for word in _SECRET_WORDS):
        place.complain(
            "a URL without credentials",
            "one with credentials in it",
            "Take them out, set them with `actuals secret set`, and change them: they have been in a file.",
        )


def _expectation(place: Place) -> dict[str, object]:
    """An expectation as Great Expectations words it: what holds a unit is critical, what warns a warning."""
    read = {key: _typed(part) for key, part in place.fields().items()}
    severity = place["severity"].text("critical")
    return {**read, "severity": {"hold": "critical", "warn": "warning"}.get(severity, severity)}


def _typed(place: Place) -> object:
    """An expectation's argument: numbers and truth values as such where they stand without quotes, else text."""
    value = place.value
    if isinstance(value, list):
        return [_typed(part) for part in place.items()]
    if isinstance(value, dict):
        return {key: _typed(part) for key, part in place.fields().items()}
    text = place.text()
    if place.is_quoted:
        return text
    return _plain(text)


def _plain(text: str) -> str | bool | int | float:
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"-?(0|[1-9][0-9]{0,17})", text):
        return int(text)
    if re.fullmatch(r"-?(0|[1-9][0-9]{0,17})\.[0-9]{1,9}", text):
        return float(text)
    return text
