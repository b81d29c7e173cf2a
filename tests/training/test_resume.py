"""A training that is killed and started again ends with the same numbers, to the bit."""

import json
import os
import pwd
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from pickle import dumps, loads

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from depthwright import Refusal
from depthwright.distributions import UniformCube, UniformRadius
from depthwright.targets import Cone, Network
from depthwright.training import RivalTraining, TrainerConfig, TrainingConfig, train_rivals

TARGET, LAW = Cone(3), UniformRadius(3)
SHAPES = {"same": [(3, 12, 1)], "best": [(3, 12, 1), (3, 5, 5, 1)]}
CONFIG = {
    "steps": 90,
    "batch_size": 32,
    "learning_rates": [1e-3, 1e-2, 1e6],
    "validation_points": 500,
    "chunk_steps": 10,
    "halving": 2,
    "checkpoint_seconds": 0.0,
}


class Killed(Exception):
    """Stands for the end of the process."""


def train(checkpoint=None, stop=None, news=lambda message: None, **changes):
    seen = []

    def watch(step, errors):
        seen.append((step, errors))
        if step == stop:
            raise Killed

    module = torch.nn.Linear(3, 4, dtype=torch.float64), torch.nn.Linear(4, 1, dtype=torch.float64)
    with torch.no_grad():
        for k, p in enumerate(p for m in module for p in m.parameters()):
            p.copy_(torch.linspace(-1, 1 + k, p.numel()).view(p.shape))
    result = train_rivals(
        SHAPES,
        TARGET,
        LAW,
        TrainingConfig(**(CONFIG | {"tuned_noises": [0.0, 0.1]} | changes)),
        TrainerConfig(accelerator="cpu", threads=1, progress=False),
        on_validation=watch,
        starts={"tuned": [(m.weight, m.bias) for m in module]},
        checkpoint=checkpoint,
        news=news,
    )
    return result, seen


def bits(result):
    return {
        name: [*rival.network.to_torch().state_dict().values()]
        for name, rival in result.rivals.items()
    }


def outcome(result):
    """Everything but wall time; not-a-number members compare by their text."""
    return {
        name: (str(rival.members), rival.history, rival.network_steps)
        for name, rival in result.rivals.items()
    }


@pytest.mark.filterwarnings("ignore:the plain rival.*diverged")
@pytest.mark.parametrize("stop", [10, 40, 90])
def test_an_interrupted_training_goes_on_to_the_same_bits(tmp_path, stop):
    (whole, curve), told = train(), []
    path = tmp_path / "training.ckpt"
    with pytest.raises(Killed):
        train(path, stop)
    assert path.exists() == (stop > 10)
    resumed, seen = train(path, news=told.append)
    saved = stop - 10  # what follows the last save is lost
    assert told == ([f"training goes on at step {saved} of 90"] if stop > 10 else [])
    assert seen == curve, "whoever watches is told the whole curve"
    assert outcome(resumed) == outcome(whole)
    for a, b in zip(bits(whole).values(), bits(resumed).values(), strict=True):
        assert all(torch.equal(p, q) for p, q in zip(a, b, strict=True))


@pytest.mark.filterwarnings("ignore:the plain rival.*diverged")
def test_a_finished_training_is_not_repeated(tmp_path):
    path = tmp_path / "training.ckpt"
    (first, curve), told = train(path), []
    again, seen = train(path, news=told.append)
    assert told == ["training goes on at step 90 of 90"]
    assert seen == curve
    assert outcome(again) == outcome(first)


@pytest.mark.filterwarnings("ignore:the plain rival.*diverged")
@pytest.mark.parametrize("change", [{"batch_size": 16}, {"steps": 80}, {"tuned_noises": [0.2]}])
def test_the_checkpoint_of_another_training_is_ignored(tmp_path, change):
    path = tmp_path / "training.ckpt"
    train(path)
    other, seen = train(path, **change)
    assert seen[0][0] == 0
    assert outcome(other) == outcome(train(**change)[0])


def linear(inputs, outputs, value):
    module = torch.nn.Linear(inputs, outputs, dtype=torch.float64)
    with torch.no_grad():
        for part in module.parameters():
            part.fill_(value)
    return module


def test_weights_that_no_text_shows_make_another_training():
    law, config = UniformCube(3), TrainingConfig(tuned_noises=[0.1])

    def identity(last=0.5, start=0.5, dtype=torch.float64):
        target = Network(
            torch.nn.Sequential(linear(3, 4, 0.5), torch.nn.ReLU(), linear(4, 1, last))
        )
        layers = [(m.weight.to(dtype), m.bias.to(dtype)) for m in (linear(3, 1, start),)]
        return RivalTraining({}, target, law, config, starts={"tuned": layers}).identity

    assert identity() == identity()
    assert len({identity(), identity(last=0.25), identity(start=0.25)}) == 3
    assert identity(dtype=torch.float32) != identity()


@pytest.mark.filterwarnings("ignore:the plain rival.*diverged")
def test_a_broken_checkpoint_is_ignored(tmp_path):
    path = tmp_path / "training.ckpt"
    path.write_bytes(b"not a checkpoint")
    with pytest.warns(UserWarning, match="cannot be resumed .* starts anew"):
        assert outcome(train(path)[0]) == outcome(train()[0])


def edited(path, change):
    """The checkpoint with its tensors and what it tells of them changed by `change`."""
    with safe_open(path, "pt") as file:
        told = file.metadata()
    tensors = load_file(path)
    state = json.loads(told["training"])
    change(tensors, state)
    save_file(tensors, path, told | {"training": json.dumps(state)})


def shorter(tensors, state):
    tensors["families.1.adam.mean_0"] = tensors["families.1.adam.mean_0"][:1]


def other_dtype(tensors, state):
    tensors["families.0.best_rmse"] = tensors["families.0.best_rmse"].float()


def not_of_random_numbers(tensors, state):
    tensors["generator"] = tensors["generator"][:9]


DAMAGES = [
    lambda tensors, state: tensors.pop("families.0.ensemble.weights.0"),
    lambda tensors, state: tensors.pop("families.1.best_rmse"),
    lambda tensors, state: tensors.pop("families.0.adam.square_1"),
    lambda tensors, state: tensors.pop("generator"),
    lambda tensors, state: tensors.update(more=torch.zeros(3)),
    shorter,
    other_dtype,
    not_of_random_numbers,
    lambda tensors, state: state.pop("steps_done"),
    lambda tensors, state: state["history"].pop("best"),
    lambda tensors, state: state["families"].pop(),
    lambda tensors, state: state["families"][1].pop("first"),
    lambda tensors, state: state["families"][1].update(limit=[1.0]),
    lambda tensors, state: state["families"][1].update(dead=None),
    lambda tensors, state: state["families"][1]["current"].__setitem__(0, "0.1"),
]


@pytest.mark.filterwarnings("ignore:the plain rival.*diverged")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_checkpoint_that_is_not_whole_is_replaced(tmp_path, damage):
    path = tmp_path / "training.ckpt"
    with pytest.raises(Killed):
        train(path, 40)
    edited(path, damage)
    with pytest.warns(UserWarning, match="cannot be resumed .* starts anew"):
        anew, seen = train(path)
    assert seen[0][0] == 0
    assert outcome(anew) == outcome(train()[0])
    told = []
    train(path, news=told.append)
    assert told == ["training goes on at step 90 of 90"], "the new one is whole"


class Bomb:
    """Creates a file as soon as it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.filterwarnings("ignore:the plain rival.*diverged")
@pytest.mark.parametrize("write", [torch.save, lambda bomb, path: path.write_bytes(dumps(bomb))])
def test_nothing_in_a_checkpoint_is_executed(tmp_path, write):
    path, mark = tmp_path / "training.ckpt", tmp_path / "executed"
    loads(dumps(Bomb(mark)))
    assert mark.exists(), "the bomb works"
    mark.unlink()
    write(Bomb(mark), path)
    with pytest.warns(UserWarning, match="cannot be resumed .* starts anew"):
        found, _ = train(path)
    assert not mark.exists()
    assert outcome(found) == outcome(train()[0])


def text_in_text(path):
    """A safetensors file whose JSON is nested 100,000 deep."""
    with pytest.raises(Killed):
        train(path, 40)
    with safe_open(path, "pt") as file:
        told = file.metadata()
    tensors = load_file(path)
    save_file(tensors, path, told | {"training": "[" * 100_000})


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no pipes")
@pytest.mark.filterwarnings("ignore:the plain rival.*diverged")
@pytest.mark.parametrize(
    "spoil", [os.mkfifo if hasattr(os, "mkfifo") else None, Path.touch, text_in_text]
)
def test_what_is_no_checkpoint_is_replaced(tmp_path, spoil):
    path = tmp_path / "training.ckpt"
    spoil(path)
    with pytest.warns(UserWarning, match="cannot be resumed .* starts anew"):
        train(path)
    told = []
    train(path, news=told.append)
    assert told == ["training goes on at step 90 of 90"]


@pytest.mark.skipif(os.name != "posix", reason="files have no owners")
def test_the_checkpoint_of_another_user_is_refused_by_name(tmp_path, monkeypatch):
    path = tmp_path / "training.ckpt"
    path.write_bytes(b"")
    owner = pwd.getpwuid(path.stat().st_uid).pw_name
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    with pytest.raises(Refusal) as told:
        train(path)
    assert f"{str(path)!r} belongs to user {owner}, and this process to user number" in str(
        told.value
    )


def test_a_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(Refusal, match="is a folder; name a file in it"):
        train(tmp_path)


OVERRIDES = [
    "target.input_dim=2",
    "accuracy=0.5",
    "logger=none",
    "training=quick",
    "training.steps=6000",
    "training.chunk_steps=50",
    "training.checkpoint_seconds=0",
    "training.batch_size=16",
    "evaluation=quick",
    "evaluation.points=500",
    "trainer=cpu",
    "trainer.progress=false",
]


@pytest.mark.slow
def test_a_killed_run_started_again_writes_the_same_rows(tmp_path, capfd):
    from hydra import compose, initialize_config_dir
    from rich.console import Console

    from depthwright.results import SECONDS, read
    from depthwright.runs import config, options, task

    def run(name):
        config.register_schemas()
        with initialize_config_dir(options.conf_folder(), **config.hydra_keywords()):
            composed = compose("config", [*OVERRIDES, f"output={tmp_path / name}"])
        folder = task.compare(composed, Console(stderr=True))
        assert not (folder / "training.ckpt").exists()
        return [{k: v for k, v in vars(row).items() if k not in SECONDS} for row in read(folder)]

    command = [sys.executable, "-c", "import depthwright.cli as c; c.main()", *OVERRIDES]
    killed = subprocess.Popen(
        [*command, f"output={tmp_path / 'killed'}"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
    )
    while not list((tmp_path / "killed").glob("comparison/*/training.ckpt")):
        assert killed.poll() is None, killed.stderr.read()
        time.sleep(0.01)
    time.sleep(0.1)  # some chunks on
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert list((tmp_path / "killed").glob("comparison/*/training.ckpt"))
    resumed = run("killed")
    assert re.search(r"training goes on at step [\d,]+ of 6,000", capfd.readouterr().err)
    assert resumed == run("whole")
    assert "goes on" not in capfd.readouterr().err
