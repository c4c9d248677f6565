"""Publishing: what is live after which deliveries, and that nothing is lost or invented."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
import sqlalchemy as sa

from actuals_pipelines.database import tables
from actuals_pipelines.domain.source import Source
from actuals_pipelines.domain.unit import GenerationState, Verdict
from actuals_pipelines.store import generations, intake
from actuals_pipelines.store.live import control_totals, live
from actuals_pipelines.store.log import Publication
from actuals_pipelines_tests.store.books import ADDING, DAY, LATEST, REPLACING, Books, transactions

NEXT_DAY = DAY + timedelta(days=1)


def counts(publication: Publication) -> dict[str, int]:
    """The counts that are not zero."""
    return {name: count for name, count in publication.counts.items() if count}


def test_a_units_rows_become_live_without_being_written_twice(acme: Books) -> None:
    """Where all rows are new, the publication names the generation's own file."""
    unit = acme.deliver(ADDING, [("a", 100), ("b", -50)])

    [publication] = acme.publish(ADDING)

    assert acme.amounts(ADDING) == {"a": 100, "b": -50}
    assert counts(publication) == {"rows": 2, "added": 2}
    [generation] = generations.of_units(acme.env, [unit.id])
    assert generation.state is GenerationState.PUBLISHED
    assert publication.adds_file_id == generation.transactions_file_id


def test_publishing_twice_is_publishing_once(acme: Books) -> None:
    """A re-run of a day that has nothing new changes nothing."""
    acme.deliver(ADDING, [("a", 100)])
    acme.publish(ADDING)

    assert acme.publish(ADDING) == []
    assert acme.amounts(ADDING) == {"a": 100}


def test_a_line_delivered_again_is_counted_and_not_stored_twice(acme: Books) -> None:
    """Same identity, same content: a repeat; its amount is accounted for."""
    acme.deliver(ADDING, [("a", 100), ("b", 7)])
    acme.deliver(ADDING, [("b", 7), ("c", 1)], rejects=2)

    first, second = acme.publish(ADDING)

    assert acme.amounts(ADDING) == {"a": 100, "b": 7, "c": 1}
    assert counts(second) == {"rows": 2, "added": 1, "repeats": 1, "rejects": 2}
    figures = intake.of_publication(acme.env, second)
    assert (figures.rows, figures.stored, figures.repeats) == ({"EUR": (2, 8)}, {"EUR": (1, 1)}, {"EUR": (1, 7)})
    assert figures.holds
    assert intake.of_publication(acme.env, first).holds


def test_units_published_together_see_one_anothers_rows(acme: Books) -> None:
    """The second corrects the first's `b`, the fourth brings what the day before had; the third shares nothing."""
    acme.deliver(ADDING, [("z", 9)])
    acme.publish(ADDING)
    for rows in ([("a", 100), ("b", 7)], [("b", 8)], [("c", 1)], [("z", 9), ("d", 2)]):
        acme.deliver(ADDING, rows, NEXT_DAY)

    published = acme.publish(ADDING, NEXT_DAY)

    assert acme.amounts(ADDING) == {"a": 100, "b": 8, "c": 1, "d": 2, "z": 9}
    assert [(one.counts["added"], one.counts["removed"], one.counts["repeats"]) for one in published] == [
        *((2, 0, 0), (1, 1, 0), (1, 0, 0), (1, 0, 1)),
    ]


def test_a_unit_of_repeats_alone_names_no_file(acme: Books) -> None:
    """It is published, so that the catalogue knows it was dealt with."""
    acme.deliver(ADDING, [("a", 100)])
    acme.deliver(ADDING, [("a", 100)])

    _, second = acme.publish(ADDING)

    assert (second.adds_file_id, second.removes_file_id) == (None, None)
    assert counts(second) == {"rows": 1, "repeats": 1}


def test_a_row_with_other_content_takes_the_old_ones_place(acme: Books) -> None:
    """The old version leaves whole, the newest unit's version stays."""
    acme.deliver(ADDING, [("a", 100), ("b", 7)])
    acme.publish(ADDING)
    acme.deliver(ADDING, [("a", 120)], NEXT_DAY)

    [publication] = acme.publish(ADDING, NEXT_DAY)

    assert acme.amounts(ADDING) == {"a": 120, "b": 7}
    assert counts(publication) == {"rows": 1, "added": 1, "removed": 1, "changed": 1}
    assert control_totals(acme.env, "shop") == {"EUR": (2, 127)}


def test_the_last_line_of_a_row_within_a_unit_counts(acme: Books) -> None:
    """An export that corrects itself further down; the earlier line is overtaken, an equal one is a repeat."""
    acme.deliver(ADDING, [("a", 100), ("b", 7), ("a", 90), ("b", 7)])

    [publication] = acme.publish(ADDING)

    assert acme.amounts(ADDING) == {"a": 90, "b": 7}
    assert counts(publication) == {"rows": 4, "added": 2, "repeats": 1, "overtaken": 1}
    assert intake.of_publication(acme.env, publication).holds


def test_a_pull_of_a_day_replaces_that_day_alone(acme: Books) -> None:
    """What the source no longer shows for the day leaves; other days stay."""
    acme.deliver(REPLACING, [("a", 100), ("b", 7)])
    acme.deliver(REPLACING, [("x", 1)], NEXT_DAY)
    acme.publish(REPLACING), acme.publish(REPLACING, NEXT_DAY)
    acme.deliver(REPLACING, [("b", 7), ("c", 3)])

    [publication] = acme.publish(REPLACING)

    assert acme.amounts(REPLACING) == {"b": 7, "c": 3, "x": 1}
    assert counts(publication) == {"rows": 2, "added": 1, "removed": 1, "repeats": 1}


def test_an_empty_pull_empties_its_day(acme: Books) -> None:
    """No rows is an answer, not an omission."""
    acme.deliver(REPLACING, [("a", 100)])
    acme.publish(REPLACING)
    acme.deliver(REPLACING, [])

    [publication] = acme.publish(REPLACING)

    assert acme.amounts(REPLACING) == {}
    assert counts(publication) == {"removed": 1}


def test_a_row_that_moved_to_another_day_stays_when_its_old_day_is_pulled_again(acme: Books) -> None:
    """Overlapping pulls: both days had the row, the second is still in force when the first drops it."""
    acme.deliver(REPLACING, [("a", 100), ("b", 7)])
    acme.publish(REPLACING)
    acme.deliver(REPLACING, [("a", 100)], NEXT_DAY)
    acme.publish(REPLACING, NEXT_DAY)
    acme.deliver(REPLACING, [("b", 7)])

    [publication] = acme.publish(REPLACING)

    assert acme.amounts(REPLACING) == {"a": 100, "b": 7}
    assert counts(publication) == {"rows": 1, "repeats": 1}


def test_what_an_older_unit_in_force_says_returns_when_the_newer_lets_go(acme: Books) -> None:
    """Day 2 had a newer version of the row; pulled again, it no longer has the row: day 1's version is live again."""
    acme.deliver(REPLACING, [("a", 100)])
    acme.publish(REPLACING)
    acme.deliver(REPLACING, [("a", 120), ("x", 1)], NEXT_DAY)
    acme.publish(REPLACING, NEXT_DAY)
    acme.deliver(REPLACING, [("x", 1)], NEXT_DAY)

    [publication] = acme.publish(REPLACING, NEXT_DAY)

    assert acme.amounts(REPLACING) == {"a": 100, "x": 1}
    assert counts(publication) == {"rows": 1, "added": 1, "removed": 1, "changed": 1, "repeats": 1, "restored": 1}
    assert intake.of_publication(acme.env, publication).holds


def test_a_full_export_is_all_rows_of_the_source(acme: Books) -> None:
    """Whatever day it came on."""
    acme.deliver(LATEST, [("a", 100), ("b", 7)])
    acme.publish(LATEST)
    acme.deliver(LATEST, [("b", 8), ("c", 3)], NEXT_DAY)

    [publication] = acme.publish(LATEST, NEXT_DAY)

    assert acme.amounts(LATEST) == {"b": 8, "c": 3}
    assert counts(publication) == {"rows": 2, "added": 2, "removed": 2, "changed": 1}


@pytest.mark.parametrize("source", [REPLACING, LATEST], ids=["replace", "latest"])
def test_an_older_unit_that_passes_late_does_not_displace_the_newer(acme: Books, source: Source) -> None:
    """Held, then released after its successor: superseded without becoming live."""
    older = acme.land(source)
    held = generations.judge(acme.env, acme.candidate(older, [("a", 1)]), Verdict.HELD, [])
    acme.deliver(source, [("a", 2)])
    acme.publish(source)
    acme.release(older)

    assert acme.publish(source) == []

    assert acme.amounts(source) == {"a": 2}
    [after] = generations.of_units(acme.env, [older.id])
    assert (after.id, after.state) == (held.id, GenerationState.SUPERSEDED)


def test_an_older_added_unit_that_passes_late_keeps_the_newer_version_of_a_row(acme: Books) -> None:
    """Added units live side by side; a row belongs to the newest of them."""
    older = acme.land(ADDING)
    acme.deliver(ADDING, [("a", 2)])
    acme.publish(ADDING)
    acme.passed(older, [("a", 1), ("b", 5)])

    [publication] = acme.publish(ADDING)

    assert acme.amounts(ADDING) == {"a": 2, "b": 5}
    assert counts(publication) == {"rows": 2, "added": 1, "overtaken": 1}


def test_a_corrected_mapping_replaces_what_it_made_of_the_unit_before(acme: Books) -> None:
    """The unit's rows under the old mapping leave; other units' rows stay."""
    unit = acme.deliver(ADDING, [("a", 100), ("b", 7)])
    acme.deliver(ADDING, [("z", 9)])
    acme.publish(ADDING)
    acme.passed(unit, [("a", 10_000)], mapping="2")

    [publication] = acme.publish(ADDING)

    assert acme.amounts(ADDING) == {"a": 10_000, "z": 9}
    assert counts(publication) == {"rows": 1, "added": 1, "removed": 2, "changed": 1}
    states = [g.state for g in generations.of_units(acme.env, [unit.id])]
    assert states == [GenerationState.SUPERSEDED, GenerationState.PUBLISHED]


def test_a_mapping_changed_back_publishes_the_first_result_again(acme: Books) -> None:
    """Its generation and file are still there: nothing is read or written anew."""
    unit = acme.deliver(ADDING, [("a", 100), ("b", 7)])
    acme.publish(ADDING)
    acme.passed(unit, [("a", 1)], mapping="2")
    acme.publish(ADDING)
    acme.passed(unit, [("a", 100), ("b", 7)], mapping="1")

    [publication] = acme.publish(ADDING)

    assert acme.amounts(ADDING) == {"a": 100, "b": 7}
    assert len(generations.of_units(acme.env, [unit.id])) == 2
    assert counts(publication) == {"rows": 2, "added": 2, "removed": 1, "changed": 1}


def test_the_same_result_is_recorded_once(acme: Books) -> None:
    """A re-run of today touches only what is new."""
    unit = acme.land(ADDING)

    first, second = acme.candidate(unit, [("a", 1)]), acme.candidate(unit, [("a", 1)])

    assert first == second


def test_what_is_held_is_not_published_and_the_rest_of_the_day_is(acme: Books) -> None:
    """The gate is per unit."""
    bad = acme.land(ADDING)
    generations.judge(
        acme.env, acme.candidate(bad, [("a", 1)]), Verdict.HELD, [{"check": "balance", "outcome": "failed"}]
    )
    acme.deliver(ADDING, [("b", 2)])

    acme.publish(ADDING)

    assert acme.amounts(ADDING) == {"b": 2}


def test_a_check_that_could_not_run_leaves_a_candidate(acme: Books) -> None:
    """It says nothing about the data, so it is tried again."""
    unit = acme.land(ADDING)

    after = generations.judge(acme.env, acme.candidate(unit, [("a", 1)]), Verdict.COULD_NOT_RUN, [])

    assert (after.state, after.verdict) == (GenerationState.CANDIDATE, Verdict.COULD_NOT_RUN)
    assert acme.publish(ADDING) == []


def test_the_database_refuses_to_publish_what_has_not_passed(acme: Books) -> None:
    """Whoever writes to the catalogue: the gate is in the database."""
    unit = acme.land(ADDING)
    held = generations.judge(acme.env, acme.candidate(unit, [("a", 1)]), Verdict.HELD, [])

    with pytest.raises(sa.exc.IntegrityError), acme.env.engine.begin() as connection:
        connection.execute(
            sa.update(tables.generation).where(tables.generation.c.id == held.id).values(state="published")
        )


def test_a_verdict_is_given_once(acme: Books) -> None:
    """A second judge finds no candidate."""
    passed = acme.passed(acme.land(ADDING), [("a", 1)])

    with pytest.raises(generations.AlreadyJudged):
        generations.judge(acme.env, passed, Verdict.HELD, [])


def test_totals_are_exact_and_per_currency(acme: Books) -> None:
    """Beyond 32 bits, negative, and never added across currencies."""
    acme.deliver(ADDING, [("a", 10**15), ("b", -(10**15) - 1), ("c", 5, "JPY")])
    acme.publish(ADDING)

    assert control_totals(acme.env, "shop") == {"EUR": (2, -1), "JPY": (1, 5)}


def test_the_past_can_be_read_as_it_was(acme: Books) -> None:
    """Removed and added again: each publication's state is still there."""
    pulls = [[("a", 1)], [("b", 2)], [("a", 1)], [("a", 3)]]
    log = []
    for rows in pulls:
        acme.deliver(REPLACING, rows)
        log += acme.publish(REPLACING)

    for publication, rows in zip(log, pulls, strict=True):
        assert acme.live(REPLACING, publication.sequence) == {i: (amount, "EUR") for i, amount in rows}


def test_a_new_field_of_a_mapping_is_null_in_older_rows(acme: Books) -> None:
    """Files of different columns are read as one set."""
    acme.deliver(ADDING, [("a", 1)])
    acme.publish(ADDING)
    unit = acme.land(ADDING)
    wider = transactions(unit, [("b", 2)]).append_column("reference", [["ref"]])
    generation = generations.record_candidate(acme.env, unit, b"f", wider, mapping_digest=b"m", counts={})
    generations.judge(acme.env, generation, Verdict.PASSED, [])
    acme.publish(ADDING)

    found = {r["row_id"]: r["reference"] for r in live(acme.env, "shop").read_all().to_pylist()}
    assert found == {"a": None, "b": "ref"}


def test_nothing_published_is_an_empty_table(acme: Books) -> None:
    """With the columns of transactions."""
    assert acme.live(ADDING) == {}
    assert control_totals(acme.env, "shop") == {}
    assert acme.publish(ADDING, date(2030, 1, 1)) == []
