"""Safetensors files that somebody else may have written, and what a network's own look like."""

import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
import torch

from depthwright.networks import load
from depthwright.networks.reading import read
from depthwright.networks.ridge import RidgeGroup, RidgeNetwork
from depthwright.networks.styled_network import StyledNetwork
from depthwright.networks.torch_network import ModuleNetwork
from depthwright.refusal import Refusal


def maps(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [
        (
            torch.randn(b, a, generator=generator, dtype=dtype),
            torch.randn(b, generator=generator, dtype=dtype),
        )
        for a, b in ((2, 3), (3, 3), (3, 1))
    ]


def ridge():
    values = np.array([[0.6, 0.8], [1.0, 0.0]])
    group = RidgeGroup(
        np.array([[0, 1], [1, 2]]), values, np.array([1.5, -2]), np.array([0, 0.5]), np.ones(2)
    )
    return RidgeNetwork(3, [group, group], 0.25)


NETWORKS = {
    "module": lambda: ModuleNetwork.of(maps()),
    "styled": lambda: StyledNetwork(maps(), "residual"),
    "ridge": ridge,
}


def saved(tmp_path, name):
    path = tmp_path / f"{name}.safetensors"
    NETWORKS[name]().save(path)
    return path


def edit(path, change):
    """`change` applied to the header, the tensors' bytes after it left alone."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])


def say(**words):
    return lambda header: header["__metadata__"].update(words)


def typed(tensor, dtype, shape=None):
    """A tensor of another dtype, or shape, on the same bytes."""

    def change(header):
        header[tensor]["dtype"] = dtype
        if shape is not None:
            header[tensor]["shape"] = shape

    return change


DEEP = "[" * 3000 + "]" * 3000
DAMAGES = [
    ("module", say(widths=DEEP), "lacks the widths"),
    ("module", say(widths="9" * 4000), "lacks the widths"),
    ("module", say(widths="[2, 3, 3, " + "9" * 4000 + "]"), "says widths"),
    ("module", say(widths="[2, 3, 3, " + "9" * 5000 + "]"), "lacks the widths"),
    ("module", say(widths="null"), "lacks the widths"),
    ("module", say(widths='{"0": 2}'), "lacks the widths"),
    ("module", say(widths="[2, -3, 3, 1]"), "lacks the widths"),
    ("module", say(widths="[2, 3.0, 3, 1]"), "lacks the widths"),
    ("module", say(widths="[2, true, 3, 1]"), "lacks the widths"),
    ("module", say(widths="[]"), "lacks the widths"),
    ("module", say(widths=str([1] * 10**6)), "lacks the tensor 6.weight"),
    ("module", typed("2.bias", "I64"), "float64 and int64"),
    ("module", typed("2.bias", "F4", [48]), "is damaged"),
    ("module", typed("2.bias", "C64"), "complex64"),
    ("module", typed("2.bias", "F64", [1, 3]), "says widths"),
    ("module", typed("2.bias", "F32", [6]), "says widths"),
    ("module", typed("2.bias", "F64", [2**62, 2**62]), "is damaged"),
    ("styled", say(style="9" * 4000), "is unknown"),
    ("ridge", say(offset="nan"), "offset that is not finite"),
    ("ridge", say(offset="-inf"), "offset that is not finite"),
    ("ridge", say(offset="0x1p9999"), "cannot be read"),
    ("ridge", say(groups="0"), "other arrays"),
    ("ridge", say(groups="-1"), "other arrays"),
    ("ridge", say(groups="1"), "other arrays"),
    ("ridge", say(groups="9" * 4000), "other arrays"),
    ("ridge", say(groups="9" * 5000), "cannot be read"),
    ("ridge", say(input_dim="0"), "input_dim=0"),
    ("ridge", say(input_dim="-3"), "input_dim=-3"),
    ("ridge", say(input_dim="2"), "coordinates outside"),
    ("ridge", say(input_dim="1000000000000"), "a network of 28 entries does not have"),
    ("ridge", say(arithmetic="f" * 4000), "which is unknown"),
    ("ridge", typed("0.indices", "F64"), "which no ridge network has"),
    ("ridge", typed("0.weights", "I64"), "which no ridge network has"),
    ("ridge", typed("0.weights", "BF16", [8]), "is damaged|do not fit together"),
    ("ridge", typed("0.kinks", "F64", [1, 2]), "do not fit together"),
    ("ridge", typed("0.values", "F64", [4]), "do not fit together"),
    ("ridge", typed("0.values", "F64", [4, 1]), "do not fit together"),
]


@pytest.mark.parametrize(("name", "change", "words"), DAMAGES)
def test_what_is_damaged_is_refused_in_a_sentence(tmp_path, name, change, words):
    path = saved(tmp_path, name)
    edit(path, change)
    with pytest.raises(Refusal, match=words) as refusal:
        load(path)
    assert len(str(refusal.value)) < 1000


@pytest.mark.parametrize("kinks", [[0.5, 0.0], [0.5, 0.5], [-0.5, 0.5], [0.5, 1.5]])
def test_kinks_that_do_not_increase_are_refused(tmp_path, kinks):
    group = ridge().groups[0]
    changed = RidgeGroup(group.indices, group.values, group.weights, np.array(kinks), group.turns)
    RidgeNetwork(3, [changed], 0.0).save(tmp_path / "a.safetensors")
    with pytest.raises(Refusal, match="do not increase from 0 to 1"):
        load(tmp_path / "a.safetensors")


def test_groups_without_directions_are_refused(tmp_path):
    nothing = np.zeros((0, 2))
    empty = RidgeGroup(nothing.astype(int), nothing, np.zeros(0), np.array([0.5]), np.ones(1))
    RidgeNetwork(3, [*ridge().groups, empty], 0.0).save(tmp_path / "a.safetensors")
    with pytest.raises(Refusal, match="do not fit together"):
        load(tmp_path / "a.safetensors")


@pytest.mark.parametrize("name", NETWORKS)
def test_equal_networks_give_equal_bytes(tmp_path, name):
    """The library's own order is another one each time."""
    files = set()
    for number in range(12):
        path = tmp_path / f"{number}.safetensors"
        NETWORKS[name]().save(path)
        files.add(path.read_bytes())
    assert len(files) == 1


@pytest.mark.skipif(os.name != "posix", reason="files have modes there")
@pytest.mark.parametrize("mask", [0o022, 0o077])
@pytest.mark.parametrize("suffix", [".safetensors", ".jsonl.gz", ".onnx"])
def test_who_may_read_a_network_is_what_the_umask_says(tmp_path, mask, suffix):
    network = ModuleNetwork.of(maps())
    old = os.umask(mask)
    try:
        path = Path(tmp_path / f"n{suffix}")
        (network.to_exact() if suffix == ".jsonl.gz" else network).save(path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


def test_state_dicts_name_their_layers_at_any_length():
    """In time that grows with the names alone, and no number in them is too long."""
    eye = torch.eye(2)
    long = "1." * 50_000
    with pytest.raises(Refusal, match="do not fix the order"):
        read({f"{long}a.weight": eye, f"{long}b.weight": eye})
    with pytest.raises(Refusal, match="do not fix the order"):
        read({f"{'9' * 5000}.weight": eye, f"{'8' * 5000}.weight": eye})
    assert read({"net.0.2.weight": 2 * eye, "net.0.0.weight": eye}).weights[1][0, 0] == 2
