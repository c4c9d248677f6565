"""`actuals demo`: the main job with two tenants and known defects, in a home of its own."""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from actuals_pipelines.cli.options import json_option, print_json
from actuals_pipelines.cli.page import Page, money
from actuals_pipelines.cli.progress import Progress
from actuals_pipelines.operations.demo import DemoOutcome, run_demo
from actuals_pipelines.operations.demo_data import WORDS

_PROOFS = ("terms_proved", "residual", "closes")


@click.command()
@click.option("--home", "root", default=".actuals-demo", show_default=True, metavar="FOLDER", help="Its own home.")
@click.option("--orders", default=1000, show_default=True, help="Orders for each of the two tenants.")
@click.option("--seed", default=7, show_default=True, help="The same seed makes the same data.")
@json_option
def demo(*, root: str, orders: int, seed: int, as_json: bool) -> None:
    """Run the main job: push, drop, pull, take in, reconcile, prove. Exit 0: truth and proofs hold; 1: they do not."""
    progress = Progress(silent=as_json)
    outcome = run_demo(Path(root), orders, seed, datetime.now(UTC), progress.tell)
    progress.done()
    if as_json:
        print_json(_document(outcome))
    else:
        _show(Page(), outcome)
    sys.exit(0 if outcome.holds else 1)


def _show(screen: Page, outcome: DemoOutcome) -> None:
    screen.title(f"{outcome.rows:,} rows of two tenants, taken in and reconciled")
    for one in outcome.packages:
        screen.heading(f"{one.tenant}: {one.overview.package} at {one.day}. {one.overview.question or ''}")
        screen.table(
            ("side", "source", "total", "amount", "unmatched", "impact", "matching"),
            [
                (line.side.upper(), line.source, line.rows, money(line.amount, line.currency), line.unmatched_rows,
                 money(line.impact_net, line.currency),
                 "-" if line.matched_rows_percentage is None else f"{line.matched_rows_percentage} %")
                for line in one.overview.sources
            ],
        )  # fmt: skip
    screen.heading("Injected defects: found, and false alarms")
    screen.table(
        ("kind", "what happened", "injected", "found", "false alarms"),
        [(kind, WORDS.get(kind), *counts) for kind, counts in sorted(_scores(outcome).items())],
    )
    screen.heading("Three of them explained")
    for told in outcome.explained:
        screen.line(f"  {told.tenant} {told.transaction_id} ({told.kind}): {told.sentence}")
    screen.heading("Proofs")
    terms, left, closes = (sum(getattr(one, name) for one in outcome.packages) for name in _PROOFS)
    screen.line(f"  stock and flow, and bridges: {terms} lines over {closes} closes, residual {left}")
    searched = f"{outcome.numbers_searched} order numbers searched for in {outcome.files_searched} files of the home"
    screen.line(f"  encrypted at rest: {searched}, {outcome.plaintext_hits} hits")
    screen.heading("Seconds")
    screen.table(("step", "seconds"), list(outcome.timings.seconds.items()))
    name = outcome.packages[0].tenant
    screen.heading("Next")
    screen.line(f"  actuals up --home {outcome.home.root.name}      keep it running, open Dagster's UI")
    screen.line(f"  actuals report {name} orders_vs_psp --open-items --home {outcome.home.root.name}")
    screen.line(f"  actuals explain {name} {outcome.explained[0].transaction_id} --home {outcome.home.root.name}")
    screen.line("")
    screen.line("Truth and proofs hold." if outcome.holds else "Truth or proofs do NOT hold: see above.")


def _scores(outcome: DemoOutcome) -> dict[str, list[int]]:
    """Kind -> [injected, found, false alarms] over all tenants and packages."""
    totals: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for one in outcome.packages:
        for row in one.scores.to_pylist():
            for at, name in enumerate(("injected", "found", "false_alarms")):
                totals[row["kind"]][at] += row[name]
    return totals


def _document(outcome: DemoOutcome) -> dict[str, Any]:
    return {
        "holds": outcome.holds,
        "home": str(outcome.home.root),
        "rows": outcome.rows,
        "packages": [
            {
                "tenant": one.tenant,
                "package": one.overview.package,
                "day": one.day,
                "closes": one.closes,
                "terms_proved": one.terms_proved,
                "residual": one.residual,
                "scores": one.scores.to_pylist(),
            }
            for one in outcome.packages
        ],
        "explained": [asdict(one) for one in outcome.explained],
        "plaintext_hits": outcome.plaintext_hits,
        "files_searched": outcome.files_searched,
        "numbers_searched": outcome.numbers_searched,
        "seconds": outcome.timings.seconds,
    }
