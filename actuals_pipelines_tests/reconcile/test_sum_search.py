"""The search for amounts that add up, against trying every subset."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actuals_pipelines.reconcile.sum_search import Answer, search

PLENTY = 1_000_000


def searched(amounts: list[int], target: int, budget: int = PLENTY) -> Answer:
    return search(np.array(amounts, np.int64), target, budget)


def all_subsets(amounts: list[int], target: int) -> set[tuple[int, ...]]:
    places = range(len(amounts))
    every = (chosen for size in range(1, len(amounts) + 1) for chosen in combinations(places, size))
    return {chosen for chosen in every if sum(amounts[place] for place in chosen) == target}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(-6, 9).filter(bool), max_size=9), st.integers(-8, 20))
def test_it_finds_what_trying_every_subset_finds(amounts: list[int], target: int) -> None:
    """None, the one, or two of those that there are; signed amounts and equal ones among them."""
    answer = searched(amounts, target)

    expected = all_subsets(amounts, target)
    assert answer.is_finished
    assert len(set(answer.solutions)) == len(answer.solutions) == min(2, len(expected))
    assert set(answer.solutions) <= expected


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 500), max_size=12), st.integers(1, 2000), st.integers(0, 60))
def test_what_a_small_budget_still_says_is_true(amounts: list[int], target: int, budget: int) -> None:
    """It may be unfinished; finished, it has counted right; and what it names always adds up."""
    answer = searched(amounts, target, budget)

    expected = all_subsets(amounts, target)
    assert set(answer.solutions) <= expected
    assert not answer.is_finished or len(answer.solutions) == min(2, len(expected))


def test_a_spent_budget_is_said_and_never_taken_for_none() -> None:
    """Forty amounts of about the same size: twenty a half have up to 2^20 sums, which are more than a thousand."""
    amounts = [10_000 + 7919 * place % 10_007 for place in range(1, 41)]

    answer = searched(amounts, sum(amounts[::3]), 1000)

    assert answer == Answer((), is_finished=False, steps=answer.steps)
    assert answer.steps > 1000


def test_equal_amounts_cost_one_sum_each() -> None:
    """Two hundred lines of 9.95 and one of 12.34 make 2,002.34 in one way, and 9.95 in two hundred."""
    amounts = [995] * 200 + [1234]

    [whole] = searched(amounts, sum(amounts), 5_000).solutions
    one = searched(amounts, 995, 5_000)

    assert whole == tuple(range(201))
    assert one.is_finished
    assert len(one.solutions) == 2


@pytest.mark.parametrize("amounts", [[2**62, 2**61], [-(2**62), -(2**62)]], ids=["plus", "minus"])
def test_sums_that_would_not_fit_are_not_searched(amounts: list[int]) -> None:
    """Rather unfinished than wrapped around."""
    assert not searched(amounts, 1).is_finished
