import gzip
import json

import numpy as np
import pytest
import torch

import independent
from depthwright.networks import Builder, Dyadic, ExactNetwork, load
from depthwright.networks.exact.network import from_arrays
from depthwright.networks.inputs import Inputs
from depthwright.refusal import Refusal


def sample():
    rng = np.random.default_rng(0)
    return from_arrays(
        [rng.standard_normal((4, 2)), rng.standard_normal((3, 4))],
        [rng.standard_normal(4), rng.standard_normal(3)],
        inputs=Inputs((-2.5, -3.0), (2.5, 4.0)),
    )


def test_what_is_saved_comes_back(tmp_path):
    network = sample()
    network.save(tmp_path / "n.jsonl.gz")
    back = load(tmp_path / "n.jsonl.gz")
    assert isinstance(back, ExactNetwork)
    assert back.architecture == network.architecture
    assert (back.arithmetic, back.inputs, back.value_bits) == ("float64", network.inputs, None)
    for a, b in zip(network.layers, back.layers, strict=True):
        assert a.expressions() == b.expressions()


@pytest.mark.parametrize("radius", [2.5, 3, None])
def test_files_of_the_first_version_know_cubes(tmp_path, radius):
    path = tmp_path / "n.jsonl.gz"
    sample().save(path)

    def older(header):
        del header["inputs"]
        header.update(version=1, radius=radius)

    rewrite(path, edit(0, older))
    assert load(path).inputs == (None if radius is None else Inputs.cube(2, radius))
    for wrong in (-1, 10**400, float("inf"), True):
        rewrite(path, edit(0, lambda h, wrong=wrong: h.update(radius=wrong)))
        with pytest.raises(Refusal, match=f"radius is {str(wrong)[:20]}"):
            load(path)


def rewrite(path, damage):
    """The file with `damage` applied to its lines."""
    with gzip.open(path, "rt") as file:
        lines = file.read().splitlines()
    damage(lines)
    with gzip.open(path, "wt") as file:
        file.write("\n".join(lines) + "\n")


def test_the_independent_evaluator_agrees(tmp_path):
    network = sample()
    network.save(tmp_path / "n.jsonl.gz")
    x = np.random.default_rng(1).uniform(-2, 2, (5, 2))
    for row, values in zip(x, network.evaluate(torch.from_numpy(x), "exact"), strict=True):
        wanted = independent.evaluate(tmp_path / "n.jsonl.gz", row.tolist())
        assert values.tolist() == [float(v) for v in wanted]


def test_entries_listed_twice_add_up(tmp_path):
    builder = Builder(1)
    network = builder.output([builder.values[0] * (Dyadic(1) - Dyadic(1, 999)) + 5])
    network.save(tmp_path / "n.jsonl.gz")
    back = load(tmp_path / "n.jsonl.gz")
    assert back.architecture.nonzeros == 2
    assert independent.evaluate(tmp_path / "n.jsonl.gz", [-1.0]) == [2**999 + 4]
    assert back.evaluate(torch.tensor([[-1.0]], dtype=torch.float64)).item() == 2.0**999


def edit(line, change):
    """A damage: `change` applied to the JSON of one line."""

    def damage(lines):
        data = json.loads(lines[line])
        change(data)
        lines[line] = json.dumps(data)

    return damage


DAMAGES = {
    "format": (edit(0, lambda h: h.update(format="other")), "not a depthwright-exact file"),
    "version": (edit(0, lambda h: h.update(version=3)), "version 3, this program reads 1 to 2"),
    "version_true": (edit(0, lambda h: h.update(version=True)), "version True, this program"),
    "version_float": (edit(0, lambda h: h.update(version=1.0)), "version 1.0, this program"),
    "wide": (edit(0, lambda h: h.update(layer_sizes=[10**12, 1])), "sum up to 1000000000003"),
    "wide_input": (edit(0, lambda h: h.update(input_dim=10**9, inputs=None)), "sum up to"),
    "input_dim": (edit(0, lambda h: h.update(input_dim=0)), "input_dim is 0"),
    "bool": (edit(0, lambda h: h.update(input_dim=True)), "input_dim is True"),
    "sizes": (edit(0, lambda h: h.update(layer_sizes=[4, -3])), "layer_sizes"),
    "arithmetic": (edit(0, lambda h: h.update(arithmetic="int8")), "arithmetic is 'int8'"),
    "inputs": (edit(0, lambda h: h.update(inputs=2.5)), "inputs is 2.5"),
    "inputs_gone": (edit(0, lambda h: h.pop("inputs")), "inputs is None"),
    "inputs_short": (edit(0, lambda h: h["inputs"].update(lower=[1.0])), "inputs is"),
    "inputs_digits": (edit(0, lambda h: h["inputs"].update(upper=[10**400, 1])), "inputs is"),
    "inputs_nan": (edit(0, lambda h: h["inputs"].update(upper=[float("nan"), 1])), "inputs is"),
    "inputs_swapped": (edit(0, lambda h: h["inputs"].update(lower=[3, 5])), "inputs is"),
    "inputs_numbers": (edit(0, lambda h: h["inputs"].update(numbers="int8")), "inputs is"),
    "inputs_grid": (edit(0, lambda h: h["inputs"].update(grid=0)), "inputs is"),
    "inputs_more": (edit(0, lambda h: h["inputs"].update(more=1)), "inputs is"),
    "digits": (
        lambda lines: lines.__setitem__(
            0, lines[0].replace('"version": 2', f'"version": {"1" * 5000}')
        ),
        "line 1 is not JSON",
    ),
    "not_json": (lambda lines: lines.__setitem__(1, "{oops"), "line 2 is not JSON"),
    "row": (edit(1, lambda d: d["weights"][0].__setitem__(0, 4)), r"not \[row < 4, column < 2"),
    "column": (edit(1, lambda d: d["weights"][0].__setitem__(1, -1)), "column < 2"),
    "short": (edit(1, lambda d: d["weights"][0].pop()), "column < 2"),
    "bias": (edit(2, lambda d: d["biases"][0].__setitem__(0, 3)), r"line 3: .* not \[row < 3"),
    "hex": (edit(1, lambda d: d["weights"][0].__setitem__(2, "0x1g")), "hexadecimal"),
    "code": (edit(1, lambda d: d["weights"][0].__setitem__(2, "__import__('os')")), "hexadecimal"),
    "number": (edit(1, lambda d: d["weights"][0].__setitem__(2, 7)), "7 is not an integer in hex"),
    "zero": (edit(1, lambda d: d["weights"][0].__setitem__(2, "0")), "zeros are left out"),
    "power": (edit(1, lambda d: d["weights"][0].__setitem__(3, 1.5)), "power of two"),
    "huge": (edit(1, lambda d: d["weights"][0].__setitem__(3, 10**15)), "power of two within"),
    "power_limit": (edit(1, lambda d: d["weights"][0].__setitem__(3, 2**26 + 1)), r"within ±2\^26"),
    "cancel": (edit(1, lambda d: d["biases"].extend([[0, "1", 9], [0, "-1", 9]])), None),
    "key": (edit(1, lambda d: d.pop("biases")), "does not hold weights and biases"),
    "missing": (lambda lines: lines.pop(), "ends after 1 of 2 layers"),
    "longer": (lambda lines: lines.append(lines[-1]), "goes on after its 2 layers"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_named(tmp_path, name):
    damage, message = DAMAGES[name]
    path = tmp_path / "n.jsonl.gz"
    sample().save(path)
    rewrite(path, damage)
    if message is None:  # terms that cancel leave the third term standing: nothing is wrong
        assert load(path).architecture == sample().architecture
        return
    with pytest.raises(Refusal, match=message):
        load(path)


@pytest.mark.parametrize("power", [2**26, -(2**26)])
def test_the_largest_powers_can_be_evaluated(tmp_path, power):
    path = tmp_path / "n.jsonl.gz"
    from_arrays([[[1.0]]], [[1.0]]).save(path)
    rewrite(path, edit(1, lambda d: d["weights"][0].__setitem__(3, power)))
    network, x = load(path), torch.ones(1, 1, dtype=torch.float64)
    if power < 0:
        assert network.evaluate(x, "exact").item() == 1.0
    else:
        with pytest.raises(Refusal, match="the largest float64"):
            network.evaluate(x, "exact")


def test_damaged_bytes_are_named(tmp_path):
    path = tmp_path / "n.jsonl.gz"
    sample().save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(Refusal, match="damaged"):
        load(path)
    path.write_bytes(b"plain text")
    with pytest.raises(Refusal, match="damaged"):
        load(path)
    with pytest.raises(Refusal, match="is not there"):
        load(tmp_path / "none.jsonl.gz")
    with pytest.raises(Refusal, match="does not end in"):
        sample().save(tmp_path / "n.txt")


def chain(layers, power):
    """x ↦ (x·2^{power·layers}, x): each layer multiplies the first value, keeps the second."""
    builder = Builder(input_dim=1)
    (x,) = builder.values
    pair = builder.relu([x, x])
    for _ in range(layers):
        pair = builder.relu([pair[0] << power, pair[1]])
    return builder.output([pair[0] - pair[1]])


def test_a_chain_of_large_powers_that_meet_a_small_value_is_refused(tmp_path):
    path = tmp_path / "n.jsonl.gz"
    for power in (2**26, -(2**26)):
        chain(20, power).save(path)
        with pytest.raises(Refusal, match=r"line 23: a value there may need 13421\d* bits"):
            load(path)
    chain(1000, 2**10).save(path)  # a million bits are no trouble
    assert load(path).layers[7].powers == (1024, 0)


def test_a_chain_of_large_powers_that_meet_none_is_read(tmp_path):
    builder = Builder(input_dim=1)
    (x,) = builder.values
    for _ in range(40):
        (x,) = builder.relu([x >> 2**26])
    for _ in range(40):
        (x,) = builder.relu([x << 2**26])
    builder.output([x]).save(tmp_path / "n.jsonl.gz")
    values = load(tmp_path / "n.jsonl.gz").evaluate(torch.tensor([[0.3]], dtype=torch.float64))
    assert values.item() == 0.3
