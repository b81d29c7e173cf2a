"""Your network, its narrow twin: train on digits, build the twin, watch it decode its numbers.

depthwright explore your_network_its_twin
python experiments/notebooks/your_network_its_twin.py
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(
    width="full", app_title="Your network, its narrow twin", html_head_file="head.html"
)

with app.setup:
    from fractions import Fraction
    from itertools import pairwise

    import marimo as mo
    import numpy as np
    import torch

    import depthwright as dw
    from depthwright.figures.chart import Panel, Series
    from depthwright.figures.interactive import widget
    from depthwright.networks.exact.integers import affine, input_slots
    from depthwright.networks.upper import at_most

    # Images whose labels are compared; the training of part 4; and a network has collapsed where
    # its output varies by less than this share of the target's deviation.
    SHOWN = 100
    STEPS, RATE, SEEDS = 200, 1e-2, 8
    COLLAPSED = 0.01


@app.cell(hide_code=True)
def _():
    mo.md("""
    # Your network, its narrow twin

    VYS22: every wide ReLU network has a narrow, deep twin. Here one is trained, its twin is built
    and evaluated exactly, and then one small twin is opened to see how four neurons a layer do it.

    ## 1. Train on handwritten digits
    """)
    return


@app.cell(hide_code=True)
def _():
    hidden = mo.ui.slider(steps=[4, 8, 16, 32], value=16, label="hidden neurons", show_value=True)
    accuracy = mo.ui.slider(
        steps=[1.0, 0.3, 0.1, 0.03, 0.01], value=0.1, label="accuracy ε of a logit", show_value=True
    )
    mo.hstack([hidden, accuracy], justify="start", gap=2, wrap=True)
    return accuracy, hidden


@app.function
def digits():
    """Images (1797, 64), pixels k/16, and their classes."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return torch.from_numpy(data.data / 16).float(), torch.from_numpy(data.target)


@app.function
def trained(images, classes, hidden):
    """A perceptron 64 → hidden → 10, trained on the first 1,500 images."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(64, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 10)
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=3 * RATE)
    for _ in range(STEPS):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(images[:1500]), classes[:1500]).backward()
        optimiser.step()
    return model.eval()


@app.cell(hide_code=True)
def _(hidden):
    images, classes = digits()
    model = trained(images, classes, hidden.value)
    with torch.no_grad():
        right = float((model(images[1500:]).argmax(1) == classes[1500:]).double().mean())
    mo.md(f"A network 64 → {hidden.value} → 10 gets **{right:.1%}** of 297 held-out digits right.")
    return images, model, right


@app.cell(hide_code=True)
def _(accuracy, images, model):
    wide = dw.targets.Network(model, lower=0, upper=1)
    twin = dw.constructions.NarrowPacked(wide, accuracy=accuracy.value, grid=1 / 16).build()
    some = images[1500 : 1500 + SHOWN].double()
    theirs, ours = wide.truth(some), twin.network.evaluate(some)
    same = int((theirs.argmax(1) == ours.argmax(1)).sum())
    decided = int(twin.decides(some).sum())
    gap = float((theirs - ours).abs().max())
    size, own = twin.network.architecture, sum(p.numel() for p in model.parameters())
    mo.md(f"""
    ## 2. Its twin

    | | your network | its twin |
    |---|--:|--:|
    | inputs | 64 | 64 |
    | largest hidden layer | {model[0].out_features} | {max(size.widths[1:])} |
    | depth | 2 | {size.depth:,} |
    | parameters | {own:,} | {size.parameters:,} |

    Promised for every image that can be drawn: no logit differs by more than
    **{at_most(twin.claim.bound, 3)}**. Found at {SHOWN} held-out images, evaluated without
    rounding: **{gap:.2g}**. Labels that are the same: **{same} of {SHOWN}**; the promise
    alone decides {decided} of them, before anything is evaluated.
    """)
    return decided, gap, same, size, twin


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## 3. One twin, opened

    A network 1 → 2 → 3 → 1, and its twin with four neurons a layer. First it **reads** x bit by
    bit. Then the two first neurons are computed one after the other, and each adds its multiples
    to one **long number**, which holds the three next pre-activations side by side, each in a
    *field* of its own. Then two *tents* a layer drop digit after digit from the front: the field
    there is **decoded**, and what its neuron adds to the output is added in the **lowest digits**,
    far behind the fields that are still to be read.
    """)
    return


@app.cell(hide_code=True)
def _():
    x = mo.ui.slider(-1, 1, 1 / 64, value=0.40625, label="input x", show_value=True)
    mo.hstack([x], justify="start")
    return (x,)


@app.cell(hide_code=True)
def _():
    target, recipe, opened = small()
    return opened, recipe, target


@app.function
def small():
    """A target that goes down and up and down, its twin's recipe, and the twin."""
    model = torch.nn.Sequential(
        *(torch.nn.Linear(1, 2), torch.nn.ReLU()),
        *(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1)),
    )
    state = {
        "0.weight": [[-1.0], [1.0]],
        "0.bias": [0.0, 0.0],
        "2.weight": [[2.0, 2.0], [4.0, 4.0], [1.0, 0.5]],
        "2.bias": [0.0, -2.0, -0.25],
        "4.weight": [[1.0, -1.0, 0.5]],
        "4.bias": [0.0],
    }
    model.load_state_dict({name: torch.tensor(value) for name, value in state.items()})
    wide = dw.targets.Network(model, lower=-1, upper=1)
    recipe = dw.constructions.NarrowPacked(wide, accuracy=0.2)
    return wide, recipe, recipe.build()


@app.function
def values_of(network, at):
    """The exact values of all neurons, layer by layer, for one input."""
    slots = input_slots(np.array([[at]]))
    found = []
    for number, layer in enumerate(network.layers, 1):
        slots = affine(layer, slots, 1, relu=number < len(network.layers))
        found.append([Fraction(int(values[0])) * Fraction(2) ** power for values, power in slots])
    return found


@app.function
def digits_of(value, count):
    """The binary digits of a number in [0, 1) behind the point."""
    whole = int(value * 2**count)
    return format(whole, f"0{count}b")


@app.function
def long_numbers(recipe, network, at):
    """(layer, what happens, number) for every layer that carries digits.

    A layer that decodes has the two tents a = σ(2r) and b = σ(4r − 2) of the long number r.
    """
    bits, packing = recipe.sizing.bits.c, recipe.scaled.widths[1]
    found = []
    for number, values in enumerate(values_of(network, at)[:-1], 1):
        if number <= bits:
            found.append((number, "read", values[-1]))
        elif number > bits + packing:
            found.append((number, "decode", values[0] / 2))
    return found


@app.function
def drawn_digits(numbers):
    """The long numbers as rows of binary digits, the ones dark."""
    lengths = [r.denominator.bit_length() - 1 for _, _, r in numbers if 0 <= r < 1]
    count = min(max(lengths, default=1), 112)
    lines = []
    for number, what, r in numbers:
        bits = digits_of(r, count) if 0 <= r < 1 else "·" * count
        cells = "".join(
            f'<span style="background:{"#0b6e99" if bit == "1" else "#e8eef1"};color:'
            f'{"#fff" if bit == "1" else "#889"}">{bit}</span>'
            for bit in bits
        )
        lines.append(f"{number:>4} {what:<7}0.{cells}")
    return (
        '<div style="overflow-x:auto"><pre style="line-height:1.25;font-size:.72rem">'
        + "\n".join(lines)
        + "</pre></div>"
    )


@app.cell(hide_code=True)
def _(opened, recipe, target, x):
    numbers = long_numbers(recipe, opened.network, x.value)
    point = torch.tensor([[x.value]], dtype=torch.float64)
    wanted, got = float(target(point)), float(opened.network.evaluate(point))
    mo.vstack(
        [
            mo.md(
                f"f({x.value:g}) = {wanted:.5g}; the twin says **{got:.5g}** "
                f"(promised: within {at_most(opened.claim.bound, 3)}). Its width is "
                f"{opened.network.architecture.width}, its depth "
                f"{opened.network.architecture.depth}."
            ),
            mo.Html(drawn_digits(numbers)),
        ]
    )
    return got, numbers, wanted


@app.cell(hide_code=True)
def _():
    _at = np.linspace(0, 1, 101)
    _a, _b = np.maximum(2 * _at, 0), np.maximum(4 * _at - 2, 0)
    _lines = [("a = σ(2r)", _a, "#e09f3e"), ("b = σ(4r − 2)", _b, "#c8553d")]
    _lines.append(("a − b: r without its first digit", _a - _b, "constructed"))
    tents = Panel(
        "r",
        "value",
        tuple(Series(n, tuple(_at), tuple(y.tolist()), "line", c) for n, y, c in _lines),
    )
    mo.vstack(
        [mo.md("The two neurons of a tent, and what they make of r:"), mo.ui.plotly(widget(tents))]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## 4. Train networks of the twin's own shape

    The twin exists, so networks of its shape can do this. Does training find one? Eight networks
    of width 4 for each depth, started at random, trained on the same function. One has *collapsed*
    where its output is a constant: some layer's neurons are all zero, and nothing gets through.
    """)
    return


@app.function
def collapse(target, width, depth, steps=STEPS, seeds=SEEDS):
    """All seeds at once: relative errors (seeds,), and which of them have become a constant."""
    generator = torch.Generator().manual_seed(0)
    sizes = [1, *[width] * (depth - 1), 1]
    layers = []
    for fan_in, fan_out in pairwise(sizes):
        weight = torch.randn(seeds, fan_in, fan_out, generator=generator) * (2 / fan_in) ** 0.5
        layers.append((weight.requires_grad_(), torch.zeros(seeds, 1, fan_out, requires_grad=True)))
    x = torch.linspace(-1, 1, 129)[:, None]
    y = target(x.double()).float()
    deviation = float(y.std())

    def values():
        z = x.expand(seeds, -1, -1)
        for weight, bias in layers[:-1]:
            z = torch.relu(torch.baddbmm(bias, z, weight))
        return torch.baddbmm(layers[-1][1], z, layers[-1][0])

    optimiser = torch.optim.Adam([p for layer in layers for p in layer], lr=RATE)
    for _ in range(steps):
        optimiser.zero_grad()
        ((values() - y) ** 2).mean(dim=(1, 2)).sum().backward()
        optimiser.step()
    with torch.no_grad():
        last = values()
    errors = ((last - y) ** 2).mean(dim=(1, 2)).sqrt() / deviation
    return errors.tolist(), (last.std(dim=1)[:, 0] < COLLAPSED * deviation).tolist()


@app.cell(hide_code=True)
def _(opened, target):
    depths = sorted({2, 4, 8, 16, opened.network.architecture.depth})
    outcomes = {depth: collapse(target, 4, depth) for depth in depths}
    _rows = "\n".join(
        f"| {depth} | {min(errors):.2g} | {sum(gone)} of {SEEDS} |"
        for depth, (errors, gone) in outcomes.items()
    )
    mo.md(f"""
| depth | best error, over the target's deviation | collapsed |
|--:|--:|--:|
{_rows}

The twin, of depth {opened.network.architecture.depth}, is within
{at_most(opened.claim.bound, 2)} of the target everywhere.
    """)
    return (outcomes,)


@app.cell(hide_code=True)
def _(decided, gap, got, numbers, outcomes, right, same, size, twin, wanted):
    if mo.app_meta().mode == "script":
        print(f"trained: {right:.1%} of the held-out digits")
        print(f"twin: {size}, promised {at_most(twin.claim.bound, 3)}, found {gap:.2g}")
        print(f"labels: {same} of {SHOWN} the same, {decided} decided by the promise")
        print(f"opened: {len(numbers)} long numbers, f = {wanted:.5g}, twin {got:.5g}")
        for _depth, (_errors, _gone) in outcomes.items():
            print(f"depth {_depth}: best {min(_errors):.2g}, {sum(_gone)} of {SEEDS} collapsed")
    return


if __name__ == "__main__":
    app.run()
