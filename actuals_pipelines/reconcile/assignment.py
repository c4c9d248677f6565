"""Which units of equal amounts belong to which, nearest days first: the assignment behind `by: amount` (MATCHING.md 4).

In each connected component of what fits together, as many pairs as possible are made and their days apart, added up,
are least. Where another assignment is as good, the exchange is a cycle of zero cost: what lies on it is one set. If
all of the set is assigned, it balances whoever belongs to whom, and stands as a set; if something of it is left over,
nobody can say what, and it is ambiguous.

The assignment is scipy's (shortest augmenting paths; D. F. Crouse, On Implementing 2D Rectangular Assignment
Algorithms, IEEE TAES 52 (2016)); costs are whole numbers far below 2^53, so its doubles are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FitSet:
    """Units that belong together: all of them assigned, or an equal choice of which are left over."""

    soll: Numbers
    ist: Numbers
    is_ambiguous: bool
    cost: int | None  # of the assignment within the set; None where the set is ambiguous


def assign(soll: Numbers, ist: Numbers, cost: Numbers) -> list[FitSet]:
    """Assign units along these edges; what is surely left over is in no set.

    Args:
        soll, ist: for each edge the numbers of its units; a number is one unit of that side. Each edge once.
        cost: for each edge a whole number from 0; the sum over a component must stay below 2^40.

    Returns:
        Disjoint sets, by the smallest SOLL unit. The order of the edges does not matter.
    """
    sets: list[FitSet] = []
    soll_units, row = np.unique(soll, return_inverse=True)
    ist_units, column = np.unique(ist, return_inverse=True)
    size = len(soll_units) + len(ist_units)
    if not size:
        return sets
    ends = coo_array((np.ones(len(soll), np.int8), (row, column + len(soll_units))), shape=(size, size))
    _, labels = connected_components(ends, directed=False)
    order = np.lexsort((column, row, labels[row]))
    firsts = np.flatnonzero(np.diff(labels[row][order], prepend=-1))
    for edges in np.split(order, firsts[1:]):
        if len(edges) == 1:
            [edge] = edges
            sets.append(FitSet(soll[edges], ist[edges], is_ambiguous=False, cost=int(cost[edge])))
        else:
            sets += _component(soll[edges], ist[edges], cost[edges])
    return sorted(sets, key=lambda each: int(each.soll[0]))


def _component(soll: Numbers, ist: Numbers, cost: Numbers) -> list[FitSet]:
    """The sets of one component.

    Each unit may also take a partner of its own that stands for "left over" at a price above any gain, so that every
    assignment is perfect and an equally good one is a cycle of zero cost.
    """
    soll_units, row = np.unique(soll, return_inverse=True)
    ist_units, column = np.unique(ist, return_inverse=True)
    n, m = len(soll_units), len(ist_units)
    left_over = int(cost.sum()) + 1
    never = left_over * (n + m + 1) * 2
    costs = np.full((n + m, n + m), never, np.int64)
    costs[row, column] = cost
    costs[np.arange(n), m + np.arange(n)] = left_over
    costs[n + np.arange(m), np.arange(m)] = left_over
    costs[n:, m:] = 0
    _, partner = linear_sum_assignment(costs)
    labels = _exchanges(costs, partner, never)
    sets = []
    for label in np.unique(labels[:n]):
        members = np.flatnonzero(labels == label)
        chosen, taken = members[members < n], partner[members]
        taken = taken[taken < m]
        paired = chosen[partner[chosen] < m]
        if not len(paired):
            continue  # left over in every assignment
        is_ambiguous = len(paired) < max(len(chosen), len(taken))
        total = None if is_ambiguous else int(costs[paired, partner[paired]].sum())
        sets.append(FitSet(soll_units[chosen], ist_units[np.sort(taken)], is_ambiguous, total))
    return sets


def _exchanges(costs: Numbers, partner: Numbers, never: int) -> Numbers:
    """For each row a label; rows that share one may exchange partners along a cycle without making it worse.

    Potentials by Bellman-Ford make the weights of all exchanges non-negative; then the rows of zero-cost cycles are
    the strongly connected components of the exchanges that weigh nothing.
    """
    weights = costs[:, partner] - costs[np.arange(len(partner)), partner][:, None]
    is_possible = costs[:, partner] < never
    weights = np.where(is_possible, weights, never)
    potential = np.zeros(len(partner), np.int64)
    while True:
        nearer = np.minimum(potential, (potential[:, None] + weights).min(axis=0))
        if (nearer == potential).all():
            break
        potential = nearer
    tight = is_possible & (weights + potential[:, None] - potential[None, :] == 0)
    _, labels = connected_components(coo_array(tight), directed=True, connection="strong")
    return labels.astype(np.int64)
