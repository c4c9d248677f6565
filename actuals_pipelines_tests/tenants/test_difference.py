"""What changes is shown by path, in lines that a person can judge."""

from __future__ import annotations

from actuals_pipelines.tenants.difference import difference
from actuals_pipelines.yaml_text import load
from actuals_pipelines_tests.tenants.examples import ACME, changed


def lines(before: str, after: str) -> list[str]:
    return str(difference(load(before, "a").data, load(after, "b").data)).splitlines()


def test_a_changed_value_shows_before_and_after_by_its_path() -> None:
    assert lines(ACME, changed("amount: total", "amount: gross")) == [
        "~ sources.shop.mapping.amount: total -> gross",
    ]


def test_what_is_added_or_removed_is_named_and_its_neighbours_are_not() -> None:
    without_shop = changed("- name: bank\n  kind: sftp\n  format: camt053\n", "")

    assert lines(ACME, without_shop) == ["- sources.bank"]
    assert lines(without_shop, ACME) == ["+ sources.bank"]


def test_a_changed_order_of_passes_is_a_change_because_the_order_decides() -> None:
    first = "  - {name: order number, by: order}\n"
    second = "  - {name: order number in text, by: order, look_in: text}\n"

    assert lines(ACME, changed(first + second, second + first)) == [
        "~ packages.orders_vs_psp.passes: order number, order number in text -> order number in text, order number",
    ]


def test_another_layout_of_the_same_content_changes_nothing() -> None:
    flow = "due: {ist: 3 business days}"
    block = "due:\n    ist: 3 business days"

    assert lines(ACME, changed(flow, block)) == ["Nothing changes."]


def test_a_list_of_texts_is_compared_as_a_whole() -> None:
    assert lines(ACME, changed("[0.05 EUR, 5 JPY, 25 bp]", "[0.05 EUR]")) == [
        "~ packages.orders_vs_psp.tolerance: [0.05 EUR, 5 JPY, 25 bp] -> [0.05 EUR]",
    ]
