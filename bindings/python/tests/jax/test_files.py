"""Saving, loading in a fresh process, resuming, and the original bits."""

import io
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import speft
from speft.jax import SparseAdapter


def train(train_step, params, batches, count):
    for number in range(count):
        params, _ = train_step(params, batches[number % len(batches)])
    return params


FRESH = """
import json, sys
import numpy as np
import jax.numpy as jnp
from speft.jax import SparseAdapter

base = np.load(sys.argv[1])
params = {
    "layers": [{"kernel": jnp.array(base[f"{i}"]), "bias": jnp.array(base[f"b{i}"])} for i in range(2)],
    "head": {"kernel": jnp.zeros((10, 2))},  # of a fresh model: whatever it is
    "steps": jnp.zeros((), jnp.int32),
}
adapter, merged = SparseAdapter.load(sys.argv[2], params)
kernels = [merged["layers"][0]["kernel"], merged["layers"][1]["kernel"], merged["head"]["kernel"]]
unmerged = adapter.unmerge(merged)
same = all(np.array(unmerged["layers"][i]["kernel"]).tobytes() == base[f"{i}"].tobytes() for i in range(2))
print(json.dumps([[np.array(kernel).tobytes().hex() for kernel in kernels], same]))
"""


@pytest.mark.parametrize("method", ["random", "spiel-ag"])
def test_a_fresh_process_has_the_trained_bits_and_the_original_ones(
    make_adapter, make_train_step, batches, tmp_path, method
):
    moving = {"reselect_every": 3, "window": 2} if method == "spiel-ag" else {}
    adapter, params = make_adapter(selection=method, lr=1e-2, **moving)
    layers = params["layers"]
    base = {f"{i}": np.array(layer["kernel"]) for i, layer in enumerate(layers)}
    np.savez(
        tmp_path / "base.npz", **base, **{f"b{i}": np.array(layer["bias"]) for i, layer in enumerate(layers)}
    )
    params = train(make_train_step(adapter), params, batches, 7)
    adapter.save(tmp_path / "adapter.safetensors")
    command = [sys.executable, "-c", FRESH, tmp_path / "base.npz", tmp_path / "adapter.safetensors"]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    kernels, unmerged = json.loads(answer)
    trained = [params["layers"][0]["kernel"], params["layers"][1]["kernel"], params["head"]["kernel"]]
    assert kernels == [np.array(kernel).tobytes().hex() for kernel in trained]
    assert unmerged is True


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_unmerging_gives_every_original_bit_and_merging_the_trained_ones(
    make_adapter, make_train_step, batches, bits_of, dtype
):
    adapter, params = make_adapter(dtype=dtype, lr=1e-2)
    base = bits_of(params)
    params = train(make_train_step(adapter), params, batches, 4)
    trained = bits_of(params)
    assert trained != base
    params = adapter.unmerge(params)
    assert bits_of(params) == base
    assert bits_of(adapter.unmerge(params)) == base  # nothing to do
    params = jax.jit(adapter.merge, donate_argnums=0)(params)
    assert bits_of(params) == trained
    params = jax.jit(adapter.unmerge, donate_argnums=0)(params)
    assert bits_of(params) == base


def test_save_takes_paths_files_and_formats(make_adapter, make_train_step, batches, tmp_path, bits_of):
    adapter, params = make_adapter(lr=1e-2)
    trained = train(make_train_step(adapter), params, batches, 3)
    trained_bits = bits_of(trained)
    base = adapter.unmerge(trained)
    buffer = io.BytesIO()
    adapter.save(buffer)
    adapter.save(tmp_path / "exact.safetensors")
    adapter.save(tmp_path / "compact.safetensors", format="compact")
    assert buffer.getvalue() == (tmp_path / "exact.safetensors").read_bytes()
    assert (tmp_path / "compact.safetensors").stat().st_size < len(buffer.getvalue())
    _, merged = SparseAdapter.load(buffer.getvalue(), base)
    assert bits_of(merged) == trained_bits
    with pytest.raises(speft.IOFailure):
        adapter.save(tmp_path / "missing" / "adapter.safetensors")


@pytest.mark.parametrize("restored", ["pretrained", "trained"])
def test_a_checkpoint_resumes_to_the_bit(make_adapter, make_train_step, batches, tmp_path, bits_of, restored):
    adapter, params = make_adapter(selection="spiel-ag", reselect_every=3, window=2, lr=1e-2)
    base = jax.tree.map(jnp.copy, params)
    params = train(make_train_step(adapter), params, batches, 4)
    adapter.save_checkpoint(tmp_path / "checkpoint.safetensors")
    saved = jax.tree.map(jnp.copy, params)
    # The head is no original in the file: it is trained and stored as values.
    params = train(make_train_step(adapter), params, batches, 5)
    resumed, again = SparseAdapter.load_checkpoint(
        tmp_path / "checkpoint.safetensors", base if restored == "pretrained" else saved, lr=1e-2
    )
    assert bits_of(again) == bits_of(saved)
    again = train(make_train_step(resumed), again, batches, 5)
    assert bits_of(again) == bits_of(params)
    assert [move.step for move in resumed.history] == [5, 8]


def test_a_checkpoint_of_a_score_function_needs_it_again(make_adapter, make_train_step, loss, batches):
    def score(name, weight, gradient):
        return abs(weight)

    adapter, params = make_adapter(selection=score, reselect_every=2, lr=1e-2)
    params, _ = make_train_step(adapter)(params, batches[0])
    buffer = io.BytesIO()
    adapter.save_checkpoint(buffer)
    for given in (score, None):
        resumed, again = SparseAdapter.load_checkpoint(buffer.getvalue(), params, score=given)
        again = jax.block_until_ready(make_train_step(resumed)(jax.tree.map(jnp.copy, again), batches[1])[0])
        assert resumed.reselection_due
        if given:
            resumed.reselect(again)
            assert [move.step for move in resumed.history] == [2]
        else:
            with pytest.raises(speft.InvalidState, match="score"):
                resumed.reselect(again)


def test_another_base_is_refused_and_loses_nothing(
    make_adapter, make_train_step, make_params, batches, tmp_path, bits_of
):
    adapter, params = make_adapter(lr=1e-2)
    train(make_train_step(adapter), params, batches, 2)
    adapter.save(tmp_path / "adapter.safetensors")
    other = jax.tree.map(lambda leaf: leaf * 2, make_params())
    before = bits_of(other)
    with pytest.raises(speft.InvalidArgument, match="layers/0/kernel"):
        SparseAdapter.load(tmp_path / "adapter.safetensors", other)
    assert bits_of(other) == before
    with pytest.raises(speft.InvalidArgument, match="params must have the leaf 'layers/0/kernel'"):
        SparseAdapter.load(tmp_path / "adapter.safetensors", {"head": make_params()["head"]})
    with pytest.raises(speft.Corrupt):
        SparseAdapter.load(b"no adapter", make_params())


def test_weights_that_somebody_else_has_changed_are_not_unmerged(
    make_adapter, make_train_step, batches, bits_of
):
    adapter, params = make_adapter(lr=1e-2)
    params = train(make_train_step(adapter), params, batches, 2)
    changed = jax.tree.map(lambda leaf: leaf + 1, params)
    before = bits_of(changed)
    with pytest.raises(speft.InvalidState, match="weights changed behind the adapter"):
        adapter.unmerge(changed)
    assert bits_of(changed) == before
    assert adapter.info.merged
    adapter.unmerge(params)
