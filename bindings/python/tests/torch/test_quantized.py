"""Training beside quantized weights: bitsandbytes' layers and ours, against dense twins and autograd."""

import copy
import pickle
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")
import bitsandbytes  # noqa: E402
from torch import nn  # noqa: E402

import speft  # noqa: E402
from speft.torch import QuantizedLinear, SparseAdapter, quantize_layers  # noqa: E402

NAMES = ["0.weight", "2.weight"]
LAYERS = (0, 2)
STEPS = 5


def put_bitsandbytes_4bit(model, kind="nf4"):
    for index in LAYERS:
        layer = model[index]
        theirs = bitsandbytes.nn.Linear4bit(
            layer.in_features, layer.out_features, compute_dtype=torch.float32, quant_type=kind
        )
        theirs.load_state_dict(layer.state_dict())
        model[index] = theirs.to("cpu")


def put_bitsandbytes_int8(model):
    for index in LAYERS:
        layer = model[index]
        theirs = bitsandbytes.nn.Linear8bitLt(
            layer.in_features, layer.out_features, has_fp16_weights=False
        )
        theirs.load_state_dict(layer.state_dict())
        model[index] = theirs.to("cpu")


def put_ours(model):
    assert quantize_layers(model, NAMES) == NAMES


def put_ours_int8(model):
    quantize_layers(model, NAMES, "int8")


QUANTIZE = {
    "bitsandbytes 4 bits": put_bitsandbytes_4bit,
    "bitsandbytes int8": put_bitsandbytes_int8,
    "ours 4 bits": put_ours,
    "ours int8": put_ours_int8,
}
every_kind = pytest.mark.parametrize("quantize", QUANTIZE.values(), ids=QUANTIZE)


def dequantized(layer):
    """What the layer's weight stands for, in float32: bitsandbytes' word for its own of 4 bits."""
    if isinstance(layer, bitsandbytes.nn.Linear4bit):
        return bitsandbytes.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    if isinstance(layer, QuantizedLinear):
        return torch.from_numpy(layer.quantized.dequantize())
    scales = layer.state.SCB if layer.weight.SCB is None else layer.weight.SCB
    return layer.weight.data.float() * scales[:, None] / 127


def make_twin(model):
    """The same model with dense layers of the same values."""
    twin = nn.Sequential(*(copy.deepcopy(model[index]) for index in range(5)))
    for index in LAYERS:
        layer = model[index]
        dense = nn.Linear(layer.in_features, layer.out_features)
        with torch.no_grad():
            dense.weight.copy_(dequantized(layer))
            dense.bias.copy_(layer.bias)
        twin[index] = dense
    return twin


def make_adapter(model, **options):
    options = {"density": 0.1, "dense": ["4.*"], "lr": 1e-2, "selection": "random", **options}
    return SparseAdapter(model, NAMES, **options)


def train(adapter, batches, model, steps=STEPS, first=0):
    for index in range(first, first + steps):
        batches.loss(index, model).backward()
        adapter.step()
        adapter.zero_grad()
        if adapter.reselection_due:
            adapter.estimate(lambda i: batches.loss(i, model), range(2))
            adapter.reselect()


@every_kind
def test_layers_compute_what_autograd_does(quantize, batches):
    """y, dX and the gradient at the mask are those of dense layers with W+Δ."""
    quantize(batches.model)
    adapter = make_adapter(batches.model)
    adapter.select()
    train(adapter, batches, batches.model)
    twin = make_twin(batches.model)
    with torch.no_grad():
        for name in NAMES:
            twin.get_parameter(name).view(-1)[adapter.masks[name]] += adapter.deltas[name]
        twin[4].load_state_dict(
            {name: batches.model[4].state_dict()[name] for name in ("weight", "bias")}
        )
    inputs = batches.inputs[7].clone().requires_grad_(True)
    others = batches.inputs[7].clone().requires_grad_(True)
    ours, expected = batches.model(inputs), twin(others)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
    nn.functional.cross_entropy(ours, batches.labels[7]).backward()
    nn.functional.cross_entropy(expected, batches.labels[7]).backward()
    torch.testing.assert_close(inputs.grad, others.grad, atol=1e-6, rtol=1e-4)
    for name, values in zip(NAMES, adapter.param_groups[0]["params"], strict=True):
        dense = twin.get_parameter(name).grad.view(-1)
        torch.testing.assert_close(values.grad, dense[adapter.masks[name]], atol=1e-6, rtol=1e-4)


SALIENCES = ["random", "magnitude", "gradient", "snip", "fisher", "wanda", "low-rank", "meprop"]
MOVING = {
    "spiel-ag": {"reselect_every": 2, "window": 1},
    "spiel-ma": {"reselect_every": 2},
    "magnitude": {"reselect_every": 2},
    "snip": {"reselect_every": 2},
}


@pytest.mark.parametrize("selection", [*SALIENCES, *(f"moving {name}" for name in MOVING)])
@pytest.mark.parametrize("quantize", [put_bitsandbytes_4bit, put_ours], ids=["bitsandbytes", "ours"])
def test_every_method_works_as_on_dense_weights(quantize, selection, batches):
    """The same masks, and deltas that differ by the rounding of the layers' products."""
    method = selection.removeprefix("moving ")
    options = {"selection": method, **(MOVING[method] if selection != method or "spiel" in method else {})}
    quantize(batches.model)
    twin = make_twin(batches.model)
    adapters = []
    for model in (batches.model, twin):
        adapter = make_adapter(model, **options)
        adapter.estimate(lambda i, model=model: batches.loss(i, model), range(3))
        adapter.select()
        train(adapter, batches, model)
        adapters.append(adapter)
    ours, dense = adapters
    assert ours.info.selected_scalars == dense.info.selected_scalars
    for name in NAMES:
        assert torch.equal(ours.masks[name], dense.masks[name])
        torch.testing.assert_close(ours.deltas[name], dense.deltas[name], atol=1e-5, rtol=1e-3)
    torch.testing.assert_close(batches.loss(9), batches.loss(9, twin), atol=1e-5, rtol=1e-4)


@every_kind
def test_saved_and_served_unmerged(quantize, batches, tmp_path):
    """The way of qSpIEL: fine-tuned, saved, reloaded by another model of the same base, equal predictions."""
    quantize(batches.model)
    pristine = copy.deepcopy(batches.model)
    codes = batches.model[0].weight.detach().clone()
    adapter = make_adapter(batches.model, selection="snip")
    adapter.estimate(batches.loss, range(3))
    adapter.select()
    seen = range(10)
    before = sum(float(batches.loss(index).detach()) for index in seen)
    for _ in range(6):
        train(adapter, batches, batches.model, len(seen))
    assert sum(float(batches.loss(index).detach()) for index in seen) < 0.97 * before  # of random labels
    assert torch.equal(batches.model[0].weight, codes)
    predictions = batches.model(batches.inputs[11]).detach()
    adapter.save(tmp_path / "adapter.safetensors")

    with torch.no_grad():
        untrained = pristine(batches.inputs[11])
    served = SparseAdapter.load(tmp_path / "adapter.safetensors", pristine)
    assert served.info.attached and not served.info.merged
    pristine.eval()
    with torch.no_grad():
        assert torch.equal(pristine(batches.inputs[11]), predictions)
        served.unmerge()
        torch.testing.assert_close(pristine(batches.inputs[11]), untrained, atol=2e-2, rtol=1e-2)
        served.attach()
        assert torch.equal(pristine(batches.inputs[11]), predictions)
    served.close()
    adapter.close()
    assert type(batches.model[0]).forward is not batches.model[0].forward
    assert "forward" not in vars(batches.model[0])


def test_the_file_fits_the_dense_values_too(batches, tmp_path):
    """An adapter belongs to the values of its base: on dense weights of the same ones it is merged in place."""
    put_bitsandbytes_4bit(batches.model)
    twin = make_twin(batches.model)
    adapter = make_adapter(batches.model)
    adapter.select()
    train(adapter, batches, batches.model)
    adapter.save(tmp_path / "adapter.safetensors")
    served = SparseAdapter.load(tmp_path / "adapter.safetensors", twin)
    assert served.info.merged
    torch.testing.assert_close(batches.loss(9, twin), batches.loss(9), atol=1e-6, rtol=1e-5)
    with pytest.raises(speft.InvalidArgument, match=r"base weights of '0\.weight'"):
        SparseAdapter.load(tmp_path / "adapter.safetensors", batches.original)


@every_kind
def test_merging_quantizes_anew(quantize, batches):
    quantize(batches.model)
    layer = batches.model[0]
    before, weights = layer.weight.detach().clone(), dequantized(layer)
    adapter = make_adapter(batches.model, lr=0.1)
    adapter.select()
    train(adapter, batches, batches.model)
    with pytest.raises(speft.InvalidState, match="speft_merge"):
        adapter.native.measure_requantization()
    wanted = weights.clone()
    wanted.view(-1)[adapter.masks["0.weight"]] += adapter.deltas["0.weight"]
    beside = batches.loss(9).detach()
    adapter.merge()
    done = adapter.native.measure_requantization("0.weight")
    assert not torch.equal(layer.weight, before)
    assert done.deltas == adapter.masks["0.weight"].numel()
    assert 0 < done.changed <= done.deltas
    error = (dequantized(layer) - wanted).norm() / wanted.norm()
    assert float(error) < 0.2 and float(error) < float((weights - wanted).norm() / wanted.norm())
    merged = batches.loss(9).detach()
    assert merged != beside
    twin = make_twin(batches.model)
    torch.testing.assert_close(merged, batches.loss(9, twin).detach(), atol=1e-5, rtol=1e-5)
    with pytest.raises(speft.InvalidState, match="speft_attach"):
        adapter.step()
    adapter.attach()
    assert torch.equal(layer.weight, before)
    assert torch.equal(batches.loss(9).detach(), beside)
    adapter.unmerge()
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize("quantize", [put_bitsandbytes_4bit, put_ours], ids=["bitsandbytes", "ours"])
def test_goes_on_from_a_state_dict(quantize, batches):
    quantize(batches.model)
    other = copy.deepcopy(batches.model)
    options = {"selection": "spiel-ag", "reselect_every": 2, "window": 1}
    adapter = make_adapter(batches.model, **options)
    adapter.select()
    train(adapter, batches, batches.model)
    state = pickle.loads(pickle.dumps(adapter.state_dict()))
    head = copy.deepcopy(batches.model[4].state_dict())
    train(adapter, batches, batches.model, first=5)

    again = make_adapter(other, **options)
    other[4].load_state_dict({name: head[name] for name in ("weight", "bias")})
    again.load_state_dict(state)
    train(again, batches, other, first=5)
    for name in NAMES:
        assert torch.equal(again.masks[name], adapter.masks[name])
        assert torch.equal(again.deltas[name], adapter.deltas[name])


def test_bitsandbytes_may_repack_its_weights():
    """In eval mode its layers reorder codes for a kernel of theirs, where the CPU has it, and round scales."""
    model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 3))
    inputs = torch.randn(5, 64)
    put_bitsandbytes_4bit(model)
    model.eval()
    with torch.no_grad():
        model(inputs)
    adapter = make_adapter(model, selection="magnitude")
    adapter.select()
    twin = make_twin(model)
    dense = make_adapter(twin, selection="magnitude")
    dense.select()
    for name in NAMES:
        assert torch.equal(adapter.masks[name], dense.masks[name])
    with torch.no_grad():
        first = model(inputs)
        torch.testing.assert_close(first, twin(inputs), atol=1e-5, rtol=1e-5)
        adapter.unmerge()
        assert torch.equal(model(inputs), first)  # all deltas are 0
        adapter.attach()
        assert torch.equal(model(inputs), first)


# ---- the layer ----


@pytest.mark.parametrize("kind", ["nf4", "fp4", "int8"])
def test_the_layer_alone(kind, batches):
    dense = nn.Linear(52, 7)
    quantized = speft.quantize(dense.weight.detach(), kind)
    layer = QuantizedLinear(quantized, dense.bias.detach().clone())
    with torch.no_grad():
        dense.weight.copy_(torch.from_numpy(quantized.dequantize()))
    x = torch.randn(2, 3, 52, requires_grad=True)
    other = x.detach().clone().requires_grad_(True)
    scale = torch.randn(2, 3, 7)
    (layer(x) * scale).sum().backward()
    (dense(other) * scale).sum().backward()
    torch.testing.assert_close(layer(x), dense(other), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(x.grad, other.grad, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(layer.bias.grad, dense.bias.grad, atol=1e-6, rtol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    assert kind in repr(layer) and "in_features=52" in repr(layer)
    moved = copy.deepcopy(layer).to(torch.bfloat16)
    narrow = moved(x.bfloat16()).float()
    torch.testing.assert_close(narrow, layer(x), atol=0.05, rtol=0.05)
    assert torch.equal(torch.from_numpy(moved.quantized.dequantize()), dense.weight)


def test_the_layers_state_is_bitsandbytes_own(batches):
    put_ours(batches.model)
    theirs = copy.deepcopy(batches.original)
    put_bitsandbytes_4bit(theirs)
    ours, expected = batches.model.state_dict(), theirs.state_dict()
    assert set(ours) == set(expected)
    for name in ("0.weight", "0.bias", "0.weight.quant_map"):
        assert torch.equal(ours[name].view(-1), expected[name].view(-1))
    other = copy.deepcopy(batches.original)
    put_ours(other)
    other.load_state_dict(expected)  # what it wrote
    for index in LAYERS:
        assert torch.equal(dequantized(other[index]), dequantized(theirs[index]))
    again = pickle.loads(pickle.dumps(batches.model))
    assert torch.equal(again(batches.inputs[0]), batches.model(batches.inputs[0]))

    with pytest.raises(RuntimeError, match=r"Missing key.*0\.weight"):
        other.load_state_dict({name: value for name, value in ours.items() if name != "0.weight"})
    with pytest.raises(RuntimeError, match=r"0\.weight is quantized from shape"):
        other.load_state_dict({
            name: expected[name.replace("0.", "2.", 1)] if name.startswith("0.weight") else value
            for name, value in expected.items()
        })
    before = dequantized(other[0])
    with pytest.raises(RuntimeError, match=r"0\.weight must have \d+ elements"):
        other.load_state_dict(expected | {"0.weight": expected["0.weight"][:-1]})
    assert torch.equal(dequantized(other[0]), before)


def test_replacing_layers(batches):
    batches.model.add_module("again", batches.model[0])  # stands twice, stays one
    assert quantize_layers(batches.model, ["0.*", "again.*"], "fp4", block=32, double_quant=False) == [
        "0.weight",
        "again.weight",
    ]
    assert batches.model[0] is batches.model.again
    assert batches.model[0].quantized.kind == "fp4" and batches.model[0].quantized.absmax_absmax is None
    assert isinstance(batches.model[2], nn.Linear)
    with pytest.raises(speft.InvalidArgument, match="pattern 'nothing'"):
        quantize_layers(batches.model, ["2.*", "nothing"])
    assert isinstance(batches.model[2], nn.Linear)
    with torch.no_grad():
        batches.model[2].weight[0, 0] = float("nan")
    with pytest.raises(speft.InvalidArgument, match=r"2\.weight: .*finite"):
        quantize_layers(batches.model, "2.*")
    assert isinstance(batches.model[2], nn.Linear)
    with pytest.raises(speft.InvalidArgument, match="2 axes"):
        QuantizedLinear(speft.quantize(torch.zeros(64)))


# ---- what cannot be ----


@pytest.mark.parametrize("selection", ["synflow", "grasp", "weight-change", "sparsegrad"])
def test_methods_of_dense_weights_are_refused_by_name(selection, batches):
    put_ours(batches.model)
    with pytest.raises(speft.Unsupported, match=rf"{selection}.*dense weights.*0\.weight"):
        make_adapter(batches.model, selection=selection)


def test_bad_layers_are_refused_by_name(batches):
    put_ours(batches.model)
    with pytest.raises(speft.InvalidArgument, match=r"'0\.weight' is quantized"):
        SparseAdapter(batches.model, "2.*weight", dense=["0.weight"])
    with pytest.raises(speft.InvalidArgument, match=r"0\.weight.*gradient='activations'"):
        make_adapter(batches.model, gradient="dense")
    unready = copy.deepcopy(batches.original)
    unready[0] = bitsandbytes.nn.Linear4bit(12, 20)
    with pytest.raises(speft.InvalidArgument, match=r"'0\.weight'.*not quantized yet"):
        make_adapter(unready)
    unready[0] = bitsandbytes.nn.Linear8bitLt(12, 20, has_fp16_weights=True)
    with pytest.raises(speft.InvalidArgument, match=r"'0\.weight'.*has_fp16_weights"):
        make_adapter(unready)
    broken = copy.deepcopy(batches.model)
    broken[0]._scales.absmax_absmax[0] = float("inf")
    with pytest.raises(speft.InvalidArgument, match=r"'0\.weight': quantized.absmax_absmax must be finite"):
        make_adapter(broken)


def test_density_counts_scalars_and_not_codes(batches):
    put_bitsandbytes_4bit(batches.model)
    adapter = make_adapter(batches.model, density=0.01, density_of="model")
    adapter.select()
    scalars = sum(parameter.numel() for parameter in batches.original.parameters())
    assert adapter.info.selected_scalars == round(0.01 * scalars)


def test_bitsandbytes_is_not_needed():
    code = (
        "import sys, torch, speft.torch as s\n"
        "model = torch.nn.Sequential(torch.nn.Linear(64, 8))\n"
        "s.quantize_layers(model, '*')\n"
        "adapter = s.SparseAdapter(model, '0.weight', density=0.1, selection='random')\n"
        "adapter.select()\n"
        "model(torch.ones(2, 64)).sum().backward()\n"
        "adapter.step()\n"
        "assert 'bitsandbytes' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
