"""How the drop shows folders and files: plaintext sizes, for clients compare them with what they sent."""

from __future__ import annotations

import stat
import time

import asyncssh


def folder_attrs() -> asyncssh.SFTPAttrs:
    """A source's folder, or the root."""
    now = int(time.time())
    return asyncssh.SFTPAttrs(size=0, uid=0, gid=0, permissions=stat.S_IFDIR | 0o700, atime=now, mtime=now)


def file_attrs(size_bytes: int) -> asyncssh.SFTPAttrs:
    """A file, which can be written and not read."""
    now = int(time.time())
    return asyncssh.SFTPAttrs(size=size_bytes, uid=0, gid=0, permissions=stat.S_IFREG | 0o200, atime=now, mtime=now)


def entry(name: str, attrs: asyncssh.SFTPAttrs) -> asyncssh.SFTPName:
    """A line of `ls -l`."""
    mode = stat.filemode(attrs.permissions or 0)
    line = f"{mode}    1 drop     drop     {attrs.size or 0:>12} Jan 01 00:00 {name}"
    return asyncssh.SFTPName(name.encode(), line.encode(), attrs)
