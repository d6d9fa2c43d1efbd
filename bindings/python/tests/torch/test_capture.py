"""The tap on linear layers: the layer computes what it computed, and autograd works as it did."""

import copy
import pickle
import types

import pytest
import torch
from torch import nn

import speft
from speft.torch import SparseAdapter


def capture(module, **options):
    """A selected adapter over all weights of the linear layers in `module`."""
    targets = options.pop("targets", [name for name, p in module.named_parameters() if p.ndim == 2])
    adapter = SparseAdapter(module, targets, selection="magnitude", density=0.5, **options)
    adapter.select()
    return adapter


def gradients(adapter):
    return {
        name: values.grad.clone()
        for name, values in zip(adapter.masks, adapter.param_groups[0]["params"], strict=True)
    }


def plain_copy(module):
    plain = copy.deepcopy(module)
    for parameter in plain.parameters():
        parameter.requires_grad_()
    return plain


def assert_same_gradients(adapter, plain, **tolerance):
    tolerance = tolerance or {"rtol": 1e-5, "atol": 1e-6}  # float32 sums in another order
    for name, mask in adapter.masks.items():
        expected = plain.get_parameter(name).grad.flatten()[mask].float()
        torch.testing.assert_close(gradients(adapter)[name], expected, **tolerance)


@pytest.mark.parametrize("shape", [(5,), (7, 5), (2, 3, 5), (0, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_same_bits_forward_and_backward(shape, bias):
    layer = nn.Sequential(nn.Linear(5, 4, bias=bias))
    adapter = capture(layer, dense=["0.bias"] if bias else ())
    plain = plain_copy(layer)
    x = torch.randn(shape, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    ours, theirs = layer(x), plain(y)
    assert torch.equal(ours, theirs)
    (ours**2).sum().backward()
    (theirs**2).sum().backward()
    assert torch.equal(x.grad, y.grad)
    if bias:
        assert torch.equal(layer[0].bias.grad, plain[0].bias.grad)
    assert_same_gradients(adapter, plain)


def test_autocast():
    layer = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 4))
    adapter = capture(layer, dense=["*.bias"])
    plain = plain_copy(layer)
    x = torch.randn(7, 5, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, theirs = layer(x), plain(y)
    assert ours.dtype == torch.bfloat16 and torch.equal(ours, theirs)
    (ours**2).sum().backward()
    (theirs**2).sum().backward()
    assert torch.equal(x.grad, y.grad) and x.grad.dtype == torch.float32
    assert torch.equal(layer[0].bias.grad, plain[0].bias.grad)
    # Theirs is rounded to bfloat16, 8 bits; ours is a float32 sum of the same products.
    assert_same_gradients(adapter, plain, rtol=2**-7, atol=2**-7)


def test_several_uses_in_one_graph_and_retained_graphs():
    layer = nn.Sequential(nn.Linear(5, 5))
    adapter = capture(layer)
    plain = plain_copy(layer)
    x = torch.randn(3, 5)
    for module in (layer, plain):
        loss = module(torch.tanh(module(x))).square().sum()
        loss.backward(retain_graph=True)
        loss.backward()
    assert_same_gradients(adapter, plain)


def test_tied_layers_are_one_target():
    model = nn.Sequential(nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 5))
    model[2].weight = model[0].weight
    adapter = capture(model, targets=["2.weight"])
    assert list(adapter.masks) == ["0.weight"]
    plain = plain_copy(model)
    x = torch.randn(3, 5)
    model(x).square().sum().backward()
    plain(x).square().sum().backward()
    assert_same_gradients(adapter, plain)


def test_first_layer_whose_input_needs_no_gradient():
    layer = nn.Sequential(nn.Linear(5, 4))
    adapter = capture(layer)
    layer(torch.randn(3, 5)).sum().backward()
    assert all(gradient.any() for gradient in gradients(adapter).values())


def test_layers_without_gradient_are_ordinary():
    layer = nn.Sequential(nn.Linear(5, 4))
    adapter = capture(layer)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert not layer(torch.randn(3, 5)).requires_grad
    with pytest.raises(speft.InvalidState):
        adapter.step()


def test_transformers_conv1d():
    Conv1D = pytest.importorskip("transformers.pytorch_utils").Conv1D
    layer = nn.Sequential(Conv1D(4, 5))
    adapter = capture(layer, dense=["0.bias"])
    plain = plain_copy(layer)
    x = torch.randn(2, 3, 5, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    ours, theirs = layer(x), plain(y)
    assert torch.equal(ours, theirs)
    (ours**2).sum().backward()
    (theirs**2).sum().backward()
    assert torch.equal(x.grad, y.grad)
    assert_same_gradients(adapter, plain)


def test_forward_hooks_of_the_host_still_run():
    layer = nn.Sequential(nn.Linear(5, 4))
    seen = []
    layer[0].register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    capture(layer)
    layer(torch.randn(3, 5))
    assert seen == [(3, 4)]


def test_input_by_keyword():
    layer = nn.Sequential(nn.Linear(5, 4))
    adapter = capture(layer)
    layer[0](input=torch.randn(3, 5)).sum().backward()
    assert all(gradient.any() for gradient in gradients(adapter).values())


def test_second_derivatives_are_refused():
    layer = nn.Sequential(nn.Linear(5, 4))
    adapter = capture(layer)
    x = torch.randn(3, 5, requires_grad=True)
    (first,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()
    adapter.close()


def test_only_linear_layers_have_activations():
    model = nn.ModuleDict({"table": nn.Embedding(5, 4), "norm": nn.LayerNorm(4), "layer": nn.Linear(4, 4)})
    for target, kind in (
        ("table.weight", "Embedding"),
        ("norm.weight", "LayerNorm"),
        ("layer.bias", "'bias'"),
    ):
        with pytest.raises(speft.InvalidArgument, match=f"'{target}'.*{kind}.*dense"):
            SparseAdapter(model, [target])
    assert "forward" not in vars(model["layer"])

    class Twice(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    with pytest.raises(speft.InvalidArgument, match="Twice"):
        SparseAdapter(nn.Sequential(Twice(3, 3)), ["0.weight"])


def test_dense_takes_any_parameter():
    model = nn.Sequential(nn.Embedding(7, 5), nn.LayerNorm(5))
    adapter = capture(model, gradient="dense", targets=["*"])
    plain = plain_copy(model)
    tokens = torch.tensor([[1, 2, 2], [3, 0, 1]])
    for module in (model, plain):
        module(tokens).square().sum().backward()
    assert_same_gradients(adapter, plain)


def test_weight_used_past_its_layer_is_noticed():
    layer = nn.Sequential(nn.Linear(5, 5))
    adapter = capture(layer)
    x = torch.randn(3, 5)
    (layer(x).sum() + nn.functional.linear(x, layer[0].weight).sum()).backward()
    with pytest.raises(speft.InvalidState, match=r"'0.weight'.*gradient='dense'"):
        adapter.step()
    adapter.close()
    adapter = SparseAdapter(layer, ["*.weight"], density=0.5)
    (layer(x).sum() + nn.functional.linear(x, layer[0].weight).sum()).backward()
    with pytest.raises(speft.InvalidState, match=r"'0.weight'.*gradient='dense'"):
        adapter.observe()


def test_copies_and_pickles_are_ordinary_models():
    layer = nn.Sequential(nn.Linear(5, 4))
    adapter = capture(layer)
    x = torch.randn(3, 5)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(x), layer(x))
        assert isinstance(other[0].forward, types.MethodType) and other[0].forward.__self__ is other[0]
        other.requires_grad_()
        other(x).sum().backward()
        assert other[0].weight.grad is not None
    assert all(values.grad is None for values in adapter.parameters())


def test_second_adapter_on_the_same_layer_is_refused():
    layer = nn.Sequential(nn.Linear(5, 4))
    first = capture(layer)
    with pytest.raises(speft.InvalidArgument, match=r"'0.weight'"):
        capture(layer)
    first.close()
    capture(layer)
