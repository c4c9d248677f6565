"""Paths as the drop shows them: `/`, one folder per source, and the files sent in this session. No disk is looked at.

A path from outside is never a path of ours: it is cut into names, and each name is looked up or checked.
"""

from __future__ import annotations

import posixpath
import re

from actuals_pipelines.domain.source import SideFile
from actuals_pipelines.sources.sftp.errors import NotPermitted, NotThere

UNFINISHED = (".filepart", ".tmp", ".part", ".partial", ".uploading")
"""A client that uploads `x.csv.filepart` and renames it when it is done says so by the name (WinSCP, FileZilla)."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ +=@()-]{0,199}")


def canonical(path: bytes) -> str:
    """The absolute path without `.` and `..`; what climbs above the root ends at the root.

    Raises:
        NotThere: it is no UTF-8, or holds a NUL.
    """
    try:
        text = path.decode()
    except UnicodeDecodeError:
        raise NotThere("The name is not UTF-8", "Rename the file.") from None
    if "\0" in text:
        raise NotThere("The name holds a NUL", "Rename the file.")
    return posixpath.normpath("/" + text.lstrip("/"))


def folder_and_name(path: bytes) -> tuple[str, str]:
    """("bank", "statement.xml") for `/bank/statement.xml`; ("", name) for a file in the root.

    Raises:
        NotPermitted: too deep, or the name has other characters than it may have.
    """
    folder, name = posixpath.split(canonical(path))
    if folder.count("/") > 1:
        raise NotPermitted("There are no folders within folders", "Use the folder of the source.")
    if not _NAME.fullmatch(name):
        raise NotPermitted(
            "This file name is not allowed",
            "Use up to 200 letters, digits and . _ - + = @ ( ) and blanks, beginning with a letter or digit.",
        )
    return folder.strip("/"), name


def is_unfinished(name: str) -> bool:
    """Whether the name says that a rename will follow."""
    return name.lower().endswith(UNFINISHED)


def without_unfinished(name: str) -> str:
    """The name that the rename will give, if the client only cuts the suffix off."""
    suffix = next((one for one in UNFINISHED if name.lower().endswith(one)), "")
    return name[: len(name) - len(suffix)]


def without_side(name: str, side_file: SideFile) -> str | None:
    """Which file `name` stands beside: "x.csv" for "x.csv.done"; None if it is no side file."""
    suffix = f".{side_file.value}"
    return name[: -len(suffix)] if name.lower().endswith(suffix) and len(name) > len(suffix) else None
