"""A tenant's and a package's YAML become domain objects, and a mistake is named where it is, with what to do."""

from __future__ import annotations

import json
from datetime import date
from importlib import resources

import pytest

from actuals_pipelines.domain.package import Calendar, Due, Fee, Pass, Rounding, Side, Tolerance
from actuals_pipelines.domain.source import IdScheme, Minimisation, ProcessingSet, SourceKind
from actuals_pipelines.domain.tenant import SftpKey
from actuals_pipelines.tenants import parse_package as parse_package_module
from actuals_pipelines.tenants import parse_source
from actuals_pipelines.tenants.parse import parse_package, parse_tenant
from actuals_pipelines.yaml_text import YamlRefused
from actuals_pipelines_tests.tenants.examples import ACME, PUBLIC_KEY, changed

PLAIN = """\
name: orders_vs_psp
soll:
  - source: shop
    mapping: {row_id: order_id, transaction_id: reference, timestamp: created_at, amount: total, currency: currency}
ist:
  - source: psp
    mapping: {transaction_id: merchant_reference, timestamp: booked, amount: gross, currency: currency}
tolerance: [0 EUR, 0 JPY]
"""


def test_a_tenant_is_read_with_its_sources_and_packages() -> None:
    tenant = parse_tenant(ACME, "acme.yaml")

    assert [(source.name, source.kind) for source in tenant.sources] == [
        ("shop", SourceKind.INBOX),
        ("psp", SourceKind.OAUTH_API),
        ("bank", SourceKind.SFTP),
    ]
    assert tenant.sftp[0].public_keys == (SftpKey(PUBLIC_KEY, "ops@acme"),)
    package = tenant.package("orders_vs_psp")
    assert package.tolerance == Tolerance({"EUR": 5, "JPY": 5}, basis_points=25)
    assert package.due == {Side.IST: Due(3, business=True)}
    assert package.passes[1] == Pass(name="order number in text", by="order", look_in=("text",))


def test_a_pull_replaces_its_day_and_all_else_adds_unless_the_file_says_otherwise() -> None:
    tenant = parse_tenant(ACME, "acme.yaml")

    assert tenant.source("psp").publishes is ProcessingSet.REPLACE
    assert tenant.source("shop").publishes is ProcessingSet.ADD


def test_a_structured_format_needs_no_mapping_and_keeps_its_accounts_as_tokens() -> None:
    bank = parse_tenant(ACME, "acme.yaml").source("bank")

    assert bank.mapping.fields["row_id"] == "transaction_id"
    assert bank.columns["account"] is Minimisation.TOKEN


def test_a_package_for_plain_files_brings_its_mappings() -> None:
    package = parse_package(PLAIN, "package.yaml")

    assert package.soll[0].mapping is not None
    assert package.soll[0].mapping.fields["timestamp"] == "created_at"
    assert package.passes == (Pass(name="transaction id", by="transaction_id"),)


def test_fees_and_a_calendar_are_read() -> None:
    fees = (
        "fees: [{name: card, when: \"kind = 'sale'\", fixed: [0.25 EUR, 5 JPY], share: 140 bp, rounding: half_even}]\n"
    )
    more = "calendar: {country: NL, days: [2026-04-28]}\nkey_too_common: 20\nduplicates: set_apart\n"

    package = parse_package(PLAIN + fees + more, "package.yaml")

    assert package.fees == (Fee("card", "kind = 'sale'", {"EUR": 25, "JPY": 5}, 140, Rounding.HALF_EVEN),)
    assert package.calendar == Calendar("NL", (date(2026, 4, 28),))
    assert (package.key_too_common, package.duplicates) == (20, "set_apart")


def test_a_package_without_a_calendar_has_the_tenants() -> None:
    tenant = parse_tenant(changed("time_zone:", "calendar: {country: DE}\ntime_zone:"), "acme.yaml")

    assert {package.calendar for package in tenant.packages} == {Calendar("DE")}


def test_a_pass_by_a_mapped_field_makes_that_field_a_scheme() -> None:
    package = parse_package(PLAIN + "passes: [{name: row, by: row_id}]\n", "package.yaml")

    assert package.ids == (IdScheme("row_id", "row_id"),)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("name: acme", "name: Acme", "acme.yaml:1:7: expected a name of small letters"),
        ("title:", "titel:", "acme.yaml:2:1: expected a known key, found 'titel'. Did you mean 'title'?"),
        ("Europe/Amsterdam", "Europe/Amsterdm", "acme.yaml:3:12: expected a time zone"),
        ("2026-01-01", "2026-02-30", "acme.yaml:4:8: expected a day"),
        ("kind: inbox", "kind: inbax", "Did you mean 'inbox'?"),
        ("format: ndjson", "format: ndjsn", "Did you mean 'ndjson'?"),
        ("0.05 EUR", "0.05", "Write it with its currency, as in '0.05 EUR'."),
        ("0.05 EUR", "0.005 EUR", "more than 2 decimals"),
        ("5 JPY", "5 EUR", "EUR a second time"),
        ("time_zone:", "calendar: {country: XX}\ntime_zone:", "a country whose holidays are known, found 'XX'"),
        ("due: {", "fees: [{name: a, when: 'true'}]\n  due: {", "expected 'fixed', 'share' or both"),
        ("due: {", "fees: [{name: a, when: 'no = 1', share: 1 bp}]\n  due: {", "there is no column `no`"),
        ("3 business days", "3 busines days", "expected a number of days, as '3 business days'"),
        ("by: order}", "by: ordr}", "Did you mean 'order'?"),
        ("[{source: shop}]", "[{source: shp}]", "expected a source of this tenant, found 'shp'. Did you mean 'shop'?"),
        ("look_in: text", "look_in: txt", "Did you mean 'text'?"),
        ("kind in ('payment', 'refund')", "knd in ('payment')", "there is no column `knd`"),
        ("kind in ('payment', 'refund')", "drop table x", "expected a condition"),
        ("name: psp_vs_bank", "name: orders_vs_psp", "each name once"),
        ("field: transaction_id", "field: order_no", "expected a field that some source maps"),
        ("([0-9]{10})", "(?=x)", "RE2"),
        ("client_secret: psp_secret", "client_secret: Pa55!word", "the name of a secret"),
        ("https://127", "http://127", "expected a URL of scheme https or sftp"),
        ("https://127", "https://me:pw@127", "expected a URL without credentials"),
        ("/v1", "/v1?api_key=4711", "expected a URL without credentials"),
        ("https://127.0.0.1:8000/v1", "file:///etc/passwd", "expected a URL of scheme"),
        (PUBLIC_KEY, "-----BEGIN OPENSSH PRIVATE KEY-----", "found a private key"),
        (PUBLIC_KEY, "ssh-ed25519 AAAAnonsense who@where", "expected an Ed25519, ECDSA or RSA"),
        (", amount: total", "", "expected a field 'amount' in the mapping"),
        ("connector: psp", "# none", "expected a key 'connector'"),
        ("by: order}", "by: order, days: [0, 3]}", "'days' only where `by` is amount or sum"),
        ("[{source: bank}]", "[{source: bank, mapping: {amount: a, currency: c}}]", "expected no mapping here"),
        ("- name: psp_vs_bank", "- name: psp_vs_bank\n  passes: []", "at least 1 entries"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_what_to_do(old: str, new: str, complaint: str) -> None:
    with pytest.raises(YamlRefused) as refused:
        parse_tenant(changed(old, new), "acme.yaml")

    assert complaint in str(refused.value)


def test_a_secret_in_the_wrong_place_is_not_repeated_in_the_complaint() -> None:
    for old, new in [
        ("https://127", "https://me:Pa55word@127"),
        ("client_secret: psp_secret", "client_secret: Pa55word"),
    ]:
        with pytest.raises(YamlRefused) as refused:
            parse_tenant(changed(old, new), "acme.yaml")

        assert "Pa55word" not in str(refused.value)


def test_every_mistake_is_named_at_once_in_the_order_of_the_file() -> None:
    text = changed("kind: inbox", "kind: letter", changed("title:", "titel:"))

    with pytest.raises(YamlRefused) as refused:
        parse_tenant(text, "acme.yaml")

    assert [problem.line for problem in refused.value.problems] == [2, 12]


def test_a_bare_number_against_an_amount_is_an_error() -> None:
    text = PLAIN + 'explanations: [{name: fee, category: fee, when: "balance_difference > 35"}]\n'

    with pytest.raises(YamlRefused, match="compares an amount with a bare number"):
        parse_package(text, "package.yaml")


def test_expectations_keep_numbers_as_numbers_and_quoted_texts_as_texts() -> None:
    more = """  expectations:
  - {type: expect_column_values_to_be_between, column: amount, min_value: 0, severity: warn}
  - {type: expect_column_values_to_be_in_set, column: code, value_set: ["01", 2]}
packages:"""

    bank = parse_tenant(changed("packages:", more), "acme.yaml").source("bank")

    assert bank.expectations[0]["min_value"] == 0
    assert [each["severity"] for each in bank.expectations] == ["warning", "critical"]
    assert bank.expectations[1]["value_set"] == ["01", 2]


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ("balance_diference > 0", "there is no column `balance_diference`"),
        ("ist_cont('payment') > 0", "there is no function `ist_cont`"),
        ("balance_difference = money('0.35')", "money('0.35 EUR')"),
    ],
    ids=["unknown figure", "unknown function", "amount without currency"],
)
def test_a_rule_that_the_engine_would_refuse_is_refused_with_its_place(when: str, words: str) -> None:
    with pytest.raises(YamlRefused) as refused:
        parse_package(PLAIN + f'explanations: [{{name: fee, category: fee, when: "{when}"}}]\n', "package.yaml")

    assert str(refused.value).startswith("package.yaml:9:")
    assert words in str(refused.value)


def test_an_amount_may_be_given_in_minor_units_but_not_twice() -> None:
    parse_tenant(changed("amount: total", "amount_minor_units: cents"), "acme.yaml")

    with pytest.raises(YamlRefused, match="the amount mapped in one way"):
        parse_tenant(changed("amount: total", "amount: total, amount_minor_units: cents"), "acme.yaml")


def test_reader_options_stand_as_they_were_written() -> None:
    """A blank as thousands mark and a tab as delimiter are not blanks around a text."""
    more = """  reader: {thousands: " ", delimiter: "\\t"}\npackages:"""

    bank = parse_tenant(changed("packages:", more), "acme.yaml").source("bank")

    assert bank.reader == {"thousands": " ", "delimiter": "\t"}


def test_what_the_schema_and_the_rules_name_is_what_the_other_rooms_know() -> None:
    """These lists stand twice, because this room may not import those above it."""
    from actuals_pipelines.normalise.mapping import _OURS, CORE  # noqa: PLC0415
    from actuals_pipelines.readers import FORMATS  # noqa: PLC0415
    from actuals_pipelines.readers.camt import COLUMNS  # noqa: PLC0415
    from actuals_pipelines.reconcile import members, rules  # noqa: PLC0415

    schema = json.loads(resources.files("actuals_pipelines.tenants").joinpath("tenant.schema.json").read_text())
    assert set(schema["$defs"]["source"]["properties"]["format"]["enum"]) == set(FORMATS)
    assert set(parse_source.STRUCTURED["camt053"].fields.values()) <= set(COLUMNS)
    assert set(CORE) <= set(parse_package_module.CORE_FIELDS)
    assert set(parse_package_module._OURS) >= _OURS
    assert set(parse_package_module.GROUP_FIGURES) == set(rules.GROUP_COLUMNS)
    assert members.AMOUNTS == parse_package_module.AMOUNTS
    assert members.KEYLESS == parse_package_module.KEYLESS
