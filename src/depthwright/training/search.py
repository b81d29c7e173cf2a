"""Successive halving: how many members a family still trains at each step.

All members start; after steps/h^r, …, steps/h² and steps/h steps (h = `halving`, r = `rungs`,
rounded up to whole chunks) the best one in h, rounded up, go on, by the lowest validation error
so far. With M members this takes about M·steps·(1 + r·(h − 1)/h)/h^r network-steps, where all to
the end would take M·steps. All members have the learning-rate schedule of the full length, so a
rung compares networks before their rates have fallen: a member that needs small steps late is
judged early, a known drawback of the method.
(Jamieson and Talwalkar 2016, "Non-stochastic best arm identification".)
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from depthwright.refusal import Refusal
from depthwright.training.config import TrainingConfig


def rungs(config: TrainingConfig, steps: int) -> list[int]:
    """The steps at which members are dropped."""
    if not config.halving:
        return []
    chunk = config.chunk_steps
    ends = [config.halving**k * chunk for k in range(config.rungs, 0, -1)]
    found = {-(-steps // end) * chunk for end in ends}
    return sorted(step for step in found if step < steps)


def kept(members: int, halving: int) -> int:
    """How many of `members` go on after a rung."""
    return max(1, math.ceil(members / halving))


def _spent(members: int, halving: int, ends: Sequence[int]) -> int:
    """Network-steps, if members are dropped at all `ends` but the last."""
    total = before = 0
    for end in ends:
        total += members * (end - before)
        before = end
        members = kept(members, halving) if halving else members
    return total


def network_steps(config: TrainingConfig, members: int, steps: int) -> int:
    """Network-steps of a family of `members`, if none diverges."""
    return _spent(members, config.halving, [*rungs(config, steps), steps])


def planned_steps(config: TrainingConfig, members: int) -> int:
    """The steps of those trained to the end: `steps`, or the most that `budget` allows.

    More steps may cost less, where two rungs that coincided become distinct. But rungs are the same
    for all steps of a chunk, within which the cost rises; so chunks are tried downwards from the
    last possible one, where the budget would end if rungs were not rounded.
    """
    budget, chunk = config.budget, config.chunk_steps
    if not budget:
        return config.steps
    if budget < members:
        raise Refusal(
            f"budget={budget} is below the {members} network-steps that one step of a family's "
            f"{members} members takes; give at least that, or fewer settings to search"
        )
    powers = [config.halving**k for k in range(config.rungs + 1)] if config.halving else [1]
    top = budget * powers[-1] // _spent(members, config.halving, powers)
    for first in range((top - 1) // chunk * chunk + 1, 0, -chunk):
        fits = bisect_right(
            range(first, first + chunk),
            budget,
            key=lambda steps: network_steps(config, members, steps),
        )
        if fits:
            return first + fits - 1
    raise AssertionError("one step takes as many network-steps as there are members")


def losers(errors: Sequence[float], alive: Sequence[int], halving: int) -> list[int]:
    """Members of `alive` that a rung drops: all but the best; ties go to the earlier member."""
    order = sorted(alive, key=lambda k: (math.isnan(errors[k]), errors[k], k))
    return sorted(order[kept(len(order), halving) :])
