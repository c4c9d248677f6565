"""Account information of the Berlin Group (NextGenPSD2): the JSON answer to "read transactions", one or a list of them.

`booked`, `pending` and `information` become booked, pending and informational entries. The sign is the amount's own
unless a `creditDebitIndicator` says more; where it contradicts the named party, the sign stands and the notes say so.
Options: details (the `entryDetails` of a batch come as rows of their own), rounding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, BinaryIO

import msgspec
import pyarrow as pa

from actuals_pipelines.domain.money import AmountUnreadable, Money
from actuals_pipelines.readers.amounts import Amount, Amounts, FieldUnreadable, day, decimal_text
from actuals_pipelines.readers.entries import references_text
from actuals_pipelines.readers.entry_rows import ENTRY_SCHEMA, EntryRows, Sums, real_id
from actuals_pipelines.readers.reading import MAX_FIELD_BYTES, FileEmpty, FileRefused, Reading, note_reject

_MAX_FILE_BYTES = 256 << 20  # a JSON document lies in memory whole
_ADVICE = "Ask for the transactions again."
_LISTS = {"booked": "booked", "pending": "pending", "information": "informational"}
_KINDS = {"CHRG": "fee", "COMM": "fee", "FEES": "fee", "INTR": "interest", "TAXE": "tax"}  # by sub-family code
_NOT_GIVEN = {"NOTPROVIDED", "NOT PROVIDED", "NONREF"}
_DECODE = msgspec.json.Decoder(float_hook=str).decode  # numbers keep the digits that were sent


class BerlinGroupReader:
    """See the module's text. LINE counts the entries over all lists, from 1; a reject's field is its JSON pointer."""

    format = "berlin_group"
    version = 1

    def read(self, stream: BinaryIO, options: Mapping[str, str]) -> Reading:
        """Read the whole document.

        Raises:
            FileEmpty, FileRefused: no JSON, no transactions in it, an error answer (its code is told), too large. An
                entry that cannot be read is a reject.
        """
        data = stream.read(_MAX_FILE_BYTES + 1)
        if not data.strip():
            raise FileEmpty(self.format)
        if len(data) > _MAX_FILE_BYTES:
            raise FileRefused(self.format, f"it is larger than {_MAX_FILE_BYTES} bytes", "Ask for shorter periods.")
        try:
            document = _DECODE(data.removeprefix(b"\xef\xbb\xbf"))
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise FileRefused(self.format, "it is no JSON document, or half of one", _ADVICE) from None
        reading = Reading(schema=ENTRY_SCHEMA, batches=iter(()))
        pages = [("", document)] if isinstance(document, dict) else _listed(document)
        inside = _Reading(reading, Amounts(self.format, options), options.get("details") == "true")
        reading.batches = inside.batches(pages)
        return reading


def _listed(document: Any) -> list[tuple[str, dict[str, Any]]]:
    pages = document if isinstance(document, list) else []
    if not pages or not all(isinstance(page, dict) for page in pages):
        raise FileRefused("berlin_group", "it is neither an answer nor a list of answers", "Check the format.")
    return [(f"/{place}", page) for place, page in enumerate(pages)]


@dataclass(frozen=True, slots=True)
class _Where:
    """Where an entry belongs, and where it stands."""

    account: str | None
    status: str
    pointer: str
    parent: str | None = None


class _Reading:
    """One pass over the answers."""

    def __init__(self, reading: Reading, amounts: Amounts, with_details: bool) -> None:
        self.reading, self.amounts, self.with_details = reading, amounts, with_details
        self.rows = EntryRows()
        self.line = self.contradicted = 0

    def batches(self, pages: list[tuple[str, dict[str, Any]]]) -> Iterator[pa.RecordBatch]:
        for pointer, page in pages:
            yield from self._page(pointer, page)
        if self.contradicted:
            words = f"{self.contradicted} entries name the party of the other direction, the sign was taken"
            self.reading.notes["control_differences"] = words
        yield self.rows.rest()

    def _page(self, pointer: str, page: dict[str, Any]) -> Iterator[pa.RecordBatch]:
        lists = page.get("transactions", page)
        if not isinstance(lists, dict) or not any(isinstance(lists.get(name), list) for name in _LISTS):
            raise FileRefused("berlin_group", _refusal(page), _ADVICE)
        inside = f"{pointer}/transactions" if lists is not page else pointer
        account = _dict(page.get("account"))
        name = _first(account, "iban", "bban", "maskedPan", "resourceId")
        sums = Sums()
        for kind, status in _LISTS.items():
            entries = lists.get(kind)
            for place, entry in enumerate(entries if isinstance(entries, list) else ()):
                self.line += 1
                self._entry(entry, _Where(name, status, f"{inside}/{kind}/{place}"), sums)
                yield from self.rows.full()
        has_more = bool(_dict(lists.get("_links")).get("next"))
        if has_more:
            self.reading.notes["incomplete"] = "there is another page, which is not in this file"
        self._controls(page, account, sums, name, has_more=has_more)

    def _entry(self, entry: Any, where: _Where, sums: Sums) -> None:
        if not isinstance(entry, dict):
            note_reject(self.reading, self.line, where.pointer, "not an object", "berlin_group")
            return
        wrong: list[tuple[str, str]] = []
        try:
            amount, currency = self._amount(entry)
        except FieldUnreadable as unreadable:
            wrong.append((f"/{unreadable.field}", unreadable.reason))
        days = {name: _text(entry.get(name)) for name in ("bookingDate", "valueDate")}
        wrong += [(f"/{name}", "not a date") for name, text in days.items() if text is not None and day(text) is None]
        if any(len(value) > MAX_FIELD_BYTES for value in entry.values() if isinstance(value, str)):
            wrong.append(("", f"a field is longer than {MAX_FIELD_BYTES} bytes"))
        for name, reason in wrong:
            note_reject(self.reading, self.line, f"{where.pointer}{name}", reason, "berlin_group")
        if wrong:
            return
        booked_on, value_date = (day(text) if text else None for text in days.values())
        if where.status == "booked" and where.parent is None:
            sums.add(currency, amount.minor_units, booked_on.isoformat() if booked_on else None)
        self._row(entry, where, (amount, currency), (booked_on, value_date))
        self._details(entry, where, sums)

    def _amount(self, entry: dict[str, Any]) -> tuple[Amount, str]:
        """The signed amount and its currency."""
        given = _dict(entry.get("transactionAmount"))
        text, currency = _text(given.get("amount")), _text(given.get("currency"))
        if text is None:
            raise FieldUnreadable("transactionAmount/amount", "no amount is given")
        said = {"DBIT": "-", "DEBIT": "-", "CRDT": "+", "CREDIT": "+"}.get(
            (_text(entry.get("creditDebitIndicator")) or "").upper()
        )
        sign = text[:1] if text[:1] in ("+", "-") else ""
        if said == "+" and sign == "-":
            raise FieldUnreadable("creditDebitIndicator", "it contradicts the sign of the amount")
        is_negative = "-" in (said, sign)
        unsigned = text.removeprefix(sign)
        return self.amounts.read(
            unsigned, currency or "", "transactionAmount/amount", negative=is_negative
        ), currency or ""

    def _details(self, entry: dict[str, Any], where: _Where, sums: Sums) -> None:
        details = entry.get("entryDetails")
        if not self.with_details or not isinstance(details, list) or where.parent is not None:
            return
        for place, detail in enumerate(details):
            parent = _id(entry) or f"line {self.line}"
            inside = _Where(where.account, where.status, f"{where.pointer}/entryDetails/{place}", parent)
            whole = (
                {"transactionAmount": entry.get("transactionAmount")} | _dict(detail) if len(details) == 1 else detail
            )
            self._entry(whole, inside, sums)

    def _row(
        self, entry: dict[str, Any], where: _Where, money: tuple[Amount, str], days: tuple[date | None, date | None]
    ) -> None:
        (amount, currency), (booked_on, value_date) = money, days
        own, other = ("creditor", "debtor") if amount.minor_units < 0 else ("debtor", "creditor")
        if not _has_party(entry, own) and _has_party(entry, other):
            self.contradicted += 1
            own = other
        code, proprietary = _text(entry.get("bankTransactionCode")), _text(entry.get("proprietaryBankTransactionCode"))
        exchange = _exchange(entry)
        end_to_end = _text(entry.get("endToEndId"))
        self.rows.add(
            self.line,
            account=where.account,
            level="detail" if where.parent else "entry",
            transaction_id=_id(entry),
            parent_id=where.parent,
            kind=_KINDS.get(code.split("-")[-1] if code else "", "payment"),
            status=where.status,
            booked_on=booked_on.isoformat() if booked_on and where.status != "pending" else None,
            value_date=value_date.isoformat() if value_date else None,
            timestamp=_instant(_first(entry, "bookingDateTime", "valueDateTime")),
            amount=amount.text,
            currency=currency,
            original_amount=amount.stated,
            original_currency=currency if amount.stated else _first(exchange, "sourceCurrency"),
            rate=decimal_text(_first(exchange, "exchangeRate", "rate")),
            references=references_text(
                {
                    "end_to_end": None if end_to_end in _NOT_GIVEN else end_to_end,
                    "mandate": _text(entry.get("mandateId")),
                    "check": _text(entry.get("checkId")),
                    "acct_svcr": _text(entry.get("entryReference")),
                    "tx_id": _text(entry.get("internalTransactionId")),
                    "creditor_ref": _structured(entry),
                }
            ),
            text=_remittance(entry),
            counterparty=_first(entry, f"{own}Name"),
            counterparty_account=_first(_dict(entry.get(f"{own}Account")), "iban", "bban", "maskedPan", "msisdn"),
            bank_code="/".join(each for each in (code, proprietary) if each) or None,
        )

    def _controls(
        self, page: dict[str, Any], account: dict[str, Any], sums: Sums, name: str | None, *, has_more: bool
    ) -> None:
        balances = page.get("balances")
        found: dict[str, Money] = {}
        for place, balance in enumerate(balances if isinstance(balances, list) else ()):
            given = _dict(_dict(balance).get("balanceAmount"))
            amount, currency = _text(given.get("amount")), _text(given.get("currency"))
            try:
                money = Money.parse(amount or "", currency or "")
            except AmountUnreadable as error:
                pointer = f"/balances/{place}/balanceAmount"
                note_reject(self.reading, 0, pointer, error.reason, "berlin_group")
                continue
            found.setdefault(_text(_dict(balance).get("balanceType")) or "", money)
        opening, closing = found.get("openingBooked"), found.get("closingBooked")
        own = next((money.currency for money in (closing, opening) if money), None)
        currency = own or (next(iter(sums.found), None) or _text(account.get("currency")) or "")
        if not currency:
            return
        is_whole = not has_more
        self.reading.controls += sums.controls(
            currency,
            account=name,
            statement=None,
            opening=opening.minor_units if opening and opening.currency == currency and is_whole else None,
            closing=closing.minor_units if closing and closing.currency == currency and is_whole else None,
        )


def _refusal(page: dict[str, Any]) -> str:
    messages = page.get("tppMessages")
    codes = [_text(_dict(each).get("code")) for each in messages] if isinstance(messages, list) else []
    known = next((code for code in codes if code and re.fullmatch(r"[A-Z_]{3,60}", code)), None)
    return f"the bank answered with {known}" if known else "it holds no list of booked or pending transactions"


def _id(entry: dict[str, Any]) -> str | None:
    return real_id(_first(entry, "transactionId", "internalTransactionId", "entryReference"))


def _has_party(entry: dict[str, Any], side: str) -> bool:
    return bool(entry.get(f"{side}Name") or entry.get(f"{side}Account"))


def _exchange(entry: dict[str, Any]) -> dict[str, Any]:
    found = entry.get("currencyExchange", entry.get("exchangeRate"))
    return _dict(found[0] if isinstance(found, list) and found else found)


def _structured(entry: dict[str, Any]) -> str | None:
    found = entry.get("remittanceInformationStructured")
    return _first(found, "reference") if isinstance(found, dict) else _text(found)


def _remittance(entry: dict[str, Any]) -> str | None:
    lines = [_text(entry.get("remittanceInformationUnstructured"))]
    more = entry.get("remittanceInformationUnstructuredArray")
    lines += [_text(each) for each in more] if isinstance(more, list) else []
    lines.append(_text(entry.get("additionalInformation")))
    return "\n".join(dict.fromkeys(line for line in lines if line)) or None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _first(holder: Mapping[str, Any], *names: str) -> str | None:
    return next((found for name in names if (found := _text(holder.get(name)))), None)


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value.strip() or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _instant(text: str | None) -> str | None:
    """An instant with its offset; None without one."""
    return text if text and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)", text) else None
