"""Which of these signed amounts add up exactly to a target: the search behind `by: sum` (MATCHING.md 4).

Subset sum by meeting in the middle: the amounts are dealt to two halves, each half's distinct sums are written down
layer by layer, and a pair that adds up to the target is read back through the layers. Sums that nothing left over can
bring to the target are dropped at once, and equal amounts grow a half by one sum each, so that fifty lines of 9.95 cost
fifty and not 2^50. The budget counts sums, not seconds: the same amounts and budget give the same answer everywhere.

Source: E. Horowitz, S. Sahni, Computing Partitions with Applications to the Knapsack Problem, JACM 21 (1974).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Amounts = npt.NDArray[np.int64]
Subset = tuple[int, ...]

ENOUGH = 2
"""Solutions that are looked for: a second one says that the amounts do not decide."""

_SAFE = 2**62


@dataclass(frozen=True, slots=True)
class Answer:
    """What a search found: nothing is decided unless it is finished and has exactly one solution."""

    solutions: tuple[Subset, ...]  # positions, ascending; at most `ENOUGH`
    is_finished: bool  # False: the budget was spent, and more solutions may be there
    steps: int  # sums that were written down or read


def search(amounts: Amounts, target: int, budget: int, *, is_wanted: Callable[[Subset], bool] | None = None) -> Answer:
    """Find up to two non-empty subsets of `amounts` that add up to `target`.

    Args:
        amounts: signed minor units, none of them 0; up to a few hundred.
        budget: sums that may be written down or read in all.
        is_wanted: says of a subset whether it counts; None: every one does.
    """
    if sum(abs(int(amount)) for amount in amounts) + abs(target) > _SAFE:
        return Answer((), is_finished=False, steps=0)
    halves = (_Half(), _Half())
    steps = 0
    order = sorted(range(len(amounts)), key=lambda place: (-abs(int(amounts[place])), int(amounts[place]), place))
    ahead_plus = sum(int(amount) for amount in amounts if amount > 0)
    ahead_minus = sum(int(amount) for amount in amounts if amount < 0)
    for place in order:
        amount = int(amounts[place])
        ahead_plus -= max(amount, 0)
        ahead_minus -= min(amount, 0)
        half, other = sorted(halves, key=lambda each: len(each.sums))
        steps += 2 * len(half.sums)
        if steps > budget:
            return Answer((), is_finished=False, steps=steps)
        least, most = int(other.sums.min(initial=_SAFE)), int(other.sums.max(initial=-_SAFE))
        half.add(place, amount, target - most - ahead_plus, target - least - ahead_minus)
        if not len(half.sums):
            return Answer((), is_finished=True, steps=steps)  # whatever is chosen, the target is out of reach
    steps += len(halves[0].sums) + len(halves[1].sums)
    found: list[Subset] = []
    for subset in _pairs(halves, target):
        steps += 1
        if steps > budget:
            return Answer(tuple(found), is_finished=False, steps=steps)
        if subset and (is_wanted is None or is_wanted(subset)):
            found.append(subset)
            if len(found) == ENOUGH:
                break
    return Answer(tuple(found), is_finished=True, steps=steps)


@dataclass(slots=True, eq=False)
class _Half:
    """The distinct sums of the subsets of some amounts, before each amount was added, and after the last."""

    sums: Amounts = field(default_factory=lambda: np.zeros(1, np.int64))
    layers: list[tuple[int, int, Amounts]] = field(default_factory=list)  # (place, amount, sums before)

    def add(self, place: int, amount: int, least: int, most: int) -> None:
        """With one more amount; sums outside least..most can no longer lead to the target."""
        self.layers.append((place, amount, self.sums))
        both = np.unique(np.concatenate([self.sums, self.sums + amount]))
        self.sums = both[(both >= least) & (both <= most)]

    def subsets(self, total: int) -> Iterator[Subset]:
        """The subsets that add up to `total`, which is one of the sums, in a fixed order."""
        waiting: list[tuple[int, int, Subset]] = [(len(self.layers), total, ())]
        while waiting:
            layer, rest, chosen = waiting.pop()
            if layer == 0:
                yield chosen
                continue
            place, amount, before = self.layers[layer - 1]
            if _has(before, rest - amount):
                waiting.append((layer - 1, rest - amount, (*chosen, place)))
            if _has(before, rest):
                waiting.append((layer - 1, rest, chosen))


def _has(sums: Amounts, total: int) -> bool:
    place = int(np.searchsorted(sums, total))
    return place < len(sums) and int(sums[place]) == total


def _pairs(halves: tuple[_Half, _Half], target: int) -> Iterator[Subset]:
    left, right = halves
    for total in np.intersect1d(left.sums, target - right.sums, assume_unique=True):
        for one in left.subsets(int(total)):
            for other in right.subsets(target - int(total)):
                yield tuple(sorted((*one, *other)))
