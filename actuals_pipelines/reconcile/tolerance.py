"""Whether what two sides differ by is small enough, as SQL."""

from __future__ import annotations

from actuals_pipelines.domain.package import Tolerance
from actuals_pipelines.expressions import literal


def balances(tolerance: Tolerance) -> str:
    """Both sides are there: is |difference| within max(absolute per currency, floor(basis points x |SOLL|))?

    Over columns `difference`, `soll` (minor units) and `currency`.
    """
    arms = " ".join(f"WHEN {literal(code)} THEN {int(units)}" for code, units in sorted(tolerance.minor_units.items()))
    absolute = f"CASE currency {arms} ELSE 0 END" if arms else "0"
    relative = f"(abs(soll) * {int(tolerance.basis_points)}) // 10000"
    return f"abs(difference) <= greatest({absolute}, {relative})"
