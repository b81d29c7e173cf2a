"""The config tree: every file composes, misspelt keys are refused, folders say what a run is."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from depthwright import constructions, targets
from depthwright.comparison import comparison
from depthwright.constructions import SparseRidge
from depthwright.distributions import Box
from depthwright.machine import provenance
from depthwright.networks.torch_network import ModuleNetwork
from depthwright.refusal import Refusal
from depthwright.runs import classes, options
from depthwright.runs import config as configs

CONF = Path(options.conf_folder())
GROUPS = {p.name: sorted(f.stem for f in p.glob("*.yaml")) for p in CONF.iterdir() if p.is_dir()}
Composed = Callable[..., DictConfig]


NETWORKS = ("target=random_network", "distribution=uniform_cube", "construction=narrow_exact")
LAWS_OF_THEIR_OWN = {"distribution=eldan_shamir"}
"""Not supported in any target's domain: for the Python interface."""
RIDGES = ("target=sine_ridge", "distribution=uniform_cube", "construction=single_ridge")
COMPANIONS = {
    "target=random_network": NETWORKS,
    "distribution=uniform_box": NETWORKS,
    "distribution=uniform_cube": NETWORKS,
    "target=sine_ridge": RIDGES,
    "target=profile": ("target.values=[[0,0],[1,1]]",),
    "construction=single_ridge": RIDGES,
} | {
    f"construction={name}": NETWORKS for name in GROUPS["construction"] if name.startswith("narrow")
}
"""What a file needs beside it: the default target is radial."""


PLUGINS = {
    "launcher=joblib": "hydra_plugins.hydra_joblib_launcher",
    "launcher=local": "hydra_plugins.hydra_submitit_launcher",
    "launcher=slurm": "hydra_plugins.hydra_submitit_launcher",
}


@pytest.fixture(scope="module")
def each_sized_once() -> Iterator[None]:
    """Most files leave the construction as it is, and sizing it is what takes long."""
    sized = functools.cache(comparison._need_few_weights)
    with mock.patch.object(comparison, "_need_few_weights", sized):
        yield


def saved_network(folder: Path) -> Path:
    """A file as a user might bring."""
    path = folder / "model.safetensors"
    ModuleNetwork(targets.RandomNetwork().as_network().to_torch()).save(path)
    return path


@pytest.mark.usefixtures("each_sized_once")
@pytest.mark.parametrize(
    "choice", sorted({f"{g}={o}" for g, opts in GROUPS.items() for o in opts} - LAWS_OF_THEIR_OWN)
)
def test_every_file_composes_and_makes_a_comparison(
    choice: str, composed: Composed, tmp_path: Path
) -> None:
    group = choice.split("=")[0]
    if choice in PLUGINS:
        pytest.importorskip(PLUGINS[choice], reason="an extra is missing")
    beside = [c for c in COMPANIONS.get(choice, ()) if c.split("=")[0] != group]
    if choice == "target=network":
        beside.append(f"target.path={saved_network(tmp_path)}")
    config = composed(choice, *beside)
    ready = configs.comparison(config)
    assert ready.construction.target is ready.target
    assert ready.matches().keys() == {f"trained_{rule}" for rule in ready.matching}
    assert configs.logger(config).mode in ("none", "offline", "online")


def test_every_registered_class_has_its_file_and_every_file_its_class() -> None:
    for group, registry in classes.REGISTRIES.items():
        assert GROUPS[group] == sorted(registry)


@pytest.mark.parametrize("name", GROUPS["experiment"])
def test_experiments_say_their_command_first(name: str) -> None:
    package, command = (CONF / "experiment" / f"{name}.yaml").read_text().splitlines()[:2]
    assert package == "# @package _global_"  # where Hydra wants it
    assert command.startswith("# depthwright ")
    assert f"experiment={name}" in command


@pytest.mark.parametrize(
    "override",
    ["target.inputdim=3", "acuracy=0.2", "training.stepz=7", "target=hat target.power=2"],
)
def test_misspelt_keys_are_refused_on_the_command_line(override: str, composed: Composed) -> None:
    with pytest.raises((HydraException, OmegaConfBaseException)):
        composed(*override.split())


@pytest.mark.parametrize("line", ["acuracy: 0.2", "target: {inputdim: 3}", "training: {stepz: 7}"])
def test_misspelt_keys_are_refused_in_an_experiment_file(line: str, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{line}\n")
    configs.register_schemas()
    with (
        initialize_config_dir(options.conf_folder(), **configs.hydra_keywords()),
        pytest.raises((HydraException, OmegaConfBaseException)),
    ):
        compose("config", [f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine"])


def test_added_keys_are_refused_too(composed: Composed) -> None:
    with pytest.raises(Refusal, match="acuracy is no key"):
        configs.comparison(composed("+acuracy=0.2"))
    with pytest.raises(Refusal, match=r"target\.inputdim is no key"):
        configs.comparison(composed("+target.inputdim=2"))


def test_unknown_names_list_the_known(composed: Composed) -> None:
    with pytest.raises(Refusal, match="choose one of cone"):
        configs.comparison(composed("target.name=kone"))
    with pytest.raises(Refusal, match="choose one of architecture, parameters"):
        configs.comparison(composed("matching=[depth]"))
    with pytest.raises(Refusal, match="choose one of random, constructed"):
        configs.comparison(composed("features=[drawn]"))


def test_dimension_of_the_law_follows_the_target(composed: Composed) -> None:
    assert configs.comparison(composed("target.input_dim=3")).distribution.input_dim == 3
    with pytest.raises(Refusal, match=r"distribution\.input_dim=4"):
        configs.comparison(composed("target.input_dim=3", "distribution.input_dim=4"))


def test_law_must_live_where_the_target_does(composed: Composed) -> None:
    with pytest.raises(Refusal, match="choose distribution=uniform_radius or uniform_ball"):
        configs.comparison(composed("distribution=uniform_cube"))
    with pytest.raises(Refusal, match="distribution=uniform_box, which follows the target"):
        configs.comparison(composed(*NETWORKS, "distribution=uniform_ball", "target.radius=2"))


@pytest.fixture(scope="module")
def choices() -> dict[str, DictConfig]:
    """The configs of every law, every target and every experiment, each chosen by itself."""
    configs.register_schemas()
    groups = ("distribution", "target", "experiment")
    words = [f"{group}={name}" for group in groups for name in GROUPS[group]]
    with initialize_config_dir(options.conf_folder(), **configs.hydra_keywords()):
        return {word: compose("config", [word]) for word in words}


def together(choices: dict[str, DictConfig], law: str, other: str) -> DictConfig:
    """The config of two choices, without composing each pair; a law is one node of it."""
    config = copy.deepcopy(choices[other])
    with open_dict(config):
        config.distribution = choices[law].distribution
    return config


def test_two_choices_are_what_hydra_makes_of_them(
    composed: Composed, choices: dict[str, DictConfig]
) -> None:
    for law, other in (("sphere_pairs", "target=hat"), ("uniform_cube", "experiment=narrow")):
        pair = f"distribution={law}", other
        assert together(choices, *pair) == composed(*pair)
        assert together(choices, *pair) != choices[other]


@pytest.mark.parametrize("law", GROUPS["distribution"])
def test_choices_that_do_not_fit_are_refused_in_a_sentence_of_ours(
    law: str, choices: dict[str, DictConfig]
) -> None:
    """Every law with every target and every experiment; nothing but a Refusal comes out.

    Without a network beside the first one, whose size has to be planned.
    """
    others = [word for word in choices if not word.startswith("distribution=")]
    assert len(others) == len(GROUPS["target"]) + len(GROUPS["experiment"])
    for other in others:
        config = together(choices, f"distribution={law}", other)
        config.beside = []
        with contextlib.suppress(Refusal):
            ready = configs.comparison(config)
            assert ready.distribution.domain == ready.target.domain


CURES = {"one of the narrow constructions": constructions.NarrowPacked} | {
    cls.__name__: cls for cls in constructions.REGISTRY.values()
}


def refusal_of(construction: type, target: object) -> str | None:
    asked = {f.name for f in dataclasses.fields(construction)} & {"accuracy"}
    try:
        construction(target, **dict.fromkeys(asked, 0.1))
    except Refusal as told:
        return str(told)
    return None


GIVEN = {
    "profile": lambda: targets.Profile([0, 1]),
    "network": lambda: targets.Network(targets.RandomNetwork().as_network().to_torch()),
}
"""Targets that have no defaults."""


@pytest.mark.parametrize("target", GROUPS["target"])
def test_the_construction_that_a_refusal_names_takes_the_target(target: str) -> None:
    made = GIVEN.get(target, targets.REGISTRY[target])
    given, known = made(), constructions.REGISTRY.values()
    told = [text for cls in known if (text := refusal_of(cls, given))]
    assert 0 < len(told) < len(known)
    for text in told:
        named = re.search(r"; use (.+?)(?:,| for it)", text)
        assert named, text
        assert refusal_of(CURES[named[1]], given) is None


def test_the_box_of_the_law_follows_the_target(composed: Composed) -> None:
    box = "target.lower=[0,-1,2]", "target.upper=3"
    law = ("target=random_network", "distribution=uniform_box", "construction=narrow_exact")
    made = configs.comparison(composed(*law, *box))
    assert made.distribution.domain == made.target.domain == Box((0, -1, 2), (3, 3, 3))
    with pytest.raises(Refusal, match="distribution=uniform_box, which follows the target"):
        configs.comparison(composed(*NETWORKS, *box))


@pytest.mark.parametrize("field", ["accuracy", "failure_probability"])
def test_a_run_has_one_accuracy_and_one_failure_probability(field: str, composed: Composed) -> None:
    sparse = ("construction=sparse_ridge", f"construction.{field}=0.02")
    told = rf"construction\.{field}=0\.02 is not that of the run \(0\.1?0?1?\); say {field}=0\.02"
    with pytest.raises(Refusal, match=told):
        configs.comparison(composed(*sparse))
    ready = configs.comparison(composed(*sparse, f"{field}=0.02"))
    assert getattr(ready, field) == getattr(ready.construction, field) == 0.02
    other = dataclasses.replace(ready.construction, **{field: 0.03})
    with pytest.raises(Refusal, match=rf"{field}=0\.03 is not that of the run \(0\.02\)"):
        dataclasses.replace(ready, beside={"sparse_ridge": other})


@pytest.mark.slow
def test_a_solved_network_stands_beside_a_ridge_network_that_is_not_wide(
    composed: Composed,
) -> None:
    (solved,) = configs.comparison(composed("target.input_dim=2")).beside.values()
    assert isinstance(solved, SparseRidge)
    first = configs.comparison(composed("target.input_dim=2")).construction
    assert solved.architecture() == first.architecture()
    assert (solved.solved, solved.accuracy) == ("least_squares", 0.1)
    assert configs.comparison(composed("beside=[]")).beside == {}
    assert configs.comparison(composed("construction=radial_depth_three")).beside == {}
    wide = ("construction=sparse_ridge", "construction.width=1501")
    assert configs.comparison(composed(*wide)).beside == {}
    assert configs.comparison(composed(*wide, "beside=[solved_ridge]")).beside
    with pytest.raises(Refusal, match="beside='solved_ridge' stands beside ridge"):
        configs.comparison(composed("construction=radial_depth_three", "beside=[solved_ridge]"))


def test_the_hash_sees_the_package_s_own_source(
    composed: Composed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "depthwright"
    shutil.copytree(provenance.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "PACKAGE", copy)
    config, found = composed(), []
    for change in ("", "# a comment\n", "x = 1\n"):
        with (copy / "errors" / "sup.py").open("a") as file:
            file.write(change)
        provenance.code.cache_clear()
        found.append(configs.run_hash(config))
    (copy / "errors" / "sup.py").rename(copy / "errors" / "another.py")
    provenance.code.cache_clear()
    found.append(configs.run_hash(config))
    monkeypatch.undo()
    provenance.code.cache_clear()
    assert len(set(found)) == 4
    assert found[0] == configs.run_hash(config), "wherever the package lies"


def test_hash_sees_what_changes_numbers_and_nothing_else(composed: Composed) -> None:
    base = configs.run_hash(composed())
    for watching in ("logger=none", "output=elsewhere", "trainer.progress=false"):
        assert configs.run_hash(composed(watching)) == base
    changed = {
        configs.run_hash(composed(override))
        for override in (
            "seed=1",
            "accuracy=0.2",
            "target=hat",
            "training.steps=5",
            "evaluation.seed=1",
            "matching=[parameters]",
        )
    }
    assert len(changed | {base}) == 7


def test_seed_zero_is_a_seed(composed: Composed) -> None:
    assert configs.comparison(composed("seed=0")).seed == 0
    with pytest.raises(Refusal, match="seed=-1"):
        configs.comparison(composed("seed=-1"))


def test_config_is_plain_values(composed: Composed) -> None:
    assert configs.resolved(composed())["construction"]["accuracy"] == 0.1
    assert OmegaConf.is_config(composed())


def test_the_hash_sees_the_files_that_a_run_reads(composed: Composed, tmp_path: Path) -> None:
    points = tmp_path / "profile.csv"
    found = []
    for text in ("0,0\n1,1\n", "0,0\n1,0.5\n", "0,0\n1,1\n"):
        points.write_text(text)
        found.append(configs.run_folder(composed("target=profile", f"target.file={points}")))
    assert found[0] == found[2] != found[1]
    model = saved_network(tmp_path)
    config = composed("target=network", f"target.path={model}", "failure_probability=0")
    before = configs.run_folder(config)
    ModuleNetwork(targets.RandomNetwork(seed=1).as_network().to_torch()).save(model)
    assert configs.run_folder(config) != before


def test_a_network_s_law_follows_the_box_that_its_file_declares(
    composed: Composed, tmp_path: Path
) -> None:
    path = tmp_path / "model.nnet"
    path.write_text(
        "// |x|\n2,1,1,2,\n1,2,1,\n0,\n-2,\n3,\n0,0,\n1,1,\n1,\n-1,\n0,\n0,\n1,1,\n0,\n"
    )
    made = configs.comparison(composed("target=network", f"target.path={path}"))
    assert made.distribution.domain == made.target.domain == Box((-2.0,), (3.0,))
