"""Successive halving: how many members a family still trains at each step.

All members start; after steps/h^r, …, steps/h² and steps/h steps (h = `halving`, r = `rungs`,
rounded up to whole chunks) the best one in h, rounded up, go on, by the lowest validation error
so far. With M members this takes about M·steps·(1 + r·(h − 1))/h^r network-steps, where all to the
end would take M·steps. The schedule of the learning rate is that of the full length for everyone,
so a rung compares networks before their rates have fallen: a member that needs small steps late is
judged early, which is the price of the method.
(Jamieson and Talwalkar 2016, "Non-stochastic best arm identification".)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from depthwright.training.config import TrainingConfig


def rungs(config: TrainingConfig, steps: int) -> list[int]:
    """The steps at which members are dropped."""
    if not config.halving:
        return []
    chunk = config.chunk_steps
    found = {
        math.ceil(steps / config.halving**k / chunk) * chunk for k in range(config.rungs, 0, -1)
    }
    return sorted(step for step in found if step < steps)


def kept(members: int, halving: int) -> int:
    """How many of `members` go on after a rung."""
    return max(1, math.ceil(members / halving))


def network_steps(config: TrainingConfig, members: int, steps: int) -> int:
    """What a family of `members` takes in all, none diverging."""
    total = before = 0
    for rung in [*rungs(config, steps), steps]:
        total += members * (rung - before)
        before = rung
        members = kept(members, config.halving) if config.halving else members
    return total


def planned_steps(config: TrainingConfig, members: int) -> int:
    """The steps of those trained to the end: `steps`, or the most that `budget` allows."""
    if not config.budget:
        return config.steps
    low, high = 1, config.budget
    while low < high:
        middle = (low + high + 1) // 2
        if network_steps(config, members, middle) <= config.budget:
            low = middle
        else:
            high = middle - 1
    return low


def losers(errors: Sequence[float], alive: Sequence[int], halving: int) -> list[int]:
    """Those of `alive` that a rung drops: all but the best, ties to the earlier member."""
    order = sorted(alive, key=lambda k: (math.isnan(errors[k]), errors[k], k))
    return sorted(order[kept(len(order), halving) :])
