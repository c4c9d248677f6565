"""YAML as text with positions: what was written stays, what is dangerous is refused, and where is always said."""

from __future__ import annotations

from pathlib import Path

import pytest

from actuals_pipelines.yaml_text import YamlRefused, load, read_text


def test_scalars_stay_what_was_written() -> None:
    """Norway, an account number, a time and a switch: YAML 1.1 would turn them into False, 83, 1350 and True."""
    document = load("{a: NO, b: 0123, c: 22:30, d: on, e: ~, f: 1_000, g: 2026-01-01, h: 0x1F}", "x.yaml")

    assert document.data == {
        "a": "NO", "b": "0123", "c": "22:30", "d": "on", "e": "~", "f": "1_000", "g": "2026-01-01", "h": "0x1F",
    }  # fmt: skip


def test_each_value_and_key_knows_its_line_and_column() -> None:
    document = load("name: acme\nsources:\n- name: shop\n  kind: inbox\n", "x.yaml")

    assert document.values[("sources", 0, "kind")] == (4, 9)
    assert document.keys[("sources", 0, "kind")] == (4, 3)


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a: 1\na: 2\n", "2:1", "a second time"),
        ("a: &x [1]\nb: *x\n", "1:4", "anchor"),
        ("a: *x\n", "1:4", "anchor"),
        ("a: 1\n---\nb: 2\n", "2:1", "one document"),
        ("a:\n\tb: 1\n", "2:1", "a tab"),
        ("a: !!python/object:os.system x\n", "1:4", "a tag"),
        ("a: [1, 2\n", "2:1", "YAML"),
        ("a: b: c\n", "1:5", "YAML"),
        ("", "1:1", "empty"),
        ("? [a, b]\n: c\n", "1:3", "a name before the colon"),
        ("[" * 60 + "]" * 60, "1:22", "levels"),
    ],
    ids=[
        "duplicate key", "anchor", "alias", "two documents", "tab", "tag", "unclosed list", "colon in text", "empty",
        "key that is no text", "deep nesting",
    ],
)  # fmt: skip
def test_what_is_dangerous_or_unclear_is_refused_at_its_place(text: str, place: str, words: str) -> None:
    with pytest.raises(YamlRefused) as refused:
        load(text, "x.yaml")

    assert str(refused.value).startswith(f"x.yaml:{place}: expected ")
    assert words in str(refused.value)


def test_a_control_character_is_refused() -> None:
    with pytest.raises(YamlRefused, match=r"x\.yaml:2:4: expected printable text"):
        load("a: 1\nb: \x01\n", "x.yaml")


def test_a_file_in_another_encoding_is_refused_at_its_place(tmp_path: Path) -> None:
    file = tmp_path / "acme.yaml"
    file.write_bytes(b"name: acme\ntitle: Soci\xe9t\xe9\n")

    with pytest.raises(YamlRefused, match=r"acme\.yaml:2:12: expected UTF-8 text"):
        read_text(file)


def test_a_huge_file_is_refused_before_it_is_read() -> None:
    with pytest.raises(YamlRefused, match="at most 1,000,000 characters"):
        load("a: " + "x" * 1_000_001, "x.yaml")
