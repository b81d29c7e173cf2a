"""Matrix products in the precision of their dtype."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from depthwright.machine.process_wide import process_wide


@process_wide
@contextmanager
def full_precision() -> Iterator[None]:
    """Matrix products in the dtype's own precision: no TF32 (GPU), no bfloat16 (CPU) inside."""
    mkldnn: Any = torch.backends.mkldnn  # whose stubs lack `matmul`
    backends: tuple[Any, ...] = (torch.backends.cuda.matmul, mkldnn.matmul)
    before = [backend.fp32_precision for backend in backends]
    for backend in backends:
        backend.fp32_precision = "ieee"
    try:
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision
