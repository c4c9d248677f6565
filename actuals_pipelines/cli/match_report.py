"""`actuals match`: what people read, one screen, and the same as one JSON document."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

import click
import pyarrow as pa

from actuals_pipelines.cli.match_files import Reject, Taken
from actuals_pipelines.domain.money import exponent
from actuals_pipelines.domain.package import MatchingPackage
from actuals_pipelines.reconcile.close import Closed
from actuals_pipelines.reconcile.diagnose import Finding
from actuals_pipelines.reconcile.figures import Bridge, SourceFigures
from actuals_pipelines.report.words import reason_in_words

SHOWN = 10
"""Open items and rejects on the screen; all are in --out and --json."""

_KINDS = {
    "unmatched": "unmatched", "in_transit": "in transit", "explained": "explained", "expected": "expected",
    "within_tolerance": "within tolerance",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Report:
    """All that one run of the command found."""

    package: MatchingPackage
    taken: Taken
    closed: Closed
    open_groups: int
    items: pa.Table  # the first open items
    proposed: pa.Table  # schema `report.proposals.PROPOSED`
    warnings: tuple[str, ...]
    findings: tuple[Finding, ...] | None  # --diagnose
    out: str | None

    @property
    def has_findings(self) -> bool:
        """Something is left for a person: an open item that no rule explains, or a record that is not in the result."""
        return self.open_groups > 0 or bool(self.taken.rejects)


def show(report: Report) -> None:
    """Print for people: plain lines, and on a terminal the same in colour."""
    page = _Page()
    page.title(f"{report.package.name}" + (f": {report.package.question}" if report.package.question else ""))
    _show_inputs(page, report.taken)
    _show_overview(page, report.closed.figures.sources)
    _show_statuses(page, report)
    for bridge in report.closed.figures.bridges:
        _show_bridge(page, bridge)
    _show_items(page, report)
    _show_proposals(page, report.proposed)
    _show_rejects(page, report.taken.rejects)
    for warning in report.warnings:
        page.line(f"Warning: {warning}", "yellow")
    if report.findings is not None:
        _show_findings(page, report.findings)
    _show_next(page, report)


def document(report: Report) -> dict[str, Any]:
    """The same as plain data: amounts are minor units, percentages text."""
    figures = report.closed.figures
    return {
        "package": report.package.name,
        "as_of": str(report.closed.pins.clock.as_of),
        "files": list(report.taken.counts),
        "sources": [{**asdict(source), "matching_percentage": _percentage(source)} for source in figures.sources],
        "impact": {currency: asdict(impact) for currency, impact in figures.impact},
        "statuses": [asdict(status) for status in figures.statuses],
        "bridge": [{**asdict(b), "difference": b.difference, "residual": b.residual} for b in figures.bridges],
        "stock_and_flow": [
            {**asdict(flow), "residual": asdict(flow.residual)} for flow in report.closed.proofs.stock_and_flow
        ],
        "open_groups": report.open_groups,
        "open_items": [_item(item) for item in report.items.to_pylist()],
        "proposals": _proposals(report.proposed),
        "rejects": [asdict(reject) for reject in report.taken.rejects],
        "warnings": list(report.warnings),
        "diagnosis": None if report.findings is None else [asdict(finding) for finding in report.findings],
        "out": report.out,
    }


def _item(item: dict[str, Any]) -> dict[str, Any]:
    keys = ("transaction_id", "currency", "status", "reason", "difference", "soll_rows", "ist_rows", "first_day")
    return {key: item[key] for key in keys}


def _percentage(source: SourceFigures) -> str | None:
    return None if source.matching_percentage is None else str(source.matching_percentage)


def money(minor_units: int, currency: str) -> str:
    """1234567 EUR as "12,345.67"."""
    decimals = exponent(currency)
    return f"{Decimal(minor_units).scaleb(-decimals):,.{decimals}f}"


_COUNTS = ("source", "file", "records", "rows", "rejected", "not_taken")


def _show_inputs(page: _Page, taken: Taken) -> None:
    rows = [
        (" + ".join(side.upper() for side in each["sides"]), *(each[name] for name in _COUNTS)) for each in taken.counts
    ]
    page.table("Files", ("side", "source", "file", "records", "rows", "rejected", "left out by `where`"), rows)


def _show_overview(page: _Page, sources: Iterable[SourceFigures]) -> None:
    rows = [
        (s.source, s.side.upper(), s.rows, f"{money(s.amount, s.currency)} {s.currency}", s.unmatched_rows,
         f"{money(s.impact.net, s.currency)} {s.currency}", f"{_percentage(s) or '-'} %")
        for s in sources
    ]  # fmt: skip
    page.table("Overview", ("source", "side", "total", "amount", "unmatched", "impact", "matching"), rows)


def _show_statuses(page: _Page, report: Report) -> None:
    rows = [
        (s.status, s.category or s.reason or s.pass_name or "", s.groups, s.rows,
         f"{money(s.difference, s.currency)} {s.currency}")
        for s in report.closed.figures.statuses
    ]  # fmt: skip
    page.table("Statuses", ("status", "reason, category or pass", "groups", "rows", "difference"), rows)


def _show_bridge(page: _Page, bridge: Bridge) -> None:
    code = bridge.currency
    rows: list[tuple[Any, ...]] = [
        ("sum SOLL", "", money(bridge.soll, code)),
        ("less sum IST", "", money(-bridge.ist, code)),
    ]
    rows += [
        (f"less {_KINDS[line.kind]}{f': {line.detail}' if line.detail else ''}", line.groups, money(-line.amount, code))
        for line in bridge.lines
    ]
    rows.append(("residual", "", money(bridge.residual, code)))
    page.table(f"Bridge in {code}", ("step", "groups", "amount"), rows)


def _show_items(page: _Page, report: Report) -> None:
    items = report.items.to_pylist()
    if not items:
        return
    rows = [
        (each["transaction_id"] or "(no id)", reason_in_words(each["reason"]) or "",
         f"{money(each['difference'], each['currency'])} {each['currency']}", each["soll_rows"], each["ist_rows"],
         each["first_day"] or "")
        for each in items
    ]  # fmt: skip
    name = f"Open items, the {len(items)} largest of {report.open_groups}"
    page.table(name, ("id", "why", "SOLL less IST", "SOLL rows", "IST rows", "since"), rows)


def _proposals(lines: pa.Table) -> list[dict[str, Any]]:
    """The lines with their proposals numbered: groups of plain files have no names that last."""
    numbers = {name: number for number, name in enumerate(lines["proposal"].unique().to_pylist(), 1)}
    return [{**line, "proposal": numbers[line["proposal"]]} for line in lines.drop_columns(["group_id"]).to_pylist()]


def _show_proposals(page: _Page, lines: pa.Table) -> None:
    shown = _proposals(lines)
    if not shown:
        return
    rows = [
        (each["proposal"], each["verdict"], each["pass"], each["side"].upper(), each["ids"],
         each["first_booked_on"] or "", f"{money(each['amount'], each['currency'])} {each['currency']}")
        for each in shown[: 2 * SHOWN]
    ]  # fmt: skip
    page.table(
        "Proposals: nothing is matched by them", ("", "verdict", "pass", "side", "ids", "booked", "amount"), rows
    )
    if len(shown) > len(rows):
        page.line(f"... and {len(shown) - len(rows)} more lines; --json lists all.")


def _show_rejects(page: _Page, rejects: Sequence[Reject]) -> None:
    if not rejects:
        return
    records = len({(reject.file, reject.line) for reject in rejects})
    rows = [(reject.file, reject.line, reject.field, reject.reason) for reject in rejects[:SHOWN]]
    page.table(f"Rejected records: {records}. They are in no figure", ("file", "line", "field", "reason"), rows)
    if len(rejects) > SHOWN:
        page.line(f"... and {len(rejects) - SHOWN} more; --json lists all.")


def _show_findings(page: _Page, findings: Iterable[Finding]) -> None:
    page.heading("Diagnosis")
    for finding in findings:
        page.line(f"  {finding.subject}: {finding.words}")
        if finding.examples:
            page.line(f"      only there: {', '.join(finding.examples)}")
        if finding.advice:
            page.line(f"      {finding.advice}", "yellow")


def _show_next(page: _Page, report: Report) -> None:
    page.heading("Next")
    page.line(f"  Results: {report.out}" if report.out else "  Add --out results.csv to keep one line per row.")
    rows = sum(source.rows for source in report.closed.figures.sources)
    unmatched = sum(source.unmatched_rows for source in report.closed.figures.sources)
    if report.findings is None and 2 * unmatched > rows:
        page.line("  Little matches: add --diagnose to see why.", "yellow")
    elif report.taken.rejects:
        page.line("  Correct the rejected records or the mapping, then run again.")
    elif report.open_groups:
        page.line("  Give what you can explain a rule under `explanations:` in the package.")
    else:
        page.line("  Everything is matched or explained.", "green")


class _Page:
    """Headings, lines and tables: aligned text, or rich tables on a terminal."""

    def __init__(self) -> None:
        self._console: Any = None
        if sys.stdout.isatty():
            from rich.console import Console  # noqa: PLC0415 - a pipe needs no colours

            self._console = Console(highlight=False, soft_wrap=True)

    def title(self, words: str) -> None:
        click.secho(words, bold=True)

    def heading(self, words: str) -> None:
        click.echo()
        click.secho(words, bold=True)

    def line(self, words: str, colour: str | None = None) -> None:
        click.secho(words, fg=colour)

    def table(self, name: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        self.heading(name)
        if self._console is not None:
            self._rich(header, rows)
            return
        cells = [[str(cell) for cell in row] for row in rows]
        widths = [max(len(row[place]) for row in [list(header), *cells]) for place in range(len(header))]
        right = [_is_number(rows, place) for place in range(len(header))]
        for row in [list(header), *cells]:
            aligned = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)]
            click.echo(f"  {'  '.join(aligned)}".rstrip())

    def _rich(self, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        from rich.markup import escape  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415

        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for place, name in enumerate(header):
            table.add_column(name, justify="right" if _is_number(rows, place) else "left", overflow="fold")
        for row in rows:
            table.add_row(*(escape(str(cell)) for cell in row))
        self._console.print(table)


def _is_number(rows: Sequence[Sequence[Any]], place: int) -> bool:
    """Counts, amounts and percentages line up at their right."""
    texts = [str(row[place]) for row in rows if str(row[place])]
    return bool(texts) and all(text.lstrip("-")[:1].isdigit() and text[4:5] != "-" for text in texts)
