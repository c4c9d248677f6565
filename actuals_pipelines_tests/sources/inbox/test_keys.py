"""API keys: their form and how they are recognised."""

from __future__ import annotations

import pytest

from actuals_pipelines.sources.inbox.keys import key_hash, mode_and_id, new_key

DOOR_KEY = bytes(32)


@pytest.mark.parametrize("mode", ["test", "prod"])
def test_a_key_says_its_mode_and_id_and_its_hash_says_neither(mode: str) -> None:
    key = new_key(mode, DOOR_KEY)

    assert mode_and_id(key.text) == (mode, key.key_id)
    assert len(key.text.split("_", 2)[2]) == 43
    assert key.hash == key_hash(key.text, DOOR_KEY)
    assert key.hash != key_hash(key.text, b"1" * 32)


def test_two_keys_are_never_alike() -> None:
    assert new_key("prod", DOOR_KEY).text != new_key("prod", DOOR_KEY).text


def test_another_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="'test' or 'prod'"):
        new_key("live", DOOR_KEY)


@pytest.mark.parametrize("text", ["", "prod_", "prod_12_abc", "live_0123456789abcdef_" + "x" * 43])
def test_what_has_not_the_form_of_a_key_is_none(text: str) -> None:
    assert mode_and_id(text) is None
