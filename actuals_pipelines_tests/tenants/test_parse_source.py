"""What a source may say of its raw records: signs, pairs, sums, lists, derived sources; and how it is refused."""

from __future__ import annotations

import pytest

from actuals_pipelines.domain.source import ProcessingSet, SignRule, Source, SourceKind
from actuals_pipelines.tenants.parse import parse_tenant
from actuals_pipelines.yaml_text import YamlRefused

TENANT = """\
name: acme
ids:
  order: {field: order_no, clean: [no_blanks, upper, no_leading_zeros], prefix: ORD-, version: 2}
sources:
- name: settlement
  kind: upload
  format: ndjson
  iterate: transactions[*]
  optional: [memo, Tax]
  reader: {decimal: ","}
  adds_up: {gross: Gross, fee: [Commission, Markup], net: Net, where: kind = 'Settled'}
  mapping:
    order_no: reference
    amount_plus: Credit
    amount_minus: Debit
    sign: {column: DC, plus: [C, H], minus: D}
    constants: {currency: EUR}
  long_numbers: {order_no: our order numbers have 17 digits}
- name: fees
  from: settlement
  mapping: {amount: Commission, sign: reversed, constants: {currency: EUR, kind: fee}}
"""


def sources(text: str = TENANT) -> dict[str, Source]:
    return {source.name: source for source in parse_tenant(text, "acme.yaml").sources}


def refused(text: str) -> str:
    with pytest.raises(YamlRefused) as refusal:
        parse_tenant(text, "acme.yaml")
    return str(refusal.value)


def test_a_mapping_says_how_amounts_get_their_sign() -> None:
    found = sources()

    assert found["settlement"].mapping.sign == SignRule("DC", ("C", "H"), ("D",))
    assert set(found["settlement"].mapping.fields) == {"order_no", "amount_plus", "amount_minus"}
    assert found["fees"].mapping.sign == SignRule()


def test_a_source_says_what_its_raw_records_are() -> None:
    source = sources()["settlement"]

    assert source.iterate == "transactions[*]"
    assert source.optional == ("memo", "Tax")
    assert source.adds_up == {
        "gross": ("Gross",),
        "fee": ("Commission", "Markup"),
        "net": ("Net",),
        "where": ("kind = 'Settled'",),
    }
    assert source.long_numbers == {"order_no": "our order numbers have 17 digits"}


def test_a_derived_source_reads_as_its_parent_reads() -> None:
    parent, derived = sources().values()

    assert (derived.kind, derived.derived_from) == (SourceKind.DERIVED, "settlement")
    assert (derived.format, derived.reader, derived.iterate) == (parent.format, parent.reader, parent.iterate)
    assert (derived.adds_up, derived.optional) == (parent.adds_up, parent.optional)
    assert derived.publishes is parent.publishes is ProcessingSet.ADD
    assert derived.long_numbers == {}


def test_an_id_scheme_cleans_in_several_steps() -> None:
    [scheme] = parse_tenant(TENANT, "acme.yaml").ids

    assert (scheme.clean, scheme.prefix, scheme.version) == (("no_blanks", "upper", "no_leading_zeros"), "ORD-", 2)


@pytest.mark.parametrize(
    ("written", "instead", "complaint"),
    [
        ("    amount_plus: Credit\n", "", "acme.yaml:13:5: expected both 'amount_plus' and 'amount_minus', found one"),
        ("amount_plus: Credit", "amount: Net", "expected the amount mapped in one way, found 'amount' and"),
        ("minus: D}", "minus: [C, D]}", "expected words that mean minus alone, found 'C' in both"),
        ("sign: reversed", "sign: turned", "acme.yaml:21:39: expected reversed"),
        ("transactions[*]", "transactions", "acme.yaml:8:12: expected a path to a JSON list"),
        ("from: settlement", "from: settlements", "expected a source of this tenant that delivers itself"),
        ("from: settlement", "from: fees", "expected a source of this tenant that delivers itself"),
        ("from: settlement\n", "from: settlement\n  format: csv\n", "expected no 'format' in a source with `from`"),
        ("  kind: upload\n", "", "expected a key 'kind' in a source, found none"),
        ("our order numbers have 17 digits", "long", "expected the reason, in at least 10 characters"),
        ("long_numbers: {order_no", "long_numbers: {ordr_no", "found 'ordr_no'. Did you mean 'order_no'?"),
        ("no_blanks", "no_blnks", "expected one of upper, lower"),
        ("adds_up: {gross: Gross,", "adds_up: {groos: Gross,", "found 'groos'. Did you mean 'gross'?"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(written: str, instead: str, complaint: str) -> None:
    assert complaint in refused(TENANT.replace(written, instead))
