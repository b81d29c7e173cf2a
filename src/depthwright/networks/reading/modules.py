"""torch modules of any class, read by running them once on numbers of elements.

The module is called unchanged, on a tensor whose entries are the numbers of elements
(a `Symbol`). torch's dispatcher shows every operation that meets such a tensor: movements are run
on the element numbers, so that views and in-place operations share what they share in torch;
those of `operations` are recorded. What depends on weights alone (pruning, weight_norm)
torch computes itself, and the result is the weight. A module whose run needs the value of an entry
(dynamic control flow) or any other operation is refused by the name of the layer.

This takes more modules than torch.fx or torch.export: python runs as usual, so that loops, asserts
on shapes, hooks, overridden `forward`s and parametrizations need no special treatment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.utils import _pytree as pytree

from depthwright.networks.reading.checks import check_module_values
from depthwright.networks.reading.expressions import Ids, Tape
from depthwright.networks.reading.layers import PlainNetwork, plain_network
from depthwright.networks.reading.movements import FACTORIES, IN_FLOATS, MOVEMENTS
from depthwright.networks.reading.operations import OPERATIONS, UNKNOWN
from depthwright.networks.reading.tensors import fault_of, float64
from depthwright.refusal import Refusal

FLOW = "its course depends on values, and it may jump; a ReLU network is fixed and continuous"
FACTOR = "its factor depends on the input; BatchNorm in eval mode is understood"
ATTENTION = "attention multiplies values with each other; give the part without it"
CURES: dict[str, str] = {
    **dict.fromkeys(("softmax", "log_softmax"), "give the part before the softmax"),
    **dict.fromkeys(("gt", "ge", "lt", "le", "eq", "ne", "where", "sign", "argmax"), FLOW),
    **dict.fromkeys(("local_scalar_dense", "is_nonzero", "equal", "nonzero"), FLOW),
    **dict.fromkeys(("dropout", "bernoulli"), "call eval() first"),
    **dict.fromkeys(("layer_norm", "group_norm"), FACTOR),
    "multi_head_attention": ATTENTION,
    "transformer_encoder_layer_fwd": ATTENTION,
    "scaled_dot_product_flash_attention_for_cpu": ATTENTION,
}
"""Cure by operation."""
USUAL_CURE = "give the part of the network without it"


class Symbol(torch.Tensor):
    """A tensor without values: entry by entry, the number of an element of the tape."""

    ids: torch.Tensor
    tape: Tape

    @staticmethod
    def __new__(cls, ids: torch.Tensor, tape: Tape, dtype: torch.dtype, device: Any) -> Symbol:
        """`ids` is kept: views of it are views of the symbol."""
        self = torch.Tensor._make_wrapper_subclass(
            cls, ids.shape, strides=ids.stride(), dtype=dtype, device=device
        )
        self.ids, self.tape = ids, tape
        return self

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run or record one operation."""
        kwargs = kwargs or {}
        name = function.overloadpacket.__name__
        symbols = [a for a in pytree.tree_leaves((args, kwargs)) if isinstance(a, Symbol)]
        model = symbols[0]

        def wrap(ids: Any, dtype: torch.dtype | None = None) -> Any:
            if isinstance(ids, np.ndarray):
                ids = torch.from_numpy(np.ascontiguousarray(ids))
            if not isinstance(ids, torch.Tensor):
                return ids
            dtype = dtype or kwargs.get("dtype") or model.dtype
            return Symbol(ids, model.tape, dtype, model.device)

        if name in FACTORIES:
            return wrap(_made(model.tape, function, args, kwargs))
        if name in ("copy_", "fill_", "zero_"):
            return _overwrite(args[0], args[1] if len(args) > 1 else 0.0)
        if name == "_to_copy":
            _check_cast(kwargs.get("dtype"))
            return wrap(model.ids.clone())
        if name in MOVEMENTS:
            return pytree.tree_map(wrap, _moved(model.tape, function, args, kwargs, name))
        if any(bool((s.ids == UNKNOWN).any()) for s in symbols):
            raise Refusal("uses the position of a maximum, which is no continuous function")
        in_place = name.endswith("_") and not name.endswith("__")
        operation = OPERATIONS.get(name[:-1] if in_place else name)
        if operation is None:
            raise Refusal(_unknown(name))
        given = pytree.tree_map(
            lambda a: a.ids.numpy() if isinstance(a, Symbol) else a, (args, kwargs)
        )
        kwargs_given = {k: v for k, v in given[1].items() if k not in ("dtype", "memory_format")}
        at_zero = _at_zero(function, args, kwargs)  # torch refuses shapes and dtypes that differ
        out = operation(model.tape, *given[0], **kwargs_given)
        if in_place:
            return _overwrite(args[0], wrap(out))
        if isinstance(out, tuple):
            return tuple(wrap(ids) for ids in out)
        if out.shape != (shape := tuple(at_zero.shape)):
            raise AssertionError(f"{name}: {out.shape}, torch has {shape}; this is a bug")
        return wrap(out, at_zero.dtype)


def _at_zero(function: Any, args: Any, kwargs: Any) -> Any:
    """The operation applied to zeros in place of symbols."""

    def zeros(value: Any) -> Any:
        if not isinstance(value, Symbol):
            return value
        return torch.zeros(value.shape, dtype=value.dtype, device=value.device)

    given, named = pytree.tree_map(zeros, (args, kwargs))
    return function(*given, **named)


def _moved(tape: Tape, function: Any, args: Any, kwargs: Any, name: str) -> Any:
    """An operation that moves elements, run on their numbers; plain tensors become constants."""
    tensors = pytree.tree_leaves(args[0])  # the rest are indices and sizes
    if not any(isinstance(t, Symbol) for t in tensors):
        raise Refusal("picks entries at places that depend on the input")

    def ids(value: Any) -> Any:
        if isinstance(value, Symbol):
            return value.ids
        if isinstance(value, torch.Tensor):
            return torch.from_numpy(tape.constant(float64(value)))
        return value

    def positions(value: Any) -> Any:
        if isinstance(value, Symbol):
            raise Refusal("picks entries at places that depend on the input")
        return value.cpu() if isinstance(value, torch.Tensor) else value

    first = pytree.tree_map(ids, args[0])
    if name in IN_FLOATS:
        moved = function(first.double(), *args[1:], **kwargs)
        return pytree.tree_map(lambda t: t.long(), moved)
    return function(first, *pytree.tree_map(positions, args[1:]), **kwargs)


def _made(tape: Tape, function: Any, args: Any, kwargs: Any) -> Ids:
    """Constants with the shape or dtype of a symbol."""
    like = torch.empty(args[0].shape, dtype=torch.float64)
    made = function(like, *args[1:], **{k: v for k, v in kwargs.items() if k == "pin_memory"})
    empty = function.overloadpacket.__name__.endswith(("empty", "empty_like"))
    return tape.constant((torch.zeros_like(made) if empty else made).numpy())


def _overwrite(into: Any, values: Any) -> Any:
    """An in-place operation: other views of the tensor change with it."""
    if not isinstance(into, Symbol):
        raise Refusal(
            "writes values of the network into a plain tensor; use torch.cat or torch.stack"
        )
    if isinstance(values, Symbol):
        ids = values.ids
    else:
        ids = torch.from_numpy(into.tape.constant(float64(torch.as_tensor(values))))
    into.ids.copy_(ids)
    return into


def _check_cast(dtype: torch.dtype | None) -> None:
    if dtype is not None and not dtype.is_floating_point:
        raise Refusal(f"turns values into {str(dtype).removeprefix('torch.')}")


def _unknown(name: str) -> str:
    """Refusal for a layer that no ReLU network has, with the cure."""
    plain = name.strip("_").removeprefix("native_")
    if name.removesuffix("_") in MOVEMENTS:
        return f"changes the shape of a tensor in place ({name}); use {plain}"
    cure = CURES.get(plain, USUAL_CURE)
    return f"computes {plain}, which is not understood as a ReLU network; {cure}"


def _named(name: str, module: nn.Module) -> str:
    """A layer by its qualified name and its class."""
    return f"{f'layer {name}' if name else 'the module'} ({type(module).__name__})"


@contextmanager
def _names(root: nn.Module) -> Iterator[list[str]]:
    """The layers that are running, outermost first, while the block lasts."""
    names = {module: name for name, module in root.named_modules()}
    running: list[str] = []

    def enter(module: nn.Module, _: Any) -> None:
        running.append(_named(names.get(module, ""), module))

    def leave(*_: Any) -> None:
        running.pop()

    hooks = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
    try:
        yield running
    finally:
        for hook in hooks:
            hook.remove()


def read_module(module: Any, input_shape: Sequence[int] | None = None) -> PlainNetwork:
    """A module as plain layers; `input_shape` without the batch, where it cannot be derived."""
    check_module(module)
    if input_shape is not None:
        return _read(module, tuple(input_shape))
    fault: Refusal | None = None
    for size in _likely_sizes(module):
        try:
            network = _read(module, (size,))
        except WrongShape as error:
            fault = fault or error
        else:
            _check_no_other_size(module, size + 1)
            return network
    raise fault or Refusal(_any_size(module))


def _any_size(module: nn.Module) -> str:
    return (
        f"the weights of the module ({type(module).__name__}) do not tell the number of its "
        "inputs; give input_shape=(…), the shape of one input"
    )


def _check_no_other_size(module: nn.Module, size: int) -> None:
    """Refuse a module that runs with so many inputs as well: which are meant is not known."""
    try:
        _run(module, (size,))
    except Refusal:
        return
    raise Refusal(_any_size(module))


class WrongShape(Refusal):
    """An operation refused the shape of its inputs."""


def _read(module: nn.Module, shape: tuple[int, ...]) -> PlainNetwork:
    tape, out = _run(module, shape)
    network = plain_network(tape, out.ids.numpy(), _size(module))
    check_module_values(module, network, shape, *_kind(module))
    return network


def _kind(module: nn.Module) -> tuple[torch.dtype, torch.device]:
    """Dtype and device of its inputs: those of its first weights, or buffers where it has none."""
    for tensors in (module.parameters(), module.buffers()):
        for tensor in tensors:
            if tensor.is_floating_point():
                return tensor.dtype, tensor.device
    return torch.float32, torch.device("cpu")


def _run(module: nn.Module, shape: tuple[int, ...]) -> tuple[Tape, Symbol]:
    """The module run on one symbol: what was recorded, and the result."""
    tape = Tape(int(np.prod(shape)))
    dtype, device = _kind(module)
    ids = torch.from_numpy(tape.inputs.reshape(1, *shape))
    with torch.no_grad(), _names(module) as running:
        try:
            out = module(Symbol(ids, tape, dtype, device))
        except Refusal as refusal:
            where = running[-1] if running else "the module"
            raise Refusal(f"{where} {refusal}") from refusal
        except (RuntimeError, ValueError, IndexError) as error:
            where, words = running[-1] if running else "the module", str(error).split("\n")[0]
            if "tensor subclass" in words:  # numpy() and tolist()
                raise Refusal(f"{where} computes outside of torch, which cannot be read") from error
            raise WrongShape(
                f"{where} fails for an input of shape {shape}: {words}; "
                "give input_shape=(…), the shape of one input without the batch, or mend the layer"
            ) from error
        except Exception as error:
            where = running[-1] if running else "the module"
            raise Refusal(f"{where} cannot be run: {type(error).__name__}: {error}") from error
    if not isinstance(out, Symbol):
        raise Refusal(
            f"the module returns a {type(out).__name__}, not one tensor that depends on its input"
        )
    if (out.ids == UNKNOWN).any():
        raise Refusal("the module returns the position of a maximum; give the part before it")
    if not out.numel():
        raise Refusal(f"the module returns no values: its result has shape {tuple(out.shape)}")
    return tape, out


def _size(module: nn.Module) -> str:
    count = sum(p.numel() for p in module.parameters())
    return f"{type(module).__name__} with {count:,} parameters"


def _likely_sizes(module: nn.Module) -> list[int]:
    """Lengths of an input vector to try, most likely first."""
    grids = (nn.modules.conv._ConvNd, nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AvgPoolNd)
    for name, part in module.named_modules():
        if isinstance(part, (*grids, nn.BatchNorm2d, nn.BatchNorm3d)):
            raise Refusal(
                f"{_named(name, part)} works on a grid whose size no weight tells; "
                "give input_shape=(channels, height, width)"
            )
    linear = [m.in_features for m in module.modules() if isinstance(m, nn.Linear)]
    norms = [m.num_features for m in module.modules() if isinstance(m, nn.BatchNorm1d)]
    others = [size for p in module.parameters() for size in reversed(p.shape)]
    return list(dict.fromkeys([*linear, *norms, *others]))


def check_module(module: Any) -> None:
    """Refuse objects that are no modules, and weights that are not real numbers, with the cure."""
    kind = type(module).__name__
    if isinstance(module, torch.jit.ScriptModule):
        raise Refusal(f"the {kind} is compiled; give the module that it was made from")
    if not isinstance(module, nn.Module):
        raise Refusal(
            f"an object of type {kind} is not a network; give a torch module, its state dict, "
            "or the path of a .safetensors, .onnx or .nnet file"
        )
    if hasattr(module, "_orig_mod"):
        raise Refusal(f"the module is a {kind}, which torch.compile made; give model._orig_mod")
    if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        raise Refusal(f"the module is a {kind}; give model.module")
    for name, tensor in module.named_parameters():
        if fault := fault_of(tensor):
            raise Refusal(f"{name} {fault}")
    for name, part in module.named_modules():
        if ".quantized" in type(part).__module__:
            raise Refusal(
                f"{_named(name, part)} is quantised, which rounds each input of it to few bits; "
                "give the module of floats that it was made from"
            )
        if part.training and (what := _changes(part)):
            raise Refusal(
                f"{_named(name, part)} has {what} in training mode, which changes with each "
                "call; call eval() first"
            )


def _changes(part: nn.Module) -> str | None:
    """What a call in training mode changes."""
    if isinstance(part, nn.modules.batchnorm._BatchNorm):
        return "running statistics"
    hooks = (part, *part._forward_pre_hooks.values())
    if any(type(hook).__name__ in ("SpectralNorm", "_SpectralNorm") for hook in hooks):
        return "spectral_norm"
    return None
