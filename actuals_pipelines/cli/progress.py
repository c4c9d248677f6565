"""Progress for people: a line that renews itself on a terminal, a line a change elsewhere, silence under --json."""

from __future__ import annotations

import sys

import click


class Progress:
    """Tells how far a piece of work is, on standard error, so that standard output stays the result's."""

    def __init__(self, *, silent: bool = False) -> None:
        self._silent = silent
        self._terminal = sys.stderr.isatty()
        self._last = ""

    def tell(self, words: str) -> None:
        """Show `words` as the state of the work now."""
        if self._silent or words == self._last:
            return
        self._last = words
        if self._terminal:
            click.echo(f"\r\x1b[K{words}", err=True, nl=False)
        else:
            click.echo(words, err=True)

    def done(self, words: str = "") -> None:
        """Leave the line as it is, or as `words`, and begin a new one."""
        if words:
            self.tell(words)
        if self._terminal and self._last and not self._silent:
            click.echo(err=True)
        self._last = ""
