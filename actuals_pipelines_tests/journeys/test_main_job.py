"""The main job as customers see it: they deliver by every door, and the house takes in and reconciles by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date

import pytest
import sqlalchemy as sa

from actuals_pipelines.operations.dagster_client import DagsterClient
from actuals_pipelines.operations.runs import STEPS, client_of
from actuals_pipelines.orchestration.assets import CHECKS
from actuals_pipelines.store import catalogue, closes
from actuals_pipelines_tests.journeys.house import DAYS, House, order, psp_file, statement, wait_for

FIRST, SECOND = DAYS[0], DAYS[1]
CANARY = "8c1fa7e3"
"""Part of an order number: it may reach the tenant's store alone."""

EVENTS = [
    order(f"1x{CANARY}", "60.00", FIRST, "wrap it"),
    order("2", "10.00", FIRST),
    order("3", "20.00", SECOND),
]
PAYMENTS = psp_file(
    f"1,ORDER-1x{CANARY},60.00,EUR,{FIRST},card",
    f"2,order-2,9.65,EUR,{FIRST},card",
    f"3,order-9,7.00,EUR,{FIRST},nobody ordered this",
)
STATEMENT = statement(FIRST, "100.00", "169.65", [(f"1x{CANARY}", "60.00"), ("2", "9.65")])
_BACKFILL = """
query Backfill($id: String!) {
  partitionBackfillOrError(backfillId: $id) { __typename ... on PartitionBackfill { status } }
}
"""
_SENSOR = """
query Sensor($selector: SensorSelector!) {
  sensorOrError(sensorSelector: $selector) { __typename ... on Sensor { sensorState { id status } } }
}
"""
_STOP = "mutation Stop($id: String!) { stopSensor(id: $id) { __typename } }"
_START = "mutation Start($selector: SensorSelector!) { startSensor(sensorSelector: $selector) { __typename } }"


@pytest.fixture(scope="module")
def delivered(house: House) -> House:
    """North's customers have delivered by three doors; nobody asked for a run."""
    assert house.push("north", EVENTS).status_code in (200, 201)
    house.upload("north", "psp", PAYMENTS, f"psp-{FIRST}.csv", FIRST)
    house.drop("north", {f"bank/statement-{FIRST}.xml": STATEMENT})
    house.wait_until_quiet("north")
    return house


def test_what_came_by_each_door_is_live(delivered: House) -> None:
    assert delivered.live("north", "shop") == {f"e-1x{CANARY}": 6000, "e-2": 1000, "e-3": 2000}
    assert delivered.live("north", "psp") == {"1": 6000, "2": 965, "3": 700}
    assert sorted(delivered.live("north", "bank").values()) == [965, 6000]


def test_each_row_has_its_status(delivered: House) -> None:
    """Paid in full; paid but for the fee; ordered and not paid; paid and not ordered."""
    assert delivered.statuses("north", "orders_vs_psp") == {
        ("shop", f"e-1x{CANARY}"): ("matched", ""),
        ("psp", "1"): ("matched", ""),
        ("shop", "e-2"): ("explained", "fee"),
        ("psp", "2"): ("explained", "fee"),
        ("shop", "e-3"): ("unmatched", ""),
        ("psp", "3"): ("unmatched", ""),
    }


def test_what_the_bank_received_is_matched_to_the_psp(delivered: House) -> None:
    statuses = delivered.statuses("north", "psp_vs_bank")

    assert {row: status for (source, row), (status, _) in statuses.items() if source == "psp"} == {
        "1": "matched",
        "2": "matched",
        "3": "unmatched",
    }
    assert {status for (source, _), (status, _) in statuses.items() if source == "bank"} == {"matched"}


def test_the_same_delivered_again_by_each_door_books_nothing_new(delivered: House) -> None:
    """The unit is recorded as a repeat of the first, the event as a duplicate."""
    with delivered.opened("north") as env:
        before = {source: catalogue.units_of_day(env, source, FIRST) for source in ("shop", "psp", "bank")}
        close = closes.last_close(env, "orders_vs_psp")

    again = delivered.push("north", EVENTS)
    repeat = delivered.upload("north", "psp", PAYMENTS, f"psp-{FIRST}-again.csv", FIRST)
    delivered.drop("north", {f"bank/statement-{FIRST}-again.xml": STATEMENT})
    delivered.wait_until_quiet("north")

    assert again.status_code == 200
    assert repeat.repeat_of == before["psp"][0].id
    with delivered.opened("north") as env:
        assert [unit.repeat_of for unit in catalogue.units_of_day(env, "bank", FIRST)] == [None, before["bank"][0].id]
        assert catalogue.units_of_day(env, "shop", FIRST) == before["shop"]
        assert closes.last_close(env, "orders_vs_psp") == close
    assert len(delivered.live("north", "psp")) == 3
    assert len(delivered.live("north", "bank")) == 2


def test_dagster_knows_no_order_number(delivered: House) -> None:
    """Of runs, events, checks, ticks and everything else: every row of every table of its database."""
    with delivered.dagsters_database() as connection:
        tables = connection.scalars(sa.text("select tablename from pg_tables where schemaname = 'public'")).all()
        rows = {
            table: connection.scalars(
                sa.text(f'select count(*) from "{table}" t where t::text like :canary'),  # noqa: S608 - its own tables
                {"canary": f"%{CANARY}%"},
            ).one()
            for table in tables
        }
        events = connection.scalars(sa.text("select count(*) from event_logs")).one()

    assert events > 0
    assert {table: count for table, count in rows.items() if count} == {}


# --- A range backfill, as the UI sends it -----------------------------------------------------------------------------

RANGE = DAYS[:4]
BAD = RANGE[2]


@pytest.fixture(scope="module")
def backfilled(house: House) -> Iterator[House]:
    """Four days of statements at south, one of whose balances do not add up; taken in by one backfill."""
    client = client_of(house.home)
    selector = {
        "repositoryName": "__repository__",
        "repositoryLocationName": "actuals",
        "sensorName": "arrivals_asia_tokyo",
    }
    _stop(client, selector)  # else it would be quicker than the backfill
    house.drop("south", {f"bank/statement-{day}.xml": _statement(day) for day in RANGE})
    assets = [("south", "bank", step) for step in STEPS]
    backfill = client.backfill(assets, RANGE, "a range with a bad day")
    wait_for(lambda: _status(client, backfill).startswith(("COMPLETED", "FAILED")), 180)
    yield house
    client.ask(_START, selector=selector)


def _statement(day: date) -> bytes:
    """10.00 comes in a day, and each day opens as the one before should close; the bad one closes a cent off."""
    opening = 100 + 10 * RANGE.index(day)
    closing = f"{opening + 10}.{'01' if day == BAD else '00'}"
    return statement(day, f"{opening}.00", closing, [(f"{day:%d}", "10.00")])


def _stop(client: DagsterClient, selector: dict[str, str]) -> None:
    state = client.ask(_SENSOR, selector=selector)["sensorOrError"]["sensorState"]
    assert client.ask(_STOP, id=state["id"])["stopSensor"]["__typename"] == "StopSensorMutationResult"


def _status(client: DagsterClient, backfill: str) -> str:
    return str(client.ask(_BACKFILL, id=backfill)["partitionBackfillOrError"]["status"])


def test_of_a_range_with_a_bad_day_the_other_days_are_published(backfilled: House) -> None:
    with backfilled.opened("south") as env:
        assert catalogue.published_days(env, "bank") == tuple(day for day in RANGE if day != BAD)
        [(unit, held)] = catalogue.held(env)

    assert unit.partition == BAD
    assert [check["check"] for check in held.checks if check["outcome"] == "failed"] == ["totals_agree"]
    assert len(backfilled.live("south", "bank")) == 3


def test_the_range_was_one_run(backfilled: House) -> None:
    """A run a day would cost thirty starts for a month."""
    with backfilled.dagsters_database() as connection:
        query = "select count(distinct run_id) from run_tags where key = 'dagster/backfill'"
        assert connection.scalars(sa.text(query)).one() == 1


def test_each_day_has_its_own_verdict_and_each_check_its_own_history(backfilled: House) -> None:
    """As Dagster's event log has it: the bad day failed its totals, the others passed."""
    with backfilled.dagsters_database() as connection:
        query = "select event from event_logs where dagster_event_type = 'ASSET_CHECK_EVALUATION'"
        found = [json.loads(event) for event in connection.scalars(sa.text(query))]
    verdicts = {}
    for event in found:
        data = event["dagster_event"]["event_specific_data"]
        if data["asset_key"]["path"] == ["south", "bank", "validated"] and data.get("partition"):
            verdicts[data["check_name"], date.fromisoformat(data["partition"])] = data  # `passed` is "success" here

    failed = {name: [day for day in RANGE if not verdicts[name, day]["success"]] for name in CHECKS}
    after = RANGE[3]  # opens with another balance than the bad day closed with
    failing = {"verdict": [BAD, after], "totals_agree": [BAD], "continuity": [after]}
    assert {name: days for name, days in failed.items() if days} == failing
    assert verdicts["verdict", BAD]["description"] == "held by: totals_agree"
    assert verdicts["verdict", after]["description"] == "warned by: continuity"


def test_the_good_days_are_materialized_and_the_bad_one_is_not(backfilled: House) -> None:
    with backfilled.dagsters_database() as connection:
        query = (
            "select distinct partition from event_logs where dagster_event_type = 'ASSET_MATERIALIZATION' "
            "and asset_key = :key"
        )
        days = connection.scalars(sa.text(query), {"key": json.dumps(["south", "bank", "stored"])}).all()

    # The sensor may have looked before the backfill: what no unit names yet counts as today's, out of the range.
    in_range = {str(day) for day in RANGE}
    assert sorted(in_range & set(days)) == [str(day) for day in RANGE if day != BAD]
