"""Any sequence of deliveries gives what a plain model says: newest unit in force wins, row by row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from actuals_pipelines.domain.source import ProcessingSet, Source
from actuals_pipelines.domain.unit import Unit
from actuals_pipelines.store import intake
from actuals_pipelines.store.live import changes, control_totals
from actuals_pipelines_tests.conftest import TenantDatabase
from actuals_pipelines_tests.store.books import ADDING, DAY, LATEST, REPLACING, Books, Row, a_book

IDS = "abcd"
rows = st.lists(st.tuples(st.sampled_from(IDS), st.integers(1, 3), st.sampled_from(["EUR", "JPY"])), max_size=4)
steps = st.lists(
    st.tuples(
        st.integers(0, 2),  # day
        rows,
        st.sampled_from(["new unit", "new unit", "new unit", "other mapping", "passes later"]),
    ),
    min_size=1,
    max_size=7,
)


@dataclass
class Model:
    """Units in the order they landed, each with what is in force of it."""

    publishes: ProcessingSet
    landed: list[tuple[Unit, date]] = field(default_factory=list)
    in_force: dict[int, list[Row]] = field(default_factory=dict)  # place in `landed` -> rows

    def publish(self, place: int, content: list[Row]) -> None:
        """Put a unit in force, unless a newer one took its place; end the force of those whose place it takes."""
        rivals = [other for other in self.in_force if other != place and self._same_place(other, place)]
        if any(other > place for other in rivals):
            return
        for other in rivals:
            del self.in_force[other]
        self.in_force[place] = content

    def live(self) -> dict[str, tuple[int, str]]:
        """Oldest unit first, later lines over earlier: what is left is live."""
        result = {}
        for place in sorted(self.in_force):
            for row_id, amount, currency in self.in_force[place]:  # type: ignore[misc]  # three of three
                result[row_id] = (amount, currency)
        return result

    def _same_place(self, one: int, other: int) -> bool:
        if self.publishes is ProcessingSet.REPLACE:
            return self.landed[one][1] == self.landed[other][1]
        return self.publishes is ProcessingSet.LATEST


def totals(live: dict[str, tuple[int, str]]) -> dict[str, tuple[int, int]]:
    """Currency -> rows and minor units, without zeros."""
    return {
        currency: (len(amounts), sum(amounts))
        for currency in ("EUR", "JPY")
        if (amounts := [a for a, c in live.values() if c == currency])
    }


def applied(state: dict[str, tuple[int, str]], adds: pa.Table, removes: pa.Table) -> dict[str, tuple[int, str]]:
    """The state after a close took in these changes; each removed row must have been there as it was."""
    after = dict(state)
    for row in removes.to_pylist():
        assert after.pop(row["row_id"]) == (row["amount_minor_units"], row["currency"])
    for row in adds.to_pylist():
        assert row["row_id"] not in after
        after[row["row_id"]] = (row["amount_minor_units"], row["currency"])
    return after


@pytest.fixture(scope="module")
def database(tenant_database: Callable[..., TenantDatabase]) -> TenantDatabase:
    """One database for all examples: each has sources of its own."""
    return tenant_database()


@pytest.mark.parametrize("like", [ADDING, REPLACING, LATEST], ids=["add", "replace", "latest"])
def test_live_rows_and_closes_follow_the_model(
    like: Source, database: TenantDatabase, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """After each publication: live rows, totals, the intake; and closes over days in any order of arrival add up."""
    book = a_book(database, tmp_path_factory.mktemp("model"))
    number = iter(range(10_000))

    @settings(
        max_examples=8,
        deadline=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(steps)
    def follow(history: list[tuple[int, list[Row], str]]) -> None:
        source = Source(f"{like.name}-{next(number)}", like.kind, like.format, like.mapping, publishes=like.publishes)
        follow_one(book, source, history)

    follow()


def follow_one(book: Books, source: Source, history: list[tuple[int, list[Row], str]]) -> None:
    """One example."""
    model = Model(source.publishes)
    waiting: list[tuple[int, list[Row]]] = []
    past: list[tuple[int, dict[str, tuple[int, str]]]] = []
    for version, (day_number, content, what) in enumerate(history):
        day = DAY + timedelta(days=day_number)
        if what == "other mapping" and model.landed:
            place = day_number % len(model.landed)
            if all(place != other for other, _ in waiting) and place in model.in_force:
                book.passed(model.landed[place][0], content, mapping=f"v{version}")
                model.publish(place, content)
                publish_checked(book, source, model.landed[place][1], past)
        else:
            model.landed.append((book.land(source, day), day))
            place = len(model.landed) - 1
            if what == "passes later":
                waiting.append((place, content))
            else:
                book.passed(model.landed[place][0], content)
                model.publish(place, content)
                publish_checked(book, source, day, past)
        assert book.live(source) == model.live()
    for place, content in waiting:
        book.passed(model.landed[place][0], content)
        model.publish(place, content)
        publish_checked(book, source, model.landed[place][1], past)
        assert book.live(source) == model.live()
    no_zeros = {c: t for c, t in control_totals(book.env, source.name).items() if any(t)}
    assert no_zeros == totals(model.live())
    for sequence, then in past:
        assert book.live(source, sequence) == then
    closes_add_up(book, source)


def publish_checked(book: Books, source: Source, day: date, past: list[Any]) -> None:
    """Publish, check the intake's figures and remember what was live."""
    for publication in book.publish(source, day):
        assert intake.of_publication(book.env, publication).holds
        past.append((publication.sequence, book.live(source)))


def closes_add_up(book: Books, source: Source) -> None:
    """Closes of day 0, 1, 2 take in what is theirs; the state after the last one is what is live."""
    state: dict[str, tuple[int, str]] = {}
    taken: set[Any] = set()
    for number in range(3):
        found = changes(book.env, [source.name], until=DAY + timedelta(days=number), taken=taken)
        before = totals(state)
        state = applied(state, found.adds.read_all(), found.removes.read_all())
        taken |= {p.id for p in found.publications}
        for currency, total in totals(state).items():
            opening, entered = before.get(currency, (0, 0)), found.totals.get(source.name, {}).get(currency, (0, 0))
            assert total == (opening[0] + entered[0], opening[1] + entered[1])
    assert state == book.live(source)
    assert changes(book.env, [source.name], until=DAY + timedelta(days=9), taken=taken).publications == []
