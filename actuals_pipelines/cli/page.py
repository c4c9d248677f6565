"""What people read on a screen: headings, lines and tables; aligned text, or rich tables on a terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any

import click

from actuals_pipelines.domain.money import Money

_NUMBER = re.compile(r"-?[0-9]+([.][0-9]+)?( [A-Z]{3}| %)?|-")

COLOURS = {"matched": "green", "explained": "yellow", "unmatched": "red", "not_processed": "cyan"}


class Page:
    """Prints to standard output. Texts come from customers' files, so what could steer a terminal is left out."""

    def __init__(self) -> None:
        self._console: Any = None
        if sys.stdout.isatty():
            from rich.console import Console  # noqa: PLC0415 - a pipe needs no colours

            self._console = Console(highlight=False, soft_wrap=True)

    def title(self, words: str) -> None:
        """The first line of a page."""
        click.secho(plain(words), bold=True)

    def heading(self, words: str) -> None:
        """A heading after an empty line."""
        click.echo()
        click.secho(plain(words), bold=True)

    def line(self, words: str, colour: str | None = None) -> None:
        """One line as it is."""
        click.secho(plain(words), fg=colour)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Columns under their names; counts and amounts line up at their right."""
        cells = [["" if cell is None else plain(str(cell)) for cell in row] for row in rows]
        right = [_is_number([row[place] for row in cells]) for place in range(len(header))]
        widths = [max(len(row[place]) for row in [list(header), *cells]) for place in range(len(header))]
        # Made to fit a narrow terminal, an amount would be cut or broken in two, and misread.
        if self._console is not None and sum(widths) + 2 * len(widths) <= self._console.width:
            self._rich(header, cells, right)
            return
        for row in [list(header), *cells]:
            aligned = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)]
            click.echo(f"  {'  '.join(aligned)}".rstrip())

    def _rich(self, header: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool]) -> None:
        from rich.markup import escape  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415

        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for name, is_right in zip(header, right, strict=True):
            table.add_column(name, justify="right" if is_right else "left", no_wrap=True)
        for row in cells:
            table.add_row(*(escape(cell) for cell in row))
        self._console.print(table)


def money(minor_units: int, currency: str) -> str:
    """1234567 minor units of EUR as "12345.67 EUR"."""
    return str(Money(minor_units, currency))


def size(size_bytes: int) -> str:
    """Bytes as people say them."""
    return f"{size_bytes / 1_000_000:.1f} MB" if size_bytes >= 1_000_000 else f"{size_bytes / 1000:.1f} kB"


def plain(text: str) -> str:
    """The text without line ends, tabs and control characters, each shown as a blank."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _is_number(texts: Sequence[str]) -> bool:
    """A column of counts, amounts or percentages, and no dates."""
    some = [text for text in texts if text]
    return bool(some) and all(_NUMBER.fullmatch(text) is not None for text in some)
