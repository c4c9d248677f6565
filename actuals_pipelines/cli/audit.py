"""`actuals audit`: what people did to a tenant and its data."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict

import click

from actuals_pipelines.cli.options import home_option, json_option, print_json
from actuals_pipelines.cli.page import Page
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines.settings import Home, operator_name
from actuals_pipelines.tenants.audit import entries
from actuals_pipelines.tenants.environment import open_environment
from actuals_pipelines.tenants.registry import current


@click.group()
def audit() -> None:
    """What people did: every entry was written together with the change itself."""


@audit.command("list")
@click.argument("tenant")
@home_option
@json_option
def list_(*, tenant: str, home: Home, as_json: bool) -> None:
    """List what people did to TENANT, oldest first: in its environments and on the platform."""
    with running_postgres(home) as platform, ExitStack() as stack:
        found = current(platform.control, tenant)
        opened = [open_environment(home, tenant, each) for each in found.environments]
        for environment in opened:
            stack.callback(environment.close)
        listed = entries(opened, platform.control, found.uuid)
    if as_json:
        print_json({"tenant": tenant, "entries": [asdict(entry) for entry in listed]})
        return
    header = ("at (UTC)", "who", "did", "with", "saying")
    rows = [
        (f"{one.at:%Y-%m-%d %H:%M:%S}", operator_name(one.actor), one.action, one.about, one.detail or "")
        for one in listed
    ]
    Page().table(header, rows)
