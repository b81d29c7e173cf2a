"""Successive halving: who goes on, what it costs, what is recorded."""

import math

import pytest
import torch

from depthwright import Refusal
from depthwright.constructions import NarrowExact, NarrowExactSlim, Ridge
from depthwright.distributions import UniformCube, UniformRadius
from depthwright.networks.architecture import Architecture
from depthwright.targets import Cone, RandomNetwork
from depthwright.training import TrainerConfig, TrainingConfig, train_rivals
from depthwright.training.matching import Equality, Size
from depthwright.training.search import kept, losers, network_steps, planned_steps, rungs
from depthwright.training.tuned import start

ON = TrainerConfig(accelerator="cpu", threads=1, progress=False)


def config(**changes) -> TrainingConfig:
    values = {
        "steps": 80,
        "batch_size": 32,
        "learning_rates": [1e-3, 1e-2],
        "validation_points": 500,
        "chunk_steps": 10,
    }
    return TrainingConfig(**(values | changes))


def test_rungs_and_their_cost():
    search = config(halving=2, rungs=3)
    assert rungs(search, 80) == [10, 20, 40]
    assert network_steps(search, 12, 80) == 12 * 10 + 6 * 10 + 3 * 20 + 2 * 40
    assert rungs(config(), 80) == []
    assert network_steps(config(), 12, 80) == 12 * 80
    assert rungs(config(halving=3, rungs=2, chunk_steps=7), 50) == [7, 21]


@pytest.mark.parametrize(
    ("search", "members", "budget"),
    [
        ({"halving": 3, "rungs": 3, "chunk_steps": 100}, 27, 3950),  # 301 cost less than 300
        ({"halving": 3, "rungs": 3, "chunk_steps": 100}, 27, 27),
        ({"halving": 3, "rungs": 2, "chunk_steps": 10}, 36, 48_000),
        ({"halving": 3, "rungs": 2, "chunk_steps": 7}, 4, 1000),
        ({"halving": 2, "rungs": 5, "chunk_steps": 1}, 1, 1000),
        ({"halving": 2, "rungs": 4, "chunk_steps": 3}, 5, 777),
        ({}, 4, 1002),
    ],
)
def test_a_budget_buys_the_most_steps_that_it_can(search, members, budget):
    search = config(budget=budget, **search)
    # all of them: no training is longer than its network-steps
    fits = [k for k in range(1, budget + 1) if network_steps(search, members, k) <= budget]
    assert planned_steps(search, members) == max(fits)


def test_the_budget_of_more_steps_may_be_smaller():
    search = config(halving=3, rungs=3, chunk_steps=100, budget=3950)
    assert rungs(search, 300) == [100]
    assert rungs(search, 301) == [100, 200]
    assert (network_steps(search, 27, 300), network_steps(search, 27, 301)) == (4500, 3903)
    assert planned_steps(search, 27) == 316


def test_a_budget_below_one_step_is_refused():
    with pytest.raises(Refusal, match="budget=26 is below the 27 network-steps"):
        planned_steps(config(budget=26), 27)


def test_the_best_go_on_and_ties_go_to_the_earlier():
    assert losers([3.0, 1.0, math.nan, 1.0, 2.0], [0, 1, 2, 3, 4], 2) == [0, 2]
    assert losers([3.0, 1.0, 0.5], [0, 1], 2) == [0]  # who is gone does not come back
    assert kept(1, 5) == 1


def test_the_search_keeps_the_best_at_every_rung_and_is_recorded():
    settings = {"losses": ["l2", "l8"], "initialisations": ["he", "spread"]}
    target, law = Cone(3), UniformRadius(3)
    search = config(halving=2, rungs=2, **settings)
    found = train_rivals({"a": [(3, 12, 1)]}, target, law, search, ON).rivals["a"]
    assert len(found.members) == 16
    assert {(m.loss, m.initialisation) for m in found.members} == {
        (a, b) for a in settings["losses"] for b in settings["initialisations"]
    }
    taken = sorted(m.steps for m in found.members)
    assert taken == [20] * 8 + [40] * 4 + [80] * 4
    assert found.network_steps == sum(taken) == network_steps(search, 16, 80)
    # the same members, all trained to the end, in the order they had at the first rung
    whole = train_rivals({"a": [(3, 12, 1)]}, target, law, config(**settings), ON, progress=False)
    early = train_rivals(
        {"a": [(3, 12, 1)]}, target, law, config(**settings), ON,
        on_validation=lambda step, errors: None,
    ).rivals["a"]  # fmt: skip
    assert whole.rivals["a"].members == early.members  # and nothing of it depends on the watching
    survivors = [k for k, m in enumerate(found.members) if m.steps == 80]
    for k in survivors:
        assert found.members[k] == early.members[k]
    errors = [m.best_rmse for m in found.members]
    spread = found.spread()
    assert spread["search_best"] == min(errors) == found.member.best_rmse
    assert spread["search_worst"] == max(errors)
    assert spread["seeds_members"] == 2


def test_the_sup_criterion_keeps_the_lowest_largest_error():
    law = UniformRadius(3)
    both = [
        train_rivals(
            {"a": [(3, 12, 1)]}, Cone(3), law, config(criterion=criterion, losses=["l2", "l8"]), ON
        ).rivals["a"]
        for criterion in ("l2", "sup")
    ]
    by_l2, by_sup = both
    assert by_sup.member.best_sup == min(m.best_sup for m in by_sup.members)
    assert by_sup.member.best_sup <= by_l2.member.best_sup
    assert by_l2.member.best_rmse <= by_sup.member.best_rmse


def test_spread_puts_the_kinks_at_all_distances():
    from depthwright.training.ensemble import Ensemble

    ensemble = Ensemble((10, 4000, 1), [0], torch.float64, initialisations=["spread"])
    w, b = ensemble.weights[0][0], ensemble.biases[0][0, 0]
    at = (b.abs() / w.norm(dim=0)).detach().sort().values
    # Kolmogorov's distance to the uniform law, at a level of 1e-6
    uniform = torch.linspace(0, 1, len(at), dtype=torch.float64)
    assert float((at - uniform).abs().max()) <= 2.7 / len(at) ** 0.5


@pytest.mark.parametrize(
    "construction",
    [
        Ridge(Cone(2), accuracy=0.3),
        NarrowExact(RandomNetwork(2, 4, 2, seed=0)),
        NarrowExactSlim(RandomNetwork(2, 4, 2, seed=0)),
    ],
)
def test_tuned_starts_where_the_construction_is(construction):
    network = construction.build().network
    layers = start(network)
    target = construction.target
    law = UniformRadius(2) if isinstance(target, Cone) else UniformCube(2, target.radius)
    noises = [0.0, 0.3]
    result = train_rivals(
        {}, target, law, config(tuned_noises=noises, steps=20), ON, starts={"tuned": layers}
    )
    tuned = result.rivals["tuned"]
    assert tuned.network.architecture.widths == network.architecture.widths
    exact = [m for m in tuned.members if m.noise == 0]
    loose = [m for m in tuned.members if m.noise == 0.3]
    assert (len(exact), len(loose)) == (2, 4)  # unperturbed, the two seeds are one
    assert len({m.first_rmse for m in exact}) == 1
    assert max(m.first_rmse for m in exact) < min(m.first_rmse for m in loose)
    assert tuned.member.best_rmse <= exact[0].first_rmse
    held = all(p.dtype == torch.float32 for layer in layers for p in layer)
    again = [m.weight for m in network.to_torch(torch.float64) if isinstance(m, torch.nn.Linear)]
    for (weight, _), truth in zip(layers, again, strict=True):
        assert torch.equal(weight.double(), truth)
        assert held or weight.dtype == torch.float64


def test_what_was_equal_is_counted():
    ours, theirs = Architecture.of((3, 10, 1), nonzeros=51), Architecture.of((3, 5, 5, 1), 20)
    pair = Equality(Size.of(ours, 24), Size.of(theirs, 53))
    assert pair.ratios == {
        "width": 2.0,
        "depth": 2 / 3,
        "parameters": 51 / 56,
        "weight_bytes": 51 * 4 / (56 * 8),
        # 30 + 10 products each with an addition and 11 biases; 45 and 11
        "operations": (80 + 11) / (90 + 11),
        "nonzero_operations": 51 / 20,
    }
    assert "nothing equal; the rival's width × 2," in pair.statement
    same = Equality(Size.of(ours, 24), Size.of(ours, 24)).statement
    assert same.startswith("equal: width, depth, parameters, weight memory")
    assert Size.of(ours, 100).weight_bytes == 51 * 13


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"halving": 1}, "halving=1 keeps nobody or everybody"),
        ({"halving": 2.5}, "halving=2.5 is no whole number"),
        ({"halving": -1}, "halving=-1 is below 0"),
        ({"rungs": 0}, "rungs=0 is below 1"),
        ({"budget": -1}, "budget=-1"),
        ({"losses": []}, "at least one, each once"),
        ({"losses": ["l3"]}, "loss='l3' is unknown; choose one of l2, l8, smooth_maximum"),
        ({"initialisations": ["zero"]}, "initialisation='zero' is unknown"),
        ({"criterion": "l1"}, "criterion='l1' is unknown; choose one of l2, sup"),
        ({"tuned_noises": [-0.1]}, "tuned_noises holds -0.1"),
        ({"checkpoint_seconds": -1.0}, "checkpoint_seconds=-1.0"),
    ],
)
def test_searches_that_make_no_sense_are_refused(change, words):
    with pytest.raises(Refusal, match=words):
        config(**change)
