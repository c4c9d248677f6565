"""One `:61:` with its `:86:` as a row: what every column of MT940 means."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from actuals_pipelines.readers.entries import references_text
from actuals_pipelines.readers.mt940.details import Details, read_details, read_ns
from actuals_pipelines.readers.mt940.entry import Line, is_account, other_amount
from actuals_pipelines.readers.mt940.statement import Statement

OWN_COLUMNS = (
    "acct_svcr_ref", "end_to_end", "is_reversal", "booking_text", "creditor_id", "return_reason", "ultimate_party",
    "stated_date", "amount_stated",
)  # fmt: skip
"""What MT940 gives beside `ENTRY_COLUMNS`. stated_date: the dates as sent where the calendar has no such day, which
was taken as the month's last. Persons are in counterparty, counterparty_account, ultimate_party and text."""

ROW = (
    "statement", "account", "level", "kind", "status", "booked_on", "value_date", "amount", "currency", "gross", "fee",
    "net", "original_amount", "original_currency", "references", "text", "counterparty", "counterparty_account",
    "bank_code", *OWN_COLUMNS,
)  # fmt: skip
"""What an entry can have but its id, which is known when its message is whole. All other columns are null."""

GVC_KINDS = {"805": "fee", "808": "fee", "814": "interest"}
"""By the German business transaction code, before the type of the :61:."""

Row = tuple[str | None, ...]
"""One value for each of `ROW`."""


def row(line: Line, texts: list[tuple[str, str]], statement: Statement) -> Row:
    """The row of one :61: with its texts (tag and value of each :86: or :NS:)."""
    made = Details()
    if texts:
        tag, value = texts[0]
        if len(texts) > 1 and all(each == tag for each, _ in texts):
            value = "\n".join(each for _, each in texts)
        made = read_ns(value) if tag == "NS" else read_details(value)
    references, account = made.references, made.account
    customer, text = line.customer_ref, made.text
    if customer:
        if is_account(customer):  # a person's account is no reference
            account = account or customer
        else:
            references.setdefault("customer_ref", customer)
    if line.bank_ref:
        references["acct_svcr"] = line.bank_ref
    more = _supplementary(line, statement.currency, text) if line.supplementary else _Supplementary(text)
    return (
        statement.number or statement.reference,
        statement.account,
        "entry",
        GVC_KINDS.get(made.gvc, line.kind) if made.gvc else line.kind,
        "pending" if line.is_expected else "booked",
        line.booked_on,
        line.value_date,
        line.amount.text,
        statement.currency,
        more.gross,
        more.fee,
        line.amount.text if more.fee else None,
        more.original_amount,
        more.original_currency,
        references_text(references) if references else None,
        more.text,
        made.name,
        account or more.account,
        f"{line.type}/{made.gvc}" if made.gvc else line.type or None,
        line.bank_ref,
        references.get("end_to_end"),
        "true" if line.is_reversal else "false",
        made.booking_text,
        made.creditor_id,
        made.return_reason,
        made.ultimate,
        line.stated_date,
        line.amount.stated,
    )


class _Supplementary(NamedTuple):
    """The lines below a :61:: the other side's account, the amount in another currency and the charges, or text."""

    text: str | None
    account: str | None = None
    original_amount: str | None = None
    original_currency: str | None = None
    gross: str | None = None
    fee: str | None = None


def _supplementary(line: Line, currency: str | None, text: str | None) -> _Supplementary:
    more = line.supplementary
    if is_account(more):
        return _Supplementary(text, account=more)
    if text is None or more not in text:
        text = f"{more}\n{text}" if text else more
    made = _Supplementary(text)
    original, charge = other_amount(more, "OCMT"), other_amount(more, "CHGS")
    if original is None:
        return made
    sign = "-" if line.amount.minor_units < 0 else ""
    if original[0] != currency:
        return made._replace(original_amount=sign + original[1], original_currency=original[0])
    if charge and charge[0] == currency:
        gross, fee = Decimal(sign + original[1]), -Decimal(charge[1])
        if gross + fee == Decimal(line.amount.text):  # the charges are part of the amount
            return made._replace(gross=format(gross, "f"), fee=format(fee, "f"))
    return made
