"""The training step: losses' gradients, Adam and the loop, compiled; the same in batched torch.

From the inside out: `simd` (the processor's vectors), `product` (of matrices), `layout` (where a
network lies in memory), `kernel` (values and gradients of a tile of points), `loop` (all steps of
one network), `compiled` (all networks of an ensemble, on threads); `batched` (torch, and CUDA
graphs); `executor` chooses.
"""
