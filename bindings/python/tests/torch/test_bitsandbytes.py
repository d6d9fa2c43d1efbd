"""Quantization against bitsandbytes itself, on the CPU."""

import bitsandbytes
import bitsandbytes.functional as theirs
import numpy as np
import pytest
import torch

import speft

BLOCKS = (32, 64, 128, 256, 512, 1024, 2048, 4096)
TYPES = (torch.float32, torch.bfloat16, torch.float16)


@pytest.fixture
def random():
    return torch.Generator().manual_seed(11)


@pytest.fixture(autouse=True)
def eager():
    """Its PyTorch paths, of odd lengths and long blocks, are not compiled: that would take longest."""
    with torch.compiler.set_stance("force_eager"):
        yield


def make_weights(shape, dtype, random):
    """Magnitudes over many binades, a block of zeros, and one that is tiny.

    Float32's are denormal. Where its CPU kernel converts to bfloat16 in AVX-512 BF16, denormals become 0.
    """
    weights = torch.randn(shape, generator=random) * torch.exp2(
        torch.randint(-20, 3, shape, generator=random).float()
    )
    flat = weights.view(-1)
    flat[64:128] = 0
    flat[128:192] *= 1e-38 if dtype == torch.float32 else 1e-30
    return weights.to(dtype)


def same(ours, expected):
    ours = np.asarray(ours)
    return np.array_equal(ours, expected.numpy().reshape(ours.shape))  # of one axis it makes two


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("shape", [(8192,), (16384 + 77,), (12, 4096), (1,), (129,)], ids=str)
def test_codes_scales_and_values_are_the_same(kind, block, dtype, shape, random):
    weights = make_weights(shape, dtype, random)
    codes, state = theirs.quantize_4bit(weights, blocksize=block, quant_type=kind)
    ours = speft.quantize(weights, kind, block=block, double_quant=False)
    assert same(ours.codes, codes)
    assert same(ours.absmax, state.absmax)
    assert same(ours.levels, state.code)
    state.dtype = torch.float32
    assert same(ours.dequantize(), theirs.dequantize_4bit(codes, state))
    state.dtype = dtype
    out = torch.empty(shape, dtype=dtype)
    speft.Context("cpu").dequantize(ours, out)
    assert torch.equal(out, theirs.dequantize_4bit(codes, state).view(shape))
    assert ours.dtype == str(dtype).removeprefix("torch.")


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("shape", [(256, 512), (64 * 300 + 16,)], ids=str)
def test_reads_what_it_wrote(kind, dtype, shape, random):
    weights = make_weights(shape, dtype, random)
    for double_quant in (False, True):
        codes, state = theirs.quantize_4bit(weights, quant_type=kind, compress_statistics=double_quant)
        written = {"weight": codes} | {f"weight.{k}": v for k, v in state.as_dict(packed=True).items()}
        ours = speft.QuantizedTensor.from_state_dict(written)
        assert ours.shape == shape
        out = torch.empty(shape, dtype=dtype)
        speft.Context("cpu").dequantize(ours, out)
        assert torch.equal(out, theirs.dequantize_4bit(codes, state).view(shape))


@pytest.mark.parametrize("double_quant", [False, True])
@pytest.mark.parametrize("kind", ["nf4", "fp4"])
def test_it_reads_what_we_write(kind, double_quant, random):
    weights = make_weights((256, 512), torch.bfloat16, random)
    ours = speft.quantize(weights, kind, double_quant=double_quant)
    written = {key: torch.from_numpy(value.copy()) for key, value in ours.state_dict("a.weight").items()}
    codes = written.pop("a.weight")
    state = theirs.QuantState.from_dict({k.removeprefix("a.weight."): v for k, v in written.items()}, "cpu")
    assert state.dtype == torch.bfloat16
    assert tuple(state.shape) == weights.shape
    state.dtype = torch.float32
    assert same(ours.dequantize(), theirs.dequantize_4bit(codes, state))
    reference = theirs.quantize_4bit(weights, quant_type=kind, compress_statistics=double_quant)[1]
    assert written.keys() == {f"a.weight.{key}" for key in reference.as_dict(packed=True)}


def test_bytes_stored_as_another_type_are_viewed_first(random):
    weights = make_weights((64, 128), torch.bfloat16, random)
    codes, state = theirs.quantize_4bit(weights, quant_type="nf4", quant_storage=torch.bfloat16)
    written = {"weight": codes} | {f"weight.{k}": v for k, v in state.as_dict(packed=True).items()}
    with pytest.raises(speft.InvalidArgument, match="view its bytes as uint8"):
        speft.QuantizedTensor.from_state_dict(written)
    ours = speft.QuantizedTensor.from_state_dict(written | {"weight": codes.view(torch.uint8)})
    state.dtype = torch.float32
    assert same(ours.dequantize(), theirs.dequantize_4bit(codes, state))


def test_second_quantization_is_the_nearest_code(random):
    weights = make_weights((512, 512), torch.float32, random)
    ours = speft.quantize(weights)
    codes, state = theirs.quantize_4bit(weights, quant_type="nf4", compress_statistics=True)
    once = theirs.quantize_4bit(weights, quant_type="nf4")[1]
    assert same(ours.codes, codes)
    assert same(ours.absmax_levels, state.state2.code)
    # One sum is in float64, the other in float32 and pairwise: a few units in the last place.
    offset = float(ours.absmax_offset[0])
    assert offset == pytest.approx(state.offset.item(), rel=1e-6)
    # Its path for float64 input looks for the nearest of all codes, in float32.
    expected, scales = torch.ops.bitsandbytes.quantize_blockwise(
        (once.absmax - offset).double(), state.state2.code, 256
    )
    assert same(ours.absmax, expected)
    assert same(ours.absmax_absmax, scales)
    # Its kernel for float32 on CPUs rounds to steps of 2/65535 first. Where that leads to the same code,
    # scales and values differ as the offsets do, and as the differences from these: by some 1e-6 of them.
    agree = np.asarray(ours.absmax) == state.absmax.numpy()
    assert agree.mean() > 0.95
    mine = ours.dequantize().reshape(-1, 64)[agree]
    other = theirs.dequantize_4bit(codes, state).numpy().reshape(-1, 64)[agree]
    assert np.abs(mine - other).max() <= 2e-6 * offset


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_int8_is_the_same(dtype, random):
    weights = torch.randn((300, 77), generator=random) * torch.exp2(
        torch.randint(-20, 3, (300, 77), generator=random).float()
    )
    weights[5] = 0
    weights[6, :] = 1e-30
    weights = weights.to(dtype)
    codes, scales, _ = theirs.int8_vectorwise_quant(weights)
    ours = speft.quantize(weights, "int8")
    assert same(ours.codes, codes)
    assert same(ours.absmax, scales)
    assert same(ours.dequantize(), theirs.int8_vectorwise_dequant(codes, scales))


def test_int8_state_has_the_keys_of_a_layer(random):
    ours = speft.quantize(torch.randn((32, 64), generator=random), "int8")
    state = ours.state_dict("up.weight")
    layer = bitsandbytes.nn.Linear8bitLt(64, 32, bias=False, has_fp16_weights=False).to("cpu")
    assert set(state) == {f"up.{key}" for key in layer.state_dict()}
    again = speft.QuantizedTensor.from_state_dict(state, "up.weight")
    assert np.array_equal(again.dequantize(), ours.dequantize())
