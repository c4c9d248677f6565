"""Who belongs to whom among equal amounts, against trying every assignment."""

from __future__ import annotations

import random
from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from actuals_pipelines.reconcile.assignment import FitSet, assign

Edges = dict[tuple[int, int], int]


def assigned(edges: Edges) -> list[FitSet]:
    soll, ist = (np.array([pair[side] for pair in edges], np.int64) for side in (0, 1))
    return assign(soll, ist, np.array(list(edges.values()), np.int64))


def plain(sets: list[FitSet]) -> set[tuple[frozenset[int], frozenset[int], bool, int | None]]:
    return {(frozenset(s.soll.tolist()), frozenset(s.ist.tolist()), s.is_ambiguous, s.cost) for s in sets}


def everyone_against_everyone(n: int, m: int) -> Edges:
    return {(soll, ist): 0 for soll in range(n) for ist in range(m)}


def test_five_equal_lines_against_five_are_a_set() -> None:
    """It balances, whoever belongs to whom."""
    assert plain(assigned(everyone_against_everyone(5, 5))) == {(frozenset(range(5)), frozenset(range(5)), False, 0)}


def test_five_equal_lines_against_four_are_ambiguous_together() -> None:
    """Any of the five may be the one that is left over."""
    assert plain(assigned(everyone_against_everyone(5, 4))) == {(frozenset(range(5)), frozenset(range(4)), True, None)}


def test_the_nearer_day_decides_who_is_left_over() -> None:
    """One line could take either; the one four days away is left over, and in no set."""
    assert plain(assigned({(0, 0): 4, (1, 0): 0})) == {(frozenset({1}), frozenset({0}), False, 0)}


def test_more_pairs_are_better_than_nearer_ones() -> None:
    """Unit 0 could have the nearest partner; then unit 1 would have none."""
    sets = assigned({(0, 0): 0, (0, 1): 9, (1, 0): 3})

    assert plain(sets) == {(frozenset({0}), frozenset({1}), False, 9), (frozenset({1}), frozenset({0}), False, 3)}


@st.composite
def some_edges(draw: st.DrawFn) -> Edges:
    pairs = [(soll, ist) for soll in range(draw(st.integers(1, 4))) for ist in range(draw(st.integers(1, 4)))]
    return {pair: draw(st.integers(0, 3)) for pair in pairs if draw(st.booleans())}


def best_assignments(edges: Edges) -> list[dict[int, int | None]]:
    """All assignments with the most pairs, and among them those of the least cost."""
    solls = sorted({soll for soll, _ in edges})
    choices = [[None, *(ist for soll, ist in edges if soll == each)] for each in solls]
    every = []
    for chosen in product(*choices):
        taken = [ist for ist in chosen if ist is not None]
        if len(set(taken)) == len(taken):
            cost = sum(edges[soll, ist] for soll, ist in zip(solls, chosen, strict=True) if ist is not None)
            every.append((-len(taken), cost, dict(zip(solls, chosen, strict=True))))
    best = min(every, key=lambda each: each[:2])[:2] if every else (0, 0)
    return [each for pairs, cost, each in every if (pairs, cost) == best]


@settings(max_examples=150, deadline=None)
@given(some_edges(), st.randoms(use_true_random=False))
def test_a_set_stands_exactly_if_every_best_assignment_agrees(edges: Edges, chance: random.Random) -> None:
    """No equally good assignment crosses a set that stands; what is sometimes left over is ambiguous, and only that."""
    best = best_assignments(edges)
    order = list(edges)
    chance.shuffle(order)

    sets = assigned(edges)

    assert plain(sets) == plain(assigned({pair: edges[pair] for pair in order}))
    ambiguous = {soll for each in sets if each.is_ambiguous for soll in each.soll.tolist()}
    for each in (one for one in sets if not one.is_ambiguous):
        partners = [{one[soll] for soll in each.soll.tolist()} for one in best]
        assert partners == [set(each.ist.tolist())] * len(best)
    for soll in {pair[0] for pair in edges}:
        is_sometimes = len({one[soll] is None for one in best}) == 2
        assert not is_sometimes or soll in ambiguous
