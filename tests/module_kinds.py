"""Modules of many kinds, small: `READ` name → (module, shape of one input), `REFUSED` name →
(module or other thing, shape, words of the refusal)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, prune


class Functional(nn.Module):
    """ReLUs without modules, and a head that is defined before the body."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 4)
        self.body = nn.Linear(4, 4)

    def forward(self, x):
        assert x.ndim == 2, "shapes may be asked for"
        if x.shape[1] > 3:
            x = F.relu(self.body(x))
        return self.head(x)


class Doubled(nn.Sequential):
    def forward(self, x):
        return 2 * super().forward(x)


class Residual(nn.Module):
    """relu(x + f(x)), in place."""

    def __init__(self, blocks=3):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(4, 6), nn.ReLU(inplace=True), nn.Linear(6, 4))
            for _ in range(blocks)
        )

    def forward(self, x):
        for block in self.blocks:
            kept = x
            out = block(x)
            out += kept
            x = F.relu_(out)
        return x


class Stream(nn.Module):
    """x + f(relu(x)) without a ReLU after the sum: what is carried has both signs."""

    def __init__(self):
        super().__init__()
        self.up = nn.ModuleList(nn.Linear(3, 9) for _ in range(4))
        self.down = nn.ModuleList(nn.Linear(9, 3) for _ in range(4))

    def forward(self, x):
        for up, down in zip(self.up, self.down, strict=True):
            x = x + down(torch.relu(up(x)))
        return x


class Dense(nn.Module):
    """Every layer reads all before it, the input included."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(3 + 4 * k, 4) for k in range(3))

    def forward(self, x):
        for layer in self.layers:
            x = torch.cat([x, F.relu(layer(x))], dim=-1)
        return x


class Views(nn.Module):
    """Reshapes, slices, permutations, writing into slices of a view."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(6, 2)

    def forward(self, x):
        h = self.first(x).view(-1, 2, 4)
        h[:, 1].relu_()
        h[:, 0, 1:3] = h[:, 1, :2] - 1
        a, b = h.transpose(1, 2).reshape(len(x), 8).split([2, 6], dim=1)
        b = torch.flip(b, [1]) + torch.roll(b, 1, 1)
        return self.last(b) + a[:, [1, 0]].unsqueeze(1).squeeze(1)


class Constants(nn.Module):
    """Buffers, numbers and plain parameters."""

    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(3, 5))
        self.register_buffer("mean", torch.randn(3))
        self.register_buffer("spread", torch.tensor([0.5, 3.0, 7.0]))

    def forward(self, x):
        x = (x - self.mean) / self.spread
        h = torch.relu(torch.einsum("bi,ij->bj", x, self.matrix) * 3 + 0.1)
        return 1 - h @ self.matrix.T / 3


class Piecewise(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 6)

    def forward(self, x):
        h = self.linear(x)
        a, b, c = h.chunk(3, dim=1)
        largest = torch.maximum(a, b) + torch.minimum(b, c).abs() + a.clamp(min=-0.25)
        return (
            largest
            + h.amax(1, keepdim=True)
            - h.max(dim=1, keepdim=True).values / 2
            + c.clamp(max=0.5)
        )


class Masked(nn.Module):
    """Constants choose: masks, triangles, patches of an image."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mask", torch.tensor([True, False, True]))
        self.linear = nn.Linear(16, 4)

    def forward(self, x):
        x = torch.where(self.mask, x, -2 * x).masked_fill(~self.mask, 0.25) + torch.tril(x)
        return self.linear(F.unfold(x[:, None], 2, padding=1)[:, :, 3:7].flatten(1))


class Gone(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 4)

    def forward(self, x):
        h = F.relu(self.first(x))
        return F.relu(self.second(h)) + (h - h)


class CancelledStream(nn.Module):
    """Zeros that meet values of a later layer."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 2, 2, padding=1, groups=2), nn.Conv2d(2, 2, 1)

    def forward(self, x):
        x = x - x.amin(1, keepdim=True)
        x = torch.cat([x, F.relu(self.second(x.repeat(1, 2, 1, 1))[:, :1])], dim=1)
        return torch.relu(self.first(x))


class Cancelled(nn.Module):
    """x − x, means of single values, rows of a window that lie in the padding alone."""

    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv2d(1, 2, 2, padding=1), nn.Linear(32, 2)

    def forward(self, x):
        x = torch.cat([x, F.relu(x - x.amin(1, keepdim=True))], dim=1)
        x = x - x.mean(1, keepdim=True) + F.relu(x)
        h = F.relu(self.conv(x[:, :1] - x[:, :1].amax(1, keepdim=True)))
        h = torch.cat([h, self.conv(F.relu(x[:, :1]) - x[:, :1])], dim=1)[:, :, :2]
        return self.last(
            F.relu(F.pad(h, (0, 0, 1, 1)) - h.mean((1, 2, 3), keepdim=True)).flatten(1)[:, :32]
        )


class Adapter(nn.Module):
    """A frozen layer with a low-rank change."""

    def __init__(self):
        super().__init__()
        self.layer, self.out = nn.Linear(6, 6), nn.Linear(6, 2)
        self.down, self.up = nn.Linear(6, 2, bias=False), nn.Linear(2, 6, bias=False)

    def forward(self, x):
        return self.out(torch.relu(self.layer(x) + self.up(self.down(x)) * 0.5))


class Digits(nn.Module):
    """What tutorials show."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 4, 3)
        self.fc1, self.fc2 = nn.Linear(16, 8), nn.Linear(8, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.avg_pool2d(F.relu(self.conv2(x)), 1)
        x = F.dropout(torch.flatten(x, 1), training=self.training)
        return self.fc2(F.relu(self.fc1(x)))


class ResidualBlock(nn.Module):
    """As in a ResNet, with a projection."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(2, 3, 3, 2, 1, bias=False), nn.BatchNorm2d(3)
        self.conv2, self.bn2 = nn.Conv2d(3, 3, 3, 1, 1, bias=False), nn.BatchNorm2d(3)
        self.short = nn.Sequential(nn.Conv2d(2, 3, 1, 2, bias=False), nn.BatchNorm2d(3))
        self.fc = nn.Linear(3, 2)

    def forward(self, x):
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        h = F.relu(h + self.short(x))
        return self.fc(h.mean(dim=(2, 3)))


def shared():
    layer, relu = nn.Linear(3, 3), nn.ReLU()
    return nn.Sequential(layer, relu, nn.Sequential(layer, relu), nn.Linear(3, 1))


def hooked():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    net[0].register_forward_hook(lambda module, given, out: out * 2)
    net[2].register_forward_pre_hook(lambda module, given: (given[0] + 1,))
    return net


class Overridden:
    """A `forward` of the instance; copies take their own."""

    @staticmethod
    def make():
        net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
        plain = net.forward
        net.forward = lambda x: 2 * plain(x)
        return net


def pruned():
    layer = nn.Linear(4, 5)
    prune.l1_unstructured(layer, "weight", amount=0.5)
    return nn.Sequential(layer, nn.ReLU(), nn.Linear(5, 2))


def between(part, before=4, after=4):
    return nn.Sequential(nn.Linear(3, before), part, nn.Linear(after, 2))


def doubled(make):
    """Provenance in float64, where the weight that torch makes from others is one of float64."""

    def made():
        torch.set_default_dtype(torch.float64)
        try:
            return make()
        finally:
            torch.set_default_dtype(torch.float32)

    return made


READ = {
    "Linear": (lambda: nn.Linear(3, 2), None),
    "Linear without bias": (lambda: nn.Linear(3, 2, bias=False), None),
    "Linear, ReLU, Linear": (lambda: between(nn.ReLU()), None),
    "nested Sequentials": (
        lambda: nn.Sequential(nn.Sequential(nn.Linear(3, 4), nn.ReLU()), nn.Linear(4, 2)),
        None,
    ),
    "a subclass of Sequential": (
        lambda: Doubled(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)),
        None,
    ),
    "functional relu, head defined first": (Functional, None),
    "ReLU first and last": (lambda: nn.Sequential(nn.ReLU(), nn.Linear(3, 3), nn.ReLU()), None),
    "two Linears in a row": (lambda: between(nn.Linear(4, 4)), None),
    "a layer used twice": (shared, None),
    "Flatten, Identity, Dropout": (
        lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(6, 4), nn.Identity(), nn.ReLU(), nn.Dropout(), nn.Linear(4, 2)
        ),
        (2, 3),
    ),
    "BatchNorm1d": (lambda: between(nn.Sequential(nn.BatchNorm1d(4), nn.ReLU())), None),
    "Conv2d, BatchNorm2d": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten()),
        (1, 4, 5),
    ),
    "weight_norm": (
        doubled(lambda: between(parametrizations.weight_norm(nn.Linear(4, 4)))),
        None,
    ),
    "weight_norm, old": (
        doubled(lambda: between(nn.utils.weight_norm(nn.Linear(4, 4)))),
        None,
    ),
    "spectral_norm": (
        doubled(lambda: between(parametrizations.spectral_norm(nn.Linear(4, 4)))),
        None,
    ),
    "spectral_norm, old": (
        doubled(lambda: between(nn.utils.spectral_norm(nn.Linear(4, 4)))),
        None,
    ),
    "pruned": (pruned, None),
    "LeakyReLU": (lambda: between(nn.LeakyReLU(0.1)), None),
    "PReLU": (lambda: between(nn.PReLU(4)), None),
    "RReLU": (lambda: between(nn.RReLU()), None),
    "ReLU6": (lambda: between(nn.ReLU6()), None),
    "Hardtanh": (lambda: between(nn.Hardtanh(-0.25, 0.5)), None),
    "Hardsigmoid": (lambda: between(nn.Hardsigmoid()), None),
    "max, min, abs, clamp": (Piecewise, None),
    "MaxPool1d": (lambda: nn.Sequential(nn.Conv1d(2, 3, 2), nn.MaxPool1d(3, 2)), (2, 8)),
    "MaxPool1d, no window in the border alone": (
        lambda: nn.Sequential(nn.Conv1d(1, 1, 1), nn.MaxPool1d(2, 3, 1, ceil_mode=True)),
        (1, 4),
    ),
    "MaxPool2d, overlapping, padded": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1)),
        (1, 6, 6),
    ),
    "MaxPool2d, ceil_mode, dilated": (
        lambda: nn.Sequential(nn.MaxPool2d(2, 2, 1, 2, ceil_mode=True), nn.Conv2d(1, 1, 2)),
        (1, 7, 6),
    ),
    "AvgPool2d, ceil_mode, padded": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 2), nn.AvgPool2d(3, 2, 1, ceil_mode=True)),
        (1, 7, 6),
    ),
    "AdaptiveAvgPool2d": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.AdaptiveAvgPool2d((2, 3))),
        (1, 6, 6),
    ),
    "AdaptiveMaxPool1d": (
        lambda: nn.Sequential(nn.Conv1d(1, 2, 2), nn.AdaptiveMaxPool1d(2)),
        (1, 6),
    ),
    "Conv1d, same, dilated": (
        lambda: nn.Sequential(nn.Conv1d(2, 3, 3, padding="same", dilation=2), nn.ReLU()),
        (2, 6),
    ),
    "Conv2d, strided, grouped": (
        lambda: nn.Sequential(nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), groups=2), nn.ReLU()),
        (4, 5, 4),
    ),
    "Conv2d, reflected border": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect"), nn.ReLU()),
        (1, 4, 4),
    ),
    "ConvTranspose2d": (
        lambda: nn.Sequential(nn.ConvTranspose2d(2, 4, 3, 2, 1, 1, groups=2), nn.ReLU()),
        (2, 3, 3),
    ),
    "Conv3d": (lambda: nn.Sequential(nn.Conv3d(1, 2, 2), nn.ReLU()), (1, 3, 3, 3)),
    "Upsample, PixelShuffle, padding": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 2),
            nn.PixelShuffle(2),
            nn.Upsample(scale_factor=2),
            nn.ConstantPad2d((1, 0, 0, 1), 0.3),
            nn.Conv2d(1, 1, 3, 3),
            nn.ReLU(),
        ),
        (1, 3, 3),
    ),
    "residual, ReLU after the sum": (Residual, None),
    "residual, no ReLU after the sum": (Stream, None),
    "residual block of a ResNet": (ResidualBlock, (2, 5, 5)),
    "concatenations": (Dense, None),
    "views, slices, in place": (Views, None),
    "constants and plain parameters": (Constants, None),
    "masks, triangles, patches": (Masked, (3, 3)),
    "terms that cancel": (Cancelled, (1, 3, 3)),
    "an output that cancels": (Gone, None),
    "terms that cancel beside a residual": (CancelledStream, (1, 3, 3)),
    "Softshrink": (lambda: between(nn.Softshrink(0.3)), None),
    "low-rank adapter": (Adapter, None),
    "hooks": (hooked, None),
    "an overridden forward": (Overridden.make, None),
    "convolutional network": (Digits, (1, 8, 8)),
}


class Flow(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x):
        h = self.linear(x)
        return h if h.sum() > 0 else -h


class Jump(Flow):
    def forward(self, x):
        h = self.linear(x)
        return torch.where(h > 0, h, torch.ones_like(h))


class Gate(Flow):
    def forward(self, x):
        return self.linear(x) * torch.relu(self.linear(x))


class Centred(Flow):
    def forward(self, x):
        return self.linear(x - x.mean(0))


class CentredAlone(nn.Module):
    """No parameter tells in which dtype it computes."""

    def forward(self, x):
        return x - x.mean(0)


class CentredBuffer(CentredAlone):
    def __init__(self):
        super().__init__()
        self.register_buffer("matrix", torch.randn(3, 2))

    def forward(self, x):
        return super().forward(x) @ self.matrix


class Noise(nn.Module):
    """In two dtypes."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(3, 3), nn.Linear(3, 2).double()

    def forward(self, x):
        return self.last(self.first(x).double()) + torch.randn(2)


class Autocast(Flow):
    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.linear(x)


class Some(Flow):
    """Reads three inputs of however many."""

    def forward(self, x):
        return self.linear(x[:, :3])


class Nothing(Flow):
    def forward(self, x):
        return self.linear(x)[:, :0]


class Outside(Flow):
    def forward(self, x):
        return torch.from_numpy(self.linear(x).detach().numpy())


class Reshaped(Flow):
    def forward(self, x):
        return self.linear(x).unsqueeze_(1)


class Position(Flow):
    def forward(self, x):
        return self.linear(x).max(dim=1).indices


class Complex(Flow):
    """A buffer, of which no parameter tells."""

    def __init__(self):
        super().__init__()
        self.register_buffer("phase", torch.tensor([1j, 1.0, -1j]))

    def forward(self, x):
        return (self.linear(x) * self.phase).real


class Pair(Flow):
    def forward(self, x):
        return self.linear(x), x


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attend = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        return self.attend(x, x, x)[0]


class Compiled(nn.Module):
    """What torch.compile returns, without its start of seconds."""

    def __init__(self):
        super().__init__()
        self._orig_mod = nn.Linear(2, 2)


def training(module):
    return module.train()


def frozen(weight):
    layer = nn.Linear(2, 2)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    return nn.Sequential(layer)


def without_entries():
    return nn.Sequential(nn.utils.skip_init(nn.Linear, 3, 0), nn.ReLU())


def quantised():
    """Linear layers of int8."""
    return torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(3, 4), nn.ReLU()))


REFUSED = {
    "Tanh": (lambda: between(nn.Tanh()), None, r"layer 1 \(Tanh\) computes tanh"),
    "Sigmoid": (lambda: between(nn.Sigmoid()), None, r"layer 1 \(Sigmoid\) computes sigmoid"),
    "GELU": (lambda: between(nn.GELU()), None, r"layer 1 \(GELU\) computes gelu"),
    "Softmax": (lambda: between(nn.Softmax(1)), None, "give the part before the softmax"),
    "LogSoftmax": (lambda: between(nn.LogSoftmax(1)), None, "give the part before the softmax"),
    "attention": (Attention, (3, 4), r"layer attend \(MultiheadAttention\) .*attention"),
    "LSTM": (lambda: nn.LSTM(2, 2), (3, 2), r"the module \(LSTM\) computes"),
    "LayerNorm": (lambda: between(nn.LayerNorm(4)), None, "its factor depends on the input"),
    "GroupNorm": (lambda: between(nn.GroupNorm(2, 4)), None, "its factor depends on the input"),
    "Embedding": (lambda: nn.Embedding(4, 2), (2,), r"the module \(Embedding\)"),
    "flow": (Flow, None, r"computes gt.*its course depends on values"),
    "jump": (Jump, None, r"computes gt.*it may jump"),
    "gate": (Gate, None, "multiplies two values of the network"),
    "values of other inputs": (Centred, None, "depend on the others"),
    "a layer that reads other inputs": (
        lambda: nn.Sequential(nn.Linear(3, 3), nn.ReLU(), Centred()), None,
        r"layer 2 \(Centred\).* depend on the others.*; give "),
    "a layer with noise": (
        lambda: nn.Sequential(nn.Linear(3, 3), nn.ReLU(), Noise()), None,
        r"layer 2 \(Noise\).* change from call to call; .*eval"),
    "a layer in bfloat16": (
        lambda: nn.Sequential(Autocast(), nn.ReLU()), None,
        r"layer 0\.?\w* \(\w+\).*bfloat16, .*rounded to fewer bits .*; .*autocast"),
    "quantised": (
        quantised, None,
        r"layer 0 \(Linear\) is quantised.*; give the module of floats"),
    "a module without weights": (nn.Identity, None, r"weights of the module \(Identity\)"),
    "values of other inputs, no weights": (CentredAlone, (3,), "depend on the others"),
    "values of other inputs, a buffer": (CentredBuffer, (3,), "depend on the others"),
    "noise in two dtypes": (Noise, (3,), "change from call to call"),
    "autocast": (Autocast, None, "rounded to fewer bits than its weights have"),
    "any number of inputs": (Some, None, "do not tell the number of its inputs.*input_shape"),
    "no values": (Nothing, None, r"returns no values: its result has shape \(1, 0\)"),
    "numpy": (Outside, None, "computes outside of torch"),
    "a shape changed in place": (Reshaped, None, r"in place \(unsqueeze_\); use unsqueeze"),
    "a transformer": (
        lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), (3, 4),
        r"attention multiplies|multiplies two values"),
    "position of a maximum": (Position, None, "position of a maximum"),
    "a complex buffer": (Complex, None, "complex numbers"),
    "two results": (Pair, None, "returns a tuple"),
    "Dropout in training": (
        lambda: training(between(nn.Dropout())), None, r"layer 1 \(Dropout\).*eval\(\)"),
    "BatchNorm in training": (
        lambda: training(between(nn.BatchNorm1d(4))), None, r"layer 1 \(BatchNorm1d\).*eval\(\)"),
    "spectral_norm in training": (
        lambda: training(between(parametrizations.spectral_norm(nn.Linear(4, 4)))), None,
        r"spectral_norm in training mode.*eval\(\)"),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(3)), None, "0.weight .*run one batch through"),
    "compiled": (Compiled, None, "give model._orig_mod"),
    "DataParallel": (lambda: nn.DataParallel(nn.Linear(2, 2)), None, "give model.module"),
    "scripted": (lambda: torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), None, "made from"),
    "convolution of unknown size": (lambda: nn.Conv2d(1, 1, 2), None, "give input_shape"),
    "wrong shape": (lambda: nn.Conv2d(2, 1, 2), (1, 3, 3), "give input_shape"),
    "no parameters": (nn.ReLU, None, "give input_shape"),
    "too large": (
        lambda: nn.Conv2d(64, 256, 3, padding=1), (64, 64, 64),
        r"\(Conv2d\) needs a matrix of 603,979,776 entries"),
    "complex": (lambda: frozen(torch.zeros(2, 2) * 1j), None, "0.weight is complex64"),
    "integers": (
        lambda: frozen(torch.ones(2, 2, dtype=torch.int64)), None, "0.weight is int64"),
    "sparse": (lambda: frozen(torch.eye(2).to_sparse()), None, r"0.weight is sparse.*to_dense"),
    "meta": (
        lambda: nn.Sequential(nn.Linear(2, 2, device="meta")), None, "lies on the meta device"),
    "empty": (without_entries, None, r"0.weight has shape \(0, 3\)"),
    "not finite": (lambda: frozen(torch.full((2, 2), torch.inf)), None, "needs finite weights"),
    "no module": (lambda: 5, None, "type int is not a network"),
}  # fmt: skip
