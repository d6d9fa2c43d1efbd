"""What an adapter does to the model around it, and gives back."""

import copy
import gc
import weakref

import pytest
import torch
from torch import nn

import speft
from speft.torch import SparseAdapter, SparseValues

NAMES = ["0.weight", "2.weight"]


def assert_same_state(one, other):
    assert list(one) == list(other)
    assert all(torch.equal(one[name], other[name]) for name in one)


def train(adapter, batches, steps=3):
    for index in range(steps):
        batches.loss(index).backward()
        adapter.step()
        adapter.zero_grad()


def test_unmerge_restores_every_bit(batches, make_adapter):
    adapter = make_adapter()
    train(adapter, batches)
    trained = copy.deepcopy(batches.model.state_dict())
    adapter.unmerge()
    assert_same_state(batches.model.state_dict(), batches.original.state_dict())
    with pytest.raises(speft.InvalidState, match="merge"):
        batches.loss(0).backward()
        adapter.step()
    adapter.merge()
    assert_same_state(batches.model.state_dict(), trained)
    assert adapter.info.merged


def test_save_and_load(batches, make_adapter, tmp_path):
    adapter = make_adapter()
    train(adapter, batches)
    adapter.save(tmp_path / "adapter.safetensors")
    expected = batches.model(batches.inputs[0])

    fresh = copy.deepcopy(batches.original)
    loaded = SparseAdapter.load(tmp_path / "adapter.safetensors", fresh, lr=1e-2)
    assert torch.equal(fresh(batches.inputs[0]), expected)
    for name in NAMES:
        assert torch.equal(loaded.masks[name], adapter.masks[name])
        assert torch.equal(loaded.deltas[name], adapter.deltas[name])

    before = batches.loss(0, fresh)
    before.backward()
    loaded.step()
    assert batches.loss(0, fresh) < before
    loaded.unmerge()
    assert_same_state(fresh.state_dict(), batches.original.state_dict())


def test_any_safetensors_reader_can_open_the_file(batches, make_adapter, tmp_path):
    safe_open = pytest.importorskip("safetensors").safe_open
    adapter = make_adapter()
    train(adapter, batches)
    adapter.save(tmp_path / "adapter.safetensors")
    with safe_open(tmp_path / "adapter.safetensors", "pt") as file:
        assert file.metadata()
        assert torch.equal(file.get_tensor("deltas"), torch.cat(list(adapter.deltas.values())))
        assert torch.equal(file.get_tensor("4.weight.values"), batches.model[4].weight)


def test_file_for_another_model(batches, make_adapter, tmp_path):
    adapter = make_adapter()
    train(adapter, batches)
    path = tmp_path / "adapter.safetensors"
    adapter.save(path)
    adapter.close()

    def refused(model, expected):
        before = copy.deepcopy(model.state_dict())
        flags = [parameter.requires_grad for parameter in model.parameters()]
        with pytest.raises(speft.InvalidArgument, match=expected):
            SparseAdapter.load(path, model)
        assert_same_state(model.state_dict(), before)
        assert [parameter.requires_grad for parameter in model.parameters()] == flags
        assert not any("forward" in vars(module) for module in model.modules())

    other = copy.deepcopy(batches.original)
    other[2].weight.data += 1
    refused(other, "'2.weight'")
    other = copy.deepcopy(batches.original)
    other[2] = nn.Linear(20, 21)
    refused(other, "'2.weight'")
    refused(copy.deepcopy(batches.original).bfloat16(), "'0.weight'")
    refused(nn.Sequential(nn.Linear(12, 20)), "'2.weight'|'4.")


def test_checkpoints_of_the_model_stay_ordinary(batches, make_adapter):
    adapter = make_adapter()
    train(adapter, batches)
    state = copy.deepcopy(batches.model.state_dict())
    assert list(state) == list(batches.original.state_dict())
    assert batches.model.load_state_dict(state).missing_keys == []
    assert "0.speft_weight" in dict(batches.model.named_parameters())
    adapter.close()
    assert list(dict(batches.model.named_parameters())) == list(state)
    assert_same_state(batches.model.state_dict(), state)


def test_only_what_is_trained_requires_grad(batches, make_adapter):
    batches.model[2].bias.requires_grad_(False)
    adapter = make_adapter()
    required = [name for name, parameter in batches.model.named_parameters() if parameter.requires_grad]
    assert required == ["0.weight", "0.speft_weight", "2.weight", "2.speft_weight", "4.weight", "4.bias"]
    adapter.close()
    required = [name for name, parameter in batches.model.named_parameters() if parameter.requires_grad]
    assert required == ["0.weight", "0.bias", "2.weight", "4.weight", "4.bias"]


def test_an_adapter_that_is_forgotten_gives_the_model_back(batches, make_adapter):
    adapter = make_adapter()
    train(adapter, batches)
    trained = copy.deepcopy(batches.model.state_dict())
    gone = weakref.ref(adapter)
    del adapter
    gc.collect()
    assert gone() is None
    assert not any("forward" in vars(module) for module in batches.model)
    assert_same_state(batches.model.state_dict(), trained)
    batches.loss(0).backward()
    assert batches.model[0].weight.grad is not None
    make_adapter()


def test_use_after_close_raises(batches, make_adapter):
    adapter = make_adapter()
    adapter.close()
    adapter.close()
    for call in (adapter.step, adapter.select, adapter.observe, adapter.merge, adapter.unmerge):
        with pytest.raises(speft.InvalidState, match="closed"):
            call()
    with pytest.raises(speft.InvalidState, match="closed"):
        adapter.masks  # noqa: B018


def test_weights_moved_on_the_same_device_are_followed(batches, make_adapter):
    adapter = make_adapter()
    left_behind = batches.model[0].weight.data
    batches.model[0].weight.data = left_behind.clone()
    before = left_behind.clone()
    train(adapter, batches)
    assert torch.equal(left_behind, before)
    assert not torch.equal(batches.model[0].weight.data, before)
    adapter.unmerge()
    assert_same_state(batches.model.state_dict(), batches.original.state_dict())


def test_weights_that_traded_places_are_followed(batches, make_adapter):
    adapter = make_adapter()
    model = batches.model
    train(adapter, batches)
    weights = [model[0].weight, model[2].weight]
    arena = torch.empty(2, max(weight.numel() for weight in weights))
    for order in (weights, weights[::-1]):
        values = [weight.data.clone() for weight in order]
        for place, weight, value in zip(arena, order, values, strict=True):
            weight.data = place[: weight.numel()].view_as(weight).copy_(value)
        train(adapter, batches)
    adapter.unmerge()
    assert_same_state(model.state_dict(), batches.original.state_dict())


def test_weights_that_became_others_are_named(batches, make_adapter):
    adapter = make_adapter()
    batches.loss(0).backward()
    weight = batches.model[0].weight
    data = weight.data
    for changed, expected in ((data.bfloat16(), "type"), (data[:5].clone(), "shape")):
        weight.data = changed
        with pytest.raises(speft.InvalidArgument, match=f"'0.weight'.*{expected}"):
            adapter.step()
        weight.data = data
    batches.model[0].weight = nn.Parameter(data.clone())
    with pytest.raises(speft.InvalidArgument, match=r"'0.weight'.*replaced"):
        adapter.step()


def test_autograd_notices_that_weights_were_written(batches, make_adapter):
    adapter = make_adapter()
    loss = batches.loss(0)
    loss.backward(retain_graph=True)
    adapter.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize(
    ("targets", "options", "expected"),
    [
        (["0.weight", "nothing.*"], {}, "'nothing.*'.*matches no"),
        (["0.weight"], {"dense": ["tail.*"]}, "dense.*'tail.*'"),
        (["*.weight"], {"dense": ["4.*"]}, "'4.weight'.*targets.*dense"),
        ([], {}, "targets"),
        (["0.weight"], {"density": float("nan")}, "density.*nan"),
        (["0.weight"], {"density": 0.0}, "density.*0"),
        (["0.weight"], {"density": 1.01}, "density.*1.01"),
        (["0.weight"], {"budget": 241}, "budget.*240"),
        (["0.weight"], {"gradient": "sparse"}, "gradient.*activations.*'sparse'"),
        (["0.weight"], {"backend": "tpu"}, "tpu"),
    ],
)
def test_wrong_arguments(batches, targets, options, expected):
    with pytest.raises(speft.Error, match=expected):
        SparseAdapter(batches.model, targets, **options)
    assert not any("forward" in vars(module) for module in batches.model)
    assert all(parameter.requires_grad for parameter in batches.model.parameters())


def test_devices(batches):
    with pytest.raises(speft.InvalidArgument, match="meta"):
        SparseAdapter(batches.model.to("meta"), NAMES)
    mixed = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3).to("meta"))
    with pytest.raises(speft.InvalidArgument, match=r"'0.weight'.*cpu.*'1.weight'.*meta"):
        SparseAdapter(mixed, ["*.weight"])


def test_float64_is_refused_by_name(batches):
    with pytest.raises(speft.InvalidArgument, match=r"'0.weight'.*float64"):
        SparseAdapter(batches.model.double(), NAMES)


def test_one_pattern_may_be_a_string(batches):
    adapter = SparseAdapter(batches.model, "*.weight", selection="magnitude", dense="*.bias")
    adapter.select()
    assert list(adapter.masks) == ["0.weight", "2.weight", "4.weight"]
    assert sum(not isinstance(parameter, SparseValues) for parameter in adapter.parameters()) == 3
