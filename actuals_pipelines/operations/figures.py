"""A close's figures and proofs as they are kept, sealed, beside it: plain data, so that readers need no engine."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from actuals_pipelines.reconcile.close import Closed
from actuals_pipelines.reconcile.summary import to_document


def figures_to_bytes(closed: Closed) -> bytes:
    """Compact JSON: {"figures": `reconcile.figures.Figures`, "proofs": `Proofs`, "summary": `Summary`}.

    Amounts in minor units. The summary is what the next close adds up from.
    """
    document = {
        "figures": asdict(closed.figures),
        "proofs": asdict(closed.proofs),
        "summary": to_document(closed.summary),
    }
    return json.dumps(document, separators=(",", ":")).encode()


def figures_from_bytes(kept: bytes) -> dict[str, Any]:
    """The reverse, as plain data."""
    document: dict[str, Any] = json.loads(kept)
    return document
