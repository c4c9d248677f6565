"""A tenant with a process of its own, in a home that runs: it is taken up, works, and its fall stays its own."""

from __future__ import annotations

from actuals_pipelines.operations.health import location_health
from actuals_pipelines.operations.reload import reload_and_wait
from actuals_pipelines.operations.running import dagster_of, must_run
from actuals_pipelines_tests.journeys.house import DAYS, TENANT, House, psp_file, wait_for

APART = TENANT.replace("name: {name}\n", "name: {name}\nisolation: process\n", 1)


def test_web_and_daemon_take_up_a_tenant_with_a_process_of_its_own(house: House) -> None:
    """The daemon's sensors see what it uploads, and its own process takes it in."""
    west = house.add_tenant("west", "America/New_York", APART)

    assert reload_and_wait(house.home, west.tenant, west.ref)

    locations = dagster_of(house.home, must_run(house.home)).locations_of_assets()
    assert {name for path, name in locations.items() if path[0] == "west"} == {"tenant_west"}
    assert {name for path, name in locations.items() if path[0] == "north"} == {"actuals"}
    house.upload("west", "psp", psp_file(f"1,order-w1,10.00,EUR,{DAYS[1]},"), "psp.csv", DAYS[1])
    house.wait_until_quiet("west")
    assert house.live("west", "psp") == {"1": 1000}


def test_a_location_that_cannot_load_stops_no_other(house: House) -> None:
    """Its view is spoilt: Dagster shows it as broken, the others reload and work."""
    [view] = house.home.projected("tenant_west").locations.iterdir()
    view.write_bytes(b"spoilt")
    client = dagster_of(house.home, must_run(house.home))

    assert client.reload_workspace() == {"actuals": True, "tenant_west": False}

    client.reload("actuals")
    states = {one.name: one.healthy for one in location_health(house.home)}
    assert states == {"actuals": True, "tenant_west": False}
    west = house.tenant("west")
    assert reload_and_wait(house.home, west.tenant, west.ref)  # what an operator's next apply does
    wait_for(lambda: all(one.healthy for one in location_health(house.home)), 180)
