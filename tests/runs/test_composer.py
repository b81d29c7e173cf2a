"""Configs of cells that are derived from one another are those that Hydra composes for each."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any, ClassVar
from unittest import mock

import pytest
from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import run_job
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf

from depthwright.runs import config as configs
from depthwright.runs import options
from depthwright.runs.composer import CellLoader, Composer, for_cells

Sweep = tuple[ConfigLoader, DictConfig]
AXES = (
    ("seed=0", "seed=7"),
    ("accuracy=0.3", "accuracy=1e-2", "accuracy=${failure_probability}"),
    ("target=hat", "target=cone", "target=sine"),
    ("target.input_dim=2", "target.input_dim=5"),
    ("construction=ridge", "construction=sparse_ridge", "construction.accuracy=0.25"),
    ("training=quick", "training=search", "training.steps=60"),
    ("training.widths=[3,4]", "+training.more={a: [1, 2], b: null}", "matching=[]"),
    ("matching=[architecture,width]", "beside=[sparse_ridge]", "~features", "features=[]"),
    ("experiment=narrow", "experiment=radial_vs_dimension"),
    ("evaluation.points=100", "evaluation=quick", "++evaluation.points=50"),
    ("output='a, b'", "output=${experiment_name}/x", "experiment_name=mine"),
    ("logger=none", "logger.project='p=q'", "launcher=basic"),
    ("trainer.progress=false", "trainer.threads=2", "trainer=cpu"),
)
WRONG = (
    "seed=two",
    "target.inputdim=3",
    "target=nothing",
    "+seed=3",
    "seed@here=3",
    "~absent",
    "training=[]",
    "evaluation.points=null",
)


@pytest.fixture
def a_sweep() -> Iterator[Sweep]:
    configs.register_schemas()
    with initialize_config_dir(options.conf_folder(), **configs.hydra_keywords()):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        given = ["hydra.sweep.dir=.", "seed=0"]
        config = hydra.compose_config("config", given, RunMode.MULTIRUN, False)
        yield hydra.config_loader, config


def told(compose: object, words: list[str]) -> str:
    """The config that is composed, resolved, with its folder; or what is raised."""
    try:
        assert callable(compose)
        config = compose(words)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    text = OmegaConf.to_yaml(config)
    try:
        return f"{text}{OmegaConf.get_type(config.target)} {configs.run_folder(config)}"
    except Exception as error:
        return f"{text}{type(error).__name__}: {error}"


def by_hydra(sweep: Sweep, words: list[str]) -> DictConfig:
    loader, config = sweep
    found = loader.load_sweep_config(config, words)
    OmegaConf.set_struct(found, False)
    del found["hydra"]
    OmegaConf.set_struct(found, True)
    return found


@pytest.mark.slow
def test_a_drawn_sample_of_cells_is_as_hydra_composes_it(a_sweep: Sweep) -> None:
    chance = random.Random(0)
    compose = Composer(*a_sweep)
    composed = 0
    for _ in range(25):
        axes = chance.sample(AXES, chance.randint(1, 6))
        words = [chance.choice(axis) for axis in axes]
        found = told(compose, words)
        assert found == told(lambda given: by_hydra(a_sweep, given), words), words
        composed += "Error" not in found
    assert composed >= 15, "most of the sample is refused"


@pytest.mark.parametrize("wrong", WRONG)
def test_what_hydra_refuses_is_refused_in_its_words(a_sweep: Sweep, wrong: str) -> None:
    compose = Composer(*a_sweep)
    found = told(compose, ["accuracy=0.2", wrong])
    assert found == told(lambda given: by_hydra(a_sweep, given), ["accuracy=0.2", wrong])
    assert any(word in found for word in ("Error", "Exception", "Refusal"))
    assert "Error" not in told(compose, ["accuracy=0.2"]), "the next cell is none the worse"


def test_cells_share_nothing_that_one_could_change(a_sweep: Sweep) -> None:
    compose = Composer(*a_sweep)
    first, second = (compose(["matching=[width]", f"seed={k}"]) for k in range(2))
    first.matching.append("parameters")
    first.target.input_dim = 9
    assert (second.seed, list(second.matching)) == (1, ["width"])
    assert compose(["matching=[width]"]).target.input_dim == second.target.input_dim != 9


def test_hydra_composes_each_choice_of_groups_once(a_sweep: Sweep) -> None:
    loader, config = a_sweep
    with mock.patch.object(loader, "load_sweep_config", wraps=loader.load_sweep_config) as composed:
        compose = Composer(loader, config)
        for target in ("hat", "cone"):
            for k in range(5):
                compose([f"target={target}", f"seed={k}", "matching=[]"])
    assert composed.call_count == 2


def test_a_launcher_gets_hydra_s_own_part_as_well(a_sweep: Sweep) -> None:
    loader, config = a_sweep
    compose = Composer(loader, config)
    for words in (
        ["target=hat", "seed=3", "hydra.job.name=mine", "matching=[width]"],
        ["target=hat", "accuracy=0.2", "hydra.job.name=mine"],
    ):
        found, right = compose.with_hydra(words), loader.load_sweep_config(config, words)
        assert OmegaConf.to_yaml(found) == OmegaConf.to_yaml(right)
        assert "target=hat" in found.hydra.job.override_dirname


def test_copies_of_the_loader_compose_each_choice_once_a_process(a_sweep: Sweep) -> None:
    loader, config = a_sweep
    sent = CellLoader(loader)
    method = ConfigLoaderImpl.load_sweep_config
    with mock.patch.object(ConfigLoaderImpl, "load_sweep_config", autospec=True) as composed:
        composed.side_effect = method
        for k in range(4):
            found = copy.copy(sent).load_sweep_config(config, [f"seed={k}"])
            assert found.seed == k
        assert composed.call_count == 1
        CellLoader(loader).load_sweep_config(config, ["seed=4"])
        assert composed.call_count == 2, "another sweep, whose files may be others"


def test_what_a_launcher_keeps_of_a_cell_is_small(a_sweep: Sweep) -> None:
    class Seen(Callbacks):
        configs: ClassVar[list[Any]] = []

        def on_job_end(self, config: DictConfig, job_return: Any, **_: Any) -> None:
            self.configs.append((config, job_return.cfg))

    loader, config = a_sweep
    before = Callbacks()
    before.callbacks = [Seen()]
    context = for_cells(HydraContext(loader, before))
    cell = context.config_loader.load_sweep_config(config, ["seed=7"])
    kept = run_job(
        hydra_context=context,
        task_function=lambda given: given.seed,
        config=cell,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key=None,
    )
    assert kept.return_value == 7
    assert kept.cfg is kept.hydra_cfg is None
    ((given, own),) = Seen.configs
    assert given.seed == own.seed == 7, "the user's callbacks see all"
