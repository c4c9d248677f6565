"""The main job, as customers' days run: orders pushed, files dropped, the PSP pulled, all reconciled, all proved.

Two tenants with known defects. Everything goes the real way: HTTPS to the inbox with a key, sFTP with a key pair,
OAuth 2 to an emulator of a PSP's API, Dagster's sensors and runs. The demo's home is its own, and is made anew.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import islice
from pathlib import Path

import pyarrow.parquet as pq

from actuals_pipelines.operations.demo.deliveries import Tell, drop, provision, pull, push, wait_until_quiet
from actuals_pipelines.operations.demo.house import DemoFailed, NotADemoHome, kept_up, new_home, psp_emulator
from actuals_pipelines.operations.demo.truth import Explained, PackageOutcome, explained, outcomes, plaintext_hits
from actuals_pipelines.operations.demo_data import DemoData, Wanted, write_demo_data
from actuals_pipelines.operations.loaded import load_tenant
from actuals_pipelines.settings import Home

__all__ = ["DemoFailed", "DemoOutcome", "Explained", "NotADemoHome", "PackageOutcome", "run_demo"]

TENANTS = ("north", "south")
NUMBERS_SEARCHED = 25
"""Order numbers of each tenant that are searched for in every file of the home."""


@dataclass(slots=True)
class Timings:
    """Seconds per step, in order."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str, tell: Tell) -> Iterator[None]:
        """Time one step and tell that it began."""
        tell(name)
        began = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began, 2)


@dataclass(frozen=True, slots=True)
class DemoOutcome:
    """What the demo did and found."""

    home: Home
    packages: tuple[PackageOutcome, ...]
    explained: tuple[Explained, ...]
    plaintext_hits: int
    files_searched: int
    numbers_searched: int
    timings: Timings
    rows: int

    @property
    def holds(self) -> bool:
        """Whether truth, proofs and walls hold."""
        is_sealed = self.plaintext_hits == 0 and self.files_searched > 0 and self.numbers_searched > 0
        is_true = all(one.is_true for one in self.packages) and sum(one.injected for one in self.packages) > 0
        return is_sealed and is_true


def run_demo(root: Path, orders: int, seed: int, now: datetime, tell: Tell) -> DemoOutcome:
    """Make the demo's home, run the main job in it and hold the results against the truth.

    Raises:
        NotADemoHome: somebody's home is in the way. DemoFailed: a step did not come to its end.
    """
    timings = Timings()
    last_day = last_friday(now.date())
    with tempfile.TemporaryDirectory(prefix="actuals-demo-") as outside:  # the customers' side: not in the home
        world = Path(outside)
        with timings.step("make the home: keys, PostgreSQL, certificates", tell):
            home = new_home(root, now)
        with timings.step(f"make demo data: {orders:,} orders for each of {len(TENANTS)} tenants", tell):
            wanted = [Wanted(orders, seed + at, last_day=last_day) for at in range(len(TENANTS))]
            data = {n: write_demo_data(each, world / n) for n, each in zip(TENANTS, wanted, strict=True)}
        days = wanted[0].dates
        tell("start PostgreSQL, doors, Dagster and its daemon")
        began = time.monotonic()
        with kept_up(home), psp_emulator(home, world, TENANTS, now) as psp_url:
            timings.seconds["start PostgreSQL, doors, Dagster and its daemon"] = round(time.monotonic() - began, 2)
            with timings.step("provision tenants: databases, roles, keyrings, accounts", tell):
                keys = {name: provision(home, name, psp_url, days[0], world) for name in TENANTS}
            with timings.step("push orders to the inbox over HTTPS", tell):
                for name in TENANTS:
                    push(home, keys[name], data[name])
            with timings.step("drop bank statements and settlements over sFTP", tell):
                for name in TENANTS:
                    drop(home, name, data[name], world)
            with timings.step("pull the PSP's API by OAuth 2, as a Dagster run", tell):
                pull(home, TENANTS, days, tell)
            with timings.step("sensors take in and reconcile what waits", tell):
                wait_until_quiet(home, TENANTS, days[-1], tell)
            with timings.step("hold results against the truth", tell):
                packages, sentences = _held_against_truth(home, data)
            with timings.step("search the home for order numbers in clear", tell):
                numbers = [number for made in data.values() for number in _order_numbers(made)]
                hits, searched = plaintext_hits(home, numbers)
    rows = sum(sum(made.rows.values()) for made in data.values())
    return DemoOutcome(home, packages, sentences, hits, searched, len(numbers), timings, rows)


def last_friday(today: date) -> date:
    """The last Friday before today: a working week of demo data ends on it."""
    return today - timedelta(days=(today.weekday() - 4) % 7 or 7)


def _held_against_truth(
    home: Home, data: dict[str, DemoData]
) -> tuple[tuple[PackageOutcome, ...], tuple[Explained, ...]]:
    packages: list[PackageOutcome] = []
    sentences: list[Explained] = []
    for name, made in data.items():
        truth = pq.read_table(made.truth)
        with load_tenant(home, name).opened("demo") as environment:
            packages += outcomes(environment, truth)
            if not sentences:
                sentences += explained(environment, truth)
    return tuple(packages), tuple(sentences)


def _order_numbers(made: DemoData) -> list[bytes]:
    """The digits of order numbers that the shop pushed, as they stand in every source that names the order."""
    with made.shop[0].open("rb") as lines:
        pushed = [json.loads(line)["data"]["reference"] for line in islice(lines, NUMBERS_SEARCHED)]
    return [reference.removeprefix("ORD-").encode() for reference in pushed]
