"""Which scalars are chosen, against torch.topk over scores from plain autograd."""

import pytest
import torch

import speft
from speft.torch import SparseAdapter

NAMES = ["0.weight", "2.weight"]

SCORES = {
    "gradient": lambda weight, gradient: gradient.abs(),
    "snip": lambda weight, gradient: (weight * gradient).abs(),
    "force": lambda weight, gradient: -weight * gradient,
    "taylor-fo": lambda weight, gradient: (weight * gradient).double() ** 2,
    "magnitude": lambda weight, gradient: weight.abs(),
    "smallest-magnitude": lambda weight, gradient: -weight.abs(),
}


def scores_of(batches, selection, weights):
    """Scores by plain PyTorch, of the weighted mean of the gradients of all batches."""
    model = batches.original
    mean = {name: torch.zeros_like(model.get_parameter(name)) for name in NAMES}
    for index, weight in enumerate(weights):
        model.zero_grad()
        batches.loss(index, model).backward()
        for name in NAMES:
            mean[name] += weight / sum(weights) * model.get_parameter(name).grad
    return {name: SCORES[selection](model.get_parameter(name).detach(), mean[name]) for name in NAMES}


def topk_masks(scores, scope, density):
    if scope == "per-tensor":
        return {
            n: s.flatten().topk(int(density * s.numel() + 1e-6)).indices.sort().values
            for n, s in scores.items()
        }
    everything = torch.cat([score.flatten() for score in scores.values()])
    chosen = torch.zeros(everything.numel(), dtype=torch.bool)
    chosen[everything.topk(int(density * everything.numel() + 1e-6)).indices] = True
    parts = chosen.split([score.numel() for score in scores.values()])
    return {name: part.nonzero().flatten() for name, part in zip(scores, parts, strict=True)}


@pytest.mark.parametrize("gradient", ["activations", "dense"])
@pytest.mark.parametrize("scope", ["global", "per-tensor"])
@pytest.mark.parametrize("selection", SCORES)
def test_masks_are_those_of_topk(batches, selection, scope, gradient):
    weights = [16.0, 16.0, 3.0]
    adapter = SparseAdapter(
        batches.model, NAMES, density=0.07, selection=selection, scope=scope, gradient=gradient
    )
    for index, weight in enumerate(weights):
        batches.loss(index).backward()
        adapter.observe(weight)
    assert all(parameter.grad is None for parameter in batches.model.parameters())
    adapter.select()
    expected = topk_masks(scores_of(batches, selection, weights), scope, 0.07)
    # Gradients are summed in another order, so two scores may swap where they differ in the last bits; here
    # none do.
    for name in NAMES:
        assert torch.equal(adapter.masks[name], expected[name])


def test_gradients_of_dense_parameters_are_consumed_too(make_adapter, batches):
    adapter = make_adapter(selected=False)
    batches.loss(0).backward()
    assert batches.model[4].weight.grad is not None
    adapter.observe()
    assert batches.model[4].weight.grad is None


def test_micro_batches_of_one_observation_add_up(batches, make_adapter):
    adapter = make_adapter(selected=False, density=0.05, dense=())
    for index in range(3):
        (batches.loss(index) / 3).backward()
    adapter.observe()
    adapter.select()
    expected = topk_masks(scores_of(batches, "gradient", [1, 1, 1]), "global", 0.05)
    assert all(torch.equal(adapter.masks[name], expected[name]) for name in NAMES)


def test_random_needs_no_observation_and_is_seeded(batches):
    def draw(**options):
        with SparseAdapter(batches.model, NAMES, selection="random", budget=50, **options) as adapter:
            adapter.select()
            return adapter.masks

    first = draw(seed=3)
    assert sum(mask.numel() for mask in first.values()) == 50
    assert all(torch.equal(first[name], draw(seed=3)[name]) for name in NAMES)
    assert any(not torch.equal(first[name], draw(seed=4)[name]) for name in NAMES)


def test_observing_where_it_is_not_needed_is_accepted(make_adapter, batches):
    for gradient in ("activations", "dense"):
        with make_adapter(selected=False, selection="magnitude", gradient=gradient) as adapter:
            batches.loss(0).backward()
            adapter.observe()
            adapter.select()


def test_given_masks(batches):
    masks = {"0.weight": torch.tensor([5, 7, 200]), "2.weight": torch.tensor([], dtype=torch.int64)}
    adapter = SparseAdapter(batches.model, NAMES, selection=masks)
    adapter.select()
    assert all(torch.equal(adapter.masks[name], masks[name]) for name in NAMES)
    batches.loss(0).backward()
    adapter.step()


def test_given_scores(batches):
    scores = {name: torch.rand_like(batches.model.get_parameter(name)) for name in NAMES}
    adapter = SparseAdapter(batches.model, NAMES, selection=scores, density=0.1)
    adapter.select()
    expected = topk_masks(scores, "global", 0.1)
    assert all(torch.equal(adapter.masks[name], expected[name]) for name in NAMES)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ("best", "selection.*gradient.*'best'"),
        ("score-function", "selection.*function.*'score-function'"),
        ("mask", "selection.*dict.*'mask'"),
        ({"0.weight": torch.tensor([1])}, "nothing.*'2.weight'"),
        (
            {"0.weight": torch.tensor([1]), "2.weight": torch.tensor([1]), "4.weight": torch.tensor([1])},
            "'4.weight'",
        ),
        ({"0.weight": torch.tensor([1]), "2.weight": torch.rand(20, 20)}, "masks.*scores"),
    ],
)
def test_wrong_selections(batches, selection, expected):
    with pytest.raises(speft.InvalidArgument, match=expected):
        SparseAdapter(batches.model, NAMES, selection=selection, density=0.1)


@pytest.mark.parametrize("selection", sorted({*speft.SELECTIONS} - {"mask", "scores", "score-function"}))
def test_every_selection_works_with_its_defaults_alone(batches, selection):
    adapter = SparseAdapter(batches.model, NAMES, selection=selection)
    adapter.estimate(batches.loss, range(2))
    if selection == "weight-change":
        batches.loss(0).backward()
        torch.optim.SGD(batches.model.parameters(), lr=0.1).step()
    adapter.select()
    by_step = selection in ("sparsegrad", "meprop")
    assert adapter.info.selected_scalars == (0 if by_step else 3)
    for index in range(6):  # past the first reselection of SpIEL
        batches.loss(index).backward()
        adapter.step()
        adapter.zero_grad()
    assert any(delta.any() for delta in adapter.deltas.values())
    assert adapter.param_groups[0]["decay"] == ("after" if "spiel" in selection else "original")
    assert len(adapter.history) == (6 if by_step else "spiel" in selection)
    adapter.unmerge()
    for name in NAMES:
        assert torch.equal(batches.model.get_parameter(name), batches.original.get_parameter(name))


def test_budgets_by_rank_by_row_and_of_the_whole_model(batches):
    def count(**options):
        with SparseAdapter(batches.model, NAMES, selection="magnitude", **options) as adapter:
            adapter.select()
            masks = adapter.masks
            adapter.unmerge()
        return {name: mask.numel() for name, mask in masks.items()}, masks

    assert count(rank=2, scope="per-tensor")[0] == {"0.weight": 2 * 32, "2.weight": 2 * 40}
    counts, masks = count(density=0.2, scope="per-row")
    assert counts == {"0.weight": 20 * 2, "2.weight": 20 * 4}
    assert torch.equal(torch.bincount(masks["0.weight"] // 12), torch.full((20,), 2))
    scalars = sum(weight.numel() for weight in batches.model.parameters())
    assert sum(count(density=0.05, density_of="model")[0].values()) == int(0.05 * scalars)
    with pytest.raises(speft.InvalidArgument, match="density_of.*'all'"):
        SparseAdapter(batches.model, NAMES, density_of="all")


def test_default_density_is_half_a_percent(batches):
    adapter = SparseAdapter(batches.model, NAMES, selection="magnitude")
    adapter.select()
    assert adapter.info.selected_scalars == int(0.005 * (20 * 12 + 20 * 20))


def test_clearing_forgets_an_open_batch(make_adapter, batches):
    adapter = make_adapter(selected=False, dense=())
    (1000 * batches.loss(5)).backward()
    adapter.clear_observations()
    batches.loss(0).backward()
    adapter.observe()
    adapter.select()
    expected = topk_masks(scores_of(batches, "gradient", [1]), "global", 0.1)
    assert all(torch.equal(adapter.masks[name], expected[name]) for name in NAMES)
