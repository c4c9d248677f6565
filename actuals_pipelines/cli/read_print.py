"""`actuals read`: the ways to print what was read. Each takes the parts in turn, then ends."""

from __future__ import annotations

import csv
import json
import sys
from typing import Any

import click

from actuals_pipelines.cli.options import print_json
from actuals_pipelines.cli.page import Page, money
from actuals_pipelines.cli.read_rows import FIELDS, Totals, rejects, statement, transactions
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.readers.parts import Part

_REJECTS_SHOWN = 10
_NOTED = {
    "control_differences": "differs: ",
    "kinds": "kinds ",
    "contradicts": "contradicts itself: ",
    "balance": "running balance ",
    "details_off": "entries whose details do not add up: ",
    "dates_clamped": "dates that the calendar does not have, taken as the month's last: ",
    "balances_unreadable": "balances that could not be read: ",
    "incomplete": "incomplete: ",
    "securities_not_read": "movements of securities, which are no money: ",
    "texts_of_no_entry": "texts that belong to no entry: ",
}
"""What a reader noticed and a person should see; encoding, delimiter and the like are in `--json`."""


class ColumnsUnknown(ActualsError):
    """A file is a plain table, and nothing says what its columns mean."""

    def __init__(self, format: str, columns: list[str], tried: int, nearest: str | None, place: str = "") -> None:
        super().__init__(format, columns, tried, nearest, place)
        self.format, self.columns, self.tried, self.nearest, self.place = format, columns, tried, nearest, place

    def __str__(self) -> str:
        what = f"File {self.place} in the archive" if self.place else "This"
        if len(self.columns) == 1 and self.format == "csv":
            return (
                f"{what} is a text of no kind that is known here: neither a bank's format nor a table with columns. "
                "Ask the sender for the export that a program can read, or name the format that it is (--format)."
            )
        shown = ", ".join(repr(name) for name in self.columns[:40])
        more = f" and {len(self.columns) - 40} more" if len(self.columns) > 40 else ""
        nearest = f" {self.nearest}" if self.nearest else ""
        return (
            f"{what} is {self.format}, and none of the {self.tried} profiles says what its columns mean: {shown}{more}."
            f"{nearest} Write a profile of your own (actuals read FILE --profile mine.yaml; the files in "
            "actuals_pipelines/readers/profiles/library are examples), or name the format that it is (--format)."
        )


def _columns_unknown(part: Part) -> ColumnsUnknown:
    """With the profile that lacks the fewest columns, if it has some of them at all."""
    from actuals_pipelines.readers.profiles import NAMES, shipped  # noqa: PLC0415 - it brings the engine

    columns = part.reading.schema.names[:-1]
    place = f"{part.place} of {part.of}" if part.of > 1 else ""
    known = {name.casefold() for name in columns}
    near: list[tuple[int, int, str, list[str]]] = []
    for profile in map(shipped, NAMES):
        wanted = [column.headers for column in profile.columns if column.is_required and profile.file == "table"]
        missing = [headers[0] for headers in wanted if not known.intersection(each.casefold() for each in headers)]
        if wanted and len(missing) < len(wanted):
            near.append((len(missing), -len(wanted), profile.name, missing))
    if not near:
        return ColumnsUnknown(part.format, columns, len(NAMES), None, place)
    _, _, name, missing = min(near)
    lacks = ", ".join(repr(each) for each in missing[:10]) or "nothing that is required, but does not fit"
    return ColumnsUnknown(part.format, columns, len(NAMES), f"The nearest is {name}; it wants also: {lacks}.", place)


class _Printer:
    """What all ways to print share."""

    def __init__(self, file: str, *, totals_only: bool, rows: int) -> None:
        self.file, self.totals_only, self.rows = file, totals_only, rows
        self.rejected = 0

    def part(self, part: Part) -> None:
        """Read one part to its end and print it, or keep it for the end."""
        raise NotImplementedError

    def end(self) -> None:
        """Print what comes last."""

    def _read(self, part: Part, totals: Totals) -> Any:
        if not {"amount", "currency", "status"} <= set(part.reading.schema.names):
            raise _columns_unknown(part)
        return transactions(part.reading, totals)

    def _summary(self, part: Part, totals: Totals) -> dict[str, Any]:
        """Complete when the part has been read to its end."""
        self.rejected += len(part.reading.rejects)
        return {
            "format": part.format,
            **({"file": part.name} if part.name else {}),
            "statements": [statement(each) for each in part.reading.controls],
            "rejects": rejects(part.reading),
            "notes": part.reading.notes,
            "totals": totals.document(),
        }


class _Json(_Printer):
    """One document; a file of an archive is one of its `files`."""

    def __init__(self, file: str, *, totals_only: bool, rows: int) -> None:
        super().__init__(file, totals_only=totals_only, rows=rows)
        self.documents: list[dict[str, Any]] = []

    def part(self, part: Part) -> None:
        totals = Totals()
        found = list(self._kept(self._read(part, totals)))
        document = self._summary(part, totals)
        self.documents.append(document if self.totals_only else {**document, "transactions": found})

    def _kept(self, found: Any) -> Any:
        for each in found:
            if not self.totals_only:
                yield each

    def end(self) -> None:
        print_json(self.documents[0] if len(self.documents) == 1 else {"files": self.documents})


class _Lines(_Printer):
    """What goes out row by row, with rejects and totals on standard error, so that a pipe holds rows alone."""

    def part(self, part: Part) -> None:
        totals = Totals()
        for each in self._read(part, totals):
            if not self.totals_only:
                self._line(part, each)
        summary = self._summary(part, totals)
        if self.totals_only:
            self._totals(summary)
            return
        sys.stdout.flush()
        for reject in summary["rejects"][:_REJECTS_SHOWN]:
            click.echo(f"rejected: {_place(reject)}: {reject['reason']}", err=True)
        if len(summary["rejects"]) > _REJECTS_SHOWN:
            click.echo(f"rejected: {len(summary['rejects']) - _REJECTS_SHOWN} more", err=True)
        for words in _totals_in_words(totals):
            click.echo(words, err=True)

    def _line(self, part: Part, transaction: dict[str, Any]) -> None:
        raise NotImplementedError

    def _totals(self, summary: dict[str, Any]) -> None:
        raise NotImplementedError


class _Ndjson(_Lines):
    def _line(self, part: Part, transaction: dict[str, Any]) -> None:
        named = {"file": part.name, **transaction} if part.of > 1 else transaction
        sys.stdout.write(json.dumps(named, ensure_ascii=False) + "\n")

    def _totals(self, summary: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(summary, ensure_ascii=False) + "\n")


class _Csv(_Lines):
    def __init__(self, file: str, *, totals_only: bool, rows: int) -> None:
        super().__init__(file, totals_only=totals_only, rows=rows)
        self._writer = csv.writer(sys.stdout, lineterminator="\n")
        self._has_header = False

    def _line(self, part: Part, transaction: dict[str, Any]) -> None:
        if not self._has_header:
            self._writer.writerow(["file", *FIELDS] if part.of > 1 else FIELDS)
            self._has_header = True
        references = json.dumps(transaction["references"], ensure_ascii=False) if transaction["references"] else None
        cells = [_cell(v) for v in {**transaction, "references": references}.values()]
        self._writer.writerow([part.name, *cells] if part.of > 1 else cells)

    def _totals(self, summary: dict[str, Any]) -> None:
        names = ("currency", "entries", "credits_minor_units", "debits_minor_units", "net_minor_units")
        if not self._has_header:
            self._writer.writerow(["file", *names] if summary.get("file") else names)
            self._has_header = True
        for currency, sums in summary["totals"]["by_currency"].items():
            row = [currency, *(sums[name] for name in names[1:])]
            self._writer.writerow([summary["file"], *row] if summary.get("file") else row)


class _Table(_Printer):
    """A screen: the first rows, statements, rejects, totals."""

    def part(self, part: Part) -> None:
        screen, totals = Page(), Totals()
        shown: list[dict[str, Any]] = []
        count = 0
        for each in self._read(part, totals):
            count += 1
            if len(shown) < self.rows:
                shown.append(each)
        summary = self._summary(part, totals)
        screen.title(f"{part.name or self.file}: {part.format}")
        if shown and not self.totals_only:
            screen.table(("line", "booked", "value", "kind", "amount", "", "id", "text"), [_row(t) for t in shown])
            if count > len(shown):
                screen.line(f"  ... {count - len(shown):,} more: --rows N, --ndjson or --csv print them")
        if part.reading.controls:
            screen.heading("Statements")
            header = ("account", "statement", "entries", "opening", "credits", "debits", "closing", "balances")
            screen.table(header, [_statement(each) for each in summary["statements"]])
        for name, words in _NOTED.items():
            told = summary["notes"].get(name)
            for each in told.split("; ") if told and told != "chains" else ():
                screen.line(f"  {words}{each}", "yellow")
        if summary["rejects"]:
            screen.heading(f"Rejected: {len(summary['rejects']):,}")
            for reject in summary["rejects"][:_REJECTS_SHOWN]:
                screen.line(f"  {_place(reject)}: {reject['reason']}", "red")
            if len(summary["rejects"]) > _REJECTS_SHOWN:
                screen.line(f"  ... {len(summary['rejects']) - _REJECTS_SHOWN:,} more: --json has them all")
        screen.heading("Totals")
        for words in _totals_in_words(totals):
            screen.line(f"  {words}")


PRINTERS: dict[str, type[_Printer]] = {"json": _Json, "ndjson": _Ndjson, "csv": _Csv, "table": _Table}


def _cell(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula is marked as text; a negative number is a number."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value


def _row(made: dict[str, Any]) -> tuple[Any, ...]:
    marks = [word for word in (made["status"],) if word != "booked"]
    marks += ["detail"] if made["level"] == "detail" else []
    minor = made["amount_minor_units"]
    amount = None if minor is None else money(minor, made["currency"])
    text = (made["text"] or made["counterparty"] or "")[:60]
    return (
        made["line"], made["booked_on"], made["value_date"], made["kind"], amount, " ".join(marks),
        made["transaction_id"], text,
    )  # fmt: skip


def _statement(made: dict[str, Any]) -> tuple[Any, ...]:
    def amount(name: str) -> str | None:
        return None if made[name] is None else money(made[name], made["currency"])

    chains = {None: "not stated", True: "chain", False: f"gap {amount('gap_minor_units')}"}[made["balances_chain"]]
    if made["balances_chain"] is not False and not made["agrees"]:
        chains += ", stated sums differ"
    return (
        made["account"], made["statement"], made["entries"], amount("opening_balance_minor_units"),
        amount("credits_minor_units"), amount("debits_minor_units"), amount("closing_balance_minor_units"), chains,
    )  # fmt: skip


def _place(reject: dict[str, Any]) -> str:
    return f"line {reject['line']}" + (f", {reject['field']}" if reject["field"] else "")


def _totals_in_words(totals: Totals) -> list[str]:
    words = [
        f"{currency}: {each.entries:,} {'entry' if each.entries == 1 else 'entries'}, "
        f"credits {money(each.credits, currency)}, debits {money(each.debits, currency)}, "
        f"net {money(each.credits - each.debits, currency)}"
        for currency, each in sorted(totals.sums.items())
    ] or ["no booked entries"]
    if totals.first_booked_on:
        words.append(f"booked {totals.first_booked_on} to {totals.last_booked_on}")
    apart = {"pending": totals.pending, "informational": totals.informational, "details of entries": totals.details}
    if any(apart.values()):
        words.append("not in these: " + ", ".join(f"{n:,} {name}" for name, n in apart.items() if n))
    return words
