"""The Triton step: interpreted, compiled for a GPU that need not be here, and on one."""

import importlib.util
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed"
)

SAME = """
import sys
import torch
from depthwright.training.ensemble import Ensemble, EnsembleAdam
from depthwright.training.losses import LOSSES
from depthwright.training.step import triton as fused
from depthwright.training.step.batched import Batched, recorded

device, members, rates = torch.device(sys.argv[1]), 3, [1e-3, 1e-2, 3e-3]
gpu = device.type == "cuda"

def batches(steps, batch, d, dtype):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(steps, batch, d, generator=generator, dtype=torch.float64).to(dtype)
    return x, x.norm(dim=2, keepdim=True)

def trained(kind, where, record, x, y, width):
    # all losses; one member dropped midway
    ensemble = Ensemble((x.shape[2], width, 1), range(members), x.dtype).to(where)
    rate = torch.tensor(rates, dtype=x.dtype, device=where)
    adam = EnsembleAdam(ensemble.parameters(), rate)
    step, x, y = kind(ensemble, adam, LOSSES, record), x.to(where), y.to(where)
    half = len(x) // 2
    factors = [1.0 / (k + 1) for k in range(half)]
    step.prepare(x.shape[1])
    step.train(x[:half], y[:half], factors)
    adam.drop(torch.tensor([False, True, False], device=where))
    step.train(x[half:], y[half:], [0.5] * (len(x) - half))
    errors = torch.stack(step.errors(x[-1], y[-1].double()))
    return step, [t.detach().cpu() for t in (*ensemble.parameters(), errors)]

def by_adam(x, y, width):
    # torch's own Adam and autograd, each member alone, the first loss
    found = Ensemble((x.shape[2], width, 1), range(members), x.dtype)
    optimisers = torch.optim.Adam([{"params": found.parameters()}], lr=rates[0])
    for batch, values in zip(x, y):
        optimisers.zero_grad()
        (found(batch) - values)[0].square().mean().backward()
        optimisers.step()
    return [p.detach()[0] for p in found.parameters()]

def gap(a, b):
    return max(float((p - q).abs().max()) for p, q in zip(a, b, strict=True))

# a step that is wrong moves weights by its rate, 1e-3 to 1e-2: float32 may round differently
# one program a network; two kernels, with several parts, masked tails of the batch and the width
shapes = [(5, 7, 3, True), (21, 50, 18, False)]
if gpu:
    shapes += [(64, 256, 10, True), (300, 1000, 10, False), (1024, 1024, 10, False)]
else:
    fused.ELEMENTS, fused.SHARE, fused.TILE, fused.INPUTS = 512, 12, {"J": 2, "R": 32, "C": 4}, 16
for dtype, allowed in ((torch.float64, 1e-9), (torch.float32, 1e-3)):
    for width, batch, d, whole in shapes:
        x, y = batches(60 if gpu else 4, batch, d, dtype)
        _, wanted = trained(Batched, "cpu", None, x, y, width)
        for record in (None, recorded) if gpu else (None,):
            step, found = trained(fused.Fused, device, record, x, y, width)
            if not gpu or (width > 21 and dtype == torch.float32):
                assert step.form(batch).whole == whole
            far = gap(wanted, found)
            print(dtype, width, batch, d, far, file=sys.stderr)
            assert far <= allowed, (dtype, width, batch, far)
x, y = batches(3, 50, 2, torch.float64)
ensemble = Ensemble((2, 21, 1), range(members), torch.float64).to(device)
rate = torch.tensor(rates, dtype=torch.float64, device=device)
adam = EnsembleAdam(ensemble.parameters(), rate)
step = fused.Fused(ensemble, adam, LOSSES[:1] * members)
step.train(x.to(device), y.to(device), [1.0] * 3)
assert gap(by_adam(x, y, 21), [p.detach()[0].cpu() for p in ensemble.parameters()]) <= 1e-12
print("the same steps")
"""

COMPILED = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from depthwright.training.step import triton as fused
numbers = {"alive": "*i32", "losses": "*i32"}
counts = ("share", "steps", "parts", "batch", "width", "inputs")
for number, itemsize in (("fp32", 4), ("fp64", 8)):
    whole, parts = (fused.form_of(8, batch, width, 10, itemsize) for batch, width in (
        (64, 64), (1024, 1024)))
    assert whole.whole and not parts.whole
    kernels = [(fused.outputs_of, fused.TILE, 4)] + [
        (fused.take_steps, {"whole": form.whole, "K": fused.INPUTS, **form.tile}, form.warps)
        for form in (whole, parts)
    ]
    for kernel, constants, warps in kernels:
        signature = {
            name: "constexpr" if name in constants else "i32" if name in counts
            else numbers.get(name, f"*{number}") for name in kernel.arg_names
        }
        source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
        code = compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps})
        assert "tf32" not in code.asm["ptx"]
print("compiled")
"""


def python(code, device="cpu", **environment):
    done = subprocess.run(
        [sys.executable, "-c", code, device],
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )
    return done.stdout.strip() or done.stderr[-2000:]


@pytest.mark.slow
def test_the_same_steps_under_the_interpreter():
    assert python(SAME, TRITON_INTERPRET="1") == "the same steps"


@pytest.mark.slow
def test_the_kernels_compile_for_a_gpu(tmp_path):
    assert python(COMPILED, TRITON_CACHE_DIR=str(tmp_path), TRITON_INTERPRET="0") == "compiled"


@pytest.mark.gpu
def test_the_same_steps_on_a_gpu():
    assert python(SAME, "cuda", TRITON_INTERPRET="0") == "the same steps"
