"""`actuals explain`: why a row has its status."""

from __future__ import annotations

import click

from actuals_pipelines.cli.options import home_option, json_option, print_json
from actuals_pipelines.cli.page import COLOURS, Page, money
from actuals_pipelines.operations.loaded import load_tenant
from actuals_pipelines.operations.reports import explanations
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines.report.explain import Explanation, as_document
from actuals_pipelines.settings import Home


@click.command()
@click.argument("tenant")
@click.argument("id_", metavar="ID")
@click.option("--package", help="Only in this package.")
@home_option
@json_option
def explain(*, tenant: str, id_: str, package: str | None, home: Home, as_json: bool) -> None:
    """Say why TENANT's ID is matched, explained or open: SOLL (what should be) against IST (what is).

    ID is a transaction id, a row's id or row_uid, or a group id. Exit 0: found; 2: nothing has this id.
    """
    with running_postgres(home):
        loaded = load_tenant(home, tenant)
        with loaded.opened("explain") as environment:
            found = explanations(environment, id_, package)
    if as_json:
        print_json({"tenant": tenant, "amounts_in": "minor units", "explanations": [as_document(one) for one in found]})
        return
    screen = Page()
    for number, one in enumerate(found):
        if number:
            screen.line("")
        _show(screen, one)


def _show(screen: Page, one: Explanation) -> None:
    first, *others = one.sentences
    screen.line(first, COLOURS.get(one.status))
    for sentence in others:
        screen.line(sentence)
    screen.heading(f"Its rows: {one.row_count}")
    screen.table(
        ("side", "source", "kind", "row", "transaction id", "booked", "amount", "taken in"),
        [
            (r["side"].upper(), r["source"], r["kind"], r["row_id"], r["transaction_id"], r["booked_on"],
             money(r["amount"], r["currency"]), r["taken_in"])
            for r in one.rows.to_pylist()
        ],
    )  # fmt: skip
    if one.row_count > one.rows.num_rows:
        screen.line(f"  ... and {one.row_count - one.rows.num_rows} more")
    if one.candidates.num_rows:
        screen.heading("What it nearly matched")
        screen.table(
            ("side", "source", "row", "transaction id", "booked", "amount", "fits", "fails"),
            [
                (c["side"].upper(), c["source"], c["row_id"], c["transaction_id"], c["booked_on"],
                 money(c["amount"], c["currency"]), c["fits"], c["fails"])
                for c in one.candidates.to_pylist()
            ],
        )  # fmt: skip
    if one.group_id:
        screen.line(f"Group {one.group_id}")
