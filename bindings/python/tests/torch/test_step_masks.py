"""SparseGrad and MeProp on PyTorch's models, against autograd and torch.optim."""

import copy
import json

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import speft  # noqa: E402
from speft.torch import SparseAdapter  # noqa: E402

NAMES = ["0.weight", "2.weight"]
STEPS = 5


def start(batches, selection, **options):
    options = {"density": 0.1, "scope": "per-tensor", "dense": ["4.*"], "lr": 1e-2, **options}
    adapter = SparseAdapter(batches.model, NAMES, selection=selection, **options)
    adapter.estimate(batches.loss, range(3))
    adapter.select()
    return adapter


def train(adapter, batches, steps=STEPS):
    for index in range(steps):
        batches.loss(index).backward()
        adapter.step()
        adapter.zero_grad()


@pytest.mark.parametrize("gradient", ["activations", "dense"])
def test_meprop_with_all_scalars_is_adam(batches, gradient):
    """Only what has a gradient of exactly 0 would stay; Adam of the same numbers rounds in another order."""
    expected = copy.deepcopy(batches.model)
    adapter = start(batches, "meprop", density=1.0, gradient=gradient)
    weights = [expected[0].weight, expected[2].weight, *expected[4].parameters()]
    for weight in expected.parameters():
        weight.requires_grad_(any(weight is other for other in weights))
    optimizer = torch.optim.AdamW(weights, lr=1e-2, weight_decay=0)
    for index in range(STEPS):
        batches.loss(index, expected).backward()
        optimizer.step()
        optimizer.zero_grad()
    train(adapter, batches)
    for index in (0, 2, 4):
        torch.testing.assert_close(batches.model[index].weight, expected[index].weight, atol=1e-6, rtol=1e-5)
    adapter.unmerge()
    assert torch.equal(batches.model[0].weight, batches.original[0].weight)


def test_sparsegrad_layers_have_the_gradient_of_autograd(batches):
    """The loss by the library's products equals that of the merged model; dX reaches the first layer's bias."""
    adapter = start(batches, "sparsegrad")
    train(adapter, batches)
    assert torch.equal(batches.model[0].weight, batches.original[0].weight)
    inside = batches.loss(7)
    adapter.merge()
    assert not torch.equal(batches.model[0].weight, batches.original[0].weight)
    merged = batches.loss(7)
    torch.testing.assert_close(inside, merged, atol=1e-5, rtol=1e-5)

    plain = copy.deepcopy(batches.original)
    for index in (0, 2, 4):
        plain[index].load_state_dict(
            {name: batches.model[index].state_dict()[name] for name in ("weight", "bias")}
        )
    adapter.attach()
    inputs = batches.inputs[7].clone().requires_grad_(True)
    nn.functional.cross_entropy(batches.model(inputs), batches.labels[7]).backward()
    others = batches.inputs[7].clone().requires_grad_(True)
    nn.functional.cross_entropy(plain(others), batches.labels[7]).backward()
    torch.testing.assert_close(inputs.grad, others.grad, atol=1e-5, rtol=1e-4)
    adapter.zero_grad()


def test_sparsegrad_takes_the_largest_of_the_rotated_gradient(batches):
    adapter = SparseAdapter(
        batches.model, NAMES, selection="sparsegrad", density=0.1, scope="per-tensor", lr=1e-2
    )
    for index in range(3):
        batches.loss(index).backward()
        adapter.observe()
    adapter.select()
    assert adapter.info.attached and not adapter.info.merged
    ordinary = copy.deepcopy(batches.original)
    batches.loss(4, ordinary).backward()
    batches.loss(4).backward()
    assert [parameter.numel() for parameter in adapter.parameters()] == [24, 40]  # selected by looking
    for name in NAMES:
        gradient = ordinary.get_parameter(name).grad
        values = dict(zip(NAMES, adapter.param_groups[0]["params"], strict=True))[name].grad
        # Orthogonal: all of the rotated gradient has the norm of the gradient, and the largest entries most of it.
        share = values.square().sum() / gradient.square().sum()
        plain = gradient.square().flatten().topk(values.numel()).values.sum() / gradient.square().sum()
        assert plain < share <= 1 + 1e-5


def test_clipping_and_scaling_reach_the_step(batches):
    adapter = start(batches, "sparsegrad", lr=0.0)
    batches.loss(0).backward()
    norm = torch.nn.utils.clip_grad_norm_(adapter.parameters(), 1e-3)
    assert norm > 1e-3
    total = torch.stack([p.grad.square().sum() for p in adapter.parameters() if p.grad is not None]).sum().sqrt()
    torch.testing.assert_close(total, torch.tensor(1e-3), rtol=1e-3, atol=0)
    adapter.step()
    adapter.zero_grad()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(batches.loss(1)).backward()
    scaler.unscale_(adapter)
    scaled = [p.grad.clone() for p in adapter.param_groups[0]["params"]]
    scaler.step(adapter)
    adapter.zero_grad()
    batches.loss(1).backward()
    for parameter, before in zip(adapter.param_groups[0]["params"], scaled, strict=True):
        torch.testing.assert_close(parameter.grad, before, atol=1e-6, rtol=1e-4)


def test_several_backward_passes_add_up(batches):
    adapter = start(batches, "meprop")
    (batches.loss(0) / 2).backward()
    (batches.loss(1) / 2).backward()
    ordinary = copy.deepcopy(batches.original)
    ((batches.loss(0, ordinary) + batches.loss(1, ordinary)) / 2).backward()
    for name, parameter in zip(NAMES, adapter.param_groups[0]["params"], strict=True):
        gradient = ordinary.get_parameter(name).grad.flatten()
        largest = gradient.abs().topk(parameter.numel()).indices.sort().values
        assert torch.equal(adapter.masks[name], largest)
        torch.testing.assert_close(parameter.grad, gradient[largest], atol=1e-6, rtol=1e-4)
    with pytest.raises(speft.InvalidState, match="selected already"):
        batches.loss(2).backward()
    adapter.zero_grad()
    batches.loss(2).backward()
    adapter.zero_grad()  # for no step
    assert adapter.info.steps == 0 and not adapter.info.reselection_due


@pytest.mark.parametrize("selection", ["sparsegrad", "meprop"])
def test_goes_on_from_a_state_dict_to_the_bit(make_batches, selection):
    batches, again = make_batches(), make_batches()
    adapter = start(batches, selection)
    train(adapter, batches, 3)
    state = copy.deepcopy(adapter.state_dict())
    resumed = SparseAdapter(
        again.model, NAMES, selection=selection, density=0.1, scope="per-tensor", dense=["4.*"], lr=1e-2
    )
    resumed.load_state_dict(state)
    for index in (5, 6):
        for one, model in ((adapter, batches), (resumed, again)):
            model.loss(index).backward()
            one.step()
            one.zero_grad()
    assert all(torch.equal(adapter.deltas[name], resumed.deltas[name]) for name in NAMES)
    adapter.merge()
    resumed.merge()
    assert torch.equal(batches.model[2].weight, again.model[2].weight)


def test_a_saved_adapter_predicts_the_same(make_batches, tmp_path):
    batches, again = make_batches(), make_batches()
    adapter = start(batches, "sparsegrad", directions=8)
    train(adapter, batches)
    adapter.save(tmp_path / "a.safetensors")
    with torch.no_grad():
        expected = batches.model(batches.inputs[9])
    loaded = SparseAdapter.load(tmp_path / "a.safetensors", again.model)
    with torch.no_grad():
        assert torch.equal(again.model(batches.inputs[9]), expected)
    loaded.merge()
    with torch.no_grad():
        torch.testing.assert_close(again.model(batches.inputs[9]), expected, atol=1e-5, rtol=1e-4)
    loaded.unmerge()
    assert torch.equal(again.model[0].weight, again.original[0].weight)


def test_half_precision_starts_exact(batches):
    """The weights are not rotated: at step 0 the model is the pretrained one, whatever its type."""
    batches.model.to(torch.bfloat16)
    with torch.no_grad():
        expected = batches.model(batches.inputs[0].bfloat16())
    adapter = SparseAdapter(batches.model, NAMES, selection="sparsegrad", density=0.1)
    nn.functional.cross_entropy(batches.model(batches.inputs[0].bfloat16()), batches.labels[0]).backward()
    adapter.observe()
    adapter.select()
    with torch.no_grad():
        actual = batches.model(batches.inputs[0].bfloat16())
    # One product in float32, rounded once, beside PyTorch's, then the same layers: a last place now and then.
    torch.testing.assert_close(actual, expected, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("selection", ["sparsegrad", "meprop"])
def test_a_mask_may_be_chosen_once(batches, selection):
    adapter = start(batches, selection, schedule="none")
    masks = adapter.masks
    train(adapter, batches)
    assert all(torch.equal(masks[name], mask) for name, mask in adapter.masks.items())
    assert adapter.history == []


@pytest.mark.parametrize("sharing, count", [("kind", 1), ("each", 3)])
def test_kinds_share_a_basis(tmp_path, sharing, count):
    model = nn.Sequential(*[nn.Linear(6, 6) for _ in range(3)])
    adapter = SparseAdapter(model, "*.weight", selection="sparsegrad", density=0.2, basis=sharing)
    model(torch.randn(4, 6)).square().sum().backward()
    adapter.observe()
    adapter.select()
    adapter.save(tmp_path / "a.safetensors")
    data = (tmp_path / "a.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert len([name for name in header if name.startswith("basis.")]) == 2 * count  # a U and a V


def test_wrong_options(batches):
    with pytest.raises(speft.InvalidArgument, match="activations"):
        SparseAdapter(batches.model, NAMES, selection="sparsegrad", gradient="dense")
    with pytest.raises(speft.InvalidArgument, match="kind"):
        SparseAdapter(batches.model, NAMES, selection="sparsegrad", basis="all")
    adapter = SparseAdapter(batches.model, NAMES, selection="sparsegrad")
    with pytest.raises(speft.InvalidState, match="observed no gradient"):
        adapter.select()
    model = nn.Sequential(nn.Linear(3, 3))
    fixed = SparseAdapter(model, "0.weight", selection="sparsegrad", schedule="none")
    with pytest.raises(speft.InvalidState, match="estimate"):
        fixed.select()
