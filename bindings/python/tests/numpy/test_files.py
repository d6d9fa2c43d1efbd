"""Files: compact ones, checkpoints, open files and bytes in place of paths, and the documented format."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
import speft

FORMAT = Path(__file__).resolve().parents[4] / "docs" / "file-format.md"
SHAPES = {"w": (6, 4), "empty": (0, 3), "v": (30, 50), "head": (5,)}


def draw_gradients(seed):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}


def bind(adapter, weights):
    for name, array in weights.items():
        adapter.bind_weights(name, array)
    return adapter


def train(adapter, seeds):
    for seed in seeds:
        for name, gradient in draw_gradients(seed).items():
            adapter.accumulate(name, dense=gradient)
        adapter.step(speft.Hyperparameters(lr=1e-2, weight_decay=0.1), allow_missing=True)


@pytest.fixture
def trained(context):
    """An adapter with two steps behind it, and the weights that it is merged into."""
    weights = draw_gradients(100)
    parameters = [speft.Parameter.of(name, weights[name]) for name in ("w", "empty", "v")]
    parameters.append(speft.Parameter("head", (5,), role="dense"))
    adapter = bind(speft.Adapter(context, parameters, selection="magnitude", density=0.02), weights)
    adapter.select()
    train(adapter, range(2))
    return adapter, weights


def write(save):
    file = io.BytesIO()
    save(file)
    return file.getvalue()


def test_resuming_is_as_if_never_stopped(trained, tmp_path):
    adapter, weights = trained
    adapter.accumulate("v", dense=draw_gradients(50)["v"])  # stopped in the middle of an accumulation
    adapter.save_checkpoint(tmp_path / "checkpoint")
    resumed_weights = {name: array.copy() for name, array in weights.items()}
    loaded = speft.Adapter.load_checkpoint(speft.Context("cpu"), tmp_path / "checkpoint")
    resumed = bind(loaded, resumed_weights)
    resumed.merge()
    for either in (adapter, resumed):
        train(either, range(2, 5))
    for name, array in weights.items():
        np.testing.assert_array_equal(resumed_weights[name], array)
    assert resumed.state == adapter.state
    assert write(resumed.save_checkpoint) == write(adapter.save_checkpoint)

    resumed.unmerge()
    for name, array in draw_gradients(100).items():
        np.testing.assert_array_equal(resumed_weights[name], array)


def test_a_checkpoint_needs_a_training(trained, context):
    adapter, _ = trained
    with pytest.raises(speft.InvalidArgument, match="load_adapter"):
        speft.Adapter.load_checkpoint(context, write(adapter.save))
    fresh = speft.Adapter.load(context, write(adapter.save_checkpoint))
    assert write(fresh.save) == write(adapter.save)


def test_paths_files_and_bytes_are_the_same(trained, context, tmp_path):
    adapter, _ = trained
    path = tmp_path / "a.safetensors"
    adapter.save(path)
    content = path.read_bytes()
    with open(tmp_path / "unbuffered", "wb", buffering=0) as file:
        adapter.save(file)
    assert (tmp_path / "unbuffered").read_bytes() == write(adapter.save) == content
    in_memory = (io.BytesIO(content), content, bytearray(content), memoryview(content))
    with open(path, "rb") as file:
        for source in (path, str(path), file, *in_memory):
            assert write(speft.Adapter.load(context, source).save) == content


def test_a_file_that_takes_less_than_it_is_given(trained):
    adapter, _ = trained

    class Slow(io.BytesIO):
        def write(self, data):
            return super().write(bytes(data)[:7])

    slow = Slow()
    adapter.save(slow)
    assert slow.getvalue() == write(adapter.save)


def test_what_a_file_raises_comes_out(trained, context):
    adapter, _ = trained

    class Full:
        def write(self, data):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left") as caught:
        adapter.save(Full())
    assert type(caught.value) is OSError
    with pytest.raises(TypeError):
        adapter.save(io.StringIO())
    with pytest.raises(TypeError, match="write"):
        adapter.save(3)
    with pytest.raises(TypeError):
        speft.Adapter.load(context, 3)
    with pytest.raises(speft.Corrupt, match="given bytes"):
        speft.Adapter.load(context, b"")


def test_one_flipped_bit_is_noticed(trained, context):
    content = bytearray(write(trained[0].save))
    content[-20] ^= 1
    with pytest.raises(speft.Corrupt, match="damaged"):
        speft.Adapter.load(context, content)


def to_bfloat16(values):
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def test_compact_files_round_the_deltas(trained, context):
    adapter, _ = trained
    compact = write(lambda file: adapter.save(file, format="compact"))
    assert len(compact) < len(write(adapter.save))
    loaded = speft.Adapter.load(context, compact)
    for name in SHAPES:
        np.testing.assert_array_equal(np.from_dlpack(loaded.mask(name)), np.from_dlpack(adapter.mask(name)))
        deltas = np.from_dlpack(adapter.deltas(name))
        expected = deltas if name == "head" else to_bfloat16(deltas)
        np.testing.assert_array_equal(np.from_dlpack(loaded.deltas(name)), expected)


@pytest.mark.parametrize("format", ["exact", "compact"])
def test_the_documented_reader_reads_it(trained, context, tmp_path, format):
    adapter, _ = trained
    text = FORMAT.read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    documented: dict = {}
    exec(code, documented)
    path = tmp_path / "a.safetensors"
    adapter.save(path, format=format)
    loaded = speft.Adapter.load(context, path)
    content = documented["read_adapter"](path)
    assert list(content) == list(SHAPES)
    for name, (indices, values) in content.items():
        np.testing.assert_array_equal(values.ravel(), np.from_dlpack(loaded.deltas(name)))
        if name == "head":
            assert indices is None
            continue
        np.testing.assert_array_equal(indices, np.from_dlpack(loaded.mask(name)))


def test_any_safetensors_reader_opens_it(trained, tmp_path):
    safetensors = pytest.importorskip("safetensors")
    trained[0].save_checkpoint(tmp_path / "a.safetensors")
    with safetensors.safe_open(tmp_path / "a.safetensors", framework="numpy") as file:
        assert {"base_hashes", "deltas", "head.values", "indices", "training.originals"} <= set(file.keys())
        assert file.get_tensor("deltas").dtype == np.float32
        assert file.metadata()["speft.format"] == "2"
