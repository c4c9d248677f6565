"""A process that publishes or closes as Dagster's steps do, and stands still at a named point, to be killed there.

Run as `python -m`; its orders come as JSON on standard input. It prints "stopped" when it stands still. How it stops
is the store's: `store/stopping_child.py`; here the operations run in a real home.
"""

from __future__ import annotations

import json
import sys

import sqlalchemy as sa

from actuals_pipelines.operations import reconcile, take_in
from actuals_pipelines.operations.loaded import load_tenant
from actuals_pipelines.operations.units import source_of
from actuals_pipelines.settings import find_home
from actuals_pipelines.store import files
from actuals_pipelines_tests.journeys.crashes import with_known_keys
from actuals_pipelines_tests.journeys.house import DAYS
from actuals_pipelines_tests.store.stopping_child import _stop_if_writing, _stopping


def main() -> None:
    """Open the tenant, arm the point, and go."""
    orders = json.load(sys.stdin)
    loaded = load_tenant(find_home(orders["home"]), orders["tenant"])
    with loaded.opened("a test") as opened:
        env = with_known_keys(opened)
        if orders["point"] == "before commit":
            sa.event.listen(env.engine, "commit", _stop_if_writing)
        else:
            files.write = _stopping(files.write, after=int(orders["point"]))  # type: ignore[assignment]
        if orders["work"] == "publish":
            take_in.publish(env, source_of(env, "psp"), DAYS[:2])
        else:
            reconcile.close(env, loaded.tenant.package("psp_vs_bank"), DAYS[:2])
    sys.stdout.write("finished\n")


if __name__ == "__main__":
    main()
