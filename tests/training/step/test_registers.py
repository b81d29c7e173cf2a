"""The product's sums stay in registers, also where a register holds half a vector (no AVX-512)."""

import os
import platform
import subprocess
import sys

import llvmlite.binding
import pytest

HALF = ("avx512", "avx10", "amx", "avxvnni", "gfni", "vaes", "vpclmul", "evex")
"""What processors with AVX2 alone do not have."""
PRODUCT = r"""
import hashlib, re, numba, numpy as np
from depthwright.training.step.product import dense, product
from depthwright.training.step.simd import pointer

@numba.njit(error_model="numpy")
def add_product(a, b, c, rows, inner, columns):
    result = dense(pointer(c), 0, rows, columns)
    left, right = dense(pointer(a), 0, rows, inner), dense(pointer(b), 0, inner, columns)
    product(left, right, result, result, False)

rows, inner, columns = 8, 11, 80
chance = np.random.default_rng(0)
sizes = rows * inner, inner * columns, rows * columns
a, b, c = (chance.standard_normal(size).astype(np.float32) for size in sizes)
right = c.reshape(rows, columns) + a.reshape(rows, inner) @ b.reshape(inner, columns)
add_product(a, b, c, rows, inner, columns)
np.testing.assert_allclose(c.reshape(rows, columns), right, rtol=0, atol=1e-5)
(code,) = add_product.inspect_asm().values()
loops = [part for part in re.split(r"^\.LBB\S+:", code, flags=re.M) if "vfmadd" in part]
spilt = [s for part in loops for s in re.findall(r"vmov\S+\s+%[xyz]mm\d+, .*\(%rsp\)", part)]
print(len(loops), "zmm" in code, len(spilt), hashlib.sha256(c.tobytes()).hexdigest())
"""


def multiplied(**variables: str) -> list[str]:
    """Loops of the compiled product, whether it uses AVX-512, sums written out, digest."""
    done = subprocess.run(
        [sys.executable, "-c", PRODUCT],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="reads x86's assembly")
def test_sums_stay_in_registers_and_give_the_same_bits_with_and_without_avx_512() -> None:
    found = llvmlite.binding.get_host_cpu_features()
    if not (found.get("avx2") and found.get("fma")):
        pytest.skip("no fused multiply-add on this processor")
    features = [f"{'-' if k.startswith(HALF) or not v else '+'}{k}" for k, v in found.items()]
    here = multiplied()
    half = multiplied(NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES=",".join(features))
    assert half[1] == "False"
    assert here[1] == str(bool(found.get("avx512f")))
    for loops, _, spilt, _ in (here, half):
        assert int(loops) > 0
        assert int(spilt) == 0, "sums are written to memory within the loop"
    assert here[3] == half[3]
