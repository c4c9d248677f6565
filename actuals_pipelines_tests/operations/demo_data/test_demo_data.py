# ruff: noqa: S608 - the queries read our own temporary files
"""The demo data are consistent in themselves: a plain grouping of the written files finds what the truth says."""

from __future__ import annotations

import hashlib
from datetime import date
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from lxml import etree

from actuals_pipelines.domain.card_number import holds_card_number
from actuals_pipelines.operations.demo_data import DemoData, Wanted, demo_tenant_yaml, write_demo_data
from actuals_pipelines.operations.demo_data.bank_statement import demo_iban
from actuals_pipelines.operations.demo_data.defects import ORDER_DEFECTS, PAYOUT_DEFECTS, TIMING
from actuals_pipelines.operations.demo_data.world import DemoRefused
from actuals_pipelines.tenants.parse import parse_tenant


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> DemoData:
    return write_demo_data(Wanted(orders=1000, seed=3), tmp_path_factory.mktemp("demo"))


def test_a_thousand_orders_hold_every_kind_of_defect(made: DemoData) -> None:
    kinds = {kind.name for kind in (*ORDER_DEFECTS, *PAYOUT_DEFECTS, *TIMING)}

    assert set(made.defects) == kinds


def test_the_same_seed_makes_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    once, again, other = (
        write_demo_data(Wanted(orders=300, seed=seed), tmp_path / name)
        for name, seed in (("once", 5), ("again", 5), ("other", 6))
    )

    assert _digest(once.folder) == _digest(again.folder)
    assert _digest(once.folder) != _digest(other.folder)


def test_orders_and_payments_differ_exactly_where_the_truth_says_so(made: DemoData) -> None:
    """Grouped by the order number, wherever it stands; whoever is not in the truth balances to zero."""
    found = duckdb.execute(
        f"""
        WITH soll AS (
            SELECT data.reference AS reference, data.currency AS currency, sum(data.total::DECIMAL(18, 3)) AS amount
            FROM read_json('{made.folder}/shop/*.ndjson') GROUP BY ALL
        ), ist AS (
            SELECT coalesce(merchant_reference, 'ORD-' || regexp_extract(description, 'ORD[^0-9]?([0-9]{{10}})', 1))
                AS reference, currency, sum(amount::DECIMAL(18, 3)) AS amount
            FROM read_json('{made.folder}/psp_api/transactions-*.ndjson') WHERE type <> 'fee' GROUP BY ALL
        )
        SELECT reference, currency, coalesce(soll.amount, 0) - coalesce(ist.amount, 0) AS difference
        FROM soll FULL JOIN ist USING (reference, currency) WHERE difference <> 0
        """
    ).fetchall()

    truth = duckdb.execute(
        f"""
        SELECT transaction_id, currency, balance_difference / CASE currency WHEN 'JPY' THEN 1 WHEN 'KWD' THEN 1000
            ELSE 100 END
        FROM '{made.truth}' WHERE package = 'orders_vs_psp' AND balance_difference <> 0
        """
    ).fetchall()
    assert {(key, currency, float(difference)) for key, currency, difference in found} == set(truth)


def test_payouts_and_bank_credits_differ_exactly_where_the_truth_says_so(made: DemoData) -> None:
    banked: dict[tuple[str, str], float] = {}
    for path in made.bank:
        for entry in etree.parse(path).iterfind(".//{*}Ntry"):
            text = entry.findtext(".//{*}Ustrd")
            if "NORDPAY" in text:
                key = (text.split()[2], entry.find("{*}Amt").get("Ccy"))
                banked[key] = banked.get(key, 0) + _signed(entry)

    payouts = duckdb.execute(
        f"SELECT payout_reference, currency, -amount::DOUBLE FROM read_json('{made.folder}/psp_api/payouts-*.ndjson')"
    ).fetchall()
    short = {
        reference: difference
        for reference, currency, amount in payouts
        if (difference := round(amount - banked.get((reference, currency), 0), 3))
    }
    truth = pq.read_table(made.truth).to_pylist()
    expected = {
        row["transaction_id"]: row["balance_difference"] / {"JPY": 1, "KWD": 1000}.get(row["currency"], 100)
        for row in truth
        if row["package"] == "payout_vs_bank" and row["balance_difference"]
    }
    assert short == pytest.approx(expected)


def test_every_settlement_batch_adds_up_to_zero_and_its_rows_are_the_psps(made: DemoData) -> None:
    report = f"read_csv('{made.folder}/psp/*.csv', all_varchar = true)"
    net = "coalesce(\"Net Credit (NC)\", '0')::DECIMAL(18, 3) - coalesce(\"Net Debit (NC)\", '0')::DECIMAL(18, 3)"

    batches = duckdb.execute(f'SELECT "Batch Number", sum({net}) FROM {report} GROUP BY ALL').fetchall()
    gross_and_fee = duckdb.execute(
        f"SELECT count(*), sum({net}) FROM {report} WHERE \"Type\" IN ('Settled', 'Refunded', 'Chargeback')"
    ).fetchall()
    booked = duckdb.execute(
        f"""SELECT count(*), sum(net::DECIMAL(18, 3)) FROM read_json('{made.folder}/psp_api/transactions-*.ndjson')
            WHERE type <> 'fee'"""
    ).fetchall()

    assert {total for _, total in batches} == {0}
    assert gross_and_fee == booked


def test_bank_statements_chain_and_state_their_own_totals(made: DemoData) -> None:
    closing: dict[str, str] = {}
    for path in made.bank:
        for statement in etree.parse(path).iterfind(".//{*}Stmt"):
            account = statement.findtext("{*}Acct/{*}Id/{*}IBAN")
            opening, closed = (balance.findtext("{*}Amt") for balance in statement.iterfind("{*}Bal"))
            moved = sum(_signed(entry) for entry in statement.iterfind("{*}Ntry"))

            assert closing.get(account, opening) == opening
            assert float(opening) + moved == pytest.approx(float(closed))
            closing[account] = closed
    assert len(closing) == 4


def test_currencies_have_their_own_decimals(made: DemoData) -> None:
    amounts = duckdb.execute(
        f"SELECT DISTINCT data.currency, length(split_part(data.total, '.', 2)) "
        f"FROM read_json('{made.folder}/shop/*.ndjson', columns = {{data: 'STRUCT(total VARCHAR, currency VARCHAR)'}})"
    ).fetchall()

    assert set(amounts) == {("EUR", 2), ("USD", 2), ("JPY", 0), ("KWD", 3)}


def test_nothing_in_the_files_looks_like_a_card_number(made: DemoData) -> None:
    """Card numbers are refused at the doors, so that one in the demo data would be a false reject."""
    for path in (*made.shop, *made.psp_api, *made.settlement, *made.bank):
        assert not any(holds_card_number(line) for line in path.read_text().splitlines()), path.name


def test_an_iban_of_the_demo_bank_has_right_check_digits() -> None:
    iban = demo_iban(12)

    moved = iban[4:] + iban[:4]
    assert int("".join(str(int(character, 36)) for character in moved)) % 97 == 1


@pytest.mark.parametrize("days", [5, 12, 31], ids=lambda days: f"{days} days")
def test_weekends_and_month_ends_keep_the_truth_complete(days: int, tmp_path: Path) -> None:
    made = write_demo_data(Wanted(orders=1000, seed=1, days=days, last_day=date(2026, 3, 2)), tmp_path)

    assert len(made.bank) == len(made.shop) == days
    assert made.defects["payout_missing"] >= 1


@pytest.mark.parametrize(
    ("orders", "days"), [(99, 5), (1000, 4), (1000, 401), (200_000_000, 5)], ids=["few", "short", "long", "many"]
)
def test_sizes_out_of_bounds_are_refused_with_the_bounds(orders: int, days: int) -> None:
    with pytest.raises(DemoRefused, match="give a number from"):
        Wanted(orders=orders, days=days)


@pytest.mark.parametrize("has_settlement", [True, False])
def test_the_demo_tenants_yaml_is_a_valid_tenant(has_settlement: bool) -> None:
    key = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    text = demo_tenant_yaml(
        "north",
        "https://127.0.0.1:8447",
        start=date(2026, 1, 12),
        sftp_public_key=f"{key} demo",
        has_settlement=has_settlement,
    )

    tenant = parse_tenant(text, "north.yaml")

    assert [source.name for source in tenant.sources] == ["shop", "psp", "bank", "settlement"][: 3 + has_settlement]
    assert tenant.source("psp").connection["client_secret"] == "psp_client_secret"  # the secret's name
    assert [account.user for account in tenant.sftp] == ["north"]
    assert tenant.start == date(2026, 1, 12)


def _signed(entry: etree._Element) -> float:
    """An entry's amount, negative where it is a debit: the PSP collects a batch of refunds."""
    return float(entry.findtext("{*}Amt")) * (1 if entry.findtext("{*}CdtDbtInd") == "CRDT" else -1)


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
