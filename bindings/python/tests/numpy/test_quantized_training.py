"""Adapters on quantized weights, from NumPy: what is learned is the dense twin's, to the bit."""

import numpy as np
import pytest

import speft

SHAPE = (6, 52)
TOKENS = 5


@pytest.fixture
def random():
    return np.random.default_rng(3)


@pytest.fixture
def context():
    return speft.Context("cpu")


def make(context, weights, parameter, **options):
    options = {"density": 0.1, "selection": "magnitude", **options}
    adapter = speft.Adapter(context, [parameter], **options)
    adapter.bind_weights("w", weights)
    return adapter


def train(adapter, random, steps=4, lr=0.2):
    for _ in range(steps):
        x = random.standard_normal((TOKENS, SHAPE[1])).astype(np.float32)
        dy = random.standard_normal((TOKENS, SHAPE[0])).astype(np.float32)
        adapter.accumulate("w", x=x, dy=dy)
        adapter.step(speft.Hyperparameters(lr=lr))


def effective(adapter, weights):
    """W+Δ in float64."""
    total = weights.astype(np.float64)
    total.reshape(-1)[np.from_dlpack(adapter.mask("w"))] += np.from_dlpack(adapter.deltas("w"))
    return total


def bound(x, weights):
    """A rounding for each term of a sum, and for the delta that is added beside it."""
    return (weights.shape[1] + 2) * 2.0**-24 * (np.abs(x) @ np.abs(weights).T)


@pytest.mark.parametrize("kind", ["nf4", "fp4", "int8"])
@pytest.mark.parametrize("double_quant", [False, True])
def test_trains_as_on_dense_weights(kind, double_quant, context, random):
    base = speft.quantize(random.standard_normal(SHAPE).astype(np.float32), kind, double_quant=double_quant)
    parameter = speft.Parameter.of("w", base)
    assert parameter.shape == SHAPE and parameter.dtype == "float32"
    dense = base.dequantize()
    codes = base.codes.copy()
    twins = [make(context, weights, parameter) for weights in (base, dense.copy())]
    for adapter in twins:
        adapter.select()
        train(adapter, np.random.default_rng(8))
    ours, expected = twins
    assert np.array_equal(np.from_dlpack(ours.mask("w")), np.from_dlpack(expected.mask("w")))
    assert np.array_equal(np.from_dlpack(ours.deltas("w")), np.from_dlpack(expected.deltas("w")))
    assert np.array_equal(base.codes, codes)
    assert ours.state.attached and not ours.state.merged

    weights = effective(ours, dense)
    x = random.standard_normal((TOKENS, SHAPE[1])).astype(np.float32)
    y = np.empty((TOKENS, SHAPE[0]), np.float32)
    ours.linear_forward("w", x, y)
    assert np.all(np.abs(y - x @ weights.T) <= bound(x, weights))
    dx = np.empty_like(x)
    ours.linear_backward("w", y, dx)
    assert np.all(np.abs(dx - y @ weights) <= bound(y, weights.T))

    ours.merge()
    done = ours.measure_requantization("w")
    assert done == ours.measure_requantization()
    assert done.deltas == np.from_dlpack(ours.mask("w")).size and 0 < done.changed <= done.deltas
    merged = base.dequantize()
    assert np.linalg.norm(merged - weights) < np.linalg.norm(dense - weights)  # than without the deltas
    ours.unmerge()
    assert np.array_equal(base.codes, codes)


def test_products_without_an_adapter(context, random):
    base = speft.quantize(random.standard_normal(SHAPE).astype(np.float32))
    weights = base.dequantize().astype(np.float64)
    x = random.standard_normal((TOKENS, SHAPE[1])).astype(np.float32)
    y = np.ones((TOKENS, SHAPE[0]), np.float32)
    context.quantized_forward(base, x, y, accumulate=True)
    assert np.all(np.abs(y - 1 - x @ weights.T) <= bound(x, weights) + 2.0**-23 * np.abs(y))
    dx = np.empty_like(x)
    context.quantized_backward(base, y, dx)
    assert np.all(np.abs(dx - y @ weights) <= bound(y, weights.T))
    again = np.empty_like(x)
    context.quantized_forward(base, y, again, layout="in_out")
    assert np.array_equal(again, dx)
    with pytest.raises(speft.InvalidArgument, match="as many rows"):
        context.quantized_forward(base, x, y[:2])
    with pytest.raises(speft.InvalidArgument, match="layout"):
        context.quantized_forward(base, x, y, layout="out")


def test_rows_of_different_adapters(context, random):
    base = speft.quantize(random.standard_normal(SHAPE).astype(np.float32))
    parameter = speft.Parameter.of("w", base)
    adapters = [make(context, base, parameter, selection="random", seed=seed) for seed in range(3)]
    for adapter in adapters:
        adapter.select()
        train(adapter, random, 2)
    layers = [(adapter, "w") for adapter in adapters]
    choice = np.array([1, -1, 2, 0, 1])
    x = random.standard_normal((TOKENS, SHAPE[1])).astype(np.float32)
    y = np.empty((TOKENS, SHAPE[0]), np.float32)
    speft.linear_forward_each(layers, choice, x, y)
    dense = base.dequantize()
    for row, chosen in enumerate(choice):
        weights = dense.astype(np.float64) if chosen < 0 else effective(adapters[chosen], dense)
        both = bound(x[row : row + 1], np.abs(weights) + np.abs(weights - dense))
        assert np.all(np.abs(y[row] - x[row] @ weights.T) <= 2 * both)
    only = np.empty_like(y)
    speft.linear_forward_each(layers, choice, x, only, delta_only=True)
    assert not only[1].any() and only[0].any()
    with pytest.raises(speft.InvalidArgument, match="between -1 and 1; got 2 for row 2"):
        speft.linear_forward_each(layers[:2], choice, x, y)
    with pytest.raises(speft.InvalidArgument, match="count must be 1"):
        speft.linear_forward_each([], choice, x, y)
    with pytest.raises(speft.InvalidArgument, match="nothing"):
        speft.linear_forward_each([(adapters[0], "nothing")], choice, x, y)
    with pytest.raises(TypeError):
        speft.linear_forward_each([("adapter", "w")], choice, x, y)


def test_bad_bindings(context, random):
    base = speft.quantize(random.standard_normal(SHAPE).astype(np.float32))
    adapter = make(context, base, speft.Parameter.of("w", base))
    with pytest.raises(speft.InvalidState, match="speft_merge"):
        adapter.measure_requantization()
    base.absmax_absmax[0] = np.nan
    with pytest.raises(speft.InvalidArgument, match="weights of 'w': quantized.absmax_absmax must be finite"):
        adapter.bind_weights("w", base)
    fine = speft.quantize(random.standard_normal(SHAPE).astype(np.float32))
    fine.codes.flags.writeable = False
    with pytest.raises(speft.InvalidArgument, match="codes"):
        adapter.bind_weights("w", fine)
