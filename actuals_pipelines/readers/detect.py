"""Which format a file has, by what is in it and never by its name; another kind of file is named as what it is.

Only the beginning is looked at. A table (CSV, Excel) is one of the profiles where its header fits one; that is decided
in `parts.py`, which can open it.
"""

from __future__ import annotations

import codecs
import re

from actuals_pipelines.readers.reading import FileEmpty, FileRefused

HEAD_BYTES = 256 << 10
"""How much of a file is looked at."""

UNKNOWN = "a known format"
"""What a refusal names as the format while there is none."""

TABLES = ("csv", "xlsx", "ndjson", "json")
"""What means something only by a profile or a mapping; "json" is a document that no reader of ours knows."""

ZIP = (b"PK\x03\x04", b"PK\x05\x06")
GZIP = b"\x1f\x8b"
"""How archives begin."""

_OTHERS = (
    (b"%PDF-", "a PDF document"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"II*\0", "a TIFF picture"),
    (b"MM\0*", "a TIFF picture"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"BZh", "compressed with bzip2"),
    (b"\xfd7zXZ", "compressed with xz"),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a Windows program"),
    (b"\xca\xfe\xba\xbe", "a program"),
    (b"\xcf\xfa\xed\xfe", "a program"),
    (b"#!", "a script"),
    (b"{\\rtf", "a rich text document"),
    (b"SQLite format 3\0", "a SQLite database"),
    (b"-----BEGIN PGP", "encrypted or signed with PGP"),
    (b"UNA:", "an EDIFACT message"),
    (b"UNB+", "an EDIFACT message"),
)
_OTHER_XML = (
    ("CstmrCdtTrfInitn", "a payment order (pain.001), which orders and does not report"),
    ("CstmrDrctDbtInitn", "a direct debit order (pain.008), which orders and does not report"),
    ("CstmrPmtStsRpt", "a payment status report (pain.002), which holds no entries"),
    ("Workbook", "an Excel 2003 XML table"),
)
_OFFICE = (  # what stands as UTF-16 in the directory of an old Office container
    ("EncryptedPackage", "an Office document protected by a password"),
    ("WordDocument", "a Word document"),
    ("PowerPoint Document", "a PowerPoint document"),
    ("__substg1.0_", "an Outlook message"),
)
_CAMT = {
    "BkToCstmrStmt": "camt053", "BkToCstmrAcctRpt": "camt052", "BkToCstmrDbtCdtNtfctn": "camt054",
}  # fmt: skip
_BAI2 = re.compile(r"\A\s*01\s*,[^\r\n]*[/\r\n]\s*(?:88,[^\r\n]*[\r\n]+\s*)*02\s*,")
_MT_START = re.compile(r"(?:^|[\r\n}])\s*:20:")
_MT_ACCOUNT = re.compile(r"[\r\n]:25P?:")
_MT940 = re.compile(r"[\r\n]:60[FM]:")
_MT942 = re.compile(r"[\r\n]:(?:34F|13D|13|90[DC]):")
_OFX = re.compile(r"\A\s*(?:OFXHEADER\s*:|(?:<\?[^>]*>\s*|<!--.*?-->\s*)*(?:<\?OFX|<OFX>))", re.IGNORECASE | re.DOTALL)
_BERLIN = re.compile(r'"(?:booked|pending|information)"\s*:\s*\[')
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x19\x1c-\x1f]")


def detect(head: bytes) -> str:
    """The format of the file that begins with `head`: a name of `readers.FORMATS`, `zip` or `gzip`.

    A text that is none of the others is "csv", JSON of a kind without a reader is "json", a workbook in the old Excel
    format is "xlsx".

    Raises:
        FileEmpty, FileRefused: another kind, named; or what fits two formats, both named.
    """
    if not head.strip():
        raise FileEmpty(UNKNOWN)
    if head.startswith(ZIP):
        return "zip"
    if head.startswith(GZIP):
        return "gzip"
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return _old_office(head)
    kind = next((name for mark, name in _OTHERS if head.startswith(mark)), None)
    if kind:
        raise _other(kind)
    text = _text(head)
    found = [name for name, fits in _texts(text) if fits]
    if len(found) > 1:
        both = " and ".join(found)
        raise FileRefused(UNKNOWN, f"it fits {both} alike", f"Say which it is: --format {found[0]}, for example.")
    if found:
        return found[0]
    _refuse_other_text(text)
    return "json" if text.lstrip()[:1] in ("{", "[") else "csv"


def _text(head: bytes) -> str:
    """The beginning as text for looking at: what is not ASCII does not tell formats apart."""
    for mark, name in ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if head.startswith(mark):
            return head.decode(name, "replace").removeprefix("\ufeff")
    return head.decode("latin-1")


def _texts(text: str) -> list[tuple[str, bool]]:
    start = text.lstrip()
    is_json, is_xml = start[:1] in ("{", "["), start[:1] == "<"
    camt = {name for name in _CAMT if re.search(rf"<(?:\w+:)?{name}(?:V01)?[\s>/]", text)} if is_xml else set()
    is_mt = bool(_MT_START.search(text)) and bool(_MT_ACCOUNT.search(text)) and not is_xml
    is_berlin = is_json and bool(_BERLIN.search(text) or '"tppMessages"' in text)
    is_pages = is_json and start.startswith('{"actuals_api_pages"')
    return [
        *((_CAMT[name], True) for name in sorted(camt)),
        ("ofx", bool(_OFX.search(text[:20_000]))),
        ("bai2", bool(_BAI2.search(text[:20_000]))),
        ("mt940", is_mt and bool(_MT940.search(text))),
        ("mt942", is_mt and not _MT940.search(text) and bool(_MT942.search(text))),
        ("berlin_group", is_berlin),
        ("api_pages", is_pages),
        ("ndjson", is_json and not is_berlin and not is_pages and _is_line_of_json(start)),
    ]


def _is_line_of_json(start: str) -> bool:
    """The first line is a whole object, and another one follows or nothing does."""
    first, _, rest = start.partition("\n")
    following = rest.lstrip()[:1]
    return first.startswith("{") and first.rstrip().endswith("}") and following in ("", "{")


def _refuse_other_text(text: str) -> None:
    start = text.lstrip()[:2_000]
    lowered = start.lower()
    if "\0" in start and not text.startswith("\ufeff"):
        raise _other("binary, or UTF-16 without its mark")
    if lowered.startswith(("<!doctype html", "<html", "<head", "<body", "<table", "<meta", "<div", "<script")):
        raise _other("an HTML page, whatever its name says")
    if start.startswith("<"):
        kind = next((name for tag, name in _OTHER_XML if re.search(rf"<(?:\w+:)?{tag}[\s>]", text)), None)
        if kind is None and "<html" in lowered:
            kind = "an HTML page, whatever its name says"
        raise _other(kind or "an XML document of a kind that is not known here")
    if lowered.startswith(("received:", "return-path:", "mime-version:", "delivered-to:")):
        raise _other("an e-mail")
    if len(_CONTROL.findall(start)) > len(start) // 20:
        raise _other("binary, of no kind that is known here")


def _old_office(head: bytes) -> str:
    kind = next((name for mark, name in _OFFICE if mark.encode("utf-16-le") in head), None)
    if kind:
        raise _other(kind)
    return "xlsx"  # calamine opens .xls, or says that it cannot


def _other(kind: str) -> FileRefused:
    return FileRefused(UNKNOWN, f"it is {kind}", "Ask the sender for the export that a program can read.")
