"""`:86:` information to account owner, in the dialects of the banks, and `:NS:` of those who left SWIFT's alphabet.

- subfields: GVC ?20 .. ?29 of the German banks, ~20 in Poland, +20 in Romania, with SEPA tags (EREF+ SVWZ+) inside
- codes: /EREF/ /REMI/ /CNTP/ of the Dutch banks
- free text; at some banks its first line is the other side's account and name
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from actuals_pipelines.readers.mt940.entry import is_account

_SUBFIELDS = re.compile(r"\s*([0-9]{3})?\s*([?~+<^|@])[0-9]{2}", re.ASCII)
_SPLIT = {sign: re.compile(rf"{re.escape(sign)}([0-9]{{2}})", re.ASCII) for sign in "?~+<^|@"}
_PURPOSE = frozenset(map(str, (*range(20, 30), *range(60, 70))))
_KNOWN = frozenset(("00", "10", "30", "31", "32", "33", "34", "38"))  # with sheet number, bank, text key
_PURPOSE_OR_KNOWN = _PURPOSE | _KNOWN
PIECE = 27  # characters of a full subfield: the next one goes on in the middle of a word
FULL_LINE = 65  # of a line of the message, with its tag
_TAG = re.compile(r"(MTLG(?=:)|(?:EREF|KREF|MREF|CRED|DEBT|SVWZ|ABWA|ABWE|IBAN|BIC|COAM|OAMT|PURP|RREF)(?=\+)).")
_TAGGED = {"EREF": "end_to_end", "KREF": "customer_ref", "MREF": "mandate"}
CODE = re.compile(
    r"/(TRTP|IBAN|BIC|NAME|REMI|EREF|PREF|MARF|MREF|KREF|IREF|CSID|ORDP|BENM|ULTD|ULTB|ULTC|UDTR|UCRD|CNTP|PURP|RTRN|"
    r"ISDT|ADDR|SVCL|TRCD)/",
    re.ASCII,
)
_CODED = {
    "EREF": "end_to_end",
    "PREF": "payment_information",
    "MARF": "mandate",
    "MREF": "mandate",
    "KREF": "customer_ref",
    "IREF": "instruction",
}
_ULTIMATE = {"ULTD", "ULTB", "ULTC", "UDTR", "UCRD"}
_NS_LINE = re.compile(r"([0-9]{2})(.*)", re.ASCII)
NOT_GIVEN = {"NOTPROVIDED", "NOT PROVIDED", "NONREF", "NOTAVAILABLE"}


@dataclass(slots=True)
class Details:
    """What the text says. Persons are in text, name, account and ultimate."""

    text: str | None = None
    name: str | None = None
    account: str | None = None
    ultimate: str | None = None
    gvc: str | None = None  # German business transaction code
    booking_text: str | None = None
    creditor_id: str | None = None
    return_reason: str | None = None
    references: dict[str, str | None] = field(default_factory=dict)

    def refer(self, name: str, value: str) -> None:
        """Keep a reference, the first of its kind."""
        value = value.strip()
        if value and value.upper() not in NOT_GIVEN:
            self.references.setdefault(name, value)


def read_details(text: str) -> Details:
    """Read a :86: (LF between its lines)."""
    found = _SUBFIELDS.match(text)
    if found:
        return _subfields(text, found[1], found[2])
    if "/" in text:
        joined = _joined(text)
        pieces = CODE.split(joined)
        if len(pieces) > 1 and not pieces[0].strip(" \n"):
            return _coded(joined, pieces)
    return _free(text)


def read_ns(text: str) -> Details:
    """Read a :NS:, whose lines begin with two digits: 01 to 14 purpose, 15 and 16 name, 17 booking text."""
    parts: dict[str, list[str]] = {}
    code = "01"
    for line in text.split("\n"):
        found = _NS_LINE.fullmatch(line)
        code, value = (found[1], found[2].strip()) if found else (code, line.strip())
        if value:
            parts.setdefault(code, []).append(value)
    lines = {code: " ".join(values) for code, values in parts.items()}
    purpose = [lines[code] for code in sorted(lines) if code <= "14"]
    names = [lines[code] for code in ("15", "16") if code in lines]
    return Details(
        text="\n".join(purpose) or None,
        name=" ".join(names) or None,
        account=lines.get("34") if lines.get("34", "").isdigit() else None,
        booking_text=lines.get("17"),
    )


def _subfields(text: str, gvc: str | None, sign: str) -> Details:
    """Lines are cut anywhere, subfields at 27 characters: both go on where they stopped."""
    pieces = _SPLIT[sign].split(text.replace("\n", ""))
    found = dict(zip(pieces[1::2], pieces[2::2], strict=True))
    purpose = [value for code, value in found.items() if code in _PURPOSE]
    rest = [found[code].strip() for code in sorted(found.keys() - _PURPOSE_OR_KNOWN)]
    if 2 * len(found) < len(pieces) - 1:  # a code stands twice, in a text for example: nothing of it is lost
        purpose = [value for code, value in zip(pieces[1::2], pieces[2::2], strict=True) if code not in _KNOWN]
        rest = []
    made = Details(gvc=gvc, booking_text=found.get("00", "").strip() or None)
    made.account = (found.get("38") or found.get("31", "")).replace(" ", "") or None
    made.name = _glued([found[code] for code in ("32", "33") if code in found]) or None
    purpose_text = _glued(purpose)
    if "+" in purpose_text:
        purpose_text = _tagged(purpose_text, made)
    made.text = "\n".join(part for part in (purpose_text, *rest) if part) or made.booking_text
    return made


def _tagged(purpose: str, made: Details) -> str:
    """Take out the SEPA tags; SVWZ+ is the text. Without one it stays the whole purpose."""
    lead, *pieces = _TAG.split(purpose)
    if not pieces:
        return purpose
    text = None
    for tag, raw in zip(pieces[::2], pieces[1::2], strict=True):
        value = raw.strip()
        if tag in _TAGGED:
            made.refer(_TAGGED[tag], value)
        elif tag == "SVWZ":
            text = value
        elif tag == "CRED":
            made.creditor_id = value or None
        elif tag in ("ABWA", "ABWE"):
            made.ultimate = made.ultimate or value or None
        elif tag == "IBAN":
            made.account = made.account or value.split(" ")[0] or None
    if text is None:
        return purpose
    return "\n".join(part for part in (lead.strip(), text) if part)


def _coded(joined: str, pieces: list[str]) -> Details:
    made = Details()
    holder = ""
    for code, raw in zip(pieces[1::2], pieces[2::2], strict=True):
        value = raw.strip("/ \n")
        if code in _CODED:
            made.refer(_CODED[code], value)
        elif code == "NAME":
            if holder in _ULTIMATE:
                made.ultimate = value or None
            else:
                made.name = made.name or value or None
        elif code in _ULTIMATE:
            made.ultimate = value or None
        elif code == "IBAN":
            made.account = made.account or value or None
        elif code == "CNTP":
            account, _, name, *_ = [*raw.split("/"), "", ""]  # account, bank, name, town
            made.account, made.name = account.strip() or None, name.strip() or None
        elif code == "CSID":
            made.creditor_id = value or None
        elif code == "RTRN":
            made.return_reason = value or None
        elif code == "REMI":
            made.text = _remittance(value, made)
        if code != "NAME":
            holder = code
    made.text = made.text or joined.strip()
    return made


def _remittance(value: str, made: Details) -> str | None:
    """USTD//text, STRD/CUR/reference, or the text itself."""
    if value.startswith("STRD/"):
        made.refer("creditor_ref", value.rpartition("/")[2])
    return value.removeprefix("USTD//").strip() or None


def _free(text: str) -> Details:
    made = Details(text=_joined(text).strip() or None)
    account, _, name = text.partition("\n")[0].strip().partition(" ")
    if is_account(account):
        made.account, made.name = account, name.strip() or None
    return made


def _glued(pieces: list[str]) -> str:
    made = ""
    for place, piece in enumerate(pieces):
        if place and len(pieces[place - 1]) < PIECE and made[-1:] != " " and piece[:1] != " ":
            made += " "
        made += piece
    return made.strip()


def _joined(text: str) -> str:
    """Full lines go on in the next one, where the word was cut; other line ends are the bank's own."""
    if "\n" not in text:
        return text
    lines = text.split("\n")
    made, length = lines[0], len(lines[0]) + len(":86:")
    for line in lines[1:]:
        made += line if length >= FULL_LINE else f"\n{line}"
        length = len(line)
    return made
