"""Masks that move while training: what PyTorch adds to it. The methods are tested with NumPy."""

import copy

import pytest
import torch
from torch import nn

import speft
from speft.torch import SparseAdapter

NAMES = ["0.weight", "2.weight"]
MODES = ["activations", "dense"]
SPIEL = {"reselect_every": 6, "window": 3, "density": 0.1, "total_steps": 30}


def train(batches, adapter, steps, clip=None, micro_batches=1):
    """Micro-batches, clipping, re-estimation where it is due: a training loop as a user writes it."""
    for step in range(steps):
        for part in range(micro_batches):
            (batches.loss((step * micro_batches + part) % 12) / micro_batches).backward()
        if clip is not None:
            clip(adapter)
        adapter.step()
        adapter.zero_grad()
        if adapter.reselection_due:
            adapter.estimate(batches.loss, range(2))
            adapter.reselect()


def in_place(adapter):
    nn.utils.clip_grad_norm_(adapter.parameters(), 0.02)


def by_new_tensors(adapter):
    norm = torch.stack([values.grad.norm() for values in adapter.parameters()]).norm()
    for values in adapter.parameters():
        values.grad = values.grad * min(1, 0.02 / (norm + 1e-6))


def by_the_library(adapter):
    adapter.native.clip_gradient(0.02)


def masks_of(adapter):
    return {name: mask.tolist() for name, mask in adapter.masks.items()}


@pytest.fixture
def trained(make_batches):
    """A fresh model and its adapter after 20 steps of SpIEL."""

    def make(gradient, selection, clip=None, micro_batches=1):
        batches = make_batches()
        adapter = SparseAdapter(
            batches.model, NAMES, selection=selection, gradient=gradient, lr=1e-2, **SPIEL
        )
        adapter.select()
        train(batches, adapter, 20, clip, micro_batches)
        return batches, adapter

    return make


@pytest.mark.parametrize("selection", ["spiel-ag", "spiel-ma"])
def test_activations_and_dense_gradients_move_alike(trained, selection):
    (one, first), (_, second) = (trained(mode, selection, micro_batches=2) for mode in MODES)
    assert [moved.step for moved in first.history] == [3, 9, 15]
    assert first.history == second.history
    assert masks_of(first) == masks_of(second)
    # Gradients are summed in another order: see TOLERANCE of test_training.py.
    for name in NAMES:
        torch.testing.assert_close(first.deltas[name], second.deltas[name], rtol=0, atol=1e-5)
        mask = first.masks[name]
        weight, original = one.model.get_parameter(name).detach(), one.original.get_parameter(name).detach()
        changed = (weight != original).flatten()
        changed[mask] = False
        assert not changed.any()
    first.unmerge()
    assert all(torch.equal(one.model.get_parameter(name), one.original.get_parameter(name)) for name in NAMES)


@pytest.mark.parametrize("gradient", MODES)
@pytest.mark.parametrize("clip", [in_place, by_new_tensors])
def test_candidates_are_clipped_as_the_step_is(trained, gradient, clip):
    """Whoever clips, and however: the gradients of what could grow are scaled alike."""
    (_, first), (_, second) = (trained(gradient, "spiel-ag", way) for way in (by_the_library, clip))
    assert masks_of(first) == masks_of(second)
    for name in NAMES:
        # The factors differ in their last bits; a step is at most lr = 1e-2.
        torch.testing.assert_close(first.deltas[name], second.deltas[name], rtol=0, atol=1e-5)
    _, free = trained(gradient, "spiel-ag")
    assert masks_of(first) != masks_of(free)  # else nothing was tested


@pytest.mark.parametrize("gradient", MODES)
def test_grad_scaler(batches, trained, gradient):
    options = {**SPIEL, "lr": 1e-2, "gradient": gradient, "selection": "spiel-ag"}
    adapter = SparseAdapter(batches.model, NAMES, **options)
    adapter.select()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for step in range(20):
        scaler.scale(batches.loss(step % 12)).backward()
        scaler.step(adapter)
        scaler.update()
        adapter.zero_grad()
    _, plain = trained(gradient, "spiel-ag")
    assert masks_of(adapter) == masks_of(plain)
    for name in NAMES:
        # A power of two, but for what it takes to undo it by a norm.
        torch.testing.assert_close(adapter.deltas[name], plain.deltas[name], rtol=0, atol=1e-5)


@pytest.mark.parametrize("gradient", MODES)
@pytest.mark.parametrize("selection", ["spiel-ag", "spiel-ma", "random", "gradient"])
def test_parameters_stay_and_follow_the_masks(batches, selection, gradient):
    moving = SPIEL if "spiel" in selection else {"reselect_every": 4, "density": 0.1}
    adapter = SparseAdapter(
        batches.model, NAMES, selection=selection, gradient=gradient, dense=["4.*"], lr=1e-2, **moving
    )
    adapter.estimate(batches.loss, range(2))
    adapter.select()
    held = list(adapter.parameters())
    sizes = set()
    for _ in range(13):
        train(batches, adapter, 1)
        assert all(a is b for a, b in zip(held, adapter.parameters(), strict=True))
        for values, (name, mask) in zip(held, adapter.masks.items(), strict=False):
            assert torch.equal(values.detach(), adapter.deltas[name]) and values.numel() == mask.numel()
        sizes.add(tuple(values.numel() for values in held[:2]))
    assert len(sizes) > 1 or selection == "random"  # its budgets are shared out by size
    assert len(adapter.history) >= 2 and all(moved.grown for moved in adapter.history)
    assert dict(batches.model.named_parameters())["0.speft_weight"] is held[0]
    batches.loss(0).backward()
    assert nn.utils.clip_grad_norm_(batches.model.parameters(), 1e-3) > 1e-3
    assert all(values.grad.shape == values.shape for values in held)
    adapter.step()


def test_first_replacement_of_spiel_is_of_all(batches):
    adapter = SparseAdapter(batches.model, NAMES, selection="spiel-ag", **SPIEL)
    adapter.select()
    before = {name: set(mask) for name, mask in masks_of(adapter).items()}
    train(batches, adapter, 2)
    assert adapter.history == []
    train(batches, adapter, 1)
    (moved,) = adapter.history
    assert moved.turnover == 1 and moved.step == 3
    assert all(before[name].isdisjoint(mask) for name, mask in masks_of(adapter).items())


@pytest.mark.parametrize("selection", ["random", "magnitude", "smallest-magnitude", "low-rank"])
def test_what_needs_no_observation_moves_in_the_step(batches, selection):
    adapter = SparseAdapter(
        batches.model, NAMES, selection=selection, reselect_every=2, density=0.1, lr=0.1, settled_limit=40
    )
    adapter.select()
    for index in range(6):
        batches.loss(index).backward()
        adapter.step()
        adapter.zero_grad()
        assert not adapter.reselection_due
    assert [moved.step for moved in adapter.history] == [2, 4, 6]
    assert all(moved.settled <= 40 for moved in adapter.history)


@pytest.mark.parametrize("gradient", MODES)
@pytest.mark.parametrize("selection", ["gradient", "snip", "fisher", "synflow", "grasp"])
def test_dynamic_masks_are_those_of_the_trained_model(batches, selection, gradient):
    """What is selected after some steps is what a new adapter over the trained weights would select."""
    options = {"selection": selection, "density": 0.1, "gradient": gradient, "dense": ["4.*"]}
    adapter = SparseAdapter(batches.model, NAMES, reselect_every=3, lr=0.05, **options)
    adapter.estimate(batches.loss, range(2))
    adapter.select()
    first = masks_of(adapter)
    for index in range(3):
        batches.loss(index).backward()
        adapter.step()
        adapter.zero_grad()
    assert adapter.reselection_due
    fresh = copy.deepcopy(batches.original)
    fresh.load_state_dict(batches.model.state_dict())
    batches.loss(3).backward()  # as if the host had gone on
    with pytest.raises(speft.InvalidState, match="reselect"):
        adapter.step()
    with pytest.raises(speft.InvalidState, match="observ"):
        adapter.reselect()
    adapter.estimate(batches.loss, range(4, 6))
    assert all(weight.grad is None for weight in batches.model[4].parameters())
    moved = adapter.reselect()
    assert adapter.history == [moved] and moved.step == 3
    assert adapter.reselect() is None
    assert masks_of(adapter) != first

    with SparseAdapter(fresh, NAMES, **options) as other:
        other.estimate(lambda index: batches.loss(index, fresh), range(4, 6))
        other.select()
        assert masks_of(other) == masks_of(adapter)
    batches.loss(0).backward()
    adapter.step()
    adapter.unmerge()
    assert all(
        torch.equal(batches.model.get_parameter(name), batches.original.get_parameter(name)) for name in NAMES
    )


def test_a_score_of_ones_own_is_asked_again(batches):
    asked = []

    def score(name, weight, gradient):
        asked.append((name, gradient is None))
        return weight.abs() if gradient is None else gradient.abs()

    adapter = SparseAdapter(batches.model, NAMES, selection=score, reselect_every=1, density=0.1)
    adapter.select()
    batches.loss(0).backward()
    adapter.step()
    assert adapter.reselection_due  # it may want observations
    adapter.estimate(batches.loss, range(2))
    adapter.reselect()
    assert asked == [(name, first) for first in (True, False) for name in NAMES]


def test_spiel_that_starves_says_so(batches):
    with pytest.raises(speft.InvalidArgument):
        SparseAdapter(batches.model, NAMES, selection="spiel-ag", density=0.6)


def test_a_window_of_gradients_that_are_not_numbers(batches):
    adapter = SparseAdapter(batches.model, NAMES, selection="spiel-ag", **SPIEL)
    adapter.select()
    (batches.loss(0) * float("nan")).backward()
    with pytest.raises(speft.InvalidArgument, match="NaN"):
        adapter.step()
    adapter.zero_grad()
    assert adapter.info.steps == 0
    train(batches, adapter, 4)
    assert len(adapter.history) == 1
