"""What leaves normalisation: no card number, no IBAN in a text, the same token everywhere, and nothing lost."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from actuals_pipelines.domain.source import FieldMapping, IdScheme, Minimisation, SignRule
from actuals_pipelines_tests.normalise.test_transactions import FIELDS, SECRETS, raw, reasons, rows, run, source

IBAN, PRINTED = "NL91ABNA0417164300", "NL91 ABNA 0417 1643 00"
CARD = "4111111111111111"
ORDER = IdScheme("order", "transaction_id", find="ORD-([0-9]+)")


def everything(result: Any) -> str:
    """All that leaves, as one text."""
    return repr(result) + repr(result.transactions.to_pylist()) + repr(result.rejects.to_pylist()) + repr(result.counts)


def test_personal_data_in_a_kept_text_becomes_tokens_and_the_references_stay() -> None:
    memo = f"ORD-17 van {PRINTED} jan@example.com +31 6 1234 5678 /EREF/E2E-4711"
    table = raw({"amount": "1", "currency": "EUR", "memo": memo, "account": IBAN, "mail": "Jan@Example.com"})
    described = source(
        FIELDS | {"text": "memo", "iban": "account", "email": "mail"},
        columns={"iban": Minimisation.TOKEN, "email": Minimisation.TOKEN},
    )

    result = run(table, described, ids=[ORDER], look_in=[("order", "text")])

    [row] = rows(result)
    phone = SECRETS.token("+31612345678")
    assert row["text"] == f"ORD-17 van {row['iban']} {row['email']} {phone} /EREF/E2E-4711"
    assert row["keys_order_in_text"] == [SECRETS.match_key("17", "order", 1)]
    assert "0417" not in everything(result) and "xample.com" not in everything(result)


def test_one_iban_has_one_token_in_every_source_and_spelling() -> None:
    spellings = [IBAN, PRINTED, IBAN.lower(), f" {IBAN} "]
    fields = FIELDS | {"iban": "account"}
    tokens = {
        row["iban"]
        for place, spelling in enumerate(spellings)
        for row in rows(
            run(
                raw({"amount": "1", "currency": "EUR", "account": spelling}),
                source(fields, name=f"source_{place}", columns={"iban": Minimisation.TOKEN}),
            )
        )
    }

    assert tokens == {SECRETS.token(IBAN)}


def test_ids_stay_whole_because_matching_shows_them() -> None:
    [row] = rows(run(raw({"amount": "1", "currency": "EUR", "ref": IBAN}), source(FIELDS | {"transaction_id": "ref"})))

    assert row["transaction_id"] == IBAN


def test_a_column_of_long_numbers_is_exempt_and_its_neighbours_are_not() -> None:
    """Of 17-digit order numbers one in ten passes for a card number: the YAML says why they may."""
    table = raw(
        {"amount": "1", "currency": "EUR", "order": CARD, "memo": "fine"},
        {"amount": "1", "currency": "EUR", "order": "1", "memo": CARD},
    )
    described = source(FIELDS | {"order_no": "order", "text": "memo"}, long_numbers={"order_no": "16-digit orders"})

    result = run(table, described)

    assert [row["order_no"] for row in rows(result)] == [CARD]
    assert reasons(result) == [(3, "text", "card number")]


separators = st.sampled_from(["", " ", "-", "."])
words = st.text(alphabet="abc XYZ,;:/#\n", max_size=15)
places = st.sampled_from(["text", "ref", "id", "token"])


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(words, separators, words, st.sampled_from(["text", "ref", "id", "token"])), min_size=1, max_size=8
    )
)
def test_no_card_number_ever_leaves(records: list[tuple[str, str, str, str]]) -> None:
    """Wherever it stands in what is mapped: kept texts refuse the record, a token says nothing of it."""
    table = raw(
        *(
            {"amount": "1", "currency": "EUR", "text": None, "ref": None, "id": None, "token": None}
            | {place: f"{before} {mark.join(('4111', '1111', '1111', '1111'))} {after}"}
            for before, mark, after, place in records
        )
    )
    fields = FIELDS | {"text": "text", "transaction_id": "ref", "row_id": "id", "holder": "token"}

    result = run(
        table, source(fields, columns={"holder": Minimisation.TOKEN}), ids=[ORDER], look_in=[("order", "text")]
    )

    assert "1111" not in everything(result)
    assert result.counts["card_numbers"] == sum(place != "token" for *_, place in records)


texts = st.sampled_from(["10.00", "-0.30", "9.70", "0", "x", "", None, "1.234", " 5 ", "99999999999999999"])
currencies = st.sampled_from(["EUR", "JPY", "usd", "XXQ", None])
flags = st.sampled_from(["C", "D", "?"])
days = st.sampled_from(["2026-01-31", "2026-02-30", None, "soon"])
kinds = st.sampled_from(["sale", "fee", "note"])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(texts, texts, texts, currencies, flags, days, kinds), max_size=12))
def test_nothing_is_lost(records: list[tuple[str | None, ...]]) -> None:
    """In = stored + rejected + not taken, in records; and in amounts, currency by currency, over both iterations."""
    names = ("gross", "fee", "net", "cur", "flag", "day", "kind")
    table = (
        raw(*(dict(zip(names, record, strict=True)) for record in records)) if records else raw(dict.fromkeys(names))
    )
    described = source(
        mapping=FieldMapping(
            {"currency": "cur", "booked_on": "day"}, where="kind <> 'note'", sign=SignRule("flag", ("C",), ("D",))
        ),
        iterations=(FieldMapping({"amount": "gross"}), FieldMapping({"amount": "fee"}, where="kind = 'fee'")),
        adds_up={"gross": ("gross",), "fee": ("fee",), "net": ("net",)},
    )

    result = run(table, described)

    counts = result.counts
    assert counts["raw"] == counts["stored"] + counts["rejected"] + counts["not_taken"] == table.num_rows
    stored, rejected = set(result.transactions["line"].to_pylist()), set(result.rejects["line"].to_pylist())
    assert not stored & rejected
    assert counts["not_taken"] == sum(kind in ("note", None) for kind in table["kind"].to_pylist())
    assert all(flow.read == flow.stored + flow.rejected for flow in result.amounts.values())
    assert len({row["row_uid"] for row in rows(result)}) == result.transactions.num_rows


def test_what_is_dropped_or_not_mapped_is_nowhere() -> None:
    table = raw({"amount": "1", "currency": "EUR", "memo": "secret", "unmapped": "secret"})

    result = run(table, source(FIELDS | {"text": "memo"}, columns={"text": Minimisation.DROP}))

    assert result.counts["stored"] == 1 and "secret" not in everything(result)
