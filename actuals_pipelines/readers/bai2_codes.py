"""BAI2 type codes: which side of the account they stand on, and what kind of movement they are.

Source: Cash Management Balance Reporting Specifications Version 2, appendix A.
"""

from __future__ import annotations

_KINDS = {
    "fee": "224 524 564 567 661 698",
    "fee_refund": "398",
    "interest": "242 244 346 354 359 544 654 659",
    "transfer": "201 206 274 275 277 501 506 574 575 577",
    "fx": "214 514",
    "tax": "377 677",
    "chargeback": "555 557 566",  # what was collected comes back
    "payout_return": "255 257 261 266",  # what was paid comes back
    "adjustment": "118 172 189 196 248 252 254 258 268 276 278 357 358 372 395 496 552 554 558 568 578 631 634 672",
}
_BY_CODE = {code: kind for kind, codes in _KINDS.items() for code in codes.split()}
_NON_MONETARY = "890"


def kind_of(code: str) -> str:
    """One of `entries.KINDS`; a bank's own code and what is not monetary are `other`."""
    return _BY_CODE.get(code) or ("payment" if "100" <= code <= "699" else "other")


def sign_of(code: str) -> int | None:
    """+1 for a credit, -1 for a debit, 0 for what moves nothing; None for balances and what is not defined."""
    if code == _NON_MONETARY:
        return 0
    if "100" <= code <= "399" or "720" <= code <= "759" or "920" <= code <= "959":
        return 1
    if "400" <= code <= "699" or "760" <= code <= "799" or "960" <= code <= "999":
        return -1
    return None
