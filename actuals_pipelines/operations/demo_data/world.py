"""Make one tenant's order-to-cash in memory: the tables that the writers turn into the makers' formats."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from importlib.resources import files

import duckdb

from actuals_pipelines.errors import ConfigurationError
from actuals_pipelines.operations.demo_data.defects import planned, planned_payouts

FEWEST_ORDERS, FEWEST_DAYS, MOST_DAYS = 100, 5, 400


class DemoRefused(ConfigurationError):
    """A size of the demo data is out of bounds; says which and what the bounds are."""

    def __init__(self, name: str, found: int, least: int, most: int) -> None:
        super().__init__(name, found, least, most)
        self.name, self.found, self.least, self.most = name, found, least, most

    def __str__(self) -> str:
        return (
            f"Demo data with {self.found} {self.name} cannot be made: give a number from {self.least} to {self.most}."
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to make. The same values make the same bytes, on every machine."""

    orders: int
    seed: int = 1
    days: int = 5
    last_day: date = date(2026, 1, 16)  # a Friday, so that the default five days are one working week

    def __post_init__(self) -> None:
        _bounded("orders", self.orders, FEWEST_ORDERS, 100_000_000)
        _bounded("days", self.days, FEWEST_DAYS, MOST_DAYS)
        _bounded("as seed", self.seed, 0, 1_000_000)

    @property
    def first_day(self) -> date:
        """The first day with orders."""
        return self.last_day - timedelta(days=self.days - 1)

    @property
    def dates(self) -> list[date]:
        """Every day, first to last."""
        return [self.first_day + timedelta(days=number) for number in range(self.days)]

    @property
    def accounts(self) -> int:
        """How many merchant accounts the shop has at the PSP: each is paid out for itself."""
        return min(3 + self.orders // 20_000, 50)


def make_world(wanted: Wanted) -> duckdb.DuckDBPyConnection:
    """Return a connection that holds the tables `shop`, `psp_leg`, `payout`, `bank` and `truth` (see the SQL files)."""
    world = duckdb.connect(config={"threads": 2})
    world.execute("SET preserve_insertion_order = true; SET temp_directory = ''")
    for name, value in (
        ("seed", wanted.seed),
        ("orders", wanted.orders),
        ("days", wanted.days),
        ("first_day", wanted.first_day),
        ("accounts", wanted.accounts),
    ):
        world.execute(f"SET VARIABLE {name} = $value", {"value": value})
    _plan(world, "plan", planned(wanted.orders))
    world.execute(_sql("world.sql"))
    # Early enough that the bank has booked it by the last day, weekends included.
    world.execute(
        "CREATE TABLE eligible AS SELECT batch FROM batch WHERE currency IN ('EUR', 'USD') AND net > 2000 "
        "AND next_business_day(next_business_day(day_of(day))) <= last_day()"
    )
    row = world.execute("SELECT count(*) FROM eligible").fetchone()
    _plan(world, "payout_plan", planned_payouts(row[0] if row else 0))
    world.execute(_sql("bank.sql"))
    return world


def _plan(world: duckdb.DuckDBPyConnection, name: str, places: list[tuple[str, int, int]]) -> None:
    world.execute(f"CREATE TABLE {name} (kind VARCHAR, first_place BIGINT, end_place BIGINT)")
    world.executemany(f"INSERT INTO {name} VALUES (?, ?, ?)", places)  # noqa: S608 - our own table's name


def _sql(name: str) -> str:
    return (files("actuals_pipelines.operations.demo_data") / name).read_text(encoding="utf-8")


def _bounded(name: str, found: int, least: int, most: int) -> None:
    if not least <= found <= most:
        raise DemoRefused(name, found, least, most)
