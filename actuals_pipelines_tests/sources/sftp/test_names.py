"""Paths as the drop shows them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actuals_pipelines.sources.sftp.errors import DropRefused
from actuals_pipelines.sources.sftp.names import canonical, folder_and_name, is_unfinished


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/bank/a.xml", ("bank", "a.xml")),
        (b"bank/./a.xml", ("bank", "a.xml")),
        (b"//bank//a.xml", ("bank", "a.xml")),
        (b"/../../bank/a.xml", ("bank", "a.xml")),
        (b"/psp/../bank/a.xml", ("bank", "a.xml")),
        (b"a (1).xml", ("", "a (1).xml")),
    ],
)
def test_a_path_is_cut_into_folder_and_name(path: bytes, expected: tuple[str, str]) -> None:
    assert folder_and_name(path) == expected


@given(st.binary(max_size=60))
def test_whatever_is_sent_stays_below_the_root(path: bytes) -> None:
    try:
        folder, name = folder_and_name(path)
    except DropRefused:
        return
    assert "/" not in folder
    assert "/" not in name
    assert not name.startswith(".")
    assert ".." not in canonical(path).split("/")


@pytest.mark.parametrize("name", ["a.csv.filepart", "a.TMP", "a.part", "a.csv.uploading"])
def test_some_names_say_that_a_rename_will_follow(name: str) -> None:
    assert is_unfinished(name)
    assert not is_unfinished(name + ".csv")
