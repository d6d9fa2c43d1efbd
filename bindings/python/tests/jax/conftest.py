import os

# Before JAX is imported: a second device, for what is refused there.
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
os.environ["JAX_PLATFORMS"] = "cpu"

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import speft
from speft.jax import SparseAdapter, linear


@pytest.fixture
def random():
    return np.random.default_rng(7)


@pytest.fixture
def make_params():
    """Two layers and a head; the same numbers each time, in arrays of their own."""

    def make(dtype="float32"):
        draw = np.random.default_rng(11)

        def matrix(*shape):
            return jnp.asarray(draw.standard_normal(shape, dtype=np.float32) / 4, dtype)

        return {
            "layers": [
                {"kernel": matrix(12, 16), "bias": matrix(16)},
                {"kernel": matrix(16, 10), "bias": matrix(10)},
            ],
            "head": {"kernel": matrix(10, 2)},
            "steps": jnp.zeros((), jnp.int32),  # no leaf that anyone trains
        }

    return make


@pytest.fixture
def batches(random):
    """Inputs [4 examples, 3 tokens, 12] and targets."""
    return [
        (
            jnp.asarray(random.standard_normal((4, 3, 12), dtype=np.float32)),
            jnp.asarray(random.standard_normal((4, 3, 2), dtype=np.float32)),
        )
        for _ in range(3)
    ]


def apply(params, x):
    for layer in params["layers"]:
        x = jnp.tanh(linear(x, layer["kernel"], layer["bias"]))
    return x @ params["head"]["kernel"]


def loss(params, batch):
    x, y = batch
    return ((apply(params, x) - y) ** 2).mean()


@pytest.fixture(name="loss")
def loss_fixture():
    return loss


TARGETS = "layers/*/kernel"


@pytest.fixture
def make_adapter(make_params):
    """An adapter of both layers, selected, and its tree."""

    def make(selected=True, dtype="float32", **options):
        params = make_params(dtype)
        options = {"density": 0.1, "selection": "random", "dense": "head/*", **options}
        adapter = SparseAdapter(params, TARGETS, **options)
        return (adapter, adapter.select(params)) if selected else (adapter, params)

    return make


@pytest.fixture
def make_train_step(loss):
    """A compiled step whose tree is donated."""

    def make(adapter, **options):
        @functools.partial(jax.jit, donate_argnums=0)
        def train_step(params, batch):
            value, gradients = adapter.value_and_grad(loss)(params, batch)
            return adapter.step(gradients, params, **options), value

        return train_step

    return make


@pytest.fixture
def bits_of():
    """Every leaf's bytes, by path: equality that tells -0 from 0 and finds a NaN equal to itself."""

    def bits(params):
        leaves, _ = jax.tree_util.tree_flatten_with_path(params)
        return {jax.tree_util.keystr(path): np.array(leaf).tobytes() for path, leaf in leaves}

    return bits


@pytest.fixture
def lend():
    """A writable NumPy array as `speft.Adapter` takes it: NumPy has no bfloat16 of its own."""

    def view(array):
        return speft.bfloat16(array.view(np.uint16)) if array.dtype == jnp.bfloat16 else array

    return view
