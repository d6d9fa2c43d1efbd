"""Memory on devices: whose it is, which one is meant, and on which stream it is ready."""

import ctypes

import numpy as np
import pytest

import speft
from speft import _capi
from speft._tensor import borrow, describe


class OnGpu:
    """A NumPy array that claims to lie on a GPU. Nobody may look at what is in it."""

    def __init__(self, array, index=0):
        self.array, self.index = array, index
        self.streams = []

    def __dlpack__(self, *, stream=None, max_version=None):
        self.streams.append(stream)
        capsule = self.array.__dlpack__(max_version=max_version)
        _capi.view_tensor(capsule).device.type = _capi.SPEFT_DEVICE_CUDA
        _capi.view_tensor(capsule).device.id = self.index
        return capsule

    def __dlpack_device__(self):
        return _capi.SPEFT_DEVICE_CUDA, self.index


class Pool:
    """A host's own memory, which counts."""

    def __init__(self, limit=None):
        self.held, self.most, self.limit = {}, 0, limit

    def allocate(self, bytes, alignment, stream):
        if self.limit is not None and len(self.held) >= self.limit:
            return None
        assert stream == 0
        memory = ctypes.create_string_buffer(bytes + alignment)
        address = -(-ctypes.addressof(memory) // alignment) * alignment
        self.held[address] = (memory, bytes)
        self.most = max(self.most, len(self.held))
        return address

    def deallocate(self, address, bytes, stream):
        assert self.held.pop(address)[1] == bytes


def train(context):
    weights = np.linspace(-1, 1, 24, dtype=np.float32).reshape(6, 4)
    adapter = speft.Adapter(context, [speft.Parameter.of("w", weights)], selection="magnitude", budget=5)
    adapter.bind_weights("w", weights)
    adapter.select()
    for _ in range(3):
        adapter.accumulate("w", dense=weights)
        adapter.step(speft.Hyperparameters(lr=0.1))
    return adapter, weights


# ---- the wrong device ----


def test_a_gpu_pointer_is_refused_on_the_cpu(context):
    weights = np.zeros((6, 4), np.float32)
    adapter = speft.Adapter(context, [speft.Parameter.of("w", weights)], budget=5)
    with pytest.raises(speft.InvalidArgument, match="'w' must be on cpu; got cuda:0"):
        adapter.bind_weights("w", OnGpu(weights))
    adapter.bind_weights("w", weights)
    for gradient in (
        {"dense": OnGpu(weights, index=1)},
        {"x": OnGpu(np.zeros((2, 4), np.float32), index=1), "dy": np.zeros((2, 6), np.float32)},
    ):
        with pytest.raises(speft.InvalidArgument, match="must be on cpu; got cuda:1"):
            adapter.observe("w", **gradient)


def test_a_gpu_pointer_is_refused_for_products_and_quantized_weights(context):
    weights = np.zeros((32, 32), np.float32)
    quantized = speft.quantize(weights)
    with pytest.raises(speft.InvalidArgument, match="must be on cpu; got cuda:0"):
        context.dequantize(quantized, OnGpu(weights))
    with pytest.raises(speft.InvalidArgument, match="must be on cpu; got cuda:0"):
        context.quantized_forward(quantized, OnGpu(weights), np.zeros((32, 32), np.float32))


def test_masks_are_of_host_memory(context):
    weights = np.zeros((6, 4), np.float32)
    adapter = speft.Adapter(context, [speft.Parameter.of("w", weights)], selection="mask")
    with pytest.raises(speft.InvalidArgument, match="host memory; got cuda:0"):
        adapter.set_mask("w", OnGpu(np.array([1, 2])))


# ---- streams ----


def test_producers_are_told_the_stream_that_has_to_wait():
    tensor = OnGpu(np.zeros(3, np.float32))
    borrow("x", tensor, stream=77)
    describe("x", tensor)  # looks at nothing in it
    assert tensor.streams == [77, -1]
    borrow("x", np.zeros(3, np.float32), stream=77)  # NumPy has no streams


def test_the_stream_of_the_host_is_asked_for_before_each_call():
    asked = []

    def current():
        asked.append(True)
        return 0

    context = speft.Context("cpu", stream=current)
    adapter, _ = train(context)
    before = len(asked)
    adapter.selected_count("w")
    assert len(asked) == before + 1


def test_a_stream_that_comes_up_later_is_refused_on_the_cpu():
    stream = None
    context = speft.Context("cpu", stream=lambda: stream)
    stream = 77
    with pytest.raises(speft.Unsupported, match="stream"):
        context.synchronize()
    stream = None
    context.synchronize()


# ---- memory of the host's own ----


def test_an_allocator_gives_all_memory_and_gets_it_back(context):
    pool = Pool()
    adapter, weights = train(speft.Context("cpu", allocator=pool))
    assert pool.most > 2
    assert np.array_equal(weights, train(context)[1])
    adapter.close()
    del adapter
    assert not pool.held


def test_an_allocator_with_nothing_left_is_out_of_memory():
    with pytest.raises(speft.OutOfMemory, match="cannot allocate"):
        train(speft.Context("cpu", allocator=Pool(limit=2)))


def test_what_an_allocator_raises_comes_out_and_memory_goes_back():
    class Full(Pool):
        def allocate(self, bytes, alignment, stream):
            if len(self.held) == 2:
                raise MemoryError("the pool is full")
            return super().allocate(bytes, alignment, stream)

    pool = Full()
    with pytest.raises(MemoryError, match="the pool is full"):
        train(speft.Context("cpu", allocator=pool))
    assert not pool.held
