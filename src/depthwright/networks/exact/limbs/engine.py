"""Exact values by limb programs: the choice of points, program and executor.

Points are sorted into groups by the lowest bit of their inputs, so that a few subnormal numbers do
not lengthen the limbs of all; a group has one program, compiled for its grid and for the
network's box (or a power of two above the inputs), and kept for the next batch. Points too few to
repay compiling are left to the integers, and the seconds that these take are added up: once they
would have paid for compiling, the next batch is compiled, however small. A point at which omitted
digits could change the result is left to the integers too (none in 10^5, where those digits were
noise).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from depthwright.networks.exact.dyadic import Dyadic
from depthwright.networks.exact.layer import Layer
from depthwright.networks.exact.limbs.bounds import Bound
from depthwright.networks.exact.limbs.compiler import compiled
from depthwright.networks.exact.limbs.program import LimbProgram
from depthwright.networks.inputs import Inputs
from depthwright.progress import Bar

GRIDS = (-64, -128, -256, -512, -1088)
"""Inputs are multiples of one of these powers of two; the last one is below every float64."""
ARENA_LIMIT = 1 << 30
"""Bytes of a thread's tile; a program that needs more is not run."""
PROGRAMS = 8
"""Programs that a network keeps."""
CACHED = 1 << 20
"""Bytes of a tile's live slots that should stay in a core's second-level cache."""

_loaded: set[str] = set()


def groups(x: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """(grid, rows of `x` whose entries are multiples of 2^grid and not all of the grid above)."""
    fraction, power = np.frexp(x)
    whole = np.ldexp(fraction, 53).astype(np.int64)
    zeros = np.frexp((whole & -whole).astype(np.float64))[1] - 1
    lowest = np.where(whole != 0, power - 53 + zeros, 0).min(axis=1, initial=0)
    found, rest = [], np.ones(len(x), dtype=bool)
    for grid in GRIDS:
        rows = np.flatnonzero(rest & (lowest >= grid))
        rest[rows] = False
        if len(rows):
            found.append((grid, rows))
    return found


class Programs:
    """The compiled programs of one network; the last ones used are kept."""

    def __init__(
        self,
        layers: Sequence[Layer],
        inputs: Inputs | None,
        value_bits: int | None,
        integer_bits: int,
    ) -> None:
        """`integer_bits`: length of the integers that evaluate the remaining rows."""
        self.layers, self.inputs, self.value_bits = layers, inputs, value_bits
        self.kept: dict[tuple[int, Bound], LimbProgram] = {}
        self._terms = sum(len(layer.rows) for layer in layers)
        self._seconds = 0.12e-6 + 3e-11 * integer_bits  # a term and point, in integers
        self.spent = 0.0
        """Seconds that integers took for points whose program was not compiled."""
        self._waits = False

    def reach(self, x: np.ndarray) -> Bound:
        """`reach_of` the largest entry of `x`."""
        return self.reach_of(float(np.abs(x).max(initial=0.0)))

    def reach_of(self, largest: float) -> Bound:
        """A bound of the inputs that does not change from batch to batch more than it must.

        The network's box, where it has one that is neither a point nor all of R^d.
        """
        inputs = self.inputs
        if inputs is not None and largest <= inputs.largest and 0 < inputs.largest < np.inf:
            return Dyadic.of(inputs.largest).terms[0]
        return 1, -(-int(np.frexp(largest)[1]) // 16) * 16

    def worth_compiling(self, points: int, known: bool) -> bool:
        """Whether compiling and running is faster than integers, for this many points.

        What integers have taken so far counts: of two ways, that costs at most twice the better.
        Seconds on one core: integers take 2 µs a term and 0.12 µs a term and point, more for long
        values; compiling takes 10 to 20 µs a term, loading the executor's machine code a second;
        running is more than 50 times faster than integers, but by tiles of at least 16 points. The
        constants are rounded in favour of the integers.
        """
        integers = self.spent + self._terms * (2e-6 + points * self._seconds)
        program = 0.0 if known else self._terms * 20e-6
        machine_code = 0.0 if "numba" in _loaded else 1.0
        running = self._terms * max(points, 16) * self._seconds / 50
        return program + machine_code + running < integers

    def program(self, grid: int, box: Bound) -> LimbProgram:
        """Compiled once per grid and box; the last ones used are kept."""
        program = self.kept.pop((grid, box), None)
        if program is None:
            with Bar("compiling the network") as bar:
                program = compiled(self.layers, self.value_bits, grid, box, bar)
            self.spent = 0.0
        self.kept[grid, box] = program  # dictionaries keep the order: the last one used stands last
        while len(self.kept) > PROGRAMS:
            del self.kept[next(iter(self.kept))]
        return program

    def chosen(self, place: tuple[int, Bound], points: int, forced: bool) -> LimbProgram | None:
        """The program for points of this grid and box; None where they are left to the integers."""
        if not (forced or self.worth_compiling(points, place in self.kept)):
            self._waits = True
            return None
        program = self.program(*place)
        return program if forced or 8 * 16 * program.arena <= ARENA_LIMIT else None

    def evaluate(self, x: np.ndarray, *, forced: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Values (batch, output_dim), rounded once, and which rows are left to the integers: those
        of batches too small to compile for, and those that `run` has not settled.

        `forced` compiles in any case. On the processor; for a GPU see `on_device`.
        """
        x = np.ascontiguousarray(x, dtype=np.float64)
        out = np.empty((len(x), self.layers[-1].fan_out))
        left = np.zeros(len(x), dtype=bool)
        self.begin()
        for grid, rows in groups(x):
            part = x[rows]
            program = self.chosen((grid, self.reach(part)), len(rows), forced)
            if program is None:
                left[rows] = True
                continue
            out[rows] = run(program, part)
            left[rows] = np.isnan(out[rows]).any(axis=1)
        return out, left

    def begin(self) -> None:
        """A new batch: nothing of it is left to the integers yet."""
        self._waits = False

    def took(self, seconds: float) -> None:
        """What the integers took for the rows that the last `evaluate` left to them."""
        if self._waits:
            self.spent += seconds


def tile_size(program: LimbProgram, points: int) -> int:
    """Points per tile: 16 to 128, as many as let the longest slots fit into the cache."""
    longest = int(program.rows[:, 3].max(initial=1))
    fitting = CACHED // (8 * 6 * longest)
    return int(np.clip(min(fitting, points) // 16 * 16, 16, 128))


def run(program: LimbProgram, x: np.ndarray) -> np.ndarray:
    """On the CPU, shared among threads.

    Rows (points, output_dim) with nan are not settled: see LimbProgram.values.
    """
    from depthwright.machine.numba_cache import need_compiler
    from depthwright.machine.threads import shared, threads
    from depthwright.networks.exact.limbs import kernel

    need_compiler()
    out = np.empty((len(x), len(program.outputs)))
    tile = tile_size(program, len(x))
    tables = (program.rows, program.terms, program.constants, program.inputs, program.outputs)
    sizes = (program.input_grid, program.places, program.arena, tile)

    done, chunk = 0, tile * threads()
    with Bar("exact values") as bar:
        while done < len(x):
            points, values = x[done : done + chunk], out[done : done + chunk]

            def work(part: slice, points: np.ndarray = points, values: np.ndarray = values) -> None:
                kernel.run(points[part], tables, *sizes, values[part])

            shared(work, len(points), tile)
            _loaded.add("numba")
            done += chunk
            bar(min(done / len(x), 1.0))
            chunk *= 2  # a second at most, small against the work at that point
    return program.values(out)
