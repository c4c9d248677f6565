"""Why a container was not read, or not written: each names the file's id, never its content."""

from __future__ import annotations

from uuid import UUID

from actuals_pipelines.errors import ActualsError


class ContainerError(ActualsError):
    """Anything wrong with a container."""


class NotAContainer(ContainerError):
    """A file is no container of ours, or of a newer kind."""

    def __init__(self, name: str, found: str) -> None:
        super().__init__(name, found)
        self.name, self.found = name, found

    def __str__(self) -> str:
        return f"File {self.name} is not a container that can be read here: {self.found}. Check what the path names."


class ContainerForAnotherKey(ContainerError):
    """A container was sealed to another public key."""

    def __init__(self, file: UUID, sealed_to: str, ours: str) -> None:
        super().__init__(file, sealed_to, ours)
        self.file, self.sealed_to, self.ours = file, sealed_to, ours

    def __str__(self) -> str:
        return (
            f"Container {self.file} is sealed to key {self.sealed_to}, and this keyring holds key {self.ours}. "
            "It belongs to another tenant or environment, or to an earlier key pair; open it with that keyring."
        )


class ContainerMisplaced(ContainerError):
    """A container's data key does not open with these ids."""

    def __init__(self, file: UUID) -> None:
        super().__init__(file)
        self.file = file

    def __str__(self) -> str:
        return (
            f"Container {self.file} does not open as this file: it was sealed for another kind, source, generation or "
            "file, or its header or sealed key was altered. Compare the catalogue row with the path it names."
        )


class ContainerDamaged(ContainerError):
    """A chunk is not what was sealed at its place."""

    def __init__(self, file: UUID, chunk: int) -> None:
        super().__init__(file, chunk)
        self.file, self.chunk = file, chunk

    def __str__(self) -> str:
        return (
            f"Container {self.file} was altered or replaced: chunk {self.chunk} is not what was sealed there. "
            "Nothing from this chunk on was read; restore the file from its backup, or ask for it again."
        )


class ContainerCut(ContainerError):
    """A container ends before its last chunk."""

    def __init__(self, file: UUID, chunk: int) -> None:
        super().__init__(file, chunk)
        self.file, self.chunk = file, chunk

    def __str__(self) -> str:
        return (
            f"Container {self.file} is cut off: it ends in or before chunk {self.chunk}, without its last chunk. "
            "Take nothing of it as complete; restore the file from its backup, or ask for it again."
        )


class ContainerLonger(ContainerError):
    """Bytes follow a container's last chunk."""

    def __init__(self, file: UUID) -> None:
        super().__init__(file)
        self.file = file

    def __str__(self) -> str:
        return f"Container {self.file} has bytes after its last chunk. Restore the file from its backup."


class ContainerReplaced(ContainerError):
    """A container opens, but is not the one that the catalogue names."""

    def __init__(self, file: UUID) -> None:
        super().__init__(file)
        self.file = file

    def __str__(self) -> str:
        return (
            f"Container {self.file} is not the one that the catalogue names: its SHA-256 differs. Somebody who knows "
            "the public key may have put another in its place; restore it from its backup and find out who."
        )


class ContainerTooLong(ContainerError):
    """A file is longer than one data key may seal."""

    def __init__(self, file: UUID, limit_bytes: int) -> None:
        super().__init__(file, limit_bytes)
        self.file, self.limit_bytes = file, limit_bytes

    def __str__(self) -> str:
        return f"File {self.file} is longer than the {self.limit_bytes} bytes that a container holds. Split it."
