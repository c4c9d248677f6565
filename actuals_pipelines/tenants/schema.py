"""Validates a document against the JSON Schema, and says what is wrong at the line and column where it is.

The schema is the one that editors use (`tenant.schema.json`): each part's `description` is a noun phrase that
completes "expected ...". Scalars arrive here as text, so the schema's number types only serve editors.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from importlib import resources
from typing import Any, cast

from jsonschema import Draft202012Validator, ValidationError

from actuals_pipelines.yaml_text import Data, Problem, YamlText

TENANT_SCHEMA = "tenant.schema.json"
_UNKNOWN_KEY = "additionalProperties"


def problems_of(document: YamlText, part: str | None = None) -> list[Problem]:
    """Return every place where the document is not what the schema says, in the order of the file.

    Args:
        part: a `$defs` name ("package") to validate against; None is a whole tenant.
    """
    errors = _validator(part).iter_errors(document.data)
    found = {problem for error in errors for problem in _translated(document, error)}
    return sorted(found, key=lambda problem: (problem.line, problem.column, problem.expected))


def nearest(name: str, known: Collection[str]) -> str:
    """What to do about an unknown name: the nearest known one, else all of them."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known are: {', '.join(sorted(known))}." if known else "None is known here."


def shown(value: Data) -> str:
    """What was found, in a few words; a long text only by its length, because it may be no name at all."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if not value:
        return "nothing"
    return repr(value) if len(value) <= 40 and "://" not in value else f"a text of {len(value)} characters"


@cache
def _validator(part: str | None) -> Draft202012Validator:
    schema = json.loads(resources.files(__package__).joinpath(TENANT_SCHEMA).read_text("utf-8"))
    if part:
        schema = {"$schema": schema["$schema"], "$defs": schema["$defs"], "$ref": f"#/$defs/{part}"}
    return Draft202012Validator(schema)


def _translated(document: YamlText, error: ValidationError) -> Iterator[Problem]:
    steps = tuple(error.absolute_path)
    schema: dict[str, Any] = error.schema if isinstance(error.schema, dict) else {}
    expected = str(schema.get("description", "something else"))
    value = cast(Data, error.instance)
    if error.validator == _UNKNOWN_KEY and isinstance(value, dict):
        known = schema.get("properties", {})
        for key in value:
            if key not in known:
                advice = nearest(key, known)
                yield document.problem_at_key((*steps, key), "a known key", f"{key!r}", advice)
    elif error.validator == "required" and isinstance(value, dict):
        for key in schema["required"]:
            if key not in value:
                yield document.problem(steps, f"a key {key!r} in {expected}", "none", f"Add `{key}:`.")
    elif error.parent is not None and error.validator != _UNKNOWN_KEY and _is_key(error):
        yield document.problem_at_key((*steps, str(value)), expected, f"{value!r}", "Rename it.")
    elif error.validator in ("minItems", "maxItems", "maxLength"):
        bound, unit = error.validator_value, "characters" if error.validator == "maxLength" else "entries"
        least = "at least" if error.validator == "minItems" else "at most"
        size = len(value) if isinstance(value, Sequence) else 0
        yield document.problem(steps, f"{expected} with {least} {bound} {unit}", str(size), "Correct it.")
    elif error.validator == "anyOf" and error.context:
        yield from _nearest_alternative(document, error, expected)
    else:
        yield document.problem(steps, expected, shown(value), _advice(schema, value))


def _nearest_alternative(document: YamlText, error: ValidationError, expected: str) -> Iterator[Problem]:
    """Of "a name, or a list of names": a list with one bad name is complained about at that name."""
    deeper = [inner for inner in error.context or () if len(inner.relative_path) > 0]
    if deeper:
        for inner in deeper:
            yield from _translated(document, inner)
    else:
        steps = tuple(error.absolute_path)
        yield document.problem(steps, expected, shown(cast(Data, error.instance)), "Write it in that form.")


def _is_key(error: ValidationError) -> bool:
    return "propertyNames" in error.absolute_schema_path


def _advice(schema: dict[str, Any], value: Data) -> str:
    if "enum" in schema and isinstance(value, str):
        return nearest(value, [option for option in schema["enum"] if isinstance(option, str)])
    if isinstance(value, str) and value and value.replace(".", "", 1).isdigit() and "currency" in str(schema):
        return f"Write it with its currency, as in '{value} EUR'."
    return "Write it in that form."
