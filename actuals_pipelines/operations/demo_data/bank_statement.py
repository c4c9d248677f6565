"""The bank's side: one CAMT.053 file a day with a statement per account (ISO 20022, camt.053.001.08).

Closing balances of a day are the opening balances of the next. There are few bank lines however many the orders are,
because the PSP pays out in batches: plain text templates serve.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from xml.sax.saxutils import escape

import duckdb

from actuals_pipelines.domain.money import Money
from actuals_pipelines.operations.demo_data.world import Wanted

_NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"


@dataclass(frozen=True, slots=True)
class _Entry:
    reference: str
    minor_units: int
    text: str
    end_to_end: str
    party: str


def write_bank_statements(world: duckdb.DuckDBPyConnection, wanted: Wanted, folder: Path) -> list[Path]:
    """Write `statement-<day>.xml` per calendar day, weekends (without entries) included; return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    entries: dict[tuple[date, str], list[_Entry]] = {}
    rows = world.execute("SELECT bank_day, currency, line, amount, text, end_to_end, party FROM bank ORDER BY line")
    for bank_day, currency, line, *rest in rows.fetchall():
        entries.setdefault((bank_day, currency), []).append(_Entry(f"{bank_day:%y%m%d}-{line:06d}", *rest))
    balances: dict[str, int] = dict(world.execute("SELECT currency, opening FROM money ORDER BY currency").fetchall())
    paths = []
    for number, day in enumerate(wanted.dates, start=1):
        statements = []
        for account, currency in enumerate(balances):
            booked = entries.get((day, currency), [])
            iban = demo_iban(wanted.seed * 10 + account)
            statements.append(
                _statement(iban, currency, day=day, number=number, opening=balances[currency], entries=booked)
            )
            balances[currency] += sum(entry.minor_units for entry in booked)
        path = folder / f"statement-{day}.xml"
        path.write_text(_document(day, statements), encoding="utf-8", newline="\n")
        paths.append(path)
    return paths


def demo_iban(number: int) -> str:
    """An IBAN of a bank that does not exist, with right check digits (ISO 13616: mod 97 of the moved-round number)."""
    body = f"DEMO{number:010d}"
    as_digits = "".join(str(int(character, 36)) for character in body + "NL00")
    return f"NL{98 - int(as_digits) % 97:02d}{body}"


def _document(day: date, statements: list[str]) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<Document xmlns="{_NAMESPACE}"><BkToCstmrStmt>\n'
        f"<GrpHdr><MsgId>DEMO-{day:%Y%m%d}</MsgId><CreDtTm>{day}T23:59:00Z</CreDtTm></GrpHdr>\n"
        + "".join(statements)
        + "</BkToCstmrStmt></Document>\n"
    )


def _statement(iban: str, currency: str, *, day: date, number: int, opening: int, entries: list[_Entry]) -> str:
    credits = [entry.minor_units for entry in entries if entry.minor_units > 0]
    debits = [-entry.minor_units for entry in entries if entry.minor_units < 0]
    closing = opening + sum(credits) - sum(debits)
    return (
        f"<Stmt><Id>{iban}-{day:%Y%m%d}</Id><ElctrncSeqNb>{number}</ElctrncSeqNb><CreDtTm>{day}T23:59:00Z</CreDtTm>\n"
        f"<FrToDt><FrDtTm>{day}T00:00:00Z</FrDtTm><ToDtTm>{day}T23:59:59Z</ToDtTm></FrToDt>\n"
        f"<Acct><Id><IBAN>{iban}</IBAN></Id><Ccy>{currency}</Ccy><Ownr><Nm>Demo Shop B.V.</Nm></Ownr></Acct>\n"
        + _balance("OPBD", opening, currency, day)
        + _balance("CLBD", closing, currency, day)
        + f"<TxsSummry><TtlNtries><NbOfNtries>{len(entries)}</NbOfNtries></TtlNtries>"
        + f"<TtlCdtNtries>{_totals(credits, currency)}</TtlCdtNtries>"
        + f"<TtlDbtNtries>{_totals(debits, currency)}</TtlDbtNtries></TxsSummry>\n"
        + "".join(_entry(entry, currency, day) for entry in entries)
        + "</Stmt>\n"
    )


def _balance(kind: str, minor_units: int, currency: str, day: date) -> str:
    return (
        f"<Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp>{_amount(minor_units, currency)}"
        f"<Dt><Dt>{day}</Dt></Dt></Bal>\n"
    )


def _entry(entry: _Entry, currency: str, day: date) -> str:
    other = "Dbtr" if entry.minor_units > 0 else "Cdtr"
    family, sub_family = ("RCDT", "ESCT") if entry.minor_units > 0 else ("ICDT", "ESCT")
    return (
        f"<Ntry><NtryRef>{entry.reference}</NtryRef>{_amount(entry.minor_units, currency)}<Sts><Cd>BOOK</Cd></Sts>"
        f"<BookgDt><Dt>{day}</Dt></BookgDt><ValDt><Dt>{day}</Dt></ValDt><AcctSvcrRef>B{entry.reference}</AcctSvcrRef>"
        f"<BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>{family}</Cd><SubFmlyCd>{sub_family}</SubFmlyCd></Fmly></Domn></BkTxCd>\n"
        f"<NtryDtls><TxDtls><Refs><EndToEndId>{escape(entry.end_to_end)}</EndToEndId></Refs><RltdPties>"
        f"<{other}><Pty><Nm>{escape(entry.party)}</Nm></Pty></{other}></RltdPties>"
        f"<RmtInf><Ustrd>{escape(entry.text)}</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>\n"
    )


def _amount(minor_units: int, currency: str) -> str:
    sign = "CRDT" if minor_units >= 0 else "DBIT"
    return f'<Amt Ccy="{currency}">{_major(abs(minor_units), currency)}</Amt><CdtDbtInd>{sign}</CdtDbtInd>'


def _totals(amounts: list[int], currency: str) -> str:
    return f"<NbOfNtries>{len(amounts)}</NbOfNtries><Sum>{_major(sum(amounts), currency)}</Sum>"


def _major(minor_units: int, currency: str) -> str:
    return str(Money(minor_units, currency)).partition(" ")[0]
