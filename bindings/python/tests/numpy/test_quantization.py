"""Weights to codes and back, against plain NumPy; and states in bitsandbytes' layout."""

import dataclasses
import json

import numpy as np
import pytest

import speft

PACKED = "weight.quant_state.bitsandbytes__"


def unpack(codes):
    codes = codes.reshape(-1)
    return np.stack([codes >> 4, codes & 15], axis=1).reshape(-1)


@pytest.fixture
def weights(random):
    return random.standard_normal((24, 48), dtype=np.float32)


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize("block", [32, 64, 4096])
def test_every_weight_gets_the_nearest_level(kind, block, weights):
    quantized = speft.quantize(weights, kind, block=block, double_quant=False)
    flat = weights.reshape(-1)
    largest = [np.abs(flat[begin : begin + block]).max() for begin in range(0, flat.size, block)]
    assert np.array_equal(quantized.absmax, largest)
    scales = np.repeat(quantized.absmax, block)[: flat.size]
    levels = quantized.levels.astype(np.float64)
    distances = np.abs(flat[:, None] / scales[:, None].astype(np.float64) - levels)
    chosen = distances[np.arange(flat.size), unpack(quantized.codes)]
    assert (chosen <= distances.min(axis=1) + 2**-23).all()  # the quotient and the middle are rounded
    values = quantized.levels[unpack(quantized.codes)] * scales
    assert np.array_equal(quantized.dequantize(), values.reshape(weights.shape))


def test_double_quantization_takes_half_a_byte_and_little_more(weights):
    quantized = speft.quantize(weights)
    once = speft.quantize(weights, double_quant=False)
    assert np.array_equal(quantized.codes, once.codes)
    assert np.array_equal(quantized.absmax_offset, [np.float32(once.absmax.mean(dtype=np.float64))])
    scales = quantized.absmax_levels[quantized.absmax] * quantized.absmax_absmax + quantized.absmax_offset
    # Half of the widest step between levels of 8 bits, 9/640 of the largest difference from the mean.
    assert np.abs(scales - once.absmax).max() <= quantized.absmax_absmax[0] * (9 / 1280 + 1e-6)
    values = quantized.levels[unpack(quantized.codes)] * np.repeat(scales, 64)
    assert np.array_equal(quantized.dequantize(), values.reshape(weights.shape))


def test_int8_rounds_each_row(weights):
    weights[3] = 0
    quantized = speft.quantize(weights, "int8")
    assert np.array_equal(quantized.absmax, np.abs(weights).max(axis=1))
    assert np.abs(quantized.codes.astype(int)).max() == 127 and not quantized.codes[3].any()
    steps = quantized.absmax[:, None] / 127
    assert (np.abs(quantized.dequantize() - weights) <= steps * (0.5 + 1e-4)).all()


@pytest.mark.parametrize("double_quant", [False, True])
@pytest.mark.parametrize("kind", ["nf4", "fp4", "int8"])
def test_states_are_read_again(kind, double_quant, weights):
    quantized = speft.quantize(weights.astype(np.float16), kind, double_quant=double_quant)
    state = quantized.state_dict("a.weight")
    again = speft.QuantizedTensor.from_state_dict(state | {"b.bias": weights}, "a.weight")
    assert np.array_equal(again.dequantize(), quantized.dequantize())
    assert again.shape == weights.shape
    assert kind == "int8" or again.dtype == "float16"


def test_bfloat16_comes_in_and_out(context, weights):
    bits = (weights.view(np.uint32) >> 16).astype(np.uint16)
    quantized = speft.quantize(speft.bfloat16(bits))
    assert quantized.dtype == "bfloat16"
    out = np.empty_like(bits)
    context.dequantize(quantized, speft.bfloat16(out))
    wide = quantized.dequantize()
    narrow = (out.astype(np.uint32) << 16).view(np.float32)
    assert (np.abs(narrow - wide) <= np.abs(wide) * 2**-8).all()


@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0), (5, 13)], ids=str)
def test_any_shape(shape, random):
    weights = random.standard_normal(shape).astype(np.float32)
    for kind in ("nf4", "fp4", "int8"):
        out = speft.quantize(weights, kind).dequantize()
        assert out.shape == shape
        assert np.abs(out - weights).max(initial=0) <= 0.18 * np.abs(weights).max(initial=0)


def test_refusals_name_what_is_wrong(weights):
    def refused(text, call):
        with pytest.raises(speft.InvalidArgument, match=text):
            call()

    refused("kind must be one of", lambda: speft.quantize(weights, "int4"))
    refused("weights must be float32", lambda: speft.quantize(weights.astype(np.int64)))
    for block in (0, -64, 16, 48, 8192):
        refused("block must be a power of 2", lambda block=block: speft.quantize(weights, block=block))
    weights[2, 3] = np.nan
    refused("weights must be finite; 1 of 1152", lambda: speft.quantize(weights))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda state, fields: state.pop("weight"), "no 'weight'"),
        (lambda state, fields: state.pop("weight.absmax"), "below weight"),
        (lambda state, fields: state.pop("weight.nested_absmax"), "below weight"),
        (lambda state, fields: state.update({"weight.SCB": state["weight"]}), "below weight"),
        (lambda state, fields: state.update({f"{PACKED}fp4": state["weight"]}), "must have one"),
        (lambda state, fields: fields.update(quant_type="fp4"), "quant_type cannot be 'fp4'"),
        (lambda state, fields: fields.update(blocksize=64.0), "blocksize cannot be 64.0"),
        (lambda state, fields: fields.update(blocksize=0), "blocksize cannot be 0"),
        (lambda state, fields: fields.update(dtype="int8"), "dtype cannot be 'int8'"),
        (lambda state, fields: fields.update(shape=[-1, 3]), "shape cannot be"),
        (lambda state, fields: fields.update(nested_dtype="float16"), "nested_dtype cannot be"),
        (lambda state, fields: fields.pop("nested_offset"), "must have the fields"),
        (lambda state, fields: fields.update(more=1), "must have the fields"),
    ],
)
def test_foreign_states_are_refused(change, text, weights):
    state = speft.quantize(weights).state_dict()
    fields = json.loads(state.pop(f"{PACKED}nf4").tobytes())
    change(state, fields)
    state[f"{PACKED}nf4"] = np.frombuffer(json.dumps(fields).encode(), np.uint8)
    with pytest.raises(speft.InvalidArgument, match=text):
        speft.QuantizedTensor.from_state_dict(state)


def test_broken_states_are_refused(weights):
    quantized = speft.quantize(weights)
    truncated = dataclasses.replace(quantized, codes=quantized.codes[:-1])
    with pytest.raises(speft.InvalidArgument, match=r"quantized\.data must have 576"):
        truncated.dequantize()
    state = quantized.state_dict()
    for key, size in (
        ("weight", 576),
        ("weight.absmax", 18),
        ("weight.quant_map", 16),
        ("weight.nested_absmax", 1),
        ("weight.nested_quant_map", 256),
    ):
        longer = np.concatenate([state[key].ravel(), state[key].ravel()[:1]])
        with pytest.raises(speft.InvalidArgument, match=f"{key} must have {size} elements"):
            speft.QuantizedTensor.from_state_dict(state | {key: longer})
    rows = speft.quantize(weights, "int8").state_dict()
    with pytest.raises(speft.InvalidArgument, match="SCB must have"):
        speft.QuantizedTensor.from_state_dict(rows | {"SCB": rows["SCB"][1:]})
    for packed in (b"\xff\xfe", b"[]", b""):
        broken = state | {f"{PACKED}nf4": np.frombuffer(packed, np.uint8)}
        with pytest.raises(speft.InvalidArgument, match=r"JSON|fields"):
            speft.QuantizedTensor.from_state_dict(broken)
