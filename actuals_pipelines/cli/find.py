"""`actuals find`: one transaction through all sources and packages."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import click

from actuals_pipelines.cli.options import home_option, json_option, print_json
from actuals_pipelines.cli.page import Page, money
from actuals_pipelines.operations.loaded import load_tenant
from actuals_pipelines.operations.reports import found_by
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines.report.find import Found
from actuals_pipelines.settings import Home


@click.command()
@click.argument("tenant")
@click.argument("id_", metavar="ID")
@home_option
@json_option
def find(*, tenant: str, id_: str, home: Home, as_json: bool) -> None:
    """Follow TENANT's ID through all sources and packages: order - payment - payout - bank.

    ID is a transaction id, a row's id or row_uid, or a group id; each step goes from SOLL (what should be) to
    IST (what is) or back. Exit 0: found; 2: nothing has this id.
    """
    with running_postgres(home):
        loaded = load_tenant(home, tenant)
        with loaded.opened("find") as environment:
            found = found_by(environment, id_)
    if as_json:
        print_json(
            {
                "tenant": tenant,
                "amounts_in": "minor units",
                "rows": found.rows.to_pylist(),
                "outcomes": found.outcomes.to_pylist(),
                "left_out": found.left_out,
            }
        )
        return
    _show(Page(), found, tenant)


def _show(screen: Page, found: Found, tenant: str) -> None:
    outcomes: dict[UUID, list[dict[str, Any]]] = {}
    for outcome in found.outcomes.to_pylist():
        outcomes.setdefault(outcome["row_uid"], []).append(outcome)
    rows = found.rows.to_pylist()
    for step in sorted({row["step"] for row in rows}):
        of_step = [row for row in rows if row["step"] == step]
        words = "Carries the id" if step == 0 else f"Step {step}: on the other side of its groups"
        (screen.title if step == 0 else screen.heading)(words)
        screen.table(
            ("source", "kind", "row", "transaction id", "booked", "amount", "status"),
            [
                (r["source"], r["kind"], r["row_id"], r["transaction_id"], r["booked_on"],
                 money(r["amount"], r["currency"]), _in_packages(outcomes.get(r["row_uid"], [])))
                for r in of_step
            ],
        )  # fmt: skip
    if found.left_out:
        screen.line(f"... and {found.left_out} rows more, which were not followed.")
    screen.heading("Next")
    screen.line(f"  actuals explain {tenant} ID    why a row has its status")


def _in_packages(outcomes: list[dict[str, Any]]) -> str:
    if not outcomes:
        return "in no close of a package"
    return ", ".join(
        f"{o['status']} in {o['package']} as {o['side'].upper()}" + (f" ({o['reason']})" if o["reason"] else "")
        for o in outcomes
    )
