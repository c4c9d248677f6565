"""`actuals source`: list a tenant's sources, hand a file over, let a held unit through with four eyes."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

import click

from actuals_pipelines.cli.options import DAY, home_option, json_option, print_json
from actuals_pipelines.cli.page import Page, size
from actuals_pipelines.cli.progress import Progress
from actuals_pipelines.cli.source_preview import preview_
from actuals_pipelines.cli.source_remote import connect_, host_key_, public_key_
from actuals_pipelines.landing import look_again, unclaimed
from actuals_pipelines.operations.loaded import load_tenant
from actuals_pipelines.operations.releases import approve_release, ask_release, asked_release, follow_policy
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines.operations.units import source_of, source_states, upload, upload_day
from actuals_pipelines.report.words import check_in_words
from actuals_pipelines.settings import Home, operator, operator_name


@click.group()
def source() -> None:
    """A tenant's sources: the systems that deliver its transactions."""


for _command in (preview_, connect_, public_key_, host_key_):
    source.add_command(_command)


@source.command("list")
@click.argument("tenant")
@home_option
@json_option
def list_(*, tenant: str, home: Home, as_json: bool) -> None:
    """List TENANT's sources and how far each is."""
    with running_postgres(home):
        loaded = load_tenant(home, tenant)
        with loaded.opened("source list") as environment:
            states = source_states(environment, now=datetime.now(UTC))
    documents = [
        {
            "name": one.source.name,
            "kind": one.source.kind.value,
            "format": one.source.format,
            "publishes": one.source.publishes.value,
            "live_rows": one.live_rows,
            "last_published": one.last_published,
            "days_waiting": list(one.days_waiting),
            "units_held": one.units_held,
        }
        for one in states
    ]
    if as_json:
        print_json({"tenant": tenant, "sources": documents})
        return
    rows = [(*each.values(),) for each in documents]
    header = ("source", "kind", "format", "publishes", "live rows", "last published", "days waiting", "units held")
    Page().table(header, [(*row[:6], len(cast("list[object]", row[6])), row[7]) for row in rows])


@source.command("upload")
@click.argument("tenant")
@click.argument("name", metavar="SOURCE")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--day",
    type=DAY,
    metavar="DATE",
    help="The day it belongs to [default: the day in the file's name, else today in the tenant's time zone].",
)
@home_option
@json_option
def upload_(*, tenant: str, name: str, file: Path, day: datetime | None, home: Home, as_json: bool) -> None:
    """Hand FILE over to TENANT's SOURCE; it is sealed as it is read. The next run takes it in."""
    progress = Progress(silent=as_json)
    with running_postgres(home):
        loaded = load_tenant(home, tenant)
        with loaded.opened("source upload") as environment:
            chosen = source_of(environment, name)
            of = day.date() if day else upload_day(environment, file.name, now=datetime.now(UTC))
            with file.open("rb") as stream:
                told = cast("BinaryIO", _Told(stream, file, progress))
                unit = upload(environment, chosen, told, name=file.name, day=of)
    progress.done()
    if as_json:
        print_json(
            {
                "tenant": tenant,
                "source": name,
                "unit": unit.id,
                "day": unit.partition,
                "size_bytes": unit.size_bytes,
                "repeat_of": unit.repeat_of,
            }
        )
        return
    click.echo(f"Landed: unit {unit.id}, {size(unit.size_bytes)}, for {unit.partition}.")
    if unit.repeat_of:
        click.echo(f"The same content as unit {unit.repeat_of}: it is recorded and will not be processed again.")
        return
    click.echo(f"Next: actuals run {tenant} --from {unit.partition}")


@source.command("arrivals")
@click.argument("tenant")
@home_option
@json_option
def arrivals_(*, tenant: str, home: Home, as_json: bool) -> None:
    """List what doors left for TENANT and no unit was made of: it waits, no source takes it, or it was refused.

    Exit 0: nothing was refused; 1: something was.
    """
    with running_postgres(home):
        loaded = load_tenant(home, tenant)
        with loaded.opened("source arrivals") as environment:
            found = unclaimed(environment)
    if as_json:
        print_json({"tenant": tenant, "arrivals": [asdict(one) for one in found]})
    elif not found:
        click.echo("Nothing waits: a unit was made of everything that arrived.")
    for one in [] if as_json else found:
        waits = f"waits for `actuals run {tenant}`" if one.source else "no source of the tenant takes it"
        at = f"{one.received_at:%Y-%m-%d %H:%M} UTC"
        click.echo(f"{one.arrival_id}  {one.source or '?'}  {at}  {size(one.size_bytes)}  {one.name or ''}")
        click.echo(f"  refused: {one.refused}" if one.refused else f"  {waits}")
    sys.exit(1 if any(one.refused for one in found) else 0)


@source.command("look-again")
@click.argument("tenant")
@click.argument("arrival")
@home_option
@json_option
def look_again_(*, tenant: str, arrival: str, home: Home, as_json: bool) -> None:
    """Let a refused ARRIVAL of TENANT be looked at once more, after its file was restored from a backup."""
    with running_postgres(home):
        loaded = load_tenant(home, tenant)
        with loaded.opened("source look-again") as environment:
            look_again(environment, arrival)
    if as_json:
        print_json({"tenant": tenant, "arrival": arrival, "state": "waits"})
    else:
        click.echo(f"Arrival {arrival} waits again. The next run looks at it: actuals run {tenant}")


@source.command("release")
@click.argument("tenant")
@click.argument("unit")
@click.option("--reason", required=True, help="Why it may be let through; kept sealed in the audit.")
@home_option
@json_option
def release_(*, tenant: str, unit: str, reason: str, home: Home, as_json: bool) -> None:
    """Ask to let a held UNIT of TENANT through; another person approves it with `actuals source approve`.

    Where home.json says `"four_eyes": false`, one person is enough and the unit is let through at once.
    """
    if not reason.strip():
        raise click.UsageError("--reason must say why: an auditor will read it.")
    with running_postgres(home) as platform:
        loaded = load_tenant(home, tenant)
        follow_policy(platform, loaded.ref)
        with loaded.opened("source release") as environment:
            asked = ask_release(environment, unit, reason=reason, by=operator())
            after = None if home.four_eyes else approve_release(environment, unit, by=operator())
    if as_json:
        state = after.state.value if after else "held"
        print_json(
            {"tenant": tenant, "unit": unit, "state": state, "asked_by": asked.asked_by, "four_eyes": home.four_eyes}
        )
    elif after:
        click.echo(f"Released by one person (four eyes are off): unit {unit}. The next run publishes it:")
        click.echo(f"  actuals run {tenant}")
    else:
        click.echo(
            f"Asked by {operator_name(asked.asked_by)}: release of unit {unit}. Another person approves it with:"
        )
        click.echo(f"  actuals source approve {tenant} {unit}")


@source.command("approve")
@click.argument("tenant")
@click.argument("unit")
@click.option("--yes", is_flag=True, help="Do not ask again.")
@home_option
@json_option
def approve_(*, tenant: str, unit: str, yes: bool, home: Home, as_json: bool) -> None:
    """Approve the release of a held UNIT of TENANT that another person asked for; the next run publishes it.

    Shows what did not pass and the reason given, and asks. Who you are is the login's user, through sudo too.
    Exit 0: let through; 1: not approved; 2: refused.
    """
    with running_postgres(home) as platform:
        loaded = load_tenant(home, tenant)
        follow_policy(platform, loaded.ref)
        with loaded.opened("source approve") as environment:
            held, asked = asked_release(environment, unit)
            if not as_json:
                click.echo(f"Unit {unit} is held:")
                for check in held.checks:
                    if check["outcome"] != "passed":
                        click.echo(f"  {check['check']}: {check_in_words(check)}")
                click.echo(f"{operator_name(asked.asked_by)} asks to release it: {asked.reason}")
            if not yes and (as_json or not click.confirm("Approve?")):
                if as_json:
                    print_json({"tenant": tenant, "unit": unit, "state": "held", "reason": asked.reason})
                else:
                    click.echo("Nothing was changed.")
                sys.exit(1)
            after = approve_release(environment, unit, by=operator())
    if as_json:
        print_json({"tenant": tenant, "unit": unit, "state": after.state.value, "verdict": "released"})
    else:
        click.echo(f"Released: unit {unit}. The next run publishes it: actuals run {tenant}")


class _Told:
    """A file that tells how far it has been read."""

    def __init__(self, stream: BinaryIO, file: Path, progress: Progress) -> None:
        self._stream, self._progress, self._name = stream, progress, file.name
        self._whole, self._read = file.stat().st_size, 0

    def read(self, count: int = -1) -> bytes:
        chunk = self._stream.read(count)
        self._read += len(chunk)
        self._progress.tell(f"sealing {self._name}: {size(self._read)} of {size(self._whole)}")
        return chunk
