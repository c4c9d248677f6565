"""Options that every command spells alike."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import click

from actuals_pipelines.settings import Home, find_home


class Day(click.DateTime):
    """A day as YYYY-MM-DD; what a command is given is its midnight."""

    name = "day"

    def __init__(self) -> None:
        super().__init__(["%Y-%m-%d"])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse with what to write instead."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is no day. Write it as YYYY-MM-DD, for example 2026-01-30.", param, ctx)


DAY = Day()


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--json`: one JSON document on standard output, nothing else there."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)


def home_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--home FOLDER`, handed over as `home: Home`."""

    def find(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Home:
        return find_home(value)

    words = "The home's folder [default: ACTUALS_HOME, else .actuals here or above]."
    return click.option("--home", callback=find, metavar="FOLDER", help=words)(command)


def print_json(document: Any) -> None:
    """Print one JSON document; dates and ids as text."""
    click.echo(json.dumps(document, default=str, ensure_ascii=False, indent=2))


def tenant_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`[TENANT]` or `--tenant NAME`, one of them, handed over as `tenant: str`; stands first among the arguments."""

    @functools.wraps(command)
    def either(**given: Any) -> Any:
        named, key_id = given.pop("tenant_option"), given.get("key_id")
        if named is not None and given["tenant"] is not None and "key_id" in given and key_id is None:
            given["tenant"], given["key_id"] = None, given["tenant"]  # the one argument is the key's id
        if (named is None) == (given["tenant"] is None):
            raise click.UsageError("Name the tenant once: as the first argument, or with --tenant.")
        if "key_id" in given and given["key_id"] is None:
            raise click.UsageError("Missing argument 'KEY_ID'.")
        return command(**{**given, "tenant": named or given["tenant"]})

    words = "The tenant, in place of the first argument."
    option = click.option("--tenant", "tenant_option", metavar="NAME", help=words)
    return click.argument("tenant", required=False)(option(either))
