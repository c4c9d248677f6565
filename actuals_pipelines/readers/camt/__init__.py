"""CAMT.053 (statement), .052 (intraday report), .054 (advice): ISO 20022, message versions 001.01 to 001.14.

Elements are found by their local names, so the version's namespace does not count. One row per `Ntry`, level `entry`:
its amount is what moved. What lies in `TxDtls` becomes its columns where there is exactly one. With the reader option
`details: true` the TxDtls of a batch follow their entry as rows of level `detail`; without it a batch is one row.
The sign is `CdtDbtInd`'s. `RvslInd` says that an earlier entry is undone, and its sign is in `CdtDbtInd` already.
Options: details, rounding (half_up, half_even, down) for amounts with more decimals than their currency has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import pyarrow as pa
from lxml import etree

from actuals_pipelines.readers.amounts import Amounts, FieldUnreadable
from actuals_pipelines.readers.camt.documents import Documents, doctype
from actuals_pipelines.readers.camt.entry import OWN_COLUMNS, Detail, Row, read_detail, read_entry
from actuals_pipelines.readers.camt.statement import Statement
from actuals_pipelines.readers.entries import ENTRY_COLUMNS
from actuals_pipelines.readers.reading import FileEmpty, FileRefused, OptionRefused, Reading, note_reject, raw_schema

COLUMNS = (*ENTRY_COLUMNS, *OWN_COLUMNS)
"""What each record has, all text. Persons are in counterparty, counterparty_account, ultimate_party and text."""

_ROWS_PER_BATCH = 8_192
_MESSAGES = {"BkToCstmrStmt": "camt053", "BkToCstmrAcctRpt": "camt052", "BkToCstmrDbtCdtNtfctn": "camt054"}


class _CamtReader:
    """See the module's text. LINE is the entry's number within the file, from 1; details have their entry's."""

    format = ""
    version = 2
    container, statement = "", ""

    def read(self, stream: BinaryIO, options: Mapping[str, str]) -> Reading:
        """Read entries as they are asked for; statements' sums are in `controls` when they are exhausted.

        A reject names the entry's number and the element's path. Notes: statements, documents if several, and
        details_off: how many entries have details that do not add up, and the first of them.

        Raises:
            OptionRefused, FileEmpty, FileRefused: not XML, broken (with its line), a DOCTYPE, another message, no
                statement, an element beyond the bounds. The text of XML errors is ours: libxml2's may quote the file.
        """
        if options.get("details", "false") not in ("true", "false"):
            raise OptionRefused(self.format, "details", "true or false")
        reading = Reading(schema=raw_schema(list(COLUMNS)), batches=iter(()))
        reading.batches = _Pass(self, stream, options, reading).batches()
        return reading


class Camt053Reader(_CamtReader):
    """BkToCstmrStmt: end of day, with balances."""

    format, container, statement = "camt053", "BkToCstmrStmt", "Stmt"


class Camt052Reader(_CamtReader):
    """BkToCstmrAcctRpt: within the day."""

    format, container, statement = "camt052", "BkToCstmrAcctRpt", "Rpt"


class Camt054Reader(_CamtReader):
    """BkToCstmrDbtCdtNtfctn: what explains entries; no balances."""

    format, container, statement = "camt054", "BkToCstmrDbtCdtNtfctn", "Ntfctn"


class _Pass:
    """One pass over a file's documents."""

    def __init__(self, reader: _CamtReader, stream: BinaryIO, options: Mapping[str, str], reading: Reading) -> None:
        self.reader, self.format, self.reading = reader, reader.format, reading
        self.documents = Documents(stream, self.format)
        self.amounts = Amounts(self.format, options)
        self.with_details = options.get("details") == "true"
        self.statement: Statement | None = None
        self.details: list[Detail] = []  # of the entry that is not yet whole
        self.rows: list[tuple[Row, int]] = []
        self.entries = self.statements = self.count = 0
        self.off, self.first_off = 0, 0

    def batches(self) -> Iterator[pa.RecordBatch]:
        while self.documents.next():
            self.count += 1
            try:
                yield from self._document()
            except etree.XMLSyntaxError as error:
                raise self._broken(error.lineno) from None
        if not self.documents.total or not self.count:
            raise FileEmpty(self.format)
        if not self.statements:
            what = f"it holds no {self.reader.statement}"
            raise FileRefused(self.format, what, "Ask the bank for the file again.")
        self.reading.notes["statements"] = str(self.statements)
        if self.count > 1:
            self.reading.notes["documents"] = str(self.count)
        if self.off:
            self.reading.notes["details_off"] = f"{self.off}, first at entry {self.first_off}"
        yield self._batch()

    def _document(self) -> Iterator[pa.RecordBatch]:
        # huge_tree=False keeps libxml2's own bounds: 256 levels, 10 MB a text.
        context = etree.iterparse(
            self.documents,
            events=("end",),
            tag=("{*}TxDtls", "{*}Ntry", f"{{*}}{self.reader.statement}"),
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            huge_tree=False,
            remove_comments=True,
            remove_pis=True,
        )
        checked = False
        for _, element in context:
            if not checked:
                self._check(element.getroottree())
                checked = True
            self.documents.since_event = 0
            name = _local(element)
            if name == "TxDtls":
                self.details.append(read_detail(element, whole=self.with_details or not self.details))
            elif name == "Ntry":
                self._entry(element)
                if len(self.rows) >= _ROWS_PER_BATCH:
                    yield self._batch()
            else:
                self._end_statement(element)
            _forget(element)
        self._check(context.root.getroottree())

    def _entry(self, element: Any) -> None:
        self.entries += 1
        details, self.details = self.details, []
        try:
            holder = element.getparent()
            if holder is None or _local(holder) != self.reader.statement:
                raise FieldUnreadable("Ntry", f"it lies outside a {self.reader.statement}")
            self.statement = self.statement or Statement.of(holder)
            own = self.statement.account
            entry = read_entry(element, details, self.amounts, own, rows=self.with_details)
        except FieldUnreadable as unreadable:
            note_reject(self.reading, self.entries, unreadable.field, unreadable.reason, self.format)
            return
        self.statement.complete(entry, self.entries)
        if entry.is_sum_off:
            self.off, self.first_off = self.off + 1, self.first_off or self.entries
        self.rows.append((entry.row, self.entries))
        self.rows.extend((row, self.entries) for row in entry.details)

    def _end_statement(self, element: Any) -> None:
        self.statements += 1
        statement = self.statement or Statement.of(element)
        self.reading.controls.extend(statement.controls(element))
        self.statement = None

    def _batch(self) -> pa.RecordBatch:
        rows, self.rows = self.rows, []
        columns: list[Any] = [pa.array([row.get(name) for row, _ in rows], pa.string()) for name in COLUMNS]
        lines = pa.array([line for _, line in rows], pa.int64())
        return pa.RecordBatch.from_arrays([*columns, lines], schema=self.reading.schema)

    def _check(self, tree: Any) -> None:
        """Refuse what could carry entities, and other messages."""
        if tree.docinfo.doctype or tree.docinfo.internalDTD is not None:
            raise doctype(self.format)
        root = tree.getroot()
        # A business envelope holds the document; version 1 had its number in the message's name.
        nodes = [root, *root, *(child for node in root for child in node)]
        names = [_local(node).removesuffix("V01") for node in nodes]
        if self.reader.container not in names:
            other = next((_MESSAGES[name] for name in names if name in _MESSAGES), None)
            what = f"it is {other}" if other else f"its root is not a Document with {self.reader.container}"
            raise FileRefused(self.format, what, "Check the source's format, or ask the bank which message this is.")
        for node in nodes:
            space = node.tag.rpartition("}")[0]
            if "camt.0" in space and f"camt.{self.format[4:]}." not in space:
                raise FileRefused(
                    self.format, "its namespace names another message", "Ask the bank which message it is."
                )

    def _broken(self, line: int | None) -> FileRefused:
        place = f" (in document {self.count} of this file)" if self.count > 1 else ""
        what = f"it is not well-formed XML, or ends in the middle{place}"
        return FileRefused(self.format, what, "Ask the bank for the file again.", line)


def _local(element: Any) -> str:
    name: str = element.tag.rpartition("}")[2]
    return name


def _forget(element: Any) -> None:
    """Free what was read: the element's content, and the emptied ones of its name before it."""
    element.clear(keep_tail=False)
    previous = element.getprevious()
    while previous is not None and previous.tag == element.tag:
        element.getparent().remove(previous)
        previous = element.getprevious()
