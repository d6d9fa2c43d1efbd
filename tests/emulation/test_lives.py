"""Whole lives of adapters on the CUDA backend's own sources, emulated on the CPU, beside the same lives on the CPU.

What is computed scalar by scalar has to be equal to the bit: masks, weights, files, checkpoints. The backend's memory
is its own: whoever looks into it from the host is found out.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
import speft
from device_arrays import Memory

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "build/lib/emulated/libspeft_cuda.so"
SHAPES = {"query": (24, 40), "value": (40, 24), "bias": (24,)}
STEPS = 6


@pytest.fixture(scope="module")
def memory():
    header = (ROOT / "capi/include/speft/backend.h").read_text()
    return Memory(PLUGIN, int(re.search(r"SPEFT_BACKEND_ABI_VERSION (\d+)", header)[1]))


@pytest.fixture(scope="module")
def contexts():
    cuda = speft.Context("cuda", backend_path=str(PLUGIN.parent))
    assert cuda.backend == "cuda"
    return speft.Context("cpu", threads=1), cuda


class Life:
    """One adapter and the host's arrays, on either backend: `place` brings an array there."""

    def __init__(self, context, place, dtype="float32", **options):
        self.place, self.dtype = place, dtype
        self.random = np.random.default_rng(5)
        self.weights = {name: self.make(shape) for name, shape in SHAPES.items()}
        parameters = [
            speft.Parameter(name, shape, dtype, role="dense" if name == "bias" else "sparse")
            for name, shape in SHAPES.items()
        ]
        self.adapter = speft.Adapter(context, parameters, **options)
        for name, weight in self.weights.items():
            self.adapter.bind_weights(name, self.view(weight))

    def make(self, shape):
        values = self.random.standard_normal(shape).astype(np.float32)
        return self.place((values.view(np.uint32) >> 16).astype(np.uint16) if self.dtype == "bfloat16" else values)

    def view(self, array):
        return speft.bfloat16(array) if self.dtype == "bfloat16" else array

    def observe(self, batches=2):
        for _ in range(batches):
            for name, shape in SHAPES.items():
                self.adapter.observe(name, dense=self.view(self.make(shape)))
            self.adapter.finish_observation(1.0)

    def accumulate(self):
        for name, shape in SHAPES.items():
            self.adapter.accumulate(name, dense=self.view(self.make(shape)))

    def train(self, steps=STEPS, move=True):
        """With `move`, masks go where they are to go as soon as they may."""
        for _ in range(steps):
            self.accumulate()
            if move:
                self.move()
            self.adapter.step(speft.Hyperparameters(lr=1e-2, weight_decay=0.1))
            if move:
                self.move()

    def move(self):
        if self.adapter.state.reselection_due:
            self.adapter.reselect()

    def read(self, array):
        return array if isinstance(array, np.ndarray) else array.host()

    def picture(self):
        """All that is to be equal: weights, masks, the adapter's file and its checkpoint."""
        files = []
        for write in (self.adapter.save, self.adapter.save_checkpoint):
            with io.BytesIO() as file:
                write(file)
                files.append(file.getvalue())
        masks = [np.from_dlpack(self.adapter.mask(name)).tolist() for name in list(SHAPES)[:2]]
        return [self.read(weight).tobytes() for weight in self.weights.values()], masks, files


def live(contexts, memory, story, **options):
    """The same story on both backends; their pictures have to be equal."""
    for cpu, cuda in zip(
        story(Life(contexts[0], lambda array: array, **options)),
        story(Life(contexts[1], memory.place, **options)),
        strict=True,
    ):
        assert cpu == cuda


def train_and_merge(life):
    life.observe()
    life.adapter.select()
    yield life.picture()
    life.train()
    yield life.picture()
    life.adapter.unmerge()
    yield life.picture()
    life.adapter.merge()
    yield life.picture()


@pytest.mark.parametrize(
    "selection", ["random", "magnitude", "gradient", "snip", "force", "taylor-fo", "fisher", "synflow", "grasp"]
)
@pytest.mark.parametrize("scope", ["global", "per-tensor", "per-row"])
def test_selections(contexts, memory, selection, scope):
    live(contexts, memory, train_and_merge, selection=selection, scope=scope, density=0.1)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd", "lion", "sm3"])
@pytest.mark.parametrize("state", ["float32", "bfloat16", "blocks8"])
def test_optimizers(contexts, memory, optimizer, state):
    if optimizer == "sm3" and state != "float32":
        pytest.skip("SM3 has no moments")
    live(contexts, memory, train_and_merge, selection="snip", density=0.1, optimizer=optimizer, state=state)


@pytest.mark.parametrize("delta_type", ["float32", "bfloat16"])
def test_bfloat16_weights(contexts, memory, delta_type):
    options = {"dtype": "bfloat16", "delta_type": delta_type}
    live(contexts, memory, train_and_merge, selection="snip", density=0.1, **options)


def test_masks_of_each_step(contexts, memory):
    def story(life):
        life.adapter.select()
        life.train()
        yield life.picture()

    live(contexts, memory, story, selection="meprop", density=0.02)


@pytest.mark.parametrize("selection", ["spiel-ag", "spiel-ma"])
def test_moving_masks(contexts, memory, selection):
    def story(life):
        life.adapter.select()
        for _ in range(3):
            life.train(4)
            yield life.picture()

    live(contexts, memory, story, selection=selection, density=0.05, reselect_every=3, window=2, total_steps=40)


def test_dynamic_masks(contexts, memory):
    def story(life):
        life.observe()
        life.adapter.select()
        for _ in range(2):
            life.train(3, move=False)
            life.observe()
            life.adapter.reselect()
            yield life.picture()

    live(contexts, memory, story, selection="snip", density=0.05, reselect_every=3)


def test_files_travel(contexts, memory):
    """What one backend has written the other one reads, and gives the same weights."""
    here, there = (
        Life(contexts[0], lambda array: array, selection="snip", density=0.1),
        Life(contexts[1], memory.place, selection="snip", density=0.1),
    )
    for life in (here, there):
        life.observe()
        life.adapter.select()
        life.train()
        life.adapter.unmerge()
    for source, life, context in ((here, there, contexts[1]), (there, here, contexts[0])):
        with io.BytesIO() as file:
            source.adapter.save(file)
            loaded = speft.Adapter.load(context, file.getvalue())
        before = life.picture()[0]
        for name, weight in life.weights.items():
            life.adapter.bind_weights(name, None)
            loaded.bind_weights(name, weight)
        loaded.merge()
        source.adapter.merge()
        merged = [life.read(weight).tobytes() for weight in life.weights.values()]
        assert merged == source.picture()[0] and merged != before
        source.adapter.unmerge()
        loaded.unmerge()
        loaded.close()
        for name, weight in life.weights.items():
            life.adapter.bind_weights(name, weight)


def test_memory_of_the_wrong_device_is_refused(contexts, memory):
    parameter = [speft.Parameter("w", (4, 4), "float32")]
    array = np.zeros((4, 4), np.float32)
    for context, weights in ((contexts[0], memory.place(array)), (contexts[1], array)):
        adapter = speft.Adapter(context, parameter, selection="random", density=0.5)
        with pytest.raises(speft.InvalidArgument, match="'w'.*(cpu|cuda:0)"):
            adapter.bind_weights("w", weights)
