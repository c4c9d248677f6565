"""The banks', PSPs' and shops' own sample files, summed up independently: ACTUALS_SAMPLES names their folder.

What is expected is worked out here from the files by columns read by hand, with csv, json and Decimal, and not by
anything of the engine.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from actuals_pipelines.readers import open_reader
from actuals_pipelines.readers.profiles import find

Sums = dict[str, Decimal]  # currency ("" for none) -> sum of booked entries


@pytest.fixture
def samples() -> Path:
    """Other people's files, which are not ours to copy."""
    named = os.environ.get("ACTUALS_SAMPLES")
    if not named:
        pytest.skip("the sample files are not part of the repository; ACTUALS_SAMPLES names their folder")
    return Path(named)


def rows(data: bytes, encoding: str = "utf-8", delimiter: str = ",", skip: int = 0) -> Iterator[dict[str, str]]:
    text = data.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")[skip:]
    return csv.DictReader(io.StringIO("\n".join(lines)), delimiter=delimiter)


def number(text: str | None) -> Decimal:
    return Decimal((text or "0").replace("'", "").replace("$", "").replace(",", "") or "0")


def comma(text: str) -> Decimal:
    return Decimal(text.replace(".", "").replace(",", "."))


def total(pairs: list[tuple[str, Decimal]]) -> Sums:
    sums: Sums = {}
    for currency, amount in pairs:
        sums[currency] = sums.get(currency, Decimal(0)) + amount
    return sums


def adyen(data: bytes) -> tuple[int, Sums]:
    found, count = [], 0
    for row in rows(data):
        fees = sum(number(row[n]) for n in ("Commission (NC)", "Markup (NC)", "Scheme Fees (NC)", "Interchange (NC)"))
        count += 2 if fees else 1
        found.append((row["Net Currency"], number(row["Net Credit (NC)"]) - number(row["Net Debit (NC)"])))
    return count, total(found)


def adyen_accounting(data: bytes) -> tuple[int, Sums]:
    booked = [row for row in rows(data) if row["Record Type"] in ("Settled", "Chargeback")]
    return 2 * len(booked), total([(row["Settlement Currency"], number(row["Payable (SC)"])) for row in booked])


def paypal(data: bytes) -> tuple[int, Sums]:
    found = []
    for row in csv.reader(io.StringIO(data.decode())):
        if row[0] == "SB":
            found.append((row[10], Decimal(row[9]) / 100 * (-1 if row[8] == "DR" else 1)))
            if row[12]:
                found.append((row[10], Decimal(row[12]) / 100 * (-1 if row[11] == "DR" else 1)))
    return len(found), total(found)


def stripe_report(data: bytes) -> tuple[int, Sums]:
    found = []
    for row in rows(data):
        is_payout = row["reporting_category"] == "payout"
        amount = -abs(Decimal(row["net"])) if is_payout else Decimal(row["gross"])
        found.append((row["currency"].upper(), amount))
        if Decimal(row["fee"]):
            found.append((row["currency"].upper(), -Decimal(row["fee"])))
    return len(found), total(found)


def stripe_payments(data: bytes) -> tuple[int, Sums]:
    found = [(row["converted_currency"].upper(), Decimal(row["converted_amount"])) for row in rows(data)]
    found += [(row["converted_currency"].upper(), -Decimal(row["fee"])) for row in rows(data)]
    found += [
        (row["converted_currency"].upper(), -Decimal(row["converted_amount_refunded"]))
        for row in rows(data)
        if Decimal(row["converted_amount_refunded"])
    ]
    return len(found), total(found)


def amazon(data: bytes) -> tuple[int, Sums]:
    listed = list(rows(data, delimiter="\t"))
    return len(listed), {"GBP": sum(number(row["amount"]) for row in listed[1:]) - number(listed[0]["total-amount"])}


def checkout(data: bytes) -> tuple[int, Sums]:
    listed = list(rows(data))
    entries = sum((number(r["Gross In Holding Currency"]) != 0) + 1 for r in listed)
    return entries, {"USD": sum((number(r["Net In Holding Currency"]) for r in listed), Decimal(0))}


def dlocal(data: bytes) -> tuple[int, Sums]:
    listed = list(rows(data, skip=2))
    cents = [Decimal(row["NET_AMOUNT"]).quantize(Decimal("0.01")) for row in listed]
    with_fee = [row for row in listed if Decimal(row["FEE_AMOUNT"])]
    with_gross = [row for row in listed if Decimal(row["GROSS_AMOUNT"])]
    return len(with_fee) + len(with_gross), {"USD": sum(cents, Decimal(0))}


def gr4vy(data: bytes) -> tuple[int, Sums]:
    captured = [row for row in rows(data) if row["captured_amount"] != "0"]
    scale = {"JPY": 1, "USD": 100}
    found = [(row["currency"], Decimal(row["captured_amount"]) / scale[row["currency"]]) for row in captured]
    return len(found), total(found)


def shopify_export(data: bytes) -> tuple[int, Sums]:
    listed = list(rows(data))
    return len(listed) + sum(number(row["Fee"]) != 0 for row in listed), {
        "USD": sum((number(row["Net"]) for row in listed), Decimal(0))
    }


def shopify_balance(data: bytes) -> tuple[int, Sums]:
    listed = json.loads(data)["transactions"]
    return len(listed) + sum(Decimal(each["fee"]) != 0 for each in listed), {
        "USD": sum((Decimal(each["net"]) for each in listed), Decimal(0))
    }


def shopify_payouts(data: bytes) -> tuple[int, Sums]:
    paid = [each for each in json.loads(data)["payouts"] if each["status"] == "paid"]
    return len(paid), total([(each["currency"], -Decimal(each["amount"])) for each in paid])


def shopify_disputes(data: bytes) -> tuple[int, Sums]:
    listed = [each for each in json.loads(data)["disputes"] if each["type"] == "chargeback"]
    won = [each for each in listed if each["status"] == "won"]
    return len(listed) + len(won), {
        "USD": sum((Decimal(e["amount"]) for e in won), Decimal(0)) - sum(Decimal(e["amount"]) for e in listed)
    }


def braintree_disputes(data: bytes) -> tuple[int, Sums]:
    listed = json.loads(data)
    won = [each for each in listed if each["status"] == "WON"]
    return len(listed) + len(won), {
        "USD": sum((Decimal(each["amountWon"]["value"]) for each in won), Decimal(0))
        - sum(Decimal(each["amountDisputed"]["value"]) for each in listed)
    }


def braintree(data: bytes) -> tuple[int, Sums]:
    listed = json.loads(data)
    return len(listed), {
        "USD": sum((Decimal(each["disbursementDetails"]["amount"]["value"]) for each in listed), Decimal(0))
    }


def ledger(column: str, currency: str = "", **how: Any) -> Callable[[bytes], tuple[int, Sums]]:
    def summed(data: bytes) -> tuple[int, Sums]:
        found = [number(row[column]) for row in rows(data, **how)]
        return len(found), {currency: sum(found, Decimal(0))}

    return summed


def german(column: str, **how: Any) -> Callable[[bytes], tuple[int, Sums]]:
    def summed(data: bytes) -> tuple[int, Sums]:
        found = [comma(row[column]) for row in rows(data, **how)]
        return len(found), {"EUR": sum(found, Decimal(0))}

    return summed


def two_sided(credit: str, debit: str, currency: str, **how: Any) -> Callable[[bytes], tuple[int, Sums]]:
    def summed(data: bytes) -> tuple[int, Sums]:
        found = [number(row[credit]) - number(row[debit]) for row in rows(data, **how)]
        return len(found), {currency: sum(found, Decimal(0))}

    return summed


def known(entries: int, **sums: str) -> Callable[[bytes], tuple[int, Sums]]:
    """Too few numbers for a program: added up by hand."""
    return lambda _data: (entries, {currency.strip("_"): Decimal(amount) for currency, amount in sums.items()})


SAMPLES: list[tuple[str, str, Callable[[bytes], tuple[int, Sums]]]] = [
    *((f"adyen/settlement_detail_report_{name}.csv", "adyen_settlement", adyen) for name in (
        "chargeback", "chargeback_reversed", "deposit_correction", "donation-ideal", "donation", "donation_reordered",
        "emptynetcredit", "refund",
    )),
    *((f"adyen/payments_accounting_report_{name}.csv", "adyen_accounting", adyen_accounting) for name in (
        "chargeback", "nyce",
    )),
    *((f"paypal/{name}.csv", "paypal_report", paypal) for name in (
        "stl", "stl_chargeback_with_fee", "stl_currency_convert", "stl_dr_payment", "trr_express_checkout_donation",
        "trr_express_checkout_refund", "trr_express_with_non_data_rows",
    )),
    ("paypal/api_transactions_one.json", "paypal_api", known(2, USD="451.21")),
    ("stripe/settlement_report.csv", "stripe_balance", stripe_report),
    ("stripe/settlement_report_with_customer_data.csv", "stripe_balance", stripe_report),
    ("stripe/stripe-all.csv", "stripe_payments", stripe_payments),
    ("stripe/stripe-default.csv", "stripe_payments", stripe_payments),
    ("stripe/api_balance_transactions_list.json", "stripe_balance_api", known(1, USD="-4.00")),
    ("stripe/api_payouts_list.json", "stripe_payouts_api", known(0)),  # pending
    ("mollie/balance_transactions_list.json", "mollie_balance_api", known(2, EUR="-10.25")),
    ("mollie/payments_list.json", "mollie_payments_api", known(0)),  # open: not money yet
    ("mollie/settlement_chargebacks_list.json", "mollie_chargebacks_api", known(1, EUR="-35.07")),
    ("mollie/settlement_single.json", "mollie_settlement_api", known(0)),  # open
    ("klarna/settlements_api.json", "klarna_settlement_api", known(6, EUR="0")),
    ("braintree/raw_batch_report_dispute.json", "braintree_disputes", braintree_disputes),
    ("braintree/raw_batch_report_refund.json", "braintree_transactions", braintree),
    ("braintree/raw_settlement_batch_report.json", "braintree_transactions", braintree),
    ("amazon/settlement_v2_gbp.txt", "amazon_settlement", amazon),
    ("other-psp/checkoutcom-settlement-breakdown.csv", "checkout_breakdown", checkout),
    ("other-psp/checkoutcom-payouts.csv", "checkout_payouts", known(1, USD="-79.51")),
    ("other-psp/dlocal-settlement.csv", "dlocal_settlement", dlocal),
    ("other-psp/gravy-all-transactions.csv", "gr4vy", gr4vy),
    ("other-psp/trustly-p11kfun.csv", "trustly", known(4, USD="0")),
    ("other-psp/trustly-p11kfun-reversal.csv", "trustly", known(4, USD="0")),
    ("shopify/payment_transactions_export.csv", "shopify_payments", shopify_export),
    ("shopify/payouts_transactions.json", "shopify_balance_api", shopify_balance),
    ("shopify/payouts.json", "shopify_payouts_api", shopify_payouts),
    ("shopify/disputes.json", "shopify_disputes_api", shopify_disputes),
    ("xero/bank_transactions.jsonl", "xero_bank_transactions", known(3, USD="-28")),
    ("business-central/generalLedgerEntries.json", "business_central", known(3, _="0")),
    ("erp-csv/xero.csv", "xero_journal", ledger("NetAmount")),
    ("csv-bank/bunq.csv", "bunq", german("Bedrag")),
    ("csv-bank/creditunion.csv", "creditunion", ledger("Amount")),
    ("csv-bank/default.csv", "ledger_csv", ledger("Amount")),
    ("csv-bank/gls.csv", "gls", german("Betrag", encoding="cp1252", delimiter=";")),
    ("csv-bank/monzo.csv", "monzo", known(1, GBP="-10")),
    ("csv-bank/n26-fr.csv", "n26", ledger("Amount (EUR)", "EUR")),
    ("csv-bank/outbank.csv", "outbank", german("Amount", delimiter=";")),
    ("csv-bank/payoneer.csv", "payoneer", two_sided("Credit Amount", "Debit Amount", "USD")),
    ("csv-bank/schwab-checking-baltest-case3.csv", "schwab_checking", two_sided("Deposit", "Withdrawal", "USD")),
    ("csv-bank/ubs-ch-fr_trimmed.csv", "ubs", two_sided("Crédit", "Débit", "CHF", delimiter=";")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "profile", "expected"), SAMPLES, ids=[name for name, _, _ in SAMPLES])
def test_a_sample_is_known_by_its_columns_and_adds_up(
    samples: Path, name: str, profile: str, expected: Callable[[bytes], tuple[int, Sums]]
) -> None:
    data = (samples / name).read_bytes()
    entries, sums = expected(data)

    candidates = find(data)
    reading = open_reader(profile).read(io.BytesIO(data), {})
    found = reading.table().to_pylist()

    assert [candidate.format for candidate in candidates] == [profile]
    assert not reading.rejects
    counted = [row for row in found if row["status"] == "booked" and row["level"] == "entry"]
    assert len(counted) == entries
    assert total([(row["currency"] or "", Decimal(row["amount"])) for row in counted]) == sums
    assert all(row["booked_on"] for row in found)
    assert sum(control.entries for control in reading.controls) == entries
    # In minor units, per currency, the controls add up to the same.
    minor = {control.currency: Decimal(0) for control in reading.controls}
    for control in reading.controls:
        minor[control.currency] += control.credits - control.debits
    scale = {"JPY": 1}
    assert minor == {currency: amount * scale.get(currency, 100) for currency, amount in sums.items()}


@pytest.mark.parametrize(
    ("name", "chains"),
    [
        ("csv-bank/ubs-ch-fr_trimmed.csv", [0]),
        ("csv-bank/payoneer.csv", [0]),  # newest first
        ("csv-bank/schwab-checking-baltest-case3.csv", [0]),
        ("csv-bank/gls.csv", [0]),
        ("amazon/settlement_v2_gbp.txt", [0]),
        ("klarna/settlements_api.json", [0]),
        ("adyen/settlement_detail_report_donation.csv", [0]),
        ("adyen/settlement_detail_report_refund.csv", [683]),  # cut from a larger batch: 1.00 + 1.80 + 4.03 are missing
        ("other-psp/trustly-p11kfun.csv", [0]),
        ("csv-bank/bunq.csv", [None]),  # no balance is stated
    ],
)
def test_a_sample_s_own_balances_are_held_against_its_entries(
    samples: Path, name: str, chains: list[int | None]
) -> None:
    data = (samples / name).read_bytes()

    reading = open_reader(find(data)[0].format).read(io.BytesIO(data), {})
    reading.table()

    assert [control.gap for control in reading.controls] == chains


def test_a_sample_whose_record_is_cut_short_rejects_it(samples: Path) -> None:
    data = (samples / "amazon/GET_V2_SETTLEMENT_REPORT_DATA_FLAT_FILE.txt").read_bytes()

    reading = open_reader("amazon_settlement_v1").read(io.BytesIO(data), {})
    [payout] = reading.table().to_pylist()

    assert (payout["kind"], payout["amount"]) == ("payout", "-1234.56")
    assert reading.rejects == [(3, "", "expected 36 fields, found 35")]


def test_no_sample_gives_away_more_than_the_columns_for_persons(samples: Path) -> None:
    """Customers' names, mail addresses and tax numbers stay behind: no profile reads their columns."""
    for name, format in [
        ("stripe/settlement_report_with_customer_data.csv", "stripe_balance"),
        ("stripe/stripe-all.csv", "stripe_payments"),
        ("paypal/trr_express_checkout_donation.csv", "paypal_report"),
        ("other-psp/gravy-all-transactions.csv", "gr4vy"),
        ("other-psp/dlocal-settlement.csv", "dlocal_settlement"),
    ]:
        reading = open_reader(format).read(io.BytesIO((samples / name).read_bytes()), {})
        text = json.dumps(reading.table().to_pylist(), ensure_ascii=False).casefold()
        for person in ("@", "simpson", "evergreen", "darwin", "jimmy", "cindy", "notta", "00000000000"):
            assert person not in text, (name, person)
