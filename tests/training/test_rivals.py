"""A whole training: choice of the best, repetition to the bit, divergence, refusals."""

import io
import itertools
import signal

import numba
import pytest
import torch

from depthwright import Refusal, progress
from depthwright.distributions import UniformCube, UniformRadius
from depthwright.networks.styled_network import StyledNetwork
from depthwright.networks.torch_network import LayerNetwork
from depthwright.targets import Cone, RandomNetwork
from depthwright.training import (
    TrainerConfig,
    TrainingConfig,
    TrainingDiverged,
    TrainingResult,
    train_rivals,
)
from depthwright.training.family import EXPLOSION, schedule
from depthwright.training.lightning_module import stream

TARGET, LAW = Cone(3), UniformRadius(3)
WIDE, DEEP = (3, 12, 1), (3, 5, 5, 1)
ON = {"accelerator": "cpu", "threads": 1}


def config(**changes) -> TrainingConfig:
    values = {
        "steps": 50,
        "batch_size": 32,
        "learning_rates": [1e-3, 1e-2],
        "seeds": 2,
        "validation_points": 500,
        "chunk_steps": 20,
    }
    return TrainingConfig(**(values | changes))


def train(contenders=None, seed=0, on_validation=None, **changes) -> TrainingResult:
    return train_rivals(
        contenders or {"same": [WIDE], "best": [WIDE, DEEP]},
        TARGET,
        LAW,
        config(**changes),
        TrainerConfig(**ON),
        seed=seed,
        on_validation=on_validation,
        progress=False,
    )


def bits(network: LayerNetwork) -> list[torch.Tensor]:
    return list(network.to_torch().state_dict().values())


def same(a: TrainingResult, b: TrainingResult) -> bool:
    return all(
        torch.equal(p, q)
        for name in a.rivals
        for p, q in zip(bits(a.rivals[name].network), bits(b.rivals[name].network), strict=True)
    )


def test_the_rival_is_the_best_member_and_its_error_is_its_own():
    seen = []
    result = train(on_validation=lambda step, errors: seen.append((step, dict(errors))))
    assert result.diverged == ()
    assert result.device == "cpu"
    generator = torch.Generator().manual_seed(stream(0, "validation"))
    x = LAW.sample(500, generator, torch.float32)
    for name, shapes in (("same", [WIDE]), ("best", [WIDE, DEEP])):
        rival = result.rivals[name]
        tried = [(m.widths, m.seed, m.learning_rate) for m in rival.members]
        assert tried == list(itertools.product(shapes, (0, 1), (1e-3, 1e-2)))
        assert rival.member.best_rmse == min(m.best_rmse for m in rival.members)
        assert rival.member in rival.members
        assert rival.network.architecture.widths == rival.member.widths
        assert rival.network.arithmetic == "float32"
        # measured again on the same points: sums of squares of float32 values
        error = (rival.network.evaluate(x) - TARGET(x)).double().square().mean().sqrt()
        assert abs(float(error) - rival.member.best_rmse) <= 32 * torch.finfo(torch.float32).eps
        assert [step for step, _ in rival.history] == [0, 20, 40, 50]
        assert min(error for _, error in rival.history) == rival.member.best_rmse
        assert rival.history == tuple((step, errors[name]) for step, errors in seen)
        assert rival.member.best_rmse < rival.history[0][1]
        assert len({m.best_rmse for m in rival.members}) == len(rival.members)
    assert result.rivals["best"].train_seconds > result.rivals["same"].train_seconds > 0


def test_training_learns():
    rival = train({"same": [(3, 40, 1)]}, steps=600, chunk_steps=100).rivals["same"]
    # the best constant has the standard deviation of a uniform radius, 1/√12
    assert rival.member.best_rmse < 0.1 / 12**0.5


def test_the_snapshot_is_from_the_best_validation_not_the_last():
    # warm-up to a rate far too high, at the end of training: the last errors are the worst
    rival = train({"same": [WIDE]}, steps=40, chunk_steps=5, warmup=0.99, learning_rates=[0.3])
    found = rival.rivals["same"]
    errors = [error for _, error in found.history]
    assert found.member.best_rmse == min(errors) < errors[-1]
    x = LAW.sample(500, torch.Generator().manual_seed(stream(0, "validation")), torch.float32)
    error = (found.network.evaluate(x) - TARGET(x)).double().square().mean().sqrt()
    assert abs(float(error) - min(errors)) <= 32 * torch.finfo(torch.float32).eps


def test_two_runs_give_the_same_bits_and_another_seed_others():
    once = train()
    torch.manual_seed(99)  # ambient randomness is not used
    again, other = train(), train(seed=1)
    assert same(once, again)
    assert [r.history for r in once.rivals.values()] == [r.history for r in again.rivals.values()]
    assert not same(once, other)


def test_given_weights_of_float64_are_held_against_truth_of_float64():
    target = RandomNetwork(3, 8, 3, seed=0)
    exact = [
        (torch.tensor(w), torch.tensor(b))
        for w, b in zip(target.weights, target.biases, strict=True)
    ]
    settings = config(tuned_noises=[0.0], learning_rates=[1e-9])
    law, on = UniformCube(3), TrainerConfig(**ON, progress=False)
    found = train_rivals({"same": [WIDE]}, target, law, settings, on, starts={"tuned": exact})
    # the target itself: a few roundings of float64, not of float32 (about 1e-7)
    assert found.rivals["tuned"].member.first_rmse <= 1e-14
    assert found.rivals["tuned"].member.best_sup <= 1e-13
    alone = train_rivals({"same": [WIDE]}, target, law, settings, on)
    assert found.rivals["same"].members == alone.rivals["same"].members


def test_ambient_randomness_is_left_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train()
    assert torch.equal(torch.get_rng_state(), before)


def test_company_changes_no_bit():
    together = train().rivals["same"]
    alone = train({"same": [WIDE]}).rivals["same"]
    for p, q in zip(bits(together.network), bits(alone.network), strict=True):
        assert torch.equal(p, q)


def test_a_diverging_member_is_named_and_dropped_and_the_others_go_on():
    calm = train({"same": [WIDE]}, learning_rates=[1e-3, 1e-2, 3e-3])
    with pytest.warns(UserWarning, match="diverged") as caught:
        wild = train({"same": [WIDE]}, learning_rates=[1e-3, 1e-2, 1e6])
    told = [str(w.message) for w in caught if "diverged" in str(w.message)]
    assert len(told) == 2
    for seed, words in enumerate(told):
        assert f"widths (3, 12, 1) with seed {seed} and learning rate 1e+06" in words
    for quiet, loud in zip(calm.rivals["same"].members, wild.rivals["same"].members, strict=True):
        if loud.learning_rate == 1e6:
            assert loud.diverged_at == 20
            assert not loud.final_rmse <= EXPLOSION * TARGET.norms["l2"]
        else:
            assert loud == quiet


def test_a_contender_may_diverge_alone(monkeypatch):
    def blow_up(step, errors):
        with torch.no_grad():
            if step == 20:
                module.family(DEEP).ensemble.weights[0].fill_(torch.nan)
                module.family(WIDE).ensemble.weights[0][0] = 1e9
            if step in (40, 50):
                frozen.append(module.family(WIDE).ensemble.biases[0][0].clone())

    from depthwright.training import lightning_module

    class Watched(lightning_module.RivalTraining):
        def __init__(self, *args, **more):
            nonlocal module
            super().__init__(*args, **more)
            module = self

    module, frozen = None, []
    monkeypatch.setattr(lightning_module, "RivalTraining", Watched)
    with pytest.warns(UserWarning, match="diverged by"):
        result = train({"wide": [WIDE], "deep": [DEEP]}, on_validation=blow_up)
    assert set(result.rivals) == {"wide"}
    assert result.diverged == ("deep",)
    assert torch.equal(*frozen)  # who is dropped is not trained on
    left = {(m.seed, m.learning_rate): m for m in result.rivals["wide"].members}
    assert left.pop((0, 1e-3)).diverged_at == 40
    calm = train({"wide": [WIDE]}).rivals["wide"].members
    assert list(left.values()) == [m for m in calm if (m.seed, m.learning_rate) in left]


def test_all_diverging_is_an_error_in_one_sentence():
    with (
        pytest.warns(UserWarning, match="diverged by"),
        pytest.raises(TrainingDiverged, match=r"every rival diverged by step 20 \(.*1e\+06\)"),
    ):
        train(learning_rates=[1e6])


def test_nothing_is_written_and_nothing_is_said(tmp_path, monkeypatch, capsys, caplog, recwarn):
    monkeypatch.chdir(tmp_path)
    train()
    assert [str(w.message) for w in recwarn] == []
    assert list(tmp_path.iterdir()) == []
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")
    assert caplog.records == []


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_shows_the_share_that_is_done_and_the_lowest_error(monkeypatch, capsys):
    screen = Terminal()
    monkeypatch.setattr(progress.sys, "stderr", screen)
    monkeypatch.setattr(progress, "WAIT", 0)
    result = train_rivals({"same": [WIDE]}, TARGET, LAW, config(), TrainerConfig(**ON))
    assert capsys.readouterr().out == ""
    drawn = screen.getvalue()
    lowest = result.rivals["same"].member.best_rmse
    assert f"training rivals, lowest error {lowest:.4g}" in drawn
    assert "100%" in drawn


def test_compilation_is_over_before_the_clock_starts(monkeypatch):
    from depthwright.training import family
    from depthwright.training.step import compiled

    did, types = [], {"train": set(), "values": set(), "clock": set()}

    def seen(name, action):
        def wrapped(*args):
            did.append(name)
            types[name].add(tuple(numba.typeof(a) for a in args if name != "clock"))
            return action(*args)

        return wrapped

    for name in ("train", "values"):
        monkeypatch.setattr(compiled, name, seen(name, getattr(compiled, name)))
    monkeypatch.setattr(family, "_now", seen("clock", family._now))
    compiled.compile_for.cache_clear()
    train({"best": [WIDE, DEEP]})
    assert did[:3] == ["train", "values", "clock"]
    # what the smallest network is compiled for is what all others need
    assert {name: len(found) for name, found in types.items()} == dict.fromkeys(types, 1)


def test_a_shape_of_two_contenders_is_trained_once():
    from depthwright.training import RivalTraining

    module = RivalTraining({"same": [WIDE], "best": [WIDE, DEEP]}, TARGET, LAW, config())
    assert [family.widths for family in module.families] == [WIDE, DEEP]


def test_styles_multiply_the_families_where_they_change_something():
    styles = ["residual", "plain", "normalised"]
    rival = train({"best": [WIDE, DEEP]}, styles=styles).rivals["best"]
    kinds = dict.fromkeys((m.widths, m.style) for m in rival.members)
    assert list(kinds) == [(WIDE, "plain"), *((DEEP, style) for style in styles)]
    assert len(rival.members) == len(kinds) * 2 * 2
    assert rival.member.best_rmse == min(m.best_rmse for m in rival.members)
    assert len({m.best_rmse for m in rival.members}) == len(rival.members)
    plain = train({"best": [WIDE, DEEP]}).rivals["best"].members
    assert set(plain) <= set(rival.members)  # company changes nothing


@pytest.mark.parametrize("style", ["residual", "normalised"])
def test_a_styled_rival_is_a_network_of_its_style_with_its_own_error(style):
    rival = train({"deep": [DEEP]}, styles=[style]).rivals["deep"]
    assert isinstance(rival.network, StyledNetwork)
    assert rival.network.style == rival.member.style == style
    x = LAW.sample(500, torch.Generator().manual_seed(stream(0, "validation")), torch.float32)
    error = (rival.network.evaluate(x) - TARGET(x)).double().square().mean().sqrt()
    assert abs(float(error) - rival.member.best_rmse) <= 32 * torch.finfo(torch.float32).eps


def test_threads_are_set_back():
    before = torch.get_num_threads()
    during = []
    try:
        torch.set_num_threads(2)
        train(on_validation=lambda step, errors: during.append(torch.get_num_threads()))
        assert set(during) == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("steps", [40, 1000])
def test_the_schedule_rises_linearly_and_falls_like_half_a_cosine(steps):
    factors = [schedule(k, steps, 0.1) for k in range(steps)]
    top = steps // 10
    for k in range(top):
        # one division, correctly rounded
        assert factors[k] == pytest.approx((k + 1) / top, rel=4e-16)
    assert max(factors) == 1.0
    assert all(a > b for a, b in itertools.pairwise(factors[top:]))
    assert schedule(top + (steps - top) // 2, steps, 0.1) == pytest.approx(0.5, rel=1e-15)
    assert schedule(steps, steps, 0.1) == 0.0
    assert schedule(0, steps, 0.0) == 1.0


def test_streams_are_separate():
    seeds = [
        stream(s, name, k)
        for s in range(5)
        for name in ("points", "validation", "initialisation")
        for k in range(5)
    ]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": 0}, "steps=0 is below 1"),
        ({"seeds": 1.5}, "seeds=1.5 is no whole number; give one of at least 1"),
        ({"steps": "9"}, "steps='9' is no whole number"),
        ({"learning_rates": []}, "learning_rates is empty"),
        ({"learning_rates": [1e-3, 0.001]}, r"learning_rates=\[0.001, 0.001\] .* each once"),
        ({"tuned_noises": [0.0, 0.0]}, "tuned_noises.* each once"),
        ({"learning_rates": [1e-3, float("nan")]}, "learning_rates holds nan"),
        ({"warmup": 1.0}, "warmup=1.0"),
        ({"styles": []}, "styles=.* should name at least one, each once"),
        ({"styles": ["plain", "plain"]}, "styles=.* should name at least one, each once"),
        ({"styles": ["dense"]}, "style='dense' is unknown; choose one of plain, residual"),
        ({"dtype": "float16"}, "dtype='float16' is unknown; choose one of float32, float64"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change, words):
    with pytest.raises(Refusal, match=words):
        config(**change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"accelerator": "cuda0"}, "choose one of auto, cpu, gpu$"),
        ({"threads": -1}, "threads=-1"),
    ],
)
def test_machines_that_make_no_sense_are_refused(change, words):
    with pytest.raises(Refusal, match=words):
        TrainerConfig(**change)


@pytest.mark.parametrize(
    ("contenders", "seed", "words"),
    [
        ({"a": []}, 0, "no contender has a shape"),
        ({"a": [(4, 3, 1)]}, 0, r"a has widths \(4, 3, 1\)"),
        ({"a": [(3, 3, 2)]}, 0, "to 1 outputs"),
        ({"a": [(3, 0, 1)]}, 0, "positive widths"),
        ({"a": [(3, 4.5, 1)]}, 0, r"a has widths \(3, 4.5, 1\); give whole numbers"),
        ({"a": [WIDE]}, -1, "seed=-1"),
        ({"a": [WIDE]}, 0.5, "seed=0.5 is no whole number"),
    ],
)
def test_contenders_that_do_not_fit_are_refused(contenders, seed, words):
    with pytest.raises(Refusal, match=words):
        train_rivals(contenders, TARGET, LAW, config(), TrainerConfig(**ON), seed=seed)
    with pytest.raises(Refusal, match="make them equal"):
        train_rivals({"a": [WIDE]}, TARGET, UniformRadius(4), config(), TrainerConfig(**ON))


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Refusal, match="sees no CUDA GPU"):
        train_rivals({"a": [WIDE]}, TARGET, LAW, config(), TrainerConfig(accelerator="gpu"))


def test_settings_can_be_overridden_by_hydra():
    from omegaconf import OmegaConf

    for schema, key, value in ((TrainingConfig, "steps", 7), (TrainerConfig, "threads", 3)):
        node = OmegaConf.structured(schema)
        OmegaConf.update(node, key, value)
        made = OmegaConf.to_object(node)
        assert isinstance(made, schema)
        assert getattr(made, key) == value


@pytest.mark.parametrize("interruption", [SystemExit(75), KeyboardInterrupt()])
def test_what_interrupts_a_training_comes_out_as_what_it_was(interruption: BaseException) -> None:
    """A queueing system's exit keeps its status; Ctrl-C, which Lightning makes an exit, is none."""

    def interrupt(*_: object) -> None:
        raise interruption

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(type(interruption)) as caught:
        train_rivals(
            {"a": [WIDE]}, TARGET, LAW, config(), TrainerConfig(**ON), on_validation=interrupt
        )
    assert signal.getsignal(signal.SIGINT) is before
    if isinstance(caught.value, SystemExit):
        assert caught.value.code == 75
