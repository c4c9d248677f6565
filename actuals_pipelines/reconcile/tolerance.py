"""Whether what two sides differ by is small enough, as SQL."""

from __future__ import annotations

from actuals_pipelines.domain.package import Tolerance
from actuals_pipelines.expressions import literal


def balances(tolerance: Tolerance, off: str = "difference") -> str:
    """Both sides are there: is |difference| within max(absolute per currency, floor(basis points x |SOLL|))?

    Over columns `difference`, `soll` (minor units) and `currency`; `off`: SQL for what is held against it instead.
    """
    arms = " ".join(f"WHEN {literal(code)} THEN {int(units)}" for code, units in sorted(tolerance.minor_units.items()))
    absolute = f"CASE currency {arms} ELSE 0 END" if arms else "0"
    relative = f"(abs(soll) * {int(tolerance.basis_points)}) // 10000"
    return f"abs({off}) <= greatest({absolute}, {relative})"
