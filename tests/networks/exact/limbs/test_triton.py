"""The GPU's loops: interpreted, compiled for a GPU that need not be here, and on one."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed"
)

SAME = """
import sys
import numpy as np, torch
sys.path.insert(0, sys.argv[1])
from dyadic_networks import awkward_points, random_network
from depthwright.constructions import NarrowPacked
from depthwright.networks.exact.layer import Layer
from depthwright.networks.exact.limbs import compiler, engine, on_device, triton
from depthwright.networks.exact.network import ExactNetwork
from depthwright.targets import RandomNetwork

device = torch.device(sys.argv[2])

def same(network, x):
    wanted = network.evaluate(torch.from_numpy(x), "exact", engine="limbs", anywhere=True).numpy()
    there = torch.from_numpy(x).to(device)
    got = network._exact_there(there, "limbs", None)
    assert got.device == there.device
    assert got.cpu().numpy().tobytes() == wanted.tobytes()
    for (grid, rows), (other, same) in zip(engine.groups(x), on_device.groups(there), strict=True):
        same = np.arange(len(x))[same] if isinstance(same, slice) else same.cpu().numpy()
        assert grid == other and (rows == same).all()
        yield network.programs.program(grid, network.programs.reach(x[rows]))

rng = np.random.default_rng(0)
x = awkward_points(rng, 20, 2).clip(-1e9, 1e9)
programs = list(same(random_network(rng, 2, 3, 2, powers=30), x))
x = rng.uniform(-1, 1, (40, 2))
network = NarrowPacked(RandomNetwork(2, 2, 2, seed=0), 0.5, 0.3).build().network
programs += same(network, x)
for table, kinds in (("rows", {0, 1, 2, 3}), ("terms", {0, 1, 2})):
    used = {int(kind) for program in programs for kind in getattr(program, table)[:, 0]}
    assert used == kinds, used
assert any(program.ends for program in programs)
# outputs that are a hidden neuron times ± a power of two keep their sign limb
terms = [(row, 0, 1 - row % 2 * 2, row // 2 * 31 - 130) for row in range(18)]
relu = Layer(1, 1, (0,), (0,), (1,), (0,))
network = ExactNetwork((relu, Layer(1, 18, *(tuple(part) for part in zip(*terms)))))
integers = network.evaluate(torch.tensor([[0.5]]), "exact", engine="integers").numpy()
assert (integers[:, ::2] > 0).all() and (integers[:, 1::2] < 0).all()
x = np.concatenate([2.0 ** np.arange(-66, 67, 7), 2.0 ** np.arange(-65, 66, 64), [1 / 3, 0, -1]])
list(same(network, x[:, None]))
integers = network.evaluate(torch.from_numpy(x[:, None]), "exact", engine="integers").numpy()
limbs = network.evaluate(torch.from_numpy(x[:, None]), "exact", engine="limbs").numpy()
assert limbs.tobytes() == integers.tobytes()
# one limb less in every slot must show
network = random_network(np.random.default_rng(1), 2, 3, 1, powers=30)
program = compiler.compiled(network.layers, network.value_bits, -64, (1, 0))
x = rng.uniform(-1, 1, (20, 2)) // 2.0**-50 * 2.0**-50
for shorter in (0, 1):
    program.rows[:, 3] -= shorter
    wanted = network.evaluate(torch.from_numpy(x), "exact", engine="integers").numpy()
    program.loaded.clear()
    differ = triton.run(program, torch.from_numpy(x).to(device)).cpu().numpy() != wanted
    assert differ.any() == shorter
print("the same bits")
"""

COMPILED = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from depthwright.networks.exact.limbs import program as limb_program, triton as limb_triton
fields = {"lanes": 32, "row_fields": limb_program.ROW_FIELDS,
          "term_fields": limb_program.TERM_FIELDS, "output_count": 1}
signature = {
    name: "constexpr" if name in fields else "*i64" if name in (
        "x", "out", "rows", "terms", "constants", "inputs", "outputs", "arenas", "ranges"
    ) else "i32" for name in limb_triton.run_tiles.arg_names
}
source = ASTSource(fn=limb_triton.run_tiles, signature=signature, constexprs=fields)
code = compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 1})
assert "mul.hi.u64" in code.asm["ptx"]
print("compiled")
"""


def python(code, device="cpu", **environment):
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parents[3]), device],
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )
    return done.stdout.strip() or done.stderr[-2000:]


@pytest.mark.slow
def test_the_same_bits_under_the_interpreter():
    assert python(SAME, TRITON_INTERPRET="1") == "the same bits"


@pytest.mark.slow
def test_the_kernel_compiles_for_a_gpu(tmp_path):
    assert python(COMPILED, TRITON_CACHE_DIR=str(tmp_path), TRITON_INTERPRET="0") == "compiled"


@pytest.mark.gpu
def test_the_same_bits_on_a_gpu():
    assert python(SAME, "cuda", TRITON_INTERPRET="0") == "the same bits"
