"""What a sensor asks for: once for the same work, later after a failure, at once when something new has landed."""

from __future__ import annotations

import time
from datetime import date
from uuid import uuid4

import dagster as dg
import pytest

from actuals_pipelines.orchestration.sensors import BACK_OFF_SECONDS, MAX_ATTEMPTS, WORK_TAG, run_request

ASSET = dg.AssetKey(["acme", "bank", "raw"])
FIRST, LAST = date(2026, 11, 16), date(2026, 11, 20)


def asked(instance: dg.DagsterInstance, mark: str, after_seconds: float = 0) -> dg.RunRequest | None:
    """What a sensor would ask for, so many seconds from now."""
    now = time.time() + after_seconds
    return run_request(assets=[ASSET], first=FIRST, last=LAST, marks={"acme": mark}, instance=instance, now=now)


def ran(instance: dg.DagsterInstance, request: dg.RunRequest, status: dg.DagsterRunStatus) -> None:
    """The request became a run that ended so."""
    run = dg.DagsterRun(job_name="take_in_utc", run_id=str(uuid4()), status=status, tags=dict(request.tags))
    instance.add_run(run)


def test_a_run_covers_the_range_and_says_whose_it_is() -> None:
    """The tags that Dagster needs for a range, and the tenants for whoever looks."""
    with dg.DagsterInstance.ephemeral() as instance:
        request = asked(instance, "1")

    assert request is not None
    assert request.asset_selection == [ASSET]
    assert request.tags["dagster/asset_partition_range_start"] == "2026-11-16"
    assert request.tags["dagster/asset_partition_range_end"] == "2026-11-20"
    assert request.tags["actuals/tenants"] == "acme"


def test_the_same_work_has_the_same_key_until_it_ran() -> None:
    """Two ticks before the run shows up ask for one run."""
    with dg.DagsterInstance.ephemeral() as instance:
        first, again = asked(instance, "1"), asked(instance, "1")
        assert first is not None and again is not None
        ran(instance, first, dg.DagsterRunStatus.SUCCESS)
        later = asked(instance, "1")

    assert later is not None
    assert first.run_key == again.run_key != later.run_key


def test_work_that_failed_waits_and_is_given_up_at_last() -> None:
    """The pause doubles; after the last attempt only a person helps."""
    with dg.DagsterInstance.ephemeral() as instance:
        for failure in range(MAX_ATTEMPTS):
            pause = BACK_OFF_SECONDS * 2**failure + 1
            request = asked(instance, "1", pause)
            assert request is not None
            ran(instance, request, dg.DagsterRunStatus.FAILURE)

            assert asked(instance, "1") is None

        assert asked(instance, "1", 10**6) is None


@pytest.mark.parametrize("failures", [1, MAX_ATTEMPTS])
def test_what_lands_after_a_failure_does_not_wait(failures: int) -> None:
    """A held file must not keep the next one of its source and day out."""
    with dg.DagsterInstance.ephemeral() as instance:
        request = asked(instance, "1")
        assert request is not None
        for _ in range(failures):
            ran(instance, request, dg.DagsterRunStatus.FAILURE)

        assert asked(instance, "1") is None
        another = asked(instance, "2")

    assert another is not None
    assert another.tags[WORK_TAG] != request.tags[WORK_TAG]
