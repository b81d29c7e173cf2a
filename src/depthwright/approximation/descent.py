"""Depth-2 networks that descend, from a construction, to a smaller error: no claim is left.

All parameters by Adam. The objective of a step is

    share · (root mean square at points of the law) + (p-norm of abs(N − f) at climbers),

and either part may be absent (`Goal`). The points of the law are drawn anew for every step, so no
network learns a sample by heart. *Climbers* are points on their way up abs(N − f) in the ball: each
takes one step at every step of the descent, shorter and shorter, and after LIFE of them begins anew
elsewhere. So the errors that count are always those an attack would meet now; p rises.

*Several starts.* Small networks descend from many starts at once, and the best third goes on.

*Device.* A CUDA GPU where there is one, as for the trainer's accelerator "auto", and the network is
not small; float32. The same seed on the same device gives the same network. What a descent may take
is counted in arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from depthwright.approximation.goals import FIRST_POWER, Goal
from depthwright.approximation.neurons import Neurons, best_device
from depthwright.targets.radial import Radial

Progress = Callable[[float, str], None]
REST = 12
"""What is done to a number beside products, in multiply-adds, for each point and neuron."""
LEAST_ON_GPU = 20_000
"""n·(d + REST) from which a GPU is faster than a core: smaller networks wait for launches there."""
FEWEST_STEPS = 500
MOST_STEPS = {"cpu": 8000, "cuda": 4000}
"""A GPU has more points a step."""
WARM_UP = 0.05
"""Part of the steps."""
MEMORIES = (0.9, 0.99)
"""Adam's, of slopes and of their squares."""
LIFE = 20
LONGEST, SHORTEST = 0.2, 1e-3
"""A climber's first and last step."""
INWARD = 1e-3
"""Step inwards of the difference quotient that gives the slope of ϕ."""
RUNGS = 0.1, 0.3
"""Parts of the steps after which one start in three goes on, and one alone."""
JUDGED_POINTS, JUDGED_STARTS, JUDGED_STEPS = 16_384, 1024, 60
AT_ONCE = 1 << 26
"""Most points × neurons of a search that are held at once on a GPU; on a CPU a cache's worth."""


@dataclass(frozen=True)
class Networks:
    """K networks x ↦ offset + Σ_i outer_i·σ(inner_i·(x, 1)) of one shape, float32 on a device."""

    inner: torch.Tensor
    """(K, n, d + 1) weight and bias, scaled so that ‖w_i‖ = abs(outer_i) where a start begins."""
    outer: torch.Tensor
    """(K, n)"""
    offset: torch.Tensor
    """(K, 1)"""

    @classmethod
    def of(cls, starts: Sequence[Neurons], device: torch.device) -> Networks:
        inner, outer = [], []
        for one in starts:
            scale = np.sqrt(np.maximum(np.abs(one.outer), 1e-9))
            inner.append(np.column_stack([one.weight, one.bias]) * scale[:, None])
            outer.append(np.where(one.outer < 0, -scale, scale))

        def tensor(values: list[np.ndarray]) -> torch.Tensor:
            return torch.from_numpy(np.stack(values)).to(device, torch.float32)

        return cls(tensor(inner), tensor(outer), tensor([np.array([one.offset]) for one in starts]))

    def neurons(self, which: int = 0) -> Neurons:
        """One of them, with unit vectors."""
        inner, outer, offset = (part[which].double().cpu().numpy() for part in self._parts)
        size = np.maximum(np.linalg.norm(inner[:, :-1], axis=1), 1e-12)
        return Neurons(inner[:, :-1] / size[:, None], inner[:, -1] / size, outer * size, offset[0])

    def only(self, which: torch.Tensor) -> Networks:
        return Networks(*(part[which].contiguous() for part in self._parts))

    @property
    def _parts(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return self.inner, self.outer, self.offset

    def active(self, x: torch.Tensor) -> torch.Tensor:
        """(K, points, n) before σ, at `x` (K or 1, points, d + 1) with a last column of ones."""
        return x @ self.inner.mT

    def values(self, active: torch.Tensor) -> torch.Tensor:
        """(K, points) from what `active` gave; σ is applied in place."""
        return (active.relu_() @ self.outer[:, :, None])[..., 0] + self.offset

    def uphill(self, active: torch.Tensor) -> torch.Tensor:
        """(K, points, d) the networks' gradient in x."""
        return ((active > 0) * self.outer[:, None]) @ self.inner[..., :-1]

    def slopes(
        self, x: torch.Tensor, active: torch.Tensor, slope: torch.Tensor
    ) -> Iterator[torch.Tensor]:
        """Of Σ slope·N(x), in inner, outer and offset; `slope` (K, points), `active` after σ."""
        on = (active > 0).to(active)
        yield (on.mT @ (x * slope[..., None])) * self.outer[..., None]
        yield (slope[:, None] @ active)[:, 0]
        yield slope.sum(dim=1, keepdim=True)


@dataclass
class Climbers:
    """Points on their way up abs(N − f), a group of each age from 0 to LIFE − 1."""

    networks: Networks
    target: Radial
    count: int
    """A multiple of LIFE."""
    generator: torch.Generator
    few: int = 1

    def __post_init__(self) -> None:
        groups = [self._fresh() for _ in range(LIFE)]
        self.x = torch.cat(groups, dim=1)
        ages = torch.arange(LIFE).repeat_interleave(self.count // LIFE).to(self.x)
        self.lengths = LONGEST * (SHORTEST / LONGEST) ** (ages / (LIFE - 1))
        self._oldest = LIFE - 1

    def _fresh(self) -> torch.Tensor:
        inner = self.networks.inner
        return fresh(inner[..., :-1], self.count // LIFE, self.generator, self.few)

    def heights(self) -> torch.Tensor:
        """(K, count) f here; call it before `move`."""
        height, self._pull = profile_and_pull(self.target, self.x)
        return height

    def move(self, active: torch.Tensor, error: torch.Tensor) -> None:
        """One step of all, from what the networks gave here; the oldest group begins anew."""
        self.x = _climbed(self.networks, self.x, active, error, self._pull, self.lengths)
        each = self.count // LIFE
        self.x[:, self._oldest * each : (self._oldest + 1) * each] = self._fresh()
        self.lengths = self.lengths.roll(-each)
        self._oldest = (self._oldest - 1) % LIFE


def fresh(
    directions: torch.Tensor, count: int, generator: torch.Generator, few: int = 1
) -> torch.Tensor:
    """(K, count, d) starts of an attack on networks with `directions` (K, n, d).

    A quarter is directions, or sums of up to a `few` with signs, where hinges add up; a quarter
    lies inside the ball, the rest on its sphere.
    """
    many, n, d = directions.shape
    where = directions.device
    x = torch.randn(many, count, d, generator=generator, device=where)
    own = count // 4
    if own:
        picked = directions[:, torch.randint(n, (own, few), generator=generator, device=where)]
        if few > 1:
            signs = torch.randint(-1, 2, (own, few), generator=generator, device=where).to(x)
            signs[:, 0] = 1
            picked = picked / picked.norm(dim=3, keepdim=True).clamp_min(1e-20) * signs[..., None]
        x[:, :own] = picked.sum(dim=2)
    x /= x.norm(dim=2, keepdim=True).clamp_min(1e-20)
    x[:, own : 2 * own] *= torch.rand(many, own, 1, generator=generator, device=where)
    return x


def profile_and_pull(target: Radial, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(K, points) f at `x` (K, points, d), and its gradient as a multiple of x."""
    r = x.norm(dim=2).clamp_max(1)
    inner = (r - INWARD).clamp_min(0)
    height, below = target.profile(torch.stack([r, inner]))
    return height, (height - below) / (r - inner).clamp_min(1e-9) / r.clamp_min(1e-6)


def _climbed(
    networks: Networks,
    x: torch.Tensor,
    active: torch.Tensor,
    error: torch.Tensor,
    pull: torch.Tensor,
    length: torch.Tensor | float,
) -> torch.Tensor:
    """`x` (K, points, d) one step up abs(N − f), of `length` (points,), and back into the ball."""
    up = networks.uphill(active) - pull[..., None] * x
    up *= (error.sign() * length / up.norm(dim=2).clamp_min(1e-20))[..., None]
    x = x + up
    return x / x.norm(dim=2, keepdim=True).clamp_min(1)


def device_for(n: int, d: int) -> torch.device:
    """Where a network of n neurons on d inputs descends."""
    return best_device() if n * (d + REST) >= LEAST_ON_GPU else torch.device("cpu")


def with_ones(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([x, torch.ones_like(x[..., :1])], dim=-1)


def law(batches: int, count: int, dimension: int, generator: torch.Generator) -> torch.Tensor:
    """(batches, count, d) points r·u and −r·u, the radii one in each of count/2 equal cells."""
    where = generator.device
    shape = batches, count // 2
    u = torch.randn(*shape, dimension, generator=generator, device=where)
    u /= u.norm(dim=2, keepdim=True)
    cell = torch.rand(shape, generator=generator, device=where).argsort(dim=1)
    u *= ((cell + torch.rand(shape, generator=generator, device=where)) / (count // 2))[..., None]
    return torch.cat([u, -u], dim=1)


def descend(
    starts: Sequence[Neurons],
    target: Radial,
    seed: int,
    goal: Goal,
    step: Progress,
) -> Neurons:
    """The network of least objective: the best start's descent, or the start where it is better."""
    n, d = starts[0].weight.shape
    device = device_for(n, d)
    generator = torch.Generator(device).manual_seed(seed)
    count = goal.law[device.type] + goal.climbers[device.type]
    each = 3 * n * (d + REST) * count * len(starts)
    steps = int(np.clip(goal.work[device.type] / each, FEWEST_STEPS, MOST_STEPS[device.type]))
    judge = _Judge(target, goal, device, seed)
    before = judge(first := Networks.of(starts, device))
    now, done = first, 0
    rungs = [math.ceil(part * steps) for part in RUNGS] if len(starts) > 1 else []
    for end in [*rungs, steps]:
        run = Descent(now, target, goal, generator, steps)
        run.go(done, end, step)
        done = end
        found = judge(now)
        keep = 1 if end == steps or len(found) <= 3 else -(-len(found) // 3)
        order = found.argsort(stable=True)[:keep]
        now, after = now.only(order), found[order]
        if end in rungs[1:]:
            now = now.only(torch.zeros(1, dtype=torch.long, device=device))
    best = int(before.argmin())
    return starts[best] if before[best] <= after[0] else now.neurons()


@dataclass
class Descent:
    """Steps of Adam, from `now`, which is changed."""

    now: Networks
    target: Radial
    goal: Goal
    generator: torch.Generator
    steps: int

    def __post_init__(self) -> None:
        device = self.generator.device.type
        self.law, self.climbers = self.goal.law[device], self.goal.climbers[device]

    def go(self, first: int, last: int, step: Progress) -> None:
        now, d = self.now, self.now.inner.shape[2] - 1
        size = float(now.inner.square().mean().sqrt())
        adam = torch.optim.Adam(now._parts, lr=1.0, betas=MEMORIES, eps=1e-12)
        flock = None
        if self.climbers:
            flock = Climbers(now, self.target, self.climbers, self.generator, self.goal.few)
        batches: Iterator[tuple[torch.Tensor, torch.Tensor]] = iter(())
        at_once = int(np.clip(AT_ONCE // 8 // (max(self.law, 1) * (d + 1)), 1, 50))
        for k in range(first, last):
            part = k / self.steps
            parts = []
            if self.law:
                if (batch := next(batches, None)) is None:
                    drawn = law(at_once, self.law, d, self.generator)
                    heights = self.target.profile(drawn.norm(dim=2).clamp_max(1))
                    batches = iter(zip(drawn, heights, strict=True))
                    batch = next(batches)
                x, wanted = batch
                parts.append((x.expand(len(now.inner), -1, -1), wanted.expand(len(now.inner), -1)))
            if flock is not None:
                parts.append((flock.x, flock.heights()))
            x, wanted = (torch.cat(some, dim=1) for some in zip(*parts, strict=True))
            ones = with_ones(x)
            active = now.active(ones)
            error = now.values(active) - wanted
            slope = self.slope(error, part)
            grads = list(now.slopes(ones, active, slope))
            if flock is not None:
                flock.move(active[:, self.law :], error[:, self.law :])
            for parameter, grad in zip(now._parts, grads, strict=True):
                parameter.grad = grad
            warm = min(1.0, (part + 1 / self.steps) / WARM_UP)
            adam.param_groups[0]["lr"] = (
                self.goal.rate * size * warm * (1 + math.cos(math.pi * part)) / 2
            )
            adam.step()
            if k % 50 == 0:
                step(part, "descending")

    def slope(self, error: torch.Tensor, part: float) -> torch.Tensor:
        """Of the objective, in every error."""
        slopes = []
        if self.law:
            on_law = error[:, : self.law]
            root = on_law.square().mean(dim=1, keepdim=True).sqrt().clamp_min(1e-30)
            slopes.append(self.goal.share / self.law * on_law / root)
        if self.climbers:
            pool = error[:, self.law :]
            power = FIRST_POWER * (self.goal.power / FIRST_POWER) ** part
            size = pool.abs() / pool.abs().amax(dim=1, keepdim=True).clamp_min(1e-30)
            powers = size ** (power - 1)
            norm = (powers * size).sum(dim=1, keepdim=True) ** (1 / power)
            slopes.append(pool.sign() * powers * norm ** (1 - power))
        return torch.cat(slopes, dim=1)


@dataclass
class _Judge:
    """The objective with the attacked error in the norm's place, at points for this alone."""

    target: Radial
    goal: Goal
    device: torch.device
    seed: int

    def __call__(self, networks: Networks) -> torch.Tensor:
        """(K,)"""
        total = torch.zeros(len(networks.inner), dtype=torch.float64, device=self.device)
        d = networks.inner.shape[2] - 1
        generator = torch.Generator(self.device).manual_seed(self.seed + 1)
        if self.goal.share:
            x = law(1, JUDGED_POINTS, d, generator)
            squares = torch.cat(
                [errors(networks, self.target, p).double().square() for p in split(networks, x)],
                dim=1,
            )
            total += self.goal.share * squares.mean(dim=1).sqrt()
        if self.goal.climbers[self.device.type]:
            x = fresh(networks.inner[..., :-1], JUDGED_STARTS, generator, self.goal.few)
            total += worst(networks, self.target, x, JUDGED_STEPS)[1].amax(dim=1)
        return total


def split(networks: Networks, x: torch.Tensor) -> Sequence[torch.Tensor]:
    """`x` (K or 1, points, d) in parts that fit a cache, or a GPU's memory."""
    many, n, _ = networks.inner.shape
    limit = AT_ONCE if x.device.type == "cuda" else AT_ONCE >> 7
    return x.split(max(1, limit // (many * n)), dim=1)


def errors(networks: Networks, target: Radial, x: torch.Tensor) -> torch.Tensor:
    """(K, points) N − f."""
    height = target.profile(x.norm(dim=2).clamp_max(1))
    return networks.values(networks.active(with_ones(x))) - height


def worst(
    networks: Networks, target: Radial, x: torch.Tensor, steps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The points of largest abs(N − f) met from starts `x` (K, count, d), and those errors."""
    places, heights = [], []
    decay = (SHORTEST / LONGEST) ** (1 / max(steps - 1, 1))
    for part in split(networks, x):
        now, at = part, part
        highest = torch.full(part.shape[:2], -1.0, device=x.device)
        for k in range(steps):
            active = networks.active(with_ones(now))
            height, pull = profile_and_pull(target, now)
            error = networks.values(active) - height
            higher = error.abs() > highest
            highest = torch.where(higher, error.abs(), highest)
            at = torch.where(higher[..., None], now, at)
            now = _climbed(networks, now, active, error, pull, LONGEST * decay**k)
        places.append(at)
        heights.append(highest)
    return torch.cat(places, dim=1), torch.cat(heights, dim=1)
