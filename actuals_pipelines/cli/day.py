"""`actuals day`: what a source delivered for a day, and what became of it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

import click

from actuals_pipelines.cli.options import DAY, home_option, json_option, print_json
from actuals_pipelines.cli.page import Page, money, plain, size
from actuals_pipelines.domain.unit import GenerationState
from actuals_pipelines.landing import Unclaimed, refused_on, unit_name
from actuals_pipelines.operations.days import statement_findings
from actuals_pipelines.operations.loaded import load_tenant
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines.operations.units import is_unreadable, rejects_of, source_of
from actuals_pipelines.report.words import FINDINGS, check_in_words, plural
from actuals_pipelines.settings import Home, operator_name
from actuals_pipelines.store import catalogue, releases
from actuals_pipelines.store.generations import Generation
from actuals_pipelines.store.releases import Release
from actuals_pipelines.validate import Finding

REJECTS_SHOWN = 50


@click.command()
@click.argument("tenant")
@click.argument("source")
@click.argument("day_", metavar="DATE", type=DAY)
@click.option("--rejects", "wants_rejects", is_flag=True, help="List rejected records: line, field and reason.")
@home_option
@json_option
def day(*, tenant: str, source: str, day_: datetime, wants_rejects: bool, home: Home, as_json: bool) -> None:
    """Show the units of TENANT's SOURCE on DATE: verdicts, failed checks, what is live, which closes took it in,
    and between which balances a statement is missing, doubled or late.

    Exit 0: nothing is held; 1: a unit is held, or a delivery was refused; 2: refused or failed.
    """
    with running_postgres(home):
        loaded = load_tenant(home, tenant)
        with loaded.opened("day") as environment:
            chosen = source_of(environment, source)
            units = catalogue.day(environment, source, day_.date())
            made = [one.id for history in units for one in history.generations]
            asked = releases.of_generations(environment, made)
            documents = []
            for history in units:
                document = _document(history, unit_name(environment, history.unit), asked)
                if wants_rejects:
                    found = rejects_of(environment, history)
                    document["rejects"] = found.to_pylist() if found is not None else []
                documents.append(document)
            refused = refused_on(environment, source, [day_.date()])
            torn = statement_findings(environment, chosen, day_.date())
    if as_json:
        shown = [asdict(one) for one in refused]
        statements = [one.as_mapping() for one in torn]
        print_json(
            {
                "tenant": tenant,
                "source": source,
                "day": day_.date(),
                "units": documents,
                "refused": shown,
                "statements": statements,
            }
        )
    else:
        page = Page()
        _show(page, documents, f"{tenant} {source} {day_.date()}", tenant)
        _show_refused(page, refused, tenant)
        _show_statements(page, torn)
    held = GenerationState.HELD.value
    is_held = any(one["state"] == held for unit in documents for one in unit["generations"])
    sys.exit(1 if is_held or refused else 0)


def _document(history: catalogue.UnitHistory, name: str | None, asked: Mapping[UUID, Release]) -> dict[str, Any]:
    unit = history.unit
    return {
        "unit": unit.id,
        "name": name,
        "landed_at": unit.landed_at,
        "size_bytes": unit.size_bytes,
        "raw": unit.raw_state,
        "repeat_of": unit.repeat_of,
        "generations": [_generation(one, asked.get(one.id)) for one in history.generations],
        "publications": [
            {"publication": p.id, "published_at": p.published_at, "counts": dict(p.counts)}
            for p in history.publications
        ],
        "closes": [{"package": package, "day": of, "version": version} for package, of, version in history.closes],
    }


def _generation(one: Generation, asked: Release | None) -> dict[str, Any]:
    return {
        "generation": one.id,
        "state": one.state.value,
        "verdict": one.verdict.value if one.verdict else None,
        "is_readable": not is_unreadable(one),
        "counts": dict(one.counts),
        "checks": [dict(check) for check in one.checks],
        "release": None
        if asked is None
        else {
            "asked_by": asked.asked_by,
            "asked_at": asked.asked_at,
            "reason": asked.reason,
            "approved_by": asked.approved_by,
            "approved_at": asked.approved_at,
            "four_eyes": asked.needs_another,
        },
    }


def _show(screen: Page, units: list[dict[str, Any]], name: str, tenant: str) -> None:
    screen.title(f"{name}: {plural(len(units), 'unit')}")
    if not units:
        screen.line("  Nothing was delivered for this day, or it has not been taken in yet.")
    for unit in units:
        screen.heading(f"Unit {unit['unit']}" + (f"  {unit['name']}" if unit["name"] else ""))
        raw = "" if unit["raw"] == "kept" else ", raw destroyed"
        screen.line(f"  landed {unit['landed_at']:%Y-%m-%d %H:%M} UTC, {size(unit['size_bytes'])}{raw}")
        if unit["repeat_of"]:
            screen.line(f"  the same content as unit {unit['repeat_of']}: recorded, not processed")
        elif not unit["generations"]:
            screen.line(f"  not looked at yet: `actuals run {tenant}` takes it in")
        for one in unit["generations"]:
            _show_generation(screen, one, str(unit["unit"]), tenant)
        for published in unit["publications"]:
            at = f"{published['published_at']:%Y-%m-%d %H:%M} UTC"
            screen.line(f"  published {at}: {_counts(published['counts'])}")
        for close in unit["closes"]:
            screen.line(f"  in the close of {close['day']} of {close['package']}, version {close['version']}")
        _show_rejects(screen, unit.get("rejects", []))


def _show_generation(screen: Page, one: dict[str, Any], unit: str, tenant: str) -> None:
    colour = {"held": "red", "published": "green", "superseded": None}.get(one["state"])
    verdict = f", verdict {one['verdict']}" if one["verdict"] not in (None, one["state"]) else ""
    screen.line(f"  {one['state']}{verdict}: {_counts(one['counts'])}", colour)
    for check in one["checks"]:
        if check["outcome"] != "passed":
            words = f"{check['check']} {check['outcome'].replace('_', ' ')} ({check.get('severity', '')})"
            screen.line(f"    {words}: {check_in_words(check)}", "red" if one["state"] == "held" else "yellow")
            if check["check"] == "rejects":
                screen.line("      --rejects lists them")
    asked = one["release"]
    if asked:
        screen.line(f"    release asked for by {operator_name(asked['asked_by'])}: {asked['reason']}")
    if asked and asked["approved_by"]:
        alone = "" if asked["four_eyes"] else ", alone: four eyes were off"
        screen.line(f"    approved by {operator_name(asked['approved_by'])}{alone}")
    elif asked and one["state"] == "held":
        screen.line(f"    waits for another person: actuals source approve {tenant} {unit}")
    elif one["state"] == "held" and one["is_readable"]:
        screen.line(f"    let it through: actuals source release {tenant} {unit} --reason TEXT")


def _show_refused(screen: Page, refused: list[Unclaimed], tenant: str) -> None:
    for one in refused:
        screen.heading(f"Refused arrival {one.arrival_id}" + (f"  {one.name}" if one.name else ""))
        screen.line(f"  {one.refused}", "red")
        screen.line("  its file is kept as it is; ask the sender to deliver it again, or restore it from a backup and")
        screen.line(f"  let it be looked at again: actuals source look-again {tenant} {one.arrival_id}")


def _show_statements(screen: Page, torn: list[Finding]) -> None:
    if torn:
        screen.heading("Statements that do not continue one another")
    for one in torn:
        screen.line(f"  {plain(one.after.account)}: {FINDINGS[one.kind.value]}", "yellow")
        for place, balance, each in (
            ("closes", one.before.closing, one.before),
            ("opens", one.after.opening, one.after),
        ):
            name = plain(" ".join(part for part in (each.statement, each.number) if part)) or "a statement"
            at = each.last_on if place == "closes" else each.first_on
            screen.line(f"    {name} {place} with {money(balance, each.currency)}" + (f" on {at}" if at else ""))


def _show_rejects(screen: Page, rejects: list[dict[str, Any]]) -> None:
    if not rejects:
        return
    shown = [(reject["line"], reject["field"], reject["reason"]) for reject in rejects[:REJECTS_SHOWN]]
    screen.table(("line", "field", "reason"), shown)
    if len(rejects) > REJECTS_SHOWN:
        screen.line(f"  ... and {len(rejects) - REJECTS_SHOWN} more: --json has all")


def _counts(counts: dict[str, Any]) -> str:
    return ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in counts.items() if n) or "nothing in it"
