"""Bad input by each way in: it is held with a reason that names the place and what to do, and nothing else stops."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from actuals_pipelines.landing.streams import EmptyDelivery
from actuals_pipelines.operations import take_in
from actuals_pipelines.operations.releases import ask_release
from actuals_pipelines.operations.results import DayResult
from actuals_pipelines.operations.units import source_of, upload
from actuals_pipelines.report.words import check_in_words
from actuals_pipelines.store import catalogue
from actuals_pipelines.store.live import control_totals
from actuals_pipelines.tenants.environment import TenantEnvironment
from actuals_pipelines_tests.journeys.house import DAYS, TENANT, House, order, psp_file, statement

DAY = DAYS[0]
GOOD = psp_file(f"1,order-1,60.00,EUR,{DAY},card", f"2,order-2,9.65,EUR,{DAY},card")
BANK = statement(DAY, "100.00", "160.00", [("1", "60.00")])
LATIN = psp_file(f"1,order-1,60.00,EUR,{DAY},café").decode().encode("latin-1")
UTF_16 = GOOD.decode().encode("utf-16-le")
# Bank files handed over by a person, and a column that only an expression names.
MORE = """\
- name: bank_files
  kind: upload
  format: camt053
- name: refunds
  kind: upload
  format: csv
  mapping: {{row_id: line, transaction_id: upper(reference), amount: "concat('-', gross)", currency: currency}}
packages:
"""


@dataclass
class Careful:
    """A tenant whose code location is not told, so that only the test takes in."""

    house: House
    name: str
    env: TenantEnvironment

    def upload(self, source: str, content: bytes, name: str = "export.csv") -> None:
        """Hand a file over."""
        upload(self.env, source_of(self.env, source), io.BytesIO(content), name=name, day=DAY)

    def take_in(self, source: str) -> tuple[DayResult, DayResult]:
        """What Dagster's three steps call; the verdict and what was published."""
        found = source_of(self.env, source)
        take_in.land(self.env, found, [DAY], now=datetime.now(UTC))
        [judged], [published] = (step(self.env, found, [DAY]) for step in (take_in.validate, take_in.publish))
        return judged, published

    def reasons(self, source: str) -> list[str]:
        """Why units of the day are held, in the words that `actuals day` shows."""
        return [
            check_in_words(check)
            for unit in catalogue.day(self.env, source, DAY)
            for generation in unit.generations[-1:]
            for check in generation.checks
            if check["outcome"] != "passed" and check["severity"] == "critical"
        ]

    def rows(self, source: str) -> int:
        """How many rows are live."""
        return sum(rows for rows, _ in control_totals(self.env, source).values())


@pytest.fixture
def careful(house: House, request: pytest.FixtureRequest) -> Iterator[Careful]:
    """A new tenant for each test."""
    name = f"careful_{abs(hash(request.node.name)) % 10**8}"
    house.add_tenant(name, text=TENANT.replace("packages:\n", MORE))
    with house.opened(name) as env:
        yield Careful(house, name, env)


@pytest.mark.parametrize(
    ("source", "content", "words"),
    [
        ("psp", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", ("line 1", "not UTF-8", "State the code page")),
        ("psp", b"\n \n", ("the file is empty", "Ask the sender")),
        ("psp", b"id;betrag\n1;2\n", ("column 'line'", "does not have", "Correct the mapping")),
        ("refunds", b"id;betrag\n1;2\n", ("column", "does not have", "Correct the mapping")),
        ("psp", LATIN, ("line 2", "not UTF-8", "encoding: cp1252")),
        ("psp", UTF_16, ("line 1", "UTF-16", "Export it as text")),
        ("psp", GOOD[:-1] + b',"half', ("line", "cut off", "ask for the file again")),
        ("bank_files", BANK[: len(BANK) // 2], ("line", "ends in the middle", "Ask the bank for the file again")),
        ("bank_files", GOOD, ("line 1", "not well-formed XML", "Ask the bank")),
        ("bank_files", BANK.replace(b"160.00", b"160.01"), ("does not agree",)),
    ],
    ids=[
        "not CSV",
        "blank",
        "wrong header",
        "wrong header under an expression",
        "wrong encoding",
        "UTF-16",
        "half a CSV",
        "half a CAMT",
        "a CSV as CAMT",
        "a line lost from a CAMT",
    ],
)
def test_a_bad_file_is_held_with_a_reason_and_the_others_go_on(
    careful: Careful, source: str, content: bytes, words: tuple[str, ...]
) -> None:
    """Other units of the source and other sources are published; the bad one's bytes are kept."""
    careful.upload(source, content)
    good, good_name = (BANK, "statement.xml") if source == "bank_files" else (GOOD, "more.csv")
    careful.upload(source, good, good_name)
    other = "psp" if source == "bank_files" else "bank_files"
    careful.upload(other, GOOD if other == "psp" else BANK, "other")

    judged, published = careful.take_in(source)
    _, others = careful.take_in(other)

    assert (judged.outcome, judged.counts["units_held"], published.outcome) == ("held", 1, "held")
    [reason] = careful.reasons(source)
    assert [word for word in words if word not in reason] == []
    assert others.outcome == "published"
    assert careful.rows(source) == (1 if source == "bank_files" else 2)
    assert [unit.raw_state for unit in catalogue.units_of_day(careful.env, source, DAY)] == ["kept", "kept"]


def test_a_bad_file_that_is_delivered_well_again_is_published(careful: Careful) -> None:
    """The held one stays as it was, and a person sees it; what cannot be read cannot be released."""
    careful.upload("bank_files", BANK[: len(BANK) // 2])
    careful.take_in("bank_files")
    careful.upload("bank_files", BANK)

    careful.take_in("bank_files")

    [(unit, _)] = catalogue.held(careful.env)
    assert careful.rows("bank_files") == 1
    with pytest.raises(Exception, match="could not be read"):
        ask_release(careful.env, str(unit.id), reason="a test", by="uid:0")


def test_an_empty_file_is_refused_at_once(careful: Careful) -> None:
    """Nothing was delivered: there is no unit, and nothing waits."""
    with pytest.raises(EmptyDelivery):
        careful.upload("psp", b"")

    assert catalogue.waiting(careful.env, now=datetime.now(UTC)) == {}


def test_the_same_file_twice_is_booked_once(careful: Careful) -> None:
    """Also under another name; the second is recorded as a repeat."""
    careful.upload("psp", GOOD, "monday.csv")
    careful.upload("psp", GOOD, "tuesday.csv")

    judged, published = careful.take_in("psp")

    assert (judged.counts["units"], published.outcome, careful.rows("psp")) == (1, "published", 2)
    assert [unit.repeat_of is not None for unit in catalogue.units_of_day(careful.env, "psp", DAY)] == [False, True]


def test_every_record_is_stored_rejected_or_a_repeat(careful: Careful) -> None:
    """Of 42 records two cannot be booked, and one came before: none is lost, and the good are live."""
    records = [f"{n},order-{n},1.00,EUR,{DAY},x" for n in range(1, 40)]
    careful.upload("psp", psp_file(records[0]), "first.csv")
    careful.take_in("psp")
    bad = [f"98,order-98,1.001,EUR,{DAY},x", f"99,order-99,1.00,EURO,{DAY},x"]
    careful.upload("psp", psp_file(*records, *bad), "second.csv")

    judged, published = careful.take_in("psp")

    [_, second] = catalogue.day(careful.env, "psp", DAY)
    counts = second.generations[-1].counts
    assert (counts["raw"], counts["stored"], counts["rejected"]) == (41, 39, 2)
    assert (judged.outcome, published.outcome) == ("passed", "published")
    [publication] = second.publications
    assert counts["stored"] == publication.counts["added"] + publication.counts["repeats"] == 38 + 1
    assert careful.rows("psp") == 39


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([order("1", "1.00", DAY) | {"timestamp": "yesterday"}], "timestamp"),
        ([order("1", "1.00", DAY), {"source_id": "shop"}], 'line 2|"line": ?2'),
        ([order("1", "1.00", DAY) | {"source_id": "nobody"}], "source_id"),
    ],
    ids=["no time", "fields missing", "no such source"],
)
def test_a_bad_push_is_refused_whole_and_names_the_field(
    house: House, events: list[dict[str, object]], words: str
) -> None:
    """The caller is told at once, without the value; no event of the batch waits."""
    with house.opened("north") as env:
        before = catalogue.waiting(env, now=datetime.now(UTC)).get("shop")

        answer = house.push("north", events)

        assert answer.status_code in (400, 404, 422)
        assert re.search(words, answer.text), answer.text
        assert "yesterday" not in answer.text
        assert catalogue.waiting(env, now=datetime.now(UTC)).get("shop") == before
