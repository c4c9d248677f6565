"""Why a reconciliation is refused or fails. Names and identifiers only; figures ride along as attributes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actuals_pipelines.errors import ActualsError


class NotBuiltYet(ActualsError):
    """The package asks for something that is defined but that this version does not do."""

    def __init__(self, package: str, what: str) -> None:
        super().__init__(package, what)
        self.package, self.what = package, what

    def __str__(self) -> str:
        return (
            f"Package {self.package!r}: {self.what} is not built yet. Nothing was reconciled, because a result without "
            "it would look complete. Remove it from the package, or wait for the version that has it."
        )


class RowTakenTwice(ActualsError):
    """A row is taken by two members: on both sides, or twice on one, so its money would count twice."""

    def __init__(self, package: str, source: str, rows: int) -> None:
        super().__init__(package, source, rows)
        self.package, self.source, self.rows = package, source, rows

    def __str__(self) -> str:
        return (
            f"Package {self.package!r} takes {self.rows} rows of source {self.source!r} more than once. A row is on "
            "one side of a package only. Change the `take` of its members so that they do not overlap."
        )


class SourceNotInPackage(ActualsError):
    """Rows were given of a source that is no member of the package."""

    def __init__(self, package: str, sources: Sequence[str]) -> None:
        super().__init__(package, tuple(sources))
        self.package, self.sources = package, tuple(sources)

    def __str__(self) -> str:
        return f"Package {self.package!r} has no member for these sources: {', '.join(self.sources)}. Leave them out."


class KeysMissing(ActualsError):
    """The rows lack a key column that a pass needs."""

    def __init__(self, package: str, pass_name: str, column: str) -> None:
        super().__init__(package, pass_name, column)
        self.package, self.pass_name, self.column = package, pass_name, column

    def __str__(self) -> str:
        return (
            f"Package {self.package!r}, pass {self.pass_name!r} needs the key column {self.column!r}, which the rows "
            "do not have. Normalise them again with the package's id schemes."
        )


class AmountOverflow(ActualsError):
    """A sum of amounts does not fit 64 bits."""

    def __init__(self, package: str) -> None:
        super().__init__(package)
        self.package = package

    def __str__(self) -> str:
        return (
            f"Package {self.package!r}: the amounts of a group add up beyond 64 bits of minor units. "
            "An amount was probably mapped in the wrong unit."
        )


class RowRepeated(ActualsError):
    """A row id occurs twice among the rows of a close."""

    def __init__(self, package: str, rows: int) -> None:
        super().__init__(package, rows)
        self.package, self.rows = package, rows

    def __str__(self) -> str:
        return (
            f"Package {self.package!r}: {self.rows} row ids occur more than once among the rows to reconcile. A row is "
            "handed over once; take repeats out when a unit is published."
        )


class StateOutdated(ActualsError):
    """The state was made when the package read fewer columns than it does now."""

    def __init__(self, package: str, columns: Sequence[str]) -> None:
        super().__init__(package, tuple(columns))
        self.package, self.columns = package, tuple(columns)

    def __str__(self) -> str:
        return (
            f"The state of package {self.package!r} lacks columns that the package now reads: "
            f"{', '.join(self.columns)}. Close once with all live rows handed over as changed."
        )


class ProofFailed(ActualsError):
    """A proof of a close does not hold: nothing of this close may be published. `figures` holds the terms."""

    def __init__(self, proof: str, package: str, source: str, figures: Any = None) -> None:
        super().__init__(proof, package, source)
        self.proof, self.package, self.source, self.figures = proof, package, source, figures

    def __str__(self) -> str:
        return (
            f"Proof {self.proof!r} of package {self.package!r} does not hold at {self.source}. The close was not "
            "taken. Its terms are with the error, for the operator."
        )
