"""The training step: gradients of the losses, Adam and the loop, compiled; the same in torch.

Files in the order in which they call each other: `executor` chooses the form; `compiled` runs the
networks of an ensemble on threads; `loop` takes all steps of one network; `kernel` computes values
and gradients of a tile of points, by `product` (of matrices) and `simd` (the processor's vectors);
`layout` says where a network lies in memory.

`batched` is the plain form: the same steps in torch, for GPUs and for the other networks. Read it
first.
"""
