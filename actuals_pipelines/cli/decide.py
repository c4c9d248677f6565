"""`actuals decide`: what people say about rows and groups, in effect at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import click

from actuals_pipelines.cli.options import DAY, home_option, json_option, print_json
from actuals_pipelines.cli.page import Page
from actuals_pipelines.operations import decisions as operations
from actuals_pipelines.operations.decisions import Taken, in_words
from actuals_pipelines.operations.loaded import load_tenant
from actuals_pipelines.operations.releases import follow_policy
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines.settings import Home, operator, operator_name
from actuals_pipelines.store.decisions import Decision
from actuals_pipelines.tenants.environment import TenantEnvironment


@click.group()
def decide() -> None:
    """Decide about rows and groups of TENANT's PACKAGE: SOLL (what should be) against IST (what is).

    A ROW is named as in `actuals find`: by a transaction id, a row's id or its row_uid. A decision is in effect at
    once, in the last close; withdrawn, it leaves nothing behind. Exit 0: decided; 2: refused.
    """


def _common(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        json_option,
        home_option,
        click.option("--attachment", help="Where the evidence lies: a path or a link; kept sealed."),
        click.option("--comment", required=True, help="Why; kept sealed, an auditor will read it."),
    ):
        command = option(command)
    return command


@contextmanager
def _opened(home: Home, tenant: str, place: str) -> Iterator[TenantEnvironment]:
    with running_postgres(home) as platform:
        loaded = load_tenant(home, tenant)
        follow_policy(platform, loaded.ref)
        with loaded.opened(place) as environment:
            yield environment


def _said(comment: str, attachment: str | None) -> dict[str, str]:
    if not comment.strip():
        raise click.UsageError("--comment must say why: an auditor will read it.")
    return {"comment": comment} | ({"attachment": attachment} if attachment else {})


def _show(tenant: str, taken: Taken, *, as_json: bool) -> None:
    one = taken.decision
    if as_json:
        print_json({"tenant": tenant, **_document(one, taken.state), "close": taken.close})
        return
    click.echo(f"{in_words(one)}: {taken.state}. Decision {one.id}, {len(one.rows)} rows of {one.package}.")
    if one.withdrawal is not None and not one.is_withdrawn:
        click.echo(f"Its withdrawal waits for another person: actuals decide approve {tenant} {one.id}")
    elif taken.state == "waits":
        click.echo(f"It moves money, so it waits for another person: actuals decide approve {tenant} {one.id}")
    elif taken.state == "void":
        click.echo(f"It does not hold over these rows as they are now: actuals explain {tenant} ROW")


def _document(one: Decision, state: str) -> dict[str, Any]:
    return {
        "decision": one.id,
        "package": one.package,
        "kind": one.kind,
        "state": state,
        "author": one.author,
        "at": one.at,
        "approved_by": one.approved_by,
        "expires_on": one.expires_on,
        "pass": one.pass_name,
        "rows": [str(row) for row in one.rows],
        **{name: one.detail.get(name) for name in ("comment", "attachment", "category", "amount", "currency")},
    }


@decide.command("match")
@click.argument("tenant")
@click.argument("package")
@click.argument("rows", metavar="ROW...", nargs=-1, required=True)
@_common
def match_(
    *, tenant: str, package: str, rows: tuple[str, ...], comment: str, attachment: str | None, home: Home, as_json: bool
) -> None:
    """Put ROWs together; what leaves a difference beyond the tolerance waits for another person's approval."""
    said = _said(comment, attachment)
    with _opened(home, tenant, "decide match") as env:
        taken = operations.match(env, package, rows, by=operator(), said=said)
    _show(tenant, taken, as_json=as_json)


@decide.command("detach")
@click.argument("tenant")
@click.argument("package")
@click.argument("row")
@_common
def detach_(
    *, tenant: str, package: str, row: str, comment: str, attachment: str | None, home: Home, as_json: bool
) -> None:
    """Let ROW stand alone, whatever ids it carries."""
    said = _said(comment, attachment)
    with _opened(home, tenant, "decide detach") as env:
        taken = operations.detach(env, package, row, by=operator(), said=said)
    _show(tenant, taken, as_json=as_json)


@decide.command("rekey")
@click.argument("tenant")
@click.argument("package")
@click.argument("row")
@click.option("--id", "new_id", required=True, help="The id that the row should carry.")
@click.option("--scheme", help="The id scheme it is of, where several know it.")
@_common
def rekey_(
    *,
    tenant: str,
    package: str,
    row: str,
    new_id: str,
    scheme: str | None,
    comment: str,
    attachment: str | None,
    home: Home,
    as_json: bool,
) -> None:
    """Give ROW another id: it goes where the rows with that id are."""
    said = _said(comment, attachment)
    with _opened(home, tenant, "decide rekey") as env:
        taken = operations.rekey(env, package, row, new_id, scheme=scheme, by=operator(), said=said)
    _show(tenant, taken, as_json=as_json)


@decide.command("explain")
@click.argument("tenant")
@click.argument("package")
@click.argument("group")
@click.option("--category", required=True, help="The explanation's category, in your own words.")
@click.option("--expires", type=DAY, metavar="DATE", help="The last day on which it holds.")
@_common
def explain_(
    *,
    tenant: str,
    package: str,
    group: str,
    category: str,
    expires: datetime | None,
    comment: str,
    attachment: str | None,
    home: Home,
    as_json: bool,
) -> None:
    """Explain an open GROUP, by its id or a row in it; void when its rows or amounts change."""
    said, until = _said(comment, attachment), expires.date() if expires else None
    with _opened(home, tenant, "decide explain") as env:
        taken = operations.explain(env, package, group, category, expires_on=until, by=operator(), said=said)
    _show(tenant, taken, as_json=as_json)


@decide.command("adjust")
@click.argument("tenant")
@click.argument("package")
@click.argument("group")
@click.option("--posted", type=DAY, metavar="DATE", help="The posting date [default: the last close's day].")
@_common
def adjust_(
    *,
    tenant: str,
    package: str,
    group: str,
    posted: datetime | None,
    comment: str,
    attachment: str | None,
    home: Home,
    as_json: bool,
) -> None:
    """Write an open GROUP's difference off, as a row of the source `adjustments`; another person approves it."""
    said, day = _said(comment, attachment), posted.date() if posted else None
    with _opened(home, tenant, "decide adjust") as env:
        taken = operations.adjust(env, package, group, posted_on=day, by=operator(), said=said)
    _show(tenant, taken, as_json=as_json)


@decide.command("approve")
@click.argument("tenant")
@click.argument("decision")
@click.option("--comment", help="What you looked at; kept sealed.")
@home_option
@json_option
def approve_(*, tenant: str, decision: str, comment: str | None, home: Home, as_json: bool) -> None:
    """Approve DECISION, or its withdrawal: of another person, under a login of your own."""
    with _opened(home, tenant, "decide approve") as env:
        taken = operations.approve(env, decision, by=operator(), comment=comment)
    _show(tenant, taken, as_json=as_json)


@decide.command("withdraw")
@click.argument("tenant")
@click.argument("decision")
@click.option("--comment", required=True, help="Why; kept sealed.")
@home_option
@json_option
def withdraw_(*, tenant: str, decision: str, comment: str, home: Home, as_json: bool) -> None:
    """Take DECISION back; what two persons put in force waits for another person's approval."""
    said = _said(comment, None)
    with _opened(home, tenant, "decide withdraw") as env:
        taken = operations.withdraw(env, decision, by=operator(), comment=said["comment"])
    _show(tenant, taken, as_json=as_json)


@decide.command("list")
@click.argument("tenant")
@click.argument("package", required=False)
@home_option
@json_option
def list_(*, tenant: str, package: str | None, home: Home, as_json: bool) -> None:
    """List what was decided, and what became of it."""
    with _opened(home, tenant, "decide list") as env:
        found = operations.listed(env, package)
    if as_json:
        print_json({"tenant": tenant, "decisions": [_document(one, state) for one, state in found]})
        return
    if not found:
        click.echo("Nobody has decided anything yet.")
        return
    header = ("decision", "package", "what", "state", "rows", "by", "approved by", "at", "comment")
    rows = [
        (one.id, one.package, in_words(one), state, len(one.rows), operator_name(one.author),
         operator_name(one.approved_by) if one.approved_by else None, f"{one.at:%Y-%m-%d %H:%M} UTC",
         one.detail.get("comment"))
        for one, state in found
    ]  # fmt: skip
    Page().table(header, rows)
