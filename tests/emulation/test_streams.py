"""Contexts on an emulated GPU at the level of arrays: streams, devices and memory of the host's own.

Each test has a process of its own, since a backend that is loaded stays.
"""

import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "build/lib/emulated"

# CUDA's own names for its two default streams: the only ones that can be had without a call of CUDA's.
START = """
import numpy as np
import pytest
import speft
from speft import _capi

LEGACY, PER_THREAD = 1, 2
CUDA = (2, 0)
"""


def run(program):
    environment = {**os.environ, "SPEFT_BACKEND_PATH": str(FOLDER), "SPEFT_EMULATED_ANY_MEMORY": "1"}
    done = subprocess.run(
        [sys.executable, "-c", START + program], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_arrays_of_the_host_are_refused_by_name():
    run("""
context = speft.Context("cuda")
assert context.backend == "cuda"
weights = np.zeros((6, 4), np.float32)
adapter = speft.Adapter(context, [speft.Parameter.of("w", weights)], budget=5)
with pytest.raises(speft.InvalidArgument, match="'w' must be on cuda:0; got cpu"):
    adapter.bind_weights("w", weights)
with pytest.raises(speft.InvalidArgument, match="must be on cuda:0; got cpu"):
    adapter.observe("w", dense=weights)
""")


def test_a_device_that_is_not_there_is_refused():
    run("""
with pytest.raises(speft.InvalidArgument, match="device must be in .0, 1.; got 3"):
    speft.Context("cuda", device=3)
""")


def test_producers_and_consumers_are_told_of_streams():
    run("""
assert speft.Context("cuda").dlpack_stream == 1
assert speft.Context("cuda", stream=PER_THREAD).dlpack_stream == PER_THREAD
assert speft.Context("cuda", stream=lambda: PER_THREAD).dlpack_stream == -1
context = speft.Context("cuda", stream=PER_THREAD)
for consumer in (None, 0, LEGACY, PER_THREAD, -1):
    context.precede(consumer)
with pytest.raises(speft.Error):
    context.precede(12345)  # no stream: it was asked to wait
""")


def test_a_context_follows_the_host_from_stream_to_stream():
    run("""
asked = []
current = PER_THREAD
def find():
    asked.append(current)
    return current
context = speft.Context("cuda", stream=find)
adapter = speft.Adapter(context, [speft.Parameter("w", (6, 4))], budget=5)
context.close()  # the adapter goes on
for current in (0, PER_THREAD, LEGACY):
    adapter.state
assert asked[-3:] == [0, PER_THREAD, LEGACY]
current = 12345
with pytest.raises(speft.Error):
    adapter.state
current = 0
adapter.state
""")


def test_memory_comes_from_the_allocator_with_its_stream():
    run("""
import ctypes
held, streams = {}, set()
class Pool:
    def allocate(self, bytes, alignment, stream):
        streams.add(stream)
        memory = ctypes.create_string_buffer(bytes + alignment)
        address = -(-ctypes.addressof(memory) // alignment) * alignment
        held[address] = memory
        return address
    def deallocate(self, address, bytes, stream):
        streams.add(stream)
        del held[address]
class OnGpu:
    def __init__(self, array):
        self.array = array
    def __dlpack__(self, *, stream=None, max_version=None):
        assert stream in (PER_THREAD, -1)
        capsule = self.array.__dlpack__(max_version=max_version)
        _capi.view_tensor(capsule).device.type = _capi.SPEFT_DEVICE_CUDA
        return capsule
    def __dlpack_device__(self):
        return CUDA
context = speft.Context("cuda", stream=PER_THREAD, allocator=Pool())
weights = np.ones((6, 4), np.float32)
adapter = speft.Adapter(context, [speft.Parameter.of("w", OnGpu(weights))], selection="mask")
adapter.bind_weights("w", OnGpu(weights))
adapter.set_mask("w", np.array([2, 3, 5]))
adapter.select()
adapter.accumulate("w", dense=OnGpu(weights))
adapter.step()
assert held and streams == {PER_THREAD}
gradient = adapter.gradient("w")
assert gradient.__dlpack_device__() == CUDA
for stream in (None, LEGACY, PER_THREAD, -1):
    gradient.__dlpack__(stream=stream, max_version=(1, 0))
del gradient, adapter, context
assert not held
""")
