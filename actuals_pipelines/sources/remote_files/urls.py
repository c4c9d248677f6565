"""Files behind a URL: a bucket (S3, Google, Azure) or a folder of this machine below the operator's import root.

The protocols are fsspec's names; the buckets' own file systems are pyarrow's, which need no further library.
"""

from __future__ import annotations

import errno
import posixpath
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from fsspec.implementations.arrow import ArrowFSWrapper
from fsspec.implementations.local import LocalFileSystem

from actuals_pipelines.settings import RemoteAccess
from actuals_pipelines.sources.failures import Terminal
from actuals_pipelines.sources.remote_files.address import check_address, check_host
from actuals_pipelines.sources.remote_files.remote import (
    AddressRefused,
    ConnectionLost,
    FileChanged,
    FolderRefused,
    RemoteFile,
    SettlingRefused,
)
from actuals_pipelines.sources.retry import Sleep, persistently

Answer = TypeVar("Answer")
Secret = Callable[[str], str]

PROTOCOLS = ("s3", "gs", "gcs", "abfs", "file")
ENTRIES_LIMIT = 200_000
_CHUNK_BYTES = 1 << 20
_GOOGLE = "https://storage.googleapis.com"  # speaks S3's protocol with HMAC keys


class UrlRefused(Terminal):
    """A URL of another protocol, or a folder that the operator did not open."""

    what = "The source's URL is not allowed"
    advice = 'A file:// URL must lie below `"remote": {"import_root": "/..."}` of home.json; else use s3, gs or abfs.'


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a failed request is made again."""

    attempts: int = 5
    longest_pause_seconds: float = 30.0


def open_url(
    connection: Mapping[str, str], access: RemoteAccess, secret: Secret
) -> tuple[str, Callable[[], UrlRemote]]:
    """The folder of a source of kind `files`, and how to get at it.

    Args:
        connection: `url` ("s3://bucket/prefix"); for buckets `access_key` and `secret_key`, names of secrets (for Azure
            `account` and `account_key`), `region`, and `endpoint` for a server of one's own.
        secret: opens a secret by its name.

    Raises:
        UrlRefused, AddressRefused.
    """
    url = urlsplit(connection["url"])
    where = f"{url.scheme}://{url.netloc}"
    if url.scheme not in PROTOCOLS:
        raise UrlRefused(where, f"the protocol is none of {', '.join(PROTOCOLS)}")
    if url.scheme == "file":
        folder = _below(access.import_root, url.path, where)
        return str(folder), partial(UrlRemote, LocalFileSystem(), where, access.import_root)
    system = _bucket_system(url.scheme, connection, access, secret, where=where)
    return f"{url.netloc}{url.path.rstrip('/')}", partial(UrlRemote, ArrowFSWrapper(system), where, None)


class UrlRemote:
    """A `Remote` (`sources.remote_files.remote`) over a file system of fsspec's kind."""

    def __init__(
        self, system: Any, where: str, root: Path | None, *, patience: Patience = Patience(), sleep: Sleep = time.sleep
    ) -> None:
        self._system, self._where, self._root = system, where, root
        self._patience, self._sleep = patience, sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def read(self, files: Iterable[RemoteFile]) -> Iterator[tuple[RemoteFile, Iterator[bytes]]]:
        """See `Remote.read`."""
        for file in files:
            yield file, self._chunks(file)

    def move(self, file: RemoteFile, folder: str) -> None:
        """See `Remote.move`."""

        def moved() -> None:
            target = posixpath.join(posixpath.join(file.folder, folder), file.name)
            if self._root is not None:
                _below(self._root, target, self._where)
            if self._system.exists(target):
                target = f"{target}.{file.version}"
            self._system.mv(file.path, target)

        self._settled(file, moved)

    def delete(self, file: RemoteFile) -> None:
        """See `Remote.delete`."""
        self._settled(file, lambda: self._system.rm_file(file.path))

    def _settled(self, file: RemoteFile, settle: Callable[[], None]) -> None:
        def once() -> None:
            self._check_version(file)
            try:
                settle()
            except PermissionError as error:
                raise SettlingRefused(self._where, type(error).__name__) from None

        self._persistently(once)

    def _chunks(self, file: RemoteFile) -> Iterator[bytes]:
        offset = 0
        while offset < file.size_bytes:
            data = self._persistently(
                partial(self._part, file, offset, min(_CHUNK_BYTES * 8, file.size_bytes - offset))
            )
            offset += len(data)
            yield data
        self._persistently(partial(self._check_version, file))

    def _part(self, file: RemoteFile, offset: int, count: int) -> bytes:
        with self._system.open(file.path, "rb") as stream:
            stream.seek(offset)
            data: bytes = stream.read(count)
        if not data:
            raise FileChanged(self._where, "it is shorter than listed")
        return data

    def _check_version(self, file: RemoteFile) -> None:
        found = self._system.info(file.path)
        if (found["size"], _version(found)) != (file.size_bytes, file.version) or found.get("islink"):
            raise FileChanged(self._where, "its size or time is not the listed one any more")

    def _persistently(self, use: Callable[[], Answer]) -> Answer:
        def once() -> Answer:
            try:
                return use()
            except FileNotFoundError:
                raise FileChanged(self._where, "it is gone") from None
            except PermissionError:
                raise FolderRefused(self._where, "we may not read it") from None
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise ConnectionLost(self._where, type(error).__name__) from None

        return persistently(once, self._patience, self._sleep)

    def _listed(self, folder: str) -> list[RemoteFile]:
        if self._root is not None:
            _below(self._root, folder, self._where)
        try:
            found = self._system.ls(folder, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            raise FolderRefused(self._where, "there is no such folder") from None
        if len(found) > ENTRIES_LIMIT:
            raise FolderRefused(self._where, f"it has more than {ENTRIES_LIMIT} entries")
        return [
            RemoteFile(folder, str(one["name"]).rpartition("/")[2], int(one["size"]), _version(one))
            for one in found
            if one["type"] == "file" and not one.get("islink")
        ]

    def list(self, folder: str) -> list[RemoteFile]:  # last: its name hides the builtin in annotations below it
        """See `Remote.list`."""
        return self._persistently(partial(self._listed, folder))


def _version(found: Mapping[str, Any]) -> str:
    """When it was changed: seconds on this machine, the bucket's own instant elsewhere."""
    return str(found.get("mtime") or "")


def _below(root: Path | None, path: str, where: str) -> Path:
    """The folder, which must lie below the import root when every link is followed."""
    if root is None:
        raise UrlRefused(where, "the home has no import root")
    folder = Path(path).resolve()
    if not folder.is_relative_to(root.resolve()):
        raise UrlRefused(where, "the folder does not lie below the home's import root")
    return folder


def _bucket_system(
    scheme: str, connection: Mapping[str, str], access: RemoteAccess, secret: Secret, *, where: str
) -> Any:
    from pyarrow import fs  # noqa: PLC0415 - loads the clients of three clouds

    if scheme == "abfs":
        check_host(f"{connection.get('account', '')}.dfs.core.windows.net", access, where)
        return fs.AzureFileSystem(connection.get("account", ""), secret(connection["account_key"]))
    endpoint = connection.get("endpoint", _GOOGLE if scheme in ("gs", "gcs") else None)
    if endpoint is None:
        check_host(f"s3.{connection.get('region', 'us-east-1')}.amazonaws.com", access, where)
    else:
        url = urlsplit(endpoint)
        if url.scheme != "https" and not access.allow_private:
            raise AddressRefused(where, "its endpoint is not https")
        check_host(url.hostname or "", access, where)
        check_address(url.hostname or "", url.port or 443, access, where)
    return fs.S3FileSystem(
        access_key=secret(connection["access_key"]),
        secret_key=secret(connection["secret_key"]),
        region=connection.get("region", "us-east-1"),
        endpoint_override=endpoint,
        connect_timeout=15,
        request_timeout=60,
    )
