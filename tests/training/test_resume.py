"""A training that is killed and started again ends with the same numbers, to the bit."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch

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


def train(checkpoint=None, stop=None, say=lambda message: None, **changes):
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
        say=say,
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
    resumed, seen = train(path, say=told.append)
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
    again, seen = train(path, say=told.append)
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


def without(found, *keys):
    *way, last = keys
    for key in way:
        found = found[key]
    del found[last]


@pytest.mark.filterwarnings("ignore:the plain rival.*diverged")
@pytest.mark.parametrize(
    "keys",
    [
        ("state_dict", "families.0.ensemble.weights.0"),
        ("state_dict", "families.1.best_rmse"),
        ("optimizer_states", 0, "state", 1),
        ("optimizer_states", 0, "state", 0, "exp_avg_sq"),
        ("optimizer_states", 1),
        ("training", "families", 1, "first"),
        ("training", "generator"),
        ("loops",),
    ],
)
def test_a_checkpoint_that_lacks_something_is_replaced(tmp_path, keys):
    path = tmp_path / "training.ckpt"
    with pytest.raises(Killed):
        train(path, 40)
    found = torch.load(path, weights_only=False)
    without(found, *keys)
    torch.save(found, path)
    with pytest.warns(UserWarning, match="cannot be resumed .* starts anew"):
        anew, seen = train(path)
    assert seen[0][0] == 0
    assert outcome(anew) == outcome(train()[0])
    told = []
    train(path, say=told.append)
    assert told == ["training goes on at step 90 of 90"], "the new one is whole"


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

    from depthwright import cli, config
    from depthwright.results import SECONDS, read

    def run(name):
        config.register_schemas()
        with initialize_config_dir(config.conf_folder(), **cli.hydra_keywords()):
            composed = compose("config", [*OVERRIDES, f"output={tmp_path / name}"])
        folder = cli.compare(composed, Console(stderr=True))
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
