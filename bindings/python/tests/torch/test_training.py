"""Training against plain PyTorch: torch.optim.AdamW over the deltas, fed with full gradients at the masks."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint_sequential

import speft
from speft.torch import SparseAdapter, SparseValues

NAMES = ["0.weight", "2.weight"]
HEAD = ["4.weight", "4.bias"]
MODES = ["activations", "dense"]
LR = 1e-2
STEPS = 8

# A gradient is a sum over tokens, in another order than PyTorch's: relative error around 1e-6. AdamW divides
# by the gradient's own size, so that an update (of size lr) carries that error relative to lr, more where a
# gradient passes through zero.
TOLERANCE = {"rtol": 0, "atol": 1e-3 * LR}


class Reference:
    """The trained model as it ought to be: the original plus deltas that torch.optim.AdamW trains."""

    def __init__(self, batches, masks, **options):
        self.batches = batches
        self.model = copy.deepcopy(batches.original)
        self.masks = masks
        self.deltas = {name: torch.zeros(mask.numel(), requires_grad=True) for name, mask in masks.items()}
        self.head = [self.model.get_parameter(name) for name in HEAD]
        options = {"lr": LR, "weight_decay": 0.0, **options}
        self.optimizer = torch.optim.AdamW(
            [{"params": list(self.deltas.values())}, {"params": self.head, "weight_decay": 0.0}], **options
        )

    def gather(self):
        for name, delta in self.deltas.items():
            delta.grad = self.model.get_parameter(name).grad.flatten()[self.masks[name]].clone()

    def clip(self, max_norm):
        return nn.utils.clip_grad_norm_([*self.deltas.values(), *self.head], max_norm)

    @torch.no_grad()
    def step(self):
        self.optimizer.step()
        for name, delta in self.deltas.items():
            weight, original = self.model.get_parameter(name), self.batches.original.get_parameter(name)
            weight.flatten()[self.masks[name]] = original.flatten()[self.masks[name]] + delta
        self.model.zero_grad()


def assert_same_weights(batches, reference):
    for name, expected in reference.model.state_dict().items():
        torch.testing.assert_close(batches.model.state_dict()[name], expected, **TOLERANCE, msg=name)
    for name, weight in batches.original.state_dict().items():
        if name in reference.masks:
            changed = (batches.model.get_parameter(name).detach() != weight).flatten()
            changed[reference.masks[name]] = False
            assert not changed.any()


def train_both(batches, adapter, reference):
    for index in range(STEPS):
        batches.loss(index).backward()
        adapter.step()
        adapter.zero_grad()
        batches.loss(index, reference.model).backward()
        reference.gather()
        reference.step()
    assert_same_weights(batches, reference)


@pytest.mark.parametrize("gradient", MODES)
def test_plain_loop(batches, make_adapter, gradient):
    adapter = make_adapter(gradient=gradient)
    reference = Reference(batches, adapter.masks)
    train_both(batches, adapter, reference)
    for name, delta in reference.deltas.items():
        torch.testing.assert_close(adapter.deltas[name], delta.detach(), **TOLERANCE)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd(batches, make_adapter, momentum):
    adapter = make_adapter(optimizer="sgd", lr=0.1, momentum=momentum, weight_decay=0.01)
    reference = Reference(batches, adapter.masks)
    groups = [{"params": list(reference.deltas.values())}, {"params": reference.head}]
    reference.optimizer = torch.optim.SGD(groups, lr=0.1, momentum=momentum, weight_decay=0.01)
    train_both(batches, adapter, reference)


@pytest.mark.parametrize("gradient", MODES)
@pytest.mark.parametrize("optimizer", ["adamw", "adam"])
def test_all_of_a_weight_is_trained_as_by_pytorch(batches, optimizer, gradient):
    """At full density, with decay to 0: torch.optim.Adam and AdamW over the weights themselves."""
    options = {"lr": LR, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}
    adapter = SparseAdapter(
        batches.model,
        NAMES,
        selection="magnitude",
        density=1.0,
        dense=["4.*"],
        optimizer=optimizer,
        decay="zero",
        gradient=gradient,
        **options,
    )
    adapter.select()
    plain = copy.deepcopy(batches.original)
    weights = [plain.get_parameter(name) for name in [*NAMES, *HEAD]]
    theirs = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[optimizer](weights, **options)
    for index in range(STEPS):
        batches.loss(index).backward()
        adapter.step()
        adapter.zero_grad()
        plain.zero_grad()
        batches.loss(index, plain).backward()
        theirs.step()
    for name in [*NAMES, *HEAD]:
        torch.testing.assert_close(
            batches.model.get_parameter(name), plain.get_parameter(name), **TOLERANCE, msg=name
        )


def test_bfloat16_deltas(batches, make_adapter):
    """Clipping and scaling see float32 gradients; the weights are the originals plus what the deltas hold."""
    adapter = make_adapter(delta_type="bfloat16")
    for index in range(STEPS):
        batches.loss(index).backward()
        assert all(values.grad.dtype == torch.float32 for values in adapter.parameters())
        nn.utils.clip_grad_norm_(adapter.parameters(), 0.05)
        adapter.step()
        adapter.zero_grad()
    for name, delta in adapter.deltas.items():
        assert delta.dtype == torch.bfloat16 and delta.any()
        original = batches.original.get_parameter(name).detach().flatten()[adapter.masks[name]]
        trained = batches.model.get_parameter(name).detach().flatten()[adapter.masks[name]]
        assert torch.equal(trained, original + delta.float())
    # A sum of a few float32 roundings of 2^-24 each against deltas of 2^-7 or so.
    assert adapter.measure_rounding_loss() < 1e-4


@pytest.mark.parametrize("gradient", MODES)
def test_no_dense_gradient_stays(batches, make_adapter, gradient):
    adapter = make_adapter(gradient=gradient)
    batches.loss(0).backward()
    for name in NAMES:
        assert batches.model.get_parameter(name).grad is None
    assert all(isinstance(values, SparseValues) for values in adapter.param_groups[0]["params"])
    assert [values.grad.numel() for values in adapter.param_groups[0]["params"]] == [
        mask.numel() for mask in adapter.masks.values()
    ]


@pytest.mark.parametrize("gradient", MODES)
@pytest.mark.parametrize("over", ["adapter", "model"])
def test_clipping(batches, make_adapter, gradient, over):
    adapter = make_adapter(gradient=gradient)
    reference = Reference(batches, adapter.masks)
    for index in range(STEPS):
        batches.loss(index).backward()
        parameters = adapter.parameters() if over == "adapter" else batches.model.parameters()
        norm = nn.utils.clip_grad_norm_(parameters, 0.05)
        adapter.step()
        adapter.zero_grad()
        batches.loss(index, reference.model).backward()
        reference.gather()
        torch.testing.assert_close(norm, reference.clip(0.05), rtol=1e-4, atol=0)
        reference.step()
    assert_same_weights(batches, reference)


@pytest.mark.parametrize("gradient", MODES)
def test_accumulation(batches, make_adapter, gradient):
    adapter = make_adapter(gradient=gradient)
    reference = Reference(batches, adapter.masks)
    for step in range(4):
        for index in range(3 * step, 3 * step + 3):
            (batches.loss(index) / 3).backward()
            (batches.loss(index, reference.model) / 3).backward()
        adapter.step()
        adapter.zero_grad()
        reference.gather()
        reference.step()
    assert_same_weights(batches, reference)


@pytest.mark.parametrize("gradient", MODES)
def test_grad_scaler(batches, make_adapter, gradient):
    adapter = make_adapter(gradient=gradient)
    reference = Reference(batches, adapter.masks)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for index in range(STEPS):
        scaler.scale(batches.loss(index)).backward()
        scaler.unscale_(adapter)
        nn.utils.clip_grad_norm_(adapter.parameters(), 0.1)
        scaler.step(adapter)
        scaler.update()
        adapter.zero_grad()
        batches.loss(index, reference.model).backward()
        reference.gather()
        reference.clip(0.1)
        reference.step()
    assert_same_weights(batches, reference)


@pytest.mark.parametrize("gradient", MODES)
def test_grad_scaler_skips_a_step_that_overflowed(batches, make_adapter, gradient):
    adapter = make_adapter(gradient=gradient)
    before = copy.deepcopy(batches.model.state_dict())
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    scaler.scale(1000 * batches.loss(0)).backward()
    scaler.step(adapter)
    scaler.update()
    assert adapter.info.steps == 0 and scaler.get_scale() == 2.0**126
    assert all(torch.equal(before[name], weight) for name, weight in batches.model.state_dict().items())


@pytest.mark.parametrize("gradient", MODES)
@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing(batches, make_adapter, gradient, reentrant):
    adapter = make_adapter(gradient=gradient)
    reference = Reference(batches, adapter.masks)
    for index in range(STEPS):
        inputs = (
            batches.inputs[index].clone().requires_grad_()
        )  # a reentrant checkpoint needs an input with a gradient
        outputs = checkpoint_sequential(batches.model, 2, inputs, use_reentrant=reentrant)
        nn.functional.cross_entropy(outputs, batches.labels[index]).backward()
        adapter.step()
        adapter.zero_grad()
        batches.loss(index, reference.model).backward()
        reference.gather()
        reference.step()
    assert_same_weights(batches, reference)


@pytest.mark.parametrize("gradient", MODES)
@pytest.mark.parametrize("decay", ["original", "zero"])
def test_weight_decay(batches, make_adapter, gradient, decay):
    adapter = make_adapter(gradient=gradient, weight_decay=0.5, decay=decay, dense=())
    adapter_masks = adapter.masks
    reference = Reference(batches, adapter_masks, weight_decay=0.5)
    if decay == "zero":
        # Over the whole weights, as torch.optim.AdamW has it; what is outside of the mask is put back.
        full = torch.optim.AdamW(
            [reference.model.get_parameter(name) for name in NAMES], lr=LR, weight_decay=0.5
        )
    for index in range(STEPS):
        batches.loss(index).backward()
        adapter.step()
        adapter.zero_grad()
        batches.loss(index, reference.model).backward()
        reference.model[4].zero_grad()
        if decay == "original":
            reference.gather()
            reference.step()
            continue
        full.step()
        reference.model.zero_grad()
        for name, mask in adapter_masks.items():
            weight, original = reference.model.get_parameter(name), batches.original.get_parameter(name)
            outside = torch.ones(weight.numel(), dtype=torch.bool).index_fill(0, mask, False).view_as(weight)
            weight.data.copy_(torch.where(outside, original, weight))
    assert_same_weights(batches, reference)


def test_groups_and_schedulers(batches, make_adapter):
    adapter = make_adapter(selected=False)
    scheduler = torch.optim.lr_scheduler.LambdaLR(adapter, [lambda step: 1 / (1 + step), lambda step: 1.0])
    for index in range(2):
        batches.loss(index).backward()
        adapter.observe()
    adapter.select()
    reference = Reference(batches, adapter.masks)
    for index in range(STEPS):
        batches.loss(index).backward()
        adapter.step()
        scheduler.step()
        adapter.zero_grad()
        reference.optimizer.param_groups[0]["lr"] = LR / (1 + index)
        batches.loss(index, reference.model).backward()
        reference.gather()
        reference.step()
    assert [group["name"] for group in adapter.param_groups] == ["sparse", "dense"]
    assert_same_weights(batches, reference)


def test_learning_rate_may_be_a_tensor(batches, make_adapter):
    adapter = make_adapter(lr=torch.tensor(0.0))
    batches.loss(0).backward()
    adapter.step()
    original = batches.original.state_dict()
    assert all(torch.equal(weight, original[name]) for name, weight in batches.model.state_dict().items())


def test_step_takes_a_closure(batches, make_adapter):
    adapter = make_adapter()

    def closure():
        adapter.zero_grad()
        loss = batches.loss(0)
        loss.backward()
        return loss

    assert adapter.step(closure).item() > adapter.step(closure).item()


@pytest.mark.parametrize("gradient", MODES)
def test_what_the_host_makes_of_a_gradient_is_used(batches, make_adapter, gradient):
    """In place, by another tensor, by None: as for any optimizer."""
    adapter = make_adapter(gradient=gradient, dense=())
    first, second = adapter.param_groups[0]["params"]

    batches.loss(0).backward()
    first.grad = torch.full_like(first, 2.0)
    second.grad = None
    adapter.step()
    # AdamW's first step is lr times the gradient's sign.
    torch.testing.assert_close(first.detach(), torch.full_like(first, -LR), rtol=1e-5, atol=0)
    assert not second.detach().any()

    batches.loss(1).backward()  # adds to the 2 of the first, starts afresh for the second
    plain = copy.deepcopy(batches.model)
    for parameter in plain.parameters():
        parameter.requires_grad_()
    batches.loss(1, plain).backward()
    for name, values, before in (("0.weight", first, 2.0), ("2.weight", second, 0.0)):
        expected = before + plain.get_parameter(name).grad.flatten()[adapter.masks[name]]
        torch.testing.assert_close(values.grad, expected, rtol=1e-5, atol=1e-6)

    batches.model.zero_grad()
    assert first.grad is None
    batches.loss(1).backward()
    torch.testing.assert_close(
        first.grad, expected_gradient(plain, "0.weight", adapter), rtol=1e-5, atol=1e-6
    )


def expected_gradient(model, name, adapter):
    return model.get_parameter(name).grad.flatten()[adapter.masks[name]]


def test_zero_grad_to_zeros_goes_on_with_zeros(batches, make_adapter):
    adapter = make_adapter()
    batches.loss(0).backward()
    adapter.step()
    adapter.zero_grad(set_to_none=False)
    assert all(not values.grad.any() for values in adapter.parameters())
    before = adapter.deltas["0.weight"]
    adapter.step()  # the momentum moves on
    assert not torch.equal(adapter.deltas["0.weight"], before)
    adapter.zero_grad()
    with pytest.raises(speft.InvalidState, match="no gradient"):
        adapter.step()


def test_gradient_that_never_arrived_is_named(batches):
    unused = nn.ModuleDict({"used": batches.model, "idle": nn.Linear(3, 3)})
    adapter = SparseAdapter(
        unused, ["used.0.weight", "idle.weight"], selection="magnitude", scope="per-tensor", density=0.2
    )
    adapter.select()
    batches.loss(0).backward()
    with pytest.raises(speft.InvalidState, match=r"'idle.weight'"):
        adapter.step()
    assert adapter.info.steps == 0

    adapter.close()
    adapter = SparseAdapter(unused, ["used.0.weight", "idle.weight"], density=0.2)
    batches.loss(0).backward()
    with pytest.raises(speft.InvalidState, match=r"'idle.weight'"):
        adapter.observe()


@pytest.mark.parametrize("gradient", MODES)
def test_bfloat16_model(batches, gradient):
    model = batches.model.bfloat16()
    original = copy.deepcopy(model)
    adapter = SparseAdapter(model, NAMES, density=0.1, selection="magnitude", gradient=gradient, lr=LR)
    adapter.select()
    for index in range(4):
        nn.functional.cross_entropy(model(batches.inputs[index].bfloat16()), batches.labels[index]).backward()
        adapter.step()
        adapter.zero_grad()
    for name, delta in adapter.deltas.items():
        expected = original.get_parameter(name).detach().clone()
        mask = adapter.masks[name]
        expected.flatten()[mask] = (expected.flatten()[mask].float() + delta).bfloat16()
        assert torch.equal(model.get_parameter(name).detach(), expected)
    adapter.unmerge()
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.state_dict().values(), original.state_dict().values(), strict=True)
    )


def test_an_adapter_is_neither_copied_nor_extended(make_adapter):
    adapter = make_adapter()
    with pytest.raises(TypeError, match="save"):
        copy.deepcopy(adapter)
    with pytest.raises(speft.Unsupported):
        adapter.add_param_group({"params": [nn.Parameter(torch.zeros(3))]})
