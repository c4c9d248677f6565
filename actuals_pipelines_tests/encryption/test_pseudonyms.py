from __future__ import annotations

import hashlib
import hmac

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actuals_pipelines.encryption.pseudonyms import Pseudonyms
from actuals_pipelines.encryption.secrecy import derived_key

PEPPER = bytes(range(32))
PSEUDONYMS = Pseudonyms(PEPPER)
texts = st.lists(st.none() | st.text(max_size=80))


def test_a_match_key_is_hmac_sha_256_of_the_id_under_the_schemes_own_key() -> None:
    """By the standard library's HMAC, so that another engine can make the same keys."""
    key = derived_key(PEPPER, b"actuals pseudonyms match 1" + b"\0\0\0\x02" + b"order")
    expected = hmac.new(key, b"order-123", hashlib.sha256).digest()[:16]

    found = PSEUDONYMS.match_keys(pa.array(["order-123"]), "order", 2)

    assert found.type == pa.uuid()
    assert found[0].as_py().bytes == expected


@given(texts)
def test_columns_and_single_values_agree(values: list[str | None]) -> None:
    column = pa.array(values, pa.string())

    assert PSEUDONYMS.match_keys(column, "order", 1).to_pylist() == [
        PSEUDONYMS.match_key(value, "order", 1) for value in values
    ]
    assert PSEUDONYMS.tokens(column).to_pylist() == [PSEUDONYMS.token(value) if value else None for value in values]
    assert PSEUDONYMS.digests("row", column).to_pylist() == [
        None if value is None else PSEUDONYMS.digest("row", value.encode()) for value in values
    ]


@given(texts, texts, st.integers(0, 5))
def test_chunks_and_slices_give_what_the_whole_column_gives(
    first: list[str | None], second: list[str | None], offset: int
) -> None:
    chunked = pa.chunked_array([first, second], pa.string())
    whole = pa.array(first + second, pa.string())

    assert PSEUDONYMS.match_keys(chunked, "order", 1).equals(PSEUDONYMS.match_keys(whole, "order", 1))
    assert PSEUDONYMS.tokens(chunked.slice(offset)).equals(PSEUDONYMS.tokens(whole.slice(offset)))


@pytest.mark.parametrize("different", [3, 20_000], ids=["few values", "every value another"])
def test_a_long_column_gives_what_its_values_give(different: int) -> None:
    """Repeated values are hashed once; a column of different ones is hashed as it stands. Nobody may see which."""
    values = [None if row % 7 == 0 else "" if row % 11 == 0 else f"order-{row % different}" for row in range(20_000)]
    column = pa.array(values, pa.string())

    keys, digests = PSEUDONYMS.match_keys(column, "order", 1), PSEUDONYMS.digests("row", column)

    assert keys.to_pylist() == [PSEUDONYMS.match_key(value, "order", 1) for value in values]
    assert digests.to_pylist() == [None if v is None else PSEUDONYMS.digest("row", v.encode()) for v in values]


def test_no_id_has_no_key() -> None:
    """Null and "" must not match one another: unknown is not equal to unknown."""
    column = pa.array([None, "", "x"])

    assert [key is None for key in PSEUDONYMS.match_keys(column, "order", 1).to_pylist()] == [True, True, False]
    assert [token is None for token in PSEUDONYMS.tokens(column).to_pylist()] == [True, True, False]
    assert [uid is None for uid in PSEUDONYMS.digests("row", column).to_pylist()] == [True, False, False]


@pytest.mark.parametrize("type_", [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()], ids=str)
def test_text_and_its_bytes_have_the_same_digest_whatever_the_column_type(type_: pa.DataType) -> None:
    column = pa.array(["a", "ü", "a"]).cast(pa.binary()).cast(type_)

    assert PSEUDONYMS.digests("row", column).to_pylist() == [
        PSEUDONYMS.digest("row", text.encode()) for text in ("a", "ü", "a")
    ]


def test_an_empty_column_gives_an_empty_column() -> None:
    for empty in (pa.array([], pa.string()), pa.chunked_array([], pa.string())):
        assert len(PSEUDONYMS.match_keys(empty, "order", 1)) == 0
        assert PSEUDONYMS.tokens(empty).type == pa.string()


def test_the_same_text_differs_by_scheme_version_use_and_tenant() -> None:
    other = Pseudonyms.random()
    keys = [
        PSEUDONYMS.match_key("x", "order", 1),
        PSEUDONYMS.match_key("x", "order", 2),
        PSEUDONYMS.match_key("x", "payout", 1),
        PSEUDONYMS.digest("order", b"x"),
        PSEUDONYMS.digest("row_uid", b"x"),
        other.match_key("x", "order", 1),
    ]

    assert len(set(keys)) == len(keys)
    assert PSEUDONYMS.token("x") != other.token("x")


def test_a_token_is_base32_of_its_128_bits() -> None:
    token = PSEUDONYMS.token("jane@example.com")

    assert len(token) == 4 + 26
    assert token.startswith("tok_")
    assert set(token[4:]) <= set("abcdefghijklmnopqrstuvwxyz234567")
    assert token == PSEUDONYMS.tokens(pa.array(["jane@example.com"]))[0].as_py()
