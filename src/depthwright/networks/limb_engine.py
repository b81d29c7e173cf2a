"""Exact values by limb programs: which points, which program, which executor, or none.

Points are sorted into groups by the lowest bit of their inputs, so that a few subnormal numbers do
not lengthen everybody's limbs; a group has one program, compiled for its grid and for the
network's box (or a power of two above the inputs), and kept for the next batch. A group too
small to repay compiling goes to the integers of evaluation.py; `worth_compiling` holds the
estimate, whose constants are rounded in favour of the integers. So does a point at which digits
that a program has left out could change the result (none in 10^5, where those were noise).
"""

from __future__ import annotations

import os
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from depthwright.networks import balls, limb_compiler
from depthwright.networks.dyadic import Dyadic
from depthwright.networks.exact import ExactNetwork
from depthwright.networks.limb_bounds import Bound
from depthwright.networks.limb_program import LimbProgram
from depthwright.progress import Bar

GRIDS = (-64, -128, -256, -512, -1088)
"""Inputs are multiples of one of these powers of two; the last one is below every float64."""
ARENA_LIMIT = 1 << 30
"""Bytes of a thread's tile; a program that needs more is not run."""
PROGRAMS = 8
"""Programs that a network keeps."""
CACHED = 1 << 20
"""Bytes of a tile's live slots that should stay in a core's second cache."""

_programs: WeakKeyDictionary[ExactNetwork, dict[tuple[int, Bound], LimbProgram]]
_programs = WeakKeyDictionary()
_loaded: set[str] = set()
_in_child = False
"""Whether this process was forked. Its parent may have started numba's threads, which are not here:
an OpenMP that finds them missing ends the process."""


def _forked() -> None:
    global _in_child
    _in_child = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


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


def reach(network: ExactNetwork, x: np.ndarray) -> Bound:
    """A bound of the inputs that does not change from batch to batch more than it must.

    The network's box, where it has one that is neither a point nor all of R^d.
    """
    largest, inputs = float(np.abs(x).max(initial=0.0)), network.inputs
    if inputs is not None and largest <= inputs.largest and 0 < inputs.largest < np.inf:
        return Dyadic.of(inputs.largest).terms[0]
    return 1, -(-int(np.frexp(largest)[1]) // 16) * 16


def worth_compiling(network: ExactNetwork, points: int, known: bool) -> bool:
    """Whether compiling and running is faster than integers, for so many points.

    Seconds on one core: integers take 2 µs a term and 0.12 µs a term and point, more for long
    values; compiling takes 10 to 20 µs a term, loading the executor's machine code a second;
    running is more than 50 times faster than integers, but by tiles of at least 16 points.
    """
    terms = sum(len(layer.rows) for layer in network.layers)
    bits = network.value_bits or 0
    if balls.worthwhile(network):  # the integers are cut, too
        bits = balls.first_bits(network)
    each = 0.12e-6 + 3e-11 * bits
    integers = terms * (2e-6 + points * each)
    program = 0.0 if known else terms * 20e-6
    machine_code = 0.0 if "numba" in _loaded else 1.0
    return program + machine_code + terms * max(points, 16) * each / 50 < integers


def program_for(network: ExactNetwork, grid: int, box: Bound) -> LimbProgram:
    """Compiled once per network, grid and box, and kept while among the last ones used."""
    kept = _programs.setdefault(network, {})
    program = kept.pop((grid, box), None)
    if program is None:
        with Bar("compiling the network") as bar:
            program = limb_compiler.compiled(network, grid, box, bar)
    kept[grid, box] = program  # dictionaries keep the order: the last one used stands last
    while len(kept) > PROGRAMS:
        del kept[next(iter(kept))]
    return program


def tile_size(program: LimbProgram, points: int) -> int:
    """Points a tile: as many as leave the longest slots in the cache, 16 to 128."""
    longest = int(program.rows[:, 3].max(initial=1))
    fitting = CACHED // (8 * 6 * longest)
    return int(np.clip(min(fitting, points) // 16 * 16, 16, 128))


def evaluate(
    network: ExactNetwork, x: np.ndarray, *, forced: bool = False, device: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Values (batch, output_dim), rounded once, and which rows are left to the integers: batches
    too small to compile for, and rows that `run` has not settled.

    `forced` compiles whatever it costs; `device` is a torch device, CUDA for the GPU.
    """
    x = np.ascontiguousarray(x, dtype=np.float64)
    out = np.empty((len(x), network.layers[-1].fan_out))
    left = np.zeros(len(x), dtype=bool)
    for grid, rows in groups(x):
        part = x[rows]
        box = reach(network, part)
        known = (grid, box) in _programs.get(network, {})
        if not (forced or worth_compiling(network, len(rows), known)):
            left[rows] = True
            continue
        program = program_for(network, grid, box)
        if 8 * 16 * program.arena > ARENA_LIMIT and not forced:
            left[rows] = True
            continue
        if device is not None and device.type == "cuda":
            from depthwright.networks import limb_triton

            out[rows] = limb_triton.run(program, part, device)
        else:
            out[rows] = run(program, part)
        left[rows] = np.isnan(out[rows]).any(axis=1)
    return out, left


def run(program: LimbProgram, x: np.ndarray) -> np.ndarray:
    """On the CPU, all threads that numba may use; in a forked process only the calling one.

    Rows (points, output_dim) with nan are not settled: see LimbProgram.values.
    """
    import numba

    from depthwright.networks import limb_kernel, stored_code

    stored_code.need_compiler()
    out = np.empty((len(x), len(program.outputs)))
    tile = tile_size(program, len(x))
    threads = 1 if _in_child else numba.get_num_threads()
    chunk = tile * threads
    tables = (program.rows, program.terms, program.constants, program.inputs, program.outputs)
    done = 0
    with Bar("exact values") as bar:
        while done < len(x):
            part = slice(done, done + chunk)
            sizes = (program.input_grid, program.places, program.arena, tile)
            if _in_child:
                limb_kernel.run_alone(x[part], tables, *sizes, out[part])
            else:
                limb_kernel.run(x[part], tables, *sizes, out[part], threads)
            _loaded.add("numba")
            done += chunk
            bar(min(done / len(x), 1.0))
            chunk *= 2  # a second at most, by the time that it matters
    return program.values(out)
