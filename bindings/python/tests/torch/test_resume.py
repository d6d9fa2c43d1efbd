"""Stopping and going on: bit for bit as if training had never stopped."""

import copy
import io
from itertools import cycle, product

import pytest
import torch

import speft

HALF = 4


def train(batches, adapter, steps, model=None):
    for index in steps:
        batches.loss(index, model).backward()
        adapter.step()
        adapter.zero_grad()
        if adapter.reselection_due:
            adapter.estimate(lambda batch: batches.loss(batch, model), range(2))
            adapter.reselect()


def through_a_file(state):
    """What torch.save keeps of it, loaded as Trainer does."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def as_lists(masks):
    return {name: mask.tolist() for name, mask in masks.items()}


def assert_same_weights(model, other):
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


OPTIONS = [
    {},
    {"gradient": "dense", "age": "per-weight"},
    {"optimizer": "sgd", "momentum": 0.9},
    {"delta_type": "bfloat16", "seed": 3},
]
MORE_OPTIONS = [
    {"optimizer": "adam", "state": "bfloat16"},
    {"optimizer": "lion", "state": "blocks8"},
    {"optimizer": "adafactor"},
    {"selection": "spiel-ag", "reselect_every": 3, "window": 2},  # after steps 2, 5 and 8
    {"selection": "spiel-ag", "reselect_every": 4, "window": 3, "gradient": "dense", "drop": "change"},
    {"selection": "spiel-ma", "reselect_every": 3, "window": 2},
    {"selection": "random", "reselect_every": 2},
    {"reselect_every": 3, "keep_moments": True},
    {"reselect_every": 4, "settled_limit": 9, "gradient": "dense"},
]
HOSTS = ["pretrained weights", "its own checkpoint"]


@pytest.mark.parametrize(
    ("options", "host", "selected"),
    [
        *product(OPTIONS, HOSTS, [False, True]),
        *((options, host, True) for options, host in zip(MORE_OPTIONS, cycle(HOSTS), strict=False)),
    ],
)
def test_resuming_is_as_never_having_stopped(batches, make_adapter, options, host, selected):
    adapter = make_adapter(**options)
    train(batches, adapter, range(HALF))
    state, weights = through_a_file(adapter.state_dict()), copy.deepcopy(batches.model.state_dict())
    masks = as_lists(adapter.masks)
    train(batches, adapter, range(HALF, 2 * HALF))
    finished = copy.deepcopy(batches.model)
    deltas, last_masks = adapter.deltas, as_lists(adapter.masks)
    assert (last_masks != masks) == ("reselect_every" in options)
    adapter.close()

    batches.model.load_state_dict(batches.original.state_dict())
    resumed = make_adapter(selected=selected, **options)
    if host == "its own checkpoint":
        batches.model.load_state_dict(weights)
    resumed.load_state_dict(state)
    assert as_lists(resumed.masks) == masks
    train(batches, resumed, range(HALF, 2 * HALF))
    assert_same_weights(batches.model, finished)
    assert as_lists(resumed.masks) == last_masks
    assert all(torch.equal(resumed.deltas[name], delta) for name, delta in deltas.items())
    resumed.unmerge()
    for name, weight in batches.original.named_parameters():
        if not name.startswith("4."):  # a new head has no original to go back to but what was there
            assert torch.equal(batches.model.get_parameter(name), weight)


def test_another_learning_rate_and_the_schedule_come_back(batches, make_adapter):
    adapter = make_adapter()
    train(batches, adapter, range(2))
    for group in adapter.param_groups:
        group["lr"] = 0.5
    state = through_a_file(adapter.state_dict())
    adapter.param_groups[0]["lr"] = 0.1
    adapter.load_state_dict(state)
    assert [group["lr"] for group in adapter.param_groups] == [0.5, 0.5]


def test_a_parameter_stays_the_object_that_others_hold(batches, make_adapter):
    adapter = make_adapter()
    train(batches, adapter, range(2))
    state = adapter.state_dict()
    held = list(adapter.parameters())
    train(batches, adapter, range(2, 4))
    adapter.load_state_dict(state)
    assert all(a is b for a, b in zip(held, adapter.parameters(), strict=True))
    batches.loss(4).backward()
    assert all(values.grad is not None for values in held)
    norm = torch.nn.utils.clip_grad_norm_(adapter.parameters(), 1e-3)
    assert norm > 1e-3
    adapter.step()


def test_a_state_of_other_parameters_changes_nothing(batches, make_adapter):
    other = make_adapter(targets=["0.weight"])
    train(batches, other, range(1))
    state = other.state_dict()
    other.unmerge()
    other.close()

    adapter = make_adapter()
    train(batches, adapter, range(2))
    before = copy.deepcopy(batches.model)
    with pytest.raises(speft.InvalidArgument, match=r"2\.weight \[20, 20\]"):
        adapter.load_state_dict(state)
    assert_same_weights(batches.model, before)
    train(batches, adapter, range(2, 3))


def test_foreign_weights_change_nothing(batches, make_adapter):
    adapter = make_adapter()
    train(batches, adapter, range(2))
    state = adapter.state_dict()
    adapter.unmerge()
    adapter.close()

    with torch.no_grad():
        batches.model[0].weight.add_(1)
    adapter = make_adapter()
    train(batches, adapter, range(2))
    before, deltas = copy.deepcopy(batches.model), adapter.deltas
    with pytest.raises(speft.InvalidArgument, match=r"0\.weight"):
        adapter.load_state_dict(state)
    assert_same_weights(batches.model, before)
    assert all(torch.equal(adapter.deltas[name], delta) for name, delta in deltas.items())
    train(batches, adapter, range(2, 3))
    adapter.unmerge()


def test_a_state_from_before_the_selection(batches, make_adapter):
    adapter = make_adapter(selected=False)
    state = adapter.state_dict()
    adapter.load_state_dict(state)
    for index in range(2):
        batches.loss(index).backward()
        adapter.observe()
    adapter.select()
    with pytest.raises(speft.InvalidState, match="before the selection"):
        adapter.load_state_dict(state)
