"""Whatever stands in a file, reading it ends in a tenant or in a refusal with a place: never in another error."""

from __future__ import annotations

import json
import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from actuals_pipelines.tenants.parse import parse_package, parse_tenant
from actuals_pipelines.yaml_text import YamlRefused, load
from actuals_pipelines_tests.tenants.examples import ACME

_WORDS = sorted(
    set(re.findall(r"[A-Za-z0-9_./:-]+|[\[\]{},\"'#|>&*!%@`~\n-]", ACME))
    | {"", "~", "null", "[]", "{}", "\t", "- ", "? "}
)
_PLACED = re.compile(r"^x\.yaml:[0-9]+:[0-9]+: expected ", re.MULTILINE)


def refused_or_read(text: str) -> None:
    for read in (parse_tenant, parse_package):
        try:
            read(text, "x.yaml")
        except YamlRefused as refused:
            assert _PLACED.match(str(refused)), refused


@given(st.text(max_size=200))
@settings(max_examples=150, deadline=None)
@example("\x00")
@example("\ufeff")
@example("a: \ud800")
@example("%YAML 9.9\n---\na")
@example("? |\n  a\n: b")
def test_any_text_is_read_or_refused_at_a_place(text: str) -> None:
    try:
        load(text, "x.yaml")
    except YamlRefused as refused:
        assert _PLACED.match(str(refused))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_tenants_file_with_any_piece_replaced_is_read_or_refused_at_a_place(data: st.DataObject) -> None:
    pieces = re.findall(r"[A-Za-z0-9_./:-]+|\s+|.", ACME)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(pieces) - 1))
        pieces[place] = data.draw(st.sampled_from(_WORDS))

    refused_or_read("".join(pieces))


@given(
    st.recursive(
        st.sampled_from(_WORDS),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(_WORDS), inner),
        max_leaves=20,
    )
)
@settings(max_examples=100, deadline=None)
def test_any_shape_of_known_words_is_read_or_refused_at_a_place(shape: object) -> None:
    refused_or_read(json.dumps(shape))
