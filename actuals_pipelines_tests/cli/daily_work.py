"""A home with one tenant whose day went from two files to a close, for the tests of the commands of daily work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest

from actuals_pipelines.operations import reconcile, take_in
from actuals_pipelines.operations.loaded import load_tenant
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines.settings import find_home
from actuals_pipelines_tests.cli.test_tenants import Shell

DAY = date(2026, 2, 3)
CANARY = "canary-7b1f"

TENANT = """\
name: acme
time_zone: Europe/Amsterdam
start: 2026-01-01
ids:
  order: {field: transaction_id, find: "(?i)order-[0-9a-z-]+", clean: lower}
sources:
- name: shop
  kind: upload
  format: csv
  mapping: {row_id: line, transaction_id: order_id, amount: total, currency: currency, booked_on: day}
- name: psp
  kind: upload
  format: csv
  mapping: {transaction_id: reference, amount: gross, currency: currency, booked_on: day}
- name: hook
  kind: inbox
  format: ndjson
  mapping: {transaction_id: id, amount: total, currency: currency, timestamp: at}
packages:
- name: orders_vs_psp
  question: Is every order paid for its exact amount?
  soll: [{source: shop}]
  ist: [{source: psp}]
  due: {ist: 1 business days}
  passes: [{name: order number, by: order}]
  explanations:
  - {name: fee kept, category: fee, when: "balance_difference = money('0.35 EUR')"}
- name: hooks_vs_psp
  soll: [{source: hook}]
  ist: [{source: psp}]
"""

SHOP = f"""\
line,order_id,total,currency,day
1,order-1,60.00,EUR,2026-02-01
2,order-2,10.00,EUR,2026-02-01
3,order-3,20.00,EUR,2026-01-05
4,order-{CANARY},500,JPY,2026-02-01
"""
PSP = """\
reference,gross,currency,day
ORDER-1,60.00,EUR,2026-02-01
order-2,9.65,EUR,2026-02-02
order-4,20.00,EUR,2026-01-05
=order-5,7.00,EUR,2026-02-02
order-6,7.001,EUR,2026-02-02
"""


@contextmanager
def a_home(folder: Path) -> Iterator[Shell]:
    """A home whose database server runs for as long as the block, so that no command must start it."""
    shell = Shell(folder)
    assert shell.run("init").returncode == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACTUALS_KEYS", str(folder / "keys"))
        with running_postgres(find_home(start=folder)):
            yield shell


def a_day_of_work(shell: Shell) -> None:
    """Make the tenant, upload both files, take them in and close the day, as `actuals run` would."""
    folder = shell.folder
    assert shell.json("tenant", "apply", shell.file(TENANT))["is_new"]
    for name, text in (("shop", SHOP), ("psp", PSP)):
        (folder / f"{name}-{DAY}.csv").write_text(text)
        assert shell.json("source", "upload", "acme", name, f"{name}-{DAY}.csv")["day"] == str(DAY)
    take_in_and_close(folder, closes=False)
    # One of five records was rejected, which is more than one in twenty: the unit waits for a person.
    [held] = json.loads(shell.run("day", "acme", "psp", str(DAY), "--json").stdout)["units"]
    with one_person_alone(shell):
        assert shell.json("source", "release", "acme", held["unit"], "--reason", "a known typo")["state"] == "passed"
    take_in_and_close(folder)


@contextmanager
def one_person_alone(shell: Shell) -> Iterator[None]:
    """The home without the rule of four eyes."""
    file = shell.folder / ".actuals" / "home.json"
    as_it_was = file.read_text()
    file.write_text(json.dumps(json.loads(as_it_was) | {"four_eyes": False}))
    yield
    file.write_text(as_it_was)


def take_in_and_close(
    folder: Path, day: date = DAY, sources: tuple[str, ...] = ("shop", "psp"), *, closes: bool = True
) -> None:
    """What Dagster's two jobs call."""
    home = find_home(start=folder)
    loaded = load_tenant(home, "acme")
    with loaded.opened("test") as environment:
        for name in sources:
            source = loaded.tenant.source(name)
            take_in.validate(environment, source, [day])
            take_in.publish(environment, source, [day])
        if closes:
            reconcile.close(environment, loaded.tenant.package("orders_vs_psp"), [day])
        environment.close()
