"""The adapter in the form of an optax optimizer: the same bits, in place."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import speft
from speft.jax import sparse


def test_applying_updates_gives_the_bits_of_a_step_in_place(
    make_adapter, make_train_step, loss, batches, bits_of
):
    adapter, params = make_adapter(lr=1e-2)
    twin, twin_params = make_adapter(lr=1e-2)
    optimizer = sparse(adapter)
    state = optimizer.init(params)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def train_step(params, state, batch):
        _, gradients = adapter.value_and_grad(loss)(params, batch)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    twin_step = make_train_step(twin)
    address = params["layers"][0]["kernel"].unsafe_buffer_pointer()
    for batch in batches:
        params, state = train_step(params, state, batch)
        twin_params, _ = twin_step(twin_params, batch)
        assert bits_of(params) == bits_of(twin_params)
    assert params["layers"][0]["kernel"].unsafe_buffer_pointer() == address
    assert int(state.updates) == 3 == adapter.info.steps


def test_schedules_and_transformations_before_it_are_optaxs(make_adapter, loss, batches, bits_of):
    adapter, params = make_adapter(gradient="dense")
    twin, twin_params = make_adapter(gradient="dense")
    schedule = optax.linear_schedule(1e-2, 0.0, 4)
    optimizer = optax.chain(optax.clip(1e-3), sparse(adapter, schedule))
    state = optimizer.init(params)

    def of_trained(trained, params, batch):
        return loss({**params, "layers": trained[0], "head": trained[1]}, batch)

    trained = [params["layers"], params["head"]]
    for number, batch in enumerate(batches):
        gradients = jax.grad(of_trained)(trained, params, batch)
        tree = {**params, "layers": gradients[0], "head": gradients[1]}
        updates, state = optimizer.update(tree, state, params)
        params = optax.apply_updates(params, updates)
        clipped = jax.tree.map(lambda g: jnp.clip(g, -1e-3, 1e-3), tree)
        twin_params = twin.step(clipped, twin_params, lr=schedule(number))
        assert bits_of(params) == bits_of(twin_params)
        trained = [params["layers"], params["head"]]


def test_updates_are_for_applying_alone(make_adapter, loss, batches):
    adapter, params = make_adapter()
    optimizer = sparse(adapter, 1e-2, clip_norm=1.0)
    _, gradients = adapter.value_and_grad(loss)(params, batches[0])
    with pytest.raises(speft.InvalidArgument, match=r"update\(\) needs params"):
        optimizer.update(gradients, optimizer.init(params))
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    with pytest.raises(TypeError):
        jax.tree.map(lambda update: 0.5 * update, updates)
    moved = optax.apply_updates(jax.tree.map(np.array, params), updates)  # of NumPy's arrays, too
    assert np.any(np.array(moved["head"]["kernel"]) != np.array(params["head"]["kernel"]))
