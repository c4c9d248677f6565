"""CAMT.053 (statement), .052 (intraday report), .054 (advice): ISO 20022, message versions 001.01 to 001.14.

Elements are found by their local names, so the version's namespace does not count. One row per `Ntry`: its amount is
what moved. What lies in `TxDtls` becomes columns only where there is exactly one; a batch stays one row.
The sign is `CdtDbtInd`'s. `RvslInd` says that an earlier entry is undone, and its sign is in `CdtDbtInd` already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import pyarrow as pa
from lxml import etree

from actuals_pipelines.domain.controls import StatementControls
from actuals_pipelines.domain.money import AmountUnreadable, Money
from actuals_pipelines.readers.reading import FileEmpty, FileRefused, Reading, raw_schema

_ENTRIES_PER_BATCH = 8_192
_MAX_ELEMENT_BYTES = 64 << 20  # between two entries: one entry, or all that stands above the first
_STATUSES = {"BOOK": "booked", "PDNG": "pending", "FUTR": "pending", "INFO": "informational"}
_KINDS = {"CHRG": "fee", "COMM": "fee", "FEES": "fee", "INTR": "interest", "TAXE": "tax"}  # by sub-family code
_NOT_GIVEN = {"NOTPROVIDED", "NOT PROVIDED", "NONREF"}

COLUMNS = (
    "statement", "account", "entry_id", "entry_ref", "acct_svcr_ref", "amount", "currency", "status", "is_reversal",
    "booked_on", "booked_at", "value_date", "kind", "bank_code", "proprietary_code", "details", "transactions",
    "end_to_end", "instruction", "mandate", "tx_id", "uetr", "payment_information", "creditor_ref", "document_no",
    "return_reason", "counterparty", "counterparty_account", "ultimate_party", "text", "additional_info",
)  # fmt: skip
"""What each record has, all text. Persons are in counterparty, counterparty_account, ultimate_party and text."""


class _CamtReader:
    """See the module's text. LINE is the entry's number within the file, from 1."""

    format = ""
    version = 1
    container, statement = "", ""

    def read(self, stream: BinaryIO, options: Mapping[str, str]) -> Reading:
        """Read entries as they are asked for; statements' sums are in `controls` when they are exhausted.

        Raises:
            FileEmpty, FileRefused: not XML, broken (with its line), a DOCTYPE, another message, no statement, an
                element beyond the bounds. The text of XML errors is ours: libxml2's may quote the file.
        """
        reading = Reading(schema=raw_schema(list(COLUMNS)), batches=iter(()))
        source = _Bounded(stream, self.format)
        reading.batches = self._batches(source, reading)
        return reading

    def _batches(self, source: _Bounded, reading: Reading) -> Iterator[pa.RecordBatch]:
        # huge_tree=False keeps libxml2's own bounds: 256 levels, 10 MB a text.
        context = etree.iterparse(
            source,
            events=("end",),
            tag=("{*}Ntry", f"{{*}}{self.statement}"),
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            huge_tree=False,
        )
        rows: list[list[str | None]] = []
        statement: _Statement | None = None
        count, statements = 0, 0
        try:
            for _, element in context:
                if statements == 0 and count == 0:
                    self._check(element.getroottree())
                if etree.QName(element).localname == "Ntry":
                    source.since_entry = 0
                    holder = element.getparent()
                    if holder is None or etree.QName(holder).localname != self.statement:
                        continue
                    count += 1
                    statement = statement or _Statement.of(holder)
                    rows.append([*statement.row(element), str(count)])
                    _forget(element)
                    if len(rows) >= _ENTRIES_PER_BATCH:
                        yield _batch(rows, reading.schema)
                        rows = []
                else:
                    statements += 1
                    reading.controls.extend((statement or _Statement.of(element)).controls(element))
                    statement = None
                    _forget(element)
            self._check(context.root.getroottree())
        except etree.XMLSyntaxError as error:
            raise self._broken(source, error.lineno) from None
        if not statements:
            raise FileRefused(self.format, f"it holds no {self.statement}", "Ask the bank for the file again.")
        reading.notes["statements"] = str(statements)
        yield _batch(rows, reading.schema)

    def _check(self, tree: Any) -> None:
        """Refuse what could carry entities, and other messages."""
        if tree.docinfo.doctype or tree.docinfo.internalDTD is not None:
            raise FileRefused(self.format, "it has a DOCTYPE, which no bank file has", "It may be an attack; keep it.")
        root = tree.getroot()
        children = [root, *(child for child in root if isinstance(child.tag, str))]
        names = [etree.QName(child).localname.removesuffix("V01") for child in children]  # 001.01 had it in the name
        if self.container not in names:
            known = {"BkToCstmrStmt": "camt053", "BkToCstmrAcctRpt": "camt052", "BkToCstmrDbtCdtNtfctn": "camt054"}
            other = next((known[name] for name in names if name in known), None)
            what = f"it is {other}" if other else f"it has no {self.container}"
            raise FileRefused(self.format, what, "Check the source's format, or ask the bank which message this is.")
        found = etree.QName(root).namespace or ""
        if found and f"camt.{self.format[4:]}." not in found and "camt" in found:
            raise FileRefused(self.format, "its namespace names another message", "Ask the bank which message it is.")

    def _broken(self, source: _Bounded, line: int | None) -> FileRefused:
        if source.total == 0:
            return FileEmpty(self.format)
        return FileRefused(
            self.format,
            "it is not well-formed XML, or ends in the middle",
            "Ask the bank for the file again; several documents in one file are not one.",
            line,
        )


class Camt053Reader(_CamtReader):
    """BkToCstmrStmt: end of day, with balances."""

    format, container, statement = "camt053", "BkToCstmrStmt", "Stmt"


class Camt052Reader(_CamtReader):
    """BkToCstmrAcctRpt: within the day."""

    format, container, statement = "camt052", "BkToCstmrAcctRpt", "Rpt"


class Camt054Reader(_CamtReader):
    """BkToCstmrDbtCdtNtfctn: what explains entries; no balances."""

    format, container, statement = "camt054", "BkToCstmrDbtCdtNtfctn", "Ntfctn"


class _Bounded:
    """The stream, counting: an endless element must not fill the memory."""

    def __init__(self, stream: BinaryIO, format: str) -> None:
        self._stream, self._format = stream, format
        self.since_entry = self.total = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.since_entry += len(data)
        self.total += len(data)
        if self.since_entry > _MAX_ELEMENT_BYTES:
            raise FileRefused(
                self._format, f"{_MAX_ELEMENT_BYTES} bytes hold no complete entry", "Ask the bank for smaller files."
            )
        return data


@dataclass
class _Statement:
    """One Stmt while its entries pass by, and what they add up to."""

    namespace: str
    name: str | None
    account: str | None
    sums: dict[str, list[int]] = field(default_factory=dict)  # currency -> credits, debits, entries (booked)
    is_all_booked: bool = True

    @classmethod
    def of(cls, element: Any) -> _Statement:
        """What stands above the entries."""
        namespace = etree.QName(element).namespace or ""
        look = _Look(namespace)
        account = look.text(element, "Acct/Id/IBAN") or look.text(element, "Acct/Id/Othr/Id")
        return cls(namespace, look.text(element, "Id"), account)

    def row(self, entry: Any) -> list[str | None]:
        """The entry's columns, in the order of `COLUMNS`."""
        look = _Look(self.namespace)
        own = _entry(entry, look, self.name)
        self._add(own)
        details = look.all(entry, "NtryDtls/TxDtls")
        own["details"] = str(len(details))
        own["transactions"] = look.text(entry, "NtryDtls/Btch/NbOfTxs")
        texts = []
        if len(details) == 1:
            own.update(_detail(details[0], look, own["_direction"]))
            texts = [*look.texts(details[0], "RmtInf/Ustrd"), look.text(details[0], "AddtlTxInf")]
        texts.append(own["additional_info"])
        own["text"] = "\n".join(dict.fromkeys(each for each in texts if each)) or None
        own["statement"], own["account"] = self.name, self.account
        return [own.get(name) for name in COLUMNS]

    def _add(self, own: dict[str, str | None]) -> None:
        """Into the sums, if it is booked and its amount can be read: else normalising rejects it, and the sums show."""
        if own["status"] != "booked":
            self.is_all_booked = False
            return
        sums = self.sums.setdefault(own["currency"] or "", [0, 0, 0])
        sums[2] += 1
        try:
            amount = Money.parse(own["amount"] or "", own["currency"] or "").minor_units
        except AmountUnreadable:
            return
        sums[0] += max(amount, 0)
        sums[1] += max(-amount, 0)

    def controls(self, element: Any) -> list[StatementControls]:
        """One per currency of its entries; balances and stated sums with the account's own."""
        look = _Look(self.namespace)
        opening = _balance(element, look, "OPBD") or _balance(element, look, "PRCD")
        closing = _balance(element, look, "CLBD")
        balances = [money for money in (opening, closing) if money]
        own = look.text(element, "Acct/Ccy") or (balances[0].currency if balances else next(iter(self.sums), ""))
        if own:
            self.sums.setdefault(own, [0, 0, 0])
        found = []
        for currency, (credits, debits, entries) in self.sums.items():
            is_own = currency == own
            states = is_own and self.is_all_booked and len(self.sums) == 1
            found.append(
                StatementControls(
                    account=self.account,
                    statement=self.name,
                    currency=currency,
                    opening=opening.minor_units if opening and is_own and opening.currency == own else None,
                    closing=closing.minor_units if closing and is_own and closing.currency == own else None,
                    credits=credits,
                    debits=debits,
                    entries=entries,
                    stated_credits=_stated_sum(element, look, "TtlCdtNtries", own) if states else None,
                    stated_debits=_stated_sum(element, look, "TtlDbtNtries", own) if states else None,
                    stated_entries=_whole(look.text(element, "TxsSummry/TtlNtries/NbOfNtries")) if states else None,
                )
            )
        return found


class _Look:
    """Elements and texts at a path of local names, in one namespace."""

    _paths: dict[tuple[str, str], str] = {}  # noqa: RUF012 - the same few paths for every entry of every file

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def _path(self, path: str) -> str:
        made = self._paths.get((self.namespace, path))
        if made is None:
            prefix = f"{{{self.namespace}}}" if self.namespace else ""
            made = "/".join(prefix + step for step in path.split("/"))
            if len(self._paths) < 10_000:  # namespaces come from outside
                self._paths[self.namespace, path] = made
        return made

    def one(self, element: Any, path: str) -> Any:
        return element.find(self._path(path))

    def all(self, element: Any, path: str) -> list[Any]:
        return list(element.findall(self._path(path)))

    def text(self, element: Any, path: str) -> str | None:
        found = element.findtext(self._path(path))
        return (found.strip() or None) if found else None

    def texts(self, element: Any, path: str) -> list[str]:
        return [each.text.strip() for each in self.all(element, path) if each.text and each.text.strip()]

    def first(self, element: Any, *paths: str) -> str | None:
        return next((found for path in paths if (found := self.text(element, path))), None)


def _entry(entry: Any, look: _Look, statement: str | None) -> dict[str, str | None]:
    """Ntry without its details."""
    amount = look.one(entry, "Amt")
    direction = look.text(entry, "CdtDbtInd")
    number = (amount.text or "").strip() if amount is not None else ""
    reference, entry_ref = look.text(entry, "AcctSvcrRef"), look.text(entry, "NtryRef")
    status = look.first(entry, "Sts/Cd", "Sts/Prtry", "Sts")
    booked_at = look.first(entry, "BookgDt/DtTm", "BookgDt/Dt/DtTm")
    value_at = look.first(entry, "ValDt/DtTm", "ValDt/Dt/DtTm")
    domain = [look.text(entry, f"BkTxCd/Domn/{part}") for part in ("Cd", "Fmly/Cd", "Fmly/SubFmlyCd")]
    return {
        "_direction": direction,
        "entry_id": reference or (f"{statement}/{entry_ref}" if statement and entry_ref else None),
        "entry_ref": entry_ref,
        "acct_svcr_ref": reference,
        # An amount without a direction has no sign that we may choose: normalising rejects the missing amount.
        "amount": {"CRDT": number, "DBIT": f"-{number}"}.get(direction or "") if number else None,
        "currency": amount.get("Ccy") if amount is not None else None,
        "status": _STATUSES.get(status, status.lower()) if status else "booked",
        "is_reversal": look.text(entry, "RvslInd"),
        "booked_on": look.text(entry, "BookgDt/Dt") or (booked_at[:10] if booked_at else None),
        "booked_at": booked_at,
        "value_date": look.text(entry, "ValDt/Dt") or (value_at[:10] if value_at else None),
        "kind": _KINDS.get(domain[2] or "", "payment"),
        "bank_code": "/".join(part for part in domain if part) or None,
        "proprietary_code": look.text(entry, "BkTxCd/Prtry/Cd"),
        "additional_info": look.text(entry, "AddtlNtryInf"),
    }


def _detail(detail: Any, look: _Look, direction: str | None) -> dict[str, str | None]:
    """The only TxDtls of an entry: references, remittance, and who stands on the other side of it."""
    party, account = ("Dbtr", "DbtrAcct") if direction == "CRDT" else ("Cdtr", "CdtrAcct")
    end_to_end = look.text(detail, "Refs/EndToEndId")
    parties = "RltdPties"
    return {
        "end_to_end": None if end_to_end in _NOT_GIVEN else end_to_end,
        "instruction": look.text(detail, "Refs/InstrId"),
        "mandate": look.text(detail, "Refs/MndtId"),
        "tx_id": look.text(detail, "Refs/TxId"),
        "uetr": look.text(detail, "Refs/UETR"),
        "payment_information": look.text(detail, "Refs/PmtInfId"),
        "creditor_ref": look.text(detail, "RmtInf/Strd/CdtrRefInf/Ref"),
        "document_no": look.text(detail, "RmtInf/Strd/RfrdDocInf/Nb"),
        "return_reason": look.first(detail, "RtrInf/Rsn/Cd", "RtrInf/Rsn/Prtry"),
        # Up to version 7 the name is the party's own, from 8 on it lies in Pty.
        "counterparty": look.first(detail, f"{parties}/{party}/Pty/Nm", f"{parties}/{party}/Nm"),
        "counterparty_account": look.first(detail, f"{parties}/{account}/Id/IBAN", f"{parties}/{account}/Id/Othr/Id"),
        "ultimate_party": look.first(detail, f"{parties}/Ultmt{party}/Pty/Nm", f"{parties}/Ultmt{party}/Nm"),
    }


def _balance(statement: Any, look: _Look, code: str) -> Money | None:
    """The first balance of that type which is not a sub-balance; debit is negative."""
    for balance in look.all(statement, "Bal"):
        if look.text(balance, "Tp/CdOrPrtry/Cd") != code or look.one(balance, "Tp/SubTp") is not None:
            continue
        amount = look.one(balance, "Amt")
        if amount is None or not amount.text:
            return None
        sign = "-" if look.text(balance, "CdtDbtInd") == "DBIT" else ""
        try:
            return Money.parse(sign + amount.text.strip(), amount.get("Ccy") or "")
        except AmountUnreadable:
            return None
    return None


def _stated_sum(statement: Any, look: _Look, name: str, currency: str) -> int | None:
    text = look.text(statement, f"TxsSummry/{name}/Sum")
    try:
        return Money.parse(text, currency).minor_units if text else None
    except AmountUnreadable:
        return None


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 16 else None


def _batch(rows: list[list[str | None]], schema: pa.Schema) -> pa.RecordBatch:
    columns: list[Any] = [pa.array([row[place] for row in rows], pa.string()) for place in range(len(COLUMNS))]
    lines = pa.array([int(row[-1] or 0) for row in rows], pa.int64())
    return pa.RecordBatch.from_arrays([*columns, lines], schema=schema)


def _forget(element: Any) -> None:
    """Free what was read: the element's content, and the emptied ones of its name before it."""
    element.clear(keep_tail=False)
    holder = element.getparent()
    while holder is not None and element.getprevious() is not None and element.getprevious().tag == element.tag:
        holder.remove(element.getprevious())
