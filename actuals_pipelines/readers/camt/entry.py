"""`Ntry` and `TxDtls` -> the columns of one row. ReportEntry and EntryTransaction of camt.05x.001.01 to .14."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from actuals_pipelines.readers.amounts import Amount, Amounts, FieldUnreadable, day, decimal_text
from actuals_pipelines.readers.camt.elements import CURRENCY, MORE, Texts
from actuals_pipelines.readers.camt.plans import CHARGES, DETAIL, ENTRY, SUM
from actuals_pipelines.readers.entries import REFERENCES, references_text

OWN_COLUMNS = (
    "entry_ref", "acct_svcr_ref", "end_to_end", "is_reversal", "proprietary_code", "details", "transactions",
    "return_reason", "ultimate_party", "charges", "charges_included", "amount_stated",
)  # fmt: skip
"""What CAMT gives beside `ENTRY_COLUMNS`.

details            how many TxDtls came; `transactions` is how many the bank says there are (NbOfTxs), which may be more
charges            signed, negative when they cost us; part of the amount if `charges_included` is true, else beside it
amount_stated      the amount as it was sent, where the reader option `rounding` rounded it
ultimate_party     personal data, as counterparty
"""

_STATUSES = {"BOOK": "booked", "PDNG": "pending", "FUTR": "pending", "INFO": "informational"}
_KINDS = {
    **dict.fromkeys(("CHRG", "COMM", "FEES", "COMT", "COME", "COMI"), "fee"),
    **dict.fromkeys(("INTR", "INTE"), "interest"),
    **dict.fromkeys(("TAXE", "WITH"), "tax"),
    **dict.fromkeys(("BOOK", "ACCB", "INAD", "ZABA", "SWEP", "TOPG"), "transfer"),
}
"""By sub-family code of the ISO bank transaction code set; all other entries are payments."""
_DIRECT_DEBITS = {"IDDT", "RDDT"}
_INVOICES = {"CINV", "CREN"}
_NOT_GIVEN = {"NOTPROVIDED", "NOT PROVIDED", "NONREF", "NOTAVAILABLE"}

_TEXTS = (
    *("remittance", f"remittance{MORE}", f"creditor_ref{MORE}", f"document{MORE}"),
    *("detail_text", f"detail_text{MORE}", "entry_text", f"entry_text{MORE}"),
)

Row = dict[str, str | None]


@dataclass(slots=True)
class Detail:
    """What is left of a TxDtls when it is forgotten."""

    found: Texts
    charges: _Charges | None


@dataclass(frozen=True, slots=True)
class _Charges:
    """All charges in the amount's own currency, signed, and whether the amount holds them (None: it does not say)."""

    total: Decimal
    is_included: bool | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One Ntry: its row, its amount, and the rows of its details."""

    row: Row
    amount: Amount
    currency: str
    details: list[Row]
    is_sum_off: bool  # its details state amounts that do not add up to its own


def read_detail(element: Any, *, whole: bool) -> Detail:
    """Take out of a TxDtls what its row needs; if it is not wanted `whole`, what the sum needs."""
    found = (DETAIL if whole else SUM).texts(element)
    return Detail(found, _charges(element, found) if "has_charges" in found else None)


def read_entry(element: Any, details: list[Detail], amounts: Amounts, account: str | None, *, rows: bool) -> Entry:
    """Make the row of one Ntry on `account`, and if asked those of its details; what the statement adds is not there.

    Raises:
        FieldUnreadable: no exact amount, no direction, an unknown status, a date that is none; names the path.
    """
    found = ENTRY.texts(element)
    direction = found.get("direction")
    if direction not in ("CRDT", "DBIT"):
        raise FieldUnreadable("Ntry/CdtDbtInd", "CRDT or DBIT was expected: an amount has no sign without it")
    if "amount" not in found:
        raise FieldUnreadable("Ntry/Amt", "it is missing")
    currency = found["amount" + CURRENCY]
    amount = amounts.read(found["amount"], currency, "Ntry/Amt", negative=direction == "DBIT")
    status = found.get("status") or "BOOK"
    if status not in _STATUSES:
        raise FieldUnreadable("Ntry/Sts", f"one of {', '.join(_STATUSES)} was expected")
    booked_at = found.get("booked_at")
    only = details[0].found if len(details) == 1 else {}
    row: Row = {
        "account": account,
        "level": "entry",
        "status": _STATUSES[status],
        "booked_on": _day("BookgDt", found.get("BookgDt") or booked_at),
        "value_date": _day("ValDt", found.get("ValDt")),
        "timestamp": _instant(booked_at),
        "amount": amount.text,
        "amount_stated": amount.stated,
        "currency": currency,
        "entry_ref": found.get("entry_ref"),
        "is_reversal": found.get("is_reversal"),
        "details": str(len(details)),
        "transactions": found.get("transactions"),
    }
    own = Detail(found, _charges(element, found) if "has_charges" in found else None)
    _describe(row, {**found, **only} if only else found, direction)
    row["transaction_id"] = row["acct_svcr_ref"] = _given(found.get("acct_svcr") or only.get("acct_svcr"))
    _money(row, amount, currency, own)
    if len(details) == 1:
        _money(row, amount, currency, details[0])
    return Entry(
        row,
        amount,
        currency,
        _detail_rows(row, amounts, details, currency, direction) if rows and len(details) > 1 else [],
        bool(details) and _is_sum_off(amount, currency, own, details, row["transactions"]),
    )


def _describe(row: Row, found: Texts, direction: str) -> None:
    """What it is, who stands on the other side and what it refers to: of an entry with its only detail, or a detail."""
    codes = [code for name in ("domain", "family", "sub_family") if (code := found.get(name))]
    row["proprietary_code"] = found.get("proprietary_code")
    row["bank_code"] = "/".join(codes) or row["proprietary_code"]
    row["return_reason"] = found.get("return_reason")
    row["kind"] = _kind(found)
    # The one who pays stands on the other side of money that comes in; of an undone entry, the other way round.
    is_reversal = row["is_reversal"] in ("true", "1")
    side, other = ("Dbtr", "Cdtr") if (direction == "CRDT") != is_reversal else ("Cdtr", "Dbtr")
    account = found.get(f"{side}/account")
    if account is not None and account == row["account"]:  # some banks turn it round: we are not our own counterparty
        side, account = other, found.get(f"{other}/account")
    row["counterparty"], row["counterparty_account"] = found.get(f"{side}/name"), account
    row["ultimate_party"] = found.get(f"{side}/ultimate")
    references = {name: _given(text) for name, text in found.items() if name in REFERENCES}
    if found.get("document_type") in _INVOICES:
        references["invoice"] = found.get("document")
    row["end_to_end"] = references.get("end_to_end")
    row["references"] = references_text(references)
    row["text"] = _text(found)


def _text(found: Texts) -> str | None:
    """Remittance text, then what the bank adds; of several structured references those that have no column."""
    parts = [text for name in _TEXTS if (text := found.get(name))]
    return "\n".join(dict.fromkeys(parts)) or None


def _kind(found: Texts) -> str:
    kind = _KINDS.get(found.get("sub_family") or "")
    if kind:
        return kind
    if found.get("domain") == "FORX":
        return "fx"
    if "return_reason" in found:  # a bounced direct debit is taken back from us, a transfer goes to its sender
        return "chargeback" if found.get("family") in _DIRECT_DEBITS else "refund"
    return "payment"


def _money(row: Row, amount: Amount, currency: str, source: Detail) -> None:
    """Charges, and the amount in the other currency with its rate; what the row has already stays."""
    charges = source.charges
    if charges and not row.get("charges"):
        row["charges"] = format(charges.total, "f")
        row["charges_included"] = None if charges.is_included is None else str(charges.is_included).lower()
        if charges.is_included and charges.total:
            row["fee"], row["net"] = row["charges"], amount.text
            row["gross"] = format(Decimal(amount.text) - charges.total, "f")
    found = source.found
    for name in ("instructed", "transaction", "counter_value"):
        if name not in found or row.get("original_amount"):
            continue
        value, other = decimal_text(found[name]), found[name + CURRENCY]
        if value and other and other != currency:
            sign = "-" if amount.minor_units < 0 and value.strip("0.") else ""
            row["original_amount"], row["original_currency"] = sign + value, other
    if "rate" in found and not row.get("rate"):
        row["rate"] = decimal_text(found["rate"])


def _charges(element: Any, found: Texts) -> _Charges | None:
    """Version 1 to 3 state each charge in Chrgs itself, later ones in Chrgs/Rcrd; ChrgInclInd came with the latter."""
    currency = found.get("amount" + CURRENCY) or found.get("transaction" + CURRENCY)
    total, said = Decimal(0), set[str | None]()
    for holder in element.iterchildren("{*}Chrgs"):
        for record in list(holder.iterchildren("{*}Rcrd")) or [holder]:
            charge = CHARGES.texts(record)
            value = decimal_text(charge.get("amount"))
            if value is None or charge.get("amount" + CURRENCY) != currency:
                continue  # in another currency it can be no part of this amount
            total += Decimal(value) if charge.get("direction") == "CRDT" else -Decimal(value)
            said.add(charge.get("is_included"))
    if not said:
        return None
    if said <= {"true", "1"}:
        return _Charges(total, is_included=True)
    return _Charges(total, is_included=False if said <= {"false", "0"} else None)


def _detail_rows(entry: Row, amounts: Amounts, details: list[Detail], currency: str, direction: str) -> list[Row]:
    """One row per detail: its own where it says so, its entry's dates and status."""
    rows = []
    for number, detail in enumerate(details, 1):
        found = detail.found
        own = found.get("direction") or direction
        row = {name: entry[name] for name in ("account", "status", "booked_on", "value_date", "timestamp")}
        row["level"], row["is_reversal"] = "detail", entry["is_reversal"]
        _describe(row, found, own)
        row["bank_code"] = row["bank_code"] or entry["bank_code"]
        row["acct_svcr_ref"] = _given(found.get("acct_svcr"))
        row["transaction_id"] = row["acct_svcr_ref"] or _given(found.get("tx_id")) or found.get("uetr")
        name = next((name for name in ("amount", "transaction", "instructed") if name in found), None)
        row["currency"] = in_currency = (found[name + CURRENCY] if name else "") or currency
        if name:
            place = f"Ntry/NtryDtls/TxDtls[{number}]/Amt"
            amount = amounts.read(found[name], in_currency, place, negative=own == "DBIT")
            row["amount"], row["amount_stated"] = amount.text, amount.stated
            _money(row, amount, in_currency, detail)
        rows.append(row)
    return rows


def _is_sum_off(amount: Amount, currency: str, own: Detail, details: list[Detail], transactions: str | None) -> bool:
    """Whether all details came with amounts in the entry's currency, and these do not add up to it."""
    if transactions and transactions != str(len(details)):
        return False
    signed = plain = charges = Decimal(0)
    for detail in details:
        found = detail.found
        name = "amount" if "amount" in found else "transaction"  # its own element from version 3 on
        if name not in found or found[name + CURRENCY] != currency or decimal_text(found[name]) is None:
            return False
        number = Decimal(found[name])
        plain += number
        signed += -number if found.get("direction") == "DBIT" else number
        charges += detail.charges.total if detail.charges else 0
    booked = Decimal(amount.text)
    if booked in (plain, signed, -plain):
        return False
    on_entry = own.charges.total if own.charges else Decimal(0)
    sums = (plain if booked > 0 else -plain, signed)
    return not any(total + extra == booked for total in sums for extra in (charges, on_entry, charges + on_entry))


def _day(element: str, text: str | None) -> str | None:
    """The calendar date in the account's own zone, which is the date part of a time as it stands."""
    if text is None:
        return None
    if day(text[:10]) is None:
        raise FieldUnreadable(f"Ntry/{element}", "it is not a date")
    return text[:10]


def _instant(text: str | None) -> str | None:
    if text and (text.endswith("Z") or "+" in text[10:] or "-" in text[10:]):
        return text
    return None  # without its offset a time is no instant


def _given(text: str | None) -> str | None:
    return None if text is None or text.upper() in _NOT_GIVEN else text
