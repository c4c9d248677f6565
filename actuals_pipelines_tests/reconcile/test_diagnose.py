"""What the engine says when little matches, and what looks wrong before anybody works on differences."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
import pytest

from actuals_pipelines.domain.package import MatchingPackage, Member
from actuals_pipelines.reconcile.close import Pins, close
from actuals_pipelines.reconcile.diagnose import Finding, diagnose
from actuals_pipelines.reconcile.open_items import open_items
from actuals_pipelines.reconcile.preview import preview_warnings
from actuals_pipelines_tests.reconcile.ledgers import ORDERS_VS_PSP, ledger

DAY = Pins(date(2026, 2, 28))


def closed(text: str, package: MatchingPackage = ORDERS_VS_PSP) -> pa.Table:
    return close(None, ledger(text), [], package, DAY).state.rows


def findings(text: str) -> dict[str, Finding]:
    found = diagnose(closed(text), ORDERS_VS_PSP, {"transaction_id": "transaction_id"})
    return {finding.subject: finding for finding in found}


@pytest.mark.parametrize(
    ("soll", "ist", "words"),
    [
        ("ORD-1", "ord-1", "upper and lower case"),
        ("ORD-1", "ORD1", "dashes, blanks and other marks"),
        ("00017", "17", "zeros in front"),
        ("ORD17", "17", "letters before or after the number"),
    ],
)
def test_ids_that_differ_in_their_shape_are_named(soll: str, ist: str, words: str) -> None:
    """With the setting that makes them meet."""
    found = findings(f"side  id  amount\nSOLL  {soll}  1.00 EUR\nIST  {ist}  1.00 EUR")

    assert words in found["how ids are written"].words
    assert "scheme" in (found["how ids are written"].advice or "")
    assert found["ids (transaction_id, from transaction_id)"].examples == (f"SOLL {soll!r}", f"IST {ist!r}")


def test_signs_and_cents_are_named() -> None:
    """Where most groups are equal but for the sign, or a factor of 100."""
    mirrored = findings("side  id  amount\nSOLL  1  5.00 EUR\nIST  1  -5.00 EUR")
    cents = findings("side  id  amount\nSOLL  1  500.00 EUR\nIST  1  5.00 EUR")

    assert "reversed" in (mirrored["signs"].advice or "")
    assert "SOLL probably counts cents" in (cents["factor 100"].advice or "")


def test_currencies_and_periods_that_do_not_meet_are_named() -> None:
    """Nothing can match across them."""
    found = findings(
        """
        side  id  booked      amount
        SOLL  1   2026-01-01  5.00 EUR
        IST   2   2026-02-01  5.00 USD
        """
    )

    assert "nothing can match" in (found["currencies"].advice or "")
    assert "do not overlap" in (found["dates"].advice or "")


def test_the_preview_warns_of_signs_cents_and_the_same_money_twice() -> None:
    """Before anybody works on differences."""
    twice = MatchingPackage(name="p", soll=(Member("shop"), Member("erp")), ist=(Member("psp"),))
    double = "\n".join(f"{source}  {n}  1.00 EUR" for n in range(3) for source in ("shop", "erp", "psp"))

    assert preview_warnings(closed("side  id  amount\nSOLL  1  5.00 EUR\nIST  1  5.00 EUR"), ORDERS_VS_PSP) == ()
    [sign] = preview_warnings(closed("side  id  amount\nSOLL  1  5.00 EUR\nIST  1  -5.00 EUR"), ORDERS_VS_PSP)
    [cents] = preview_warnings(closed("side  id  amount\nSOLL  1  500.00 EUR\nIST  1  5.00 EUR"), ORDERS_VS_PSP)
    [same] = preview_warnings(closed("source  id  amount\n" + double, twice), twice)

    assert "opposite signs" in sign
    assert "100 times" in cents
    assert "'erp' and 'shop'" in same


def test_open_items_come_largest_first() -> None:
    """One line per group, whatever its rows."""
    rows = closed(
        """
        side  id  amount
        SOLL  1   5.00 EUR
        IST   1   6.00 EUR
        SOLL  2   90.00 EUR
        IST   3   7.00 EUR
        SOLL  4   1.00 EUR
        IST   4   1.00 EUR
        """
    )

    items = open_items(rows, limit=2).to_pylist()

    assert [(each["transaction_id"], each["difference"], each["reason"]) for each in items] == [
        ("2", 9000, "missing_ist"),
        ("3", -700, "missing_soll"),
    ]
