"""What is whole by a manifest: a side file beside each, or lists of names, with or without their SHA-256."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from actuals_pipelines.domain.fetching import Fetching
from actuals_pipelines.sources.remote_files.names import is_safe
from actuals_pipelines.sources.remote_files.remote import FileChanged, Remote, RemoteFile

MANIFEST_BYTES = 4 << 20
_LINE = re.compile(r"^(?:(?P<sha256>[0-9a-fA-F]{64}) [ *])?(?P<name>.+?)\s*$")  # as sha256sum writes it, or a bare name


def listed(remote: Remote, found: Iterable[RemoteFile], how: Fetching) -> Mapping[str, bytes | None]:
    """Name -> SHA-256 where it is stated, of all that manifests in this folder say is whole."""
    found = list(found)
    if how.manifest.startswith("."):
        suffix = how.manifest
        return {file.name.removesuffix(suffix): None for file in found if file.name.endswith(suffix)}
    names: dict[str, bytes | None] = {}
    manifests = [file for file in found if fnmatchcase(file.name, how.manifest) and file.size_bytes <= MANIFEST_BYTES]
    for _, chunks in remote.read(manifests):
        try:
            text = b"".join(chunks).decode(errors="replace")
        except FileChanged:
            continue  # it is being written: the next look reads it
        for line in text.splitlines():
            entry = _LINE.match(line)
            if entry and is_safe(entry["name"]):
                names[entry["name"]] = bytes.fromhex(entry["sha256"]) if entry["sha256"] else None
    return names


def is_manifest(name: str, how: Fetching) -> bool:
    """Whether a name is a manifest's own."""
    return name.endswith(how.manifest) if how.manifest.startswith(".") else fnmatchcase(name, how.manifest)
