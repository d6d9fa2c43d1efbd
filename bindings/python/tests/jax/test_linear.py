"""The linear layer under JAX's transformations: what it hands over is the weight's gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import speft
from speft.jax import SparseAdapter, Tapped, linear


@pytest.fixture
def data(random):
    def matrix(*shape):
        return jnp.array(random.standard_normal(shape, dtype=np.float32))

    return matrix(6, 5, 12), {"kernel": matrix(12, 8), "bias": matrix(8)}


def loss(params, x):
    return (jnp.tanh(linear(x, params["kernel"], params["bias"])) ** 2).mean()


def checkpointed(params, x):
    return jax.checkpoint(loss)(params, x)


def mapped(params, x):
    return jax.vmap(loss, (None, 0))(params, x).mean()


def mapped_twice(params, x):
    return jax.vmap(jax.vmap(loss, (None, 0)), (None, 0))(params, x).mean()


def scanned(params, x):
    total, _ = jax.lax.scan(lambda total, part: (total + loss(params, part), None), 0.0, x)
    return total / len(x)


def scanned_and_checkpointed(params, x):
    total, _ = jax.lax.scan(jax.checkpoint(lambda total, part: (total + loss(params, part), None)), 0.0, x)
    return total / len(x)


def used_twice(params, x):
    return (loss(params, x[:3]) + loss(params, x[3:])) / 2


def used_twice_alike(params, x):
    return (loss(params, x) + loss(params, x)) / 2


def in_a_branch(params, x):
    return jax.lax.cond(x[0, 0, 0] < 100, lambda: loss(params, x), lambda: 0.0)


LOSSES = [
    loss,
    checkpointed,
    mapped,
    mapped_twice,
    scanned,
    scanned_and_checkpointed,
    used_twice,
    used_twice_alike,
    in_a_branch,
]


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("transformed", LOSSES, ids=lambda function: function.__name__)
def test_what_the_adapter_receives_is_the_gradient(data, transformed, compiled):
    x, params = data
    adapter = SparseAdapter(params, "kernel", selection="random", density=1.0, dense="bias")
    adapter.select(params)
    value_and_grad = adapter.value_and_grad(transformed)
    value, gradients = jax.block_until_ready(
        (jax.jit(value_and_grad) if compiled else value_and_grad)(params, x)
    )
    expected_value, expected = jax.value_and_grad(loss)(params, x)
    received = np.from_dlpack(adapter.native.gradient("kernel")).reshape(12, 8)
    # float32 sums over 30 tokens of numbers below 1, in other orders.
    np.testing.assert_allclose(received, expected["kernel"], rtol=0, atol=30 * 2**-24)
    np.testing.assert_allclose(gradients.dense["bias"], expected["bias"], rtol=0, atol=30 * 2**-24)
    assert np.isclose(value, expected_value, rtol=1e-5)
    assert not np.any(gradients.received["kernel"])


@pytest.mark.parametrize("layout", ["in_out", "out_in"])
def test_the_input_gradient_is_that_of_a_plain_layer(data, layout):
    x, params = data
    weight = params["kernel"] if layout == "in_out" else params["kernel"].T
    adapter = SparseAdapter({"w": weight}, "w", selection="random")

    def squares(x, tap=None):
        return (linear(x, weight, layout=layout, tap=tap) ** 2).sum()

    plain, tapped = (jax.grad(squares)(x, tap) for tap in (None, adapter.taps["w"]))
    np.testing.assert_allclose(tapped, plain, rtol=1e-5, atol=1e-5)


def test_a_plain_weight_has_an_ordinary_gradient(data):
    x, params = data
    expected = jax.grad(lambda w: ((x @ w) ** 2).sum())(params["kernel"])
    np.testing.assert_allclose(
        jax.grad(lambda w: (linear(x, w) ** 2).sum())(params["kernel"]), expected, rtol=1e-6
    )


def test_a_tap_is_data_and_serves_many_adapters_by_one_program(data):
    x, params = data

    @jax.jit
    def backward(taps, params):
        return jax.grad(lambda taps: (linear(x, params["kernel"], tap=taps["kernel"]) ** 2).sum())(taps)

    received = []
    for seed in range(3):
        adapter = SparseAdapter(params, "kernel", selection="random", density=1.0, seed=seed)
        adapter.select(params)
        jax.block_until_ready(backward(adapter.taps, params))
        received.append(np.from_dlpack(adapter.native.gradient("kernel")))
    assert backward._cache_size() == 1
    assert (
        np.any(received[0])
        and np.array_equal(received[0], received[1])
        and np.array_equal(received[0], received[2])
    )


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_a_model_may_cast_its_parameters(data, dtype):
    x, params = data
    # Numbers of adapters and parameters beyond what these types can hold at once.
    many = {f"kernel{number}": jnp.zeros((2, 2)) for number in range(300)} | params
    adapter = SparseAdapter(many, "kernel*", selection="random", density=1.0)
    adapter.select(many)

    def casting(params, x):
        cast = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
        return linear(x.astype(dtype), cast["kernel"]).astype(jnp.float32).sum()

    adapter.value_and_grad(casting)(many, x)
    received = np.from_dlpack(adapter.native.gradient("kernel")).reshape(12, 8)
    expected = np.array(x.astype(dtype), np.float32).sum((0, 1))[:, None]  # dy is 1
    np.testing.assert_allclose(received, np.broadcast_to(expected, (12, 8)), rtol=0, atol=30 * 8 * 2**-24)


def test_a_changed_tap_is_refused(data):
    x, params = data
    adapter = SparseAdapter(params, "kernel", selection="random")
    tap = adapter.taps["kernel"]
    for changed in (tap * 0.5, tap + np.eye(8, dtype=np.float32)[0], tap * 0, tap * np.nan):
        with pytest.raises(speft.InvalidArgument, match="tap must reach linear"), speft.jax.speft_errors():
            jax.block_until_ready(
                jax.grad(lambda tap: linear(x, params["kernel"], tap=tap).sum())(jnp.array(changed))
            )


def test_a_target_that_linear_does_not_see_says_what_to_do(data):
    x, params = data
    adapter = SparseAdapter(params, "kernel", selection="random")
    with pytest.raises(TypeError, match=r"must be used by speft\.jax\.linear"):
        adapter.value_and_grad(lambda params: jnp.matmul(x, params["kernel"]).sum())(params)
    assert (
        adapter.value_and_grad(lambda params: params["kernel"].weight.sum())(params)[0]
        == params["kernel"].sum()
    )


def test_a_tapped_weight_looks_like_its_array(data):
    _, params = data
    tapped = Tapped(params["kernel"], np.zeros(8, np.float32))
    assert (tapped.shape, tapped.ndim, tapped.dtype) == ((12, 8), 2, jnp.float32)
    assert len(jax.tree.leaves(tapped)) == 2


@pytest.mark.parametrize(
    "shape, layout", [((8, 12), "in_out"), ((12, 8), "out_in"), ((12,), "in_out"), ((1, 12, 8), "in_out")]
)
def test_shapes_that_do_not_fit_are_refused(data, shape, layout):
    x, _ = data
    with pytest.raises(
        speft.InvalidArgument, match=r"x must be \[\.\.\., in\] and weight .*got shapes \(6, 5, 12\)"
    ):
        linear(x, jnp.zeros(shape), layout=layout)
    with pytest.raises(speft.InvalidArgument, match="layout must be one of out_in, in_out; got 'xy'"):
        linear(x, jnp.zeros((12, 8)), layout="xy")


def test_the_gradient_of_a_step_cannot_be_taken(data):
    _, params = data
    adapter = SparseAdapter(params, "kernel", selection="random", gradient="dense")
    params = adapter.select(params)
    gradients = {"kernel": jnp.ones((12, 8))}
    with pytest.raises(ValueError, match="cannot be differentiated"):
        jax.grad(lambda params: adapter.step(gradients, params)["kernel"].sum())(params)
    with pytest.raises(NotImplementedError, match="vmap is only supported"):
        jax.vmap(lambda scale: adapter.step({"kernel": scale * gradients["kernel"]}, params))(jnp.arange(2.0))
    assert adapter.info.steps == 0
