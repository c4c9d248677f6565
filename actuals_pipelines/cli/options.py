"""Options that every command spells alike."""

from __future__ import annotations

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
