"""A step by JAX against the NumPy level, to the bit, and against plain float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import speft
from speft.jax import SparseAdapter, linear


@pytest.fixture
def twins(random, lend):
    """One weight under an adapter of each level, with the same masks: moves both, and compares their bits."""

    def make(dtype="float32", **options):
        step_options = {
            name: options.pop(name) for name in ("lr", "decay", "weight_decay", "momentum") if name in options
        }
        weights = np.array(jnp.asarray(random.standard_normal((9, 7), dtype=np.float32), dtype))
        options = {"selection": "random", "budget": 20, "seed": 3, **options}
        numpy_level = speft.Adapter(
            speft.Context("cpu"),
            [speft.Parameter("w", (9, 7), dtype), speft.Parameter("b", (5,), role="dense", group=1)],
            **options,
        )
        bias = random.standard_normal(5, dtype=np.float32)
        params = {"w": jnp.array(weights), "b": jnp.array(bias)}
        numpy_level.bind_weights("w", lend(weights))
        numpy_level.bind_weights("b", bias)
        numpy_level.select()
        adapter = SparseAdapter(params, "w", dense="b", **options, **step_options)
        hyperparameters = speft.Hyperparameters(**step_options)

        def compare(params):
            assert np.array(params["w"]).tobytes() == weights.tobytes()
            assert np.array(params["b"]).tobytes() == bias.tobytes()

        return adapter, adapter.select(params), numpy_level, hyperparameters, compare

    return make


def draw_gradients(random, dtype):
    return {
        "w": jnp.asarray(random.standard_normal((9, 7), dtype=np.float32), dtype),
        "b": jnp.asarray(random.standard_normal(5, dtype=np.float32)),
    }


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "adamw", "weight_decay": 0.01},
        {"optimizer": "adamw", "state": "bfloat16", "delta_type": "bfloat16"},
        {"optimizer": "adam", "state": "blocks8", "weight_decay": 0.01, "decay": "zero"},
        {"optimizer": "sgd", "momentum": 0.9},
        {"optimizer": "lion", "lr": 1e-4, "decay": "after", "weight_decay": 0.1},
        {"optimizer": "sm3", "lr": 0.1},
        {"optimizer": "adafactor"},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_steps_equal_the_numpy_level_to_the_bit(twins, random, options, dtype):
    adapter, params, numpy_level, hyperparameters, compare = twins(dtype, **options)
    step = jax.jit(adapter.step, donate_argnums=1)
    for _ in range(5):
        gradients = draw_gradients(random, dtype)
        for name, gradient in gradients.items():
            numpy_level.accumulate(name, dense=gradient)
        numpy_level.step([hyperparameters] * 2)
        params = step(gradients, params)
        compare(params)


def test_a_step_outside_of_jit_gives_the_same_and_donates_nothing(twins, random):
    adapter, params, numpy_level, hyperparameters, compare = twins()
    before = np.array(params["w"])
    gradients = draw_gradients(random, "float32")
    for name, gradient in gradients.items():
        numpy_level.accumulate(name, dense=gradient)
    numpy_level.step([hyperparameters] * 2)
    stepped = adapter.step(gradients, params)
    compare(stepped)
    assert np.array(params["w"]).tobytes() == before.tobytes()
    assert stepped["w"].unsafe_buffer_pointer() != params["w"].unsafe_buffer_pointer()


def test_clipping_scale_and_two_learning_rates_are_those_of_the_numpy_level(twins, random):
    adapter, params, numpy_level, _, compare = twins()
    step = jax.jit(
        functools.partial(adapter.step, lr=(3e-3, 7e-2), clip_norm=0.5, gradient_scale=0.25), donate_argnums=1
    )
    for _ in range(3):
        gradients = draw_gradients(random, "float32")
        for name, gradient in gradients.items():
            numpy_level.accumulate(name, dense=gradient)
        assert numpy_level.clip_gradient(0.5) > 0.5
        numpy_level.step(
            [speft.Hyperparameters(lr=3e-3), speft.Hyperparameters(lr=7e-2)], gradient_scale=0.25
        )
        params = step(gradients, params)
    compare(params)


def test_a_traced_learning_rate_is_the_float32_number_that_it_is(twins, random):
    adapter, params, numpy_level, _, compare = twins()
    step = jax.jit(lambda gradients, params, lr: adapter.step(gradients, params, lr=lr), donate_argnums=1)
    for lr in (1e-2, 3e-3, 0.0):
        gradients = draw_gradients(random, "float32")
        for name, gradient in gradients.items():
            numpy_level.accumulate(name, dense=gradient)
        numpy_level.step([speft.Hyperparameters(lr=float(np.float32(lr)))] * 2)
        params = step(gradients, params, lr)
    compare(params)
    assert step._cache_size() == 1


@pytest.mark.parametrize("layout, shape", [("in_out", (12, 16)), ("out_in", (16, 12))])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_gradients_from_activations_equal_the_numpy_level_to_the_bit(random, lend, layout, shape, dtype):
    weights = np.array(jnp.asarray(random.standard_normal(shape, dtype=np.float32), dtype))
    numpy_level = speft.Adapter(
        speft.Context("cpu"), [speft.Parameter("w", shape, dtype)], selection="gradient", budget=30
    )
    params = {"w": jnp.array(weights)}
    numpy_level.bind_weights("w", lend(weights))
    adapter = SparseAdapter(params, "w", selection="gradient", budget=30)

    def loss(params, x, dy):  # whose output gradient is dy itself
        return jnp.sum(linear(x, params["w"], layout=layout) * dy, dtype=jnp.float32)

    value_and_grad = jax.jit(adapter.value_and_grad(loss))
    step = jax.jit(adapter.step, donate_argnums=1)
    for number in range(4):
        x = jnp.asarray(random.standard_normal((5, 3, 12), dtype=np.float32), dtype)
        dy = jnp.asarray(random.standard_normal((5, 3, 16), dtype=np.float32), dtype)
        _, gradients = value_and_grad(params, x, dy)
        pair = {"x": x.reshape(15, 12), "dy": dy.reshape(15, 16), "layout": layout}
        if number == 0:
            numpy_level.observe("w", **pair)
            numpy_level.finish_observation()
            numpy_level.select()
            adapter.observe(gradients)
            params = adapter.select(params)
            assert np.array_equal(adapter.masks["w"], np.from_dlpack(numpy_level.mask("w")))
            continue
        numpy_level.accumulate("w", **pair)
        numpy_level.step()
        params = step(gradients, params)
        assert np.array(params["w"]).tobytes() == weights.tobytes()


def test_adamw_agrees_with_float64(make_adapter, loss, batches):
    adapter, params = make_adapter(lr=1e-2, weight_decay=0.1, gradient="dense")
    named = {"layers/0/kernel": lambda tree: tree["layers"][0]["kernel"]}
    original = {name: np.array(get(params), np.float64) for name, get in named.items()}
    masks = adapter.masks
    moments = {name: (np.zeros(len(masks[name])), np.zeros(len(masks[name]))) for name in named}
    deltas = {name: np.zeros(len(masks[name])) for name in named}
    for number in range(1, 9):
        dense = jax.grad(loss, allow_int=True)(params, batches[number % 3])
        for name, get in named.items():
            g = np.array(get(dense), np.float64).ravel()[masks[name]]
            m, v = moments[name]
            m[:], v[:] = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            deltas[name] -= 1e-2 * 0.1 * deltas[name]
            deltas[name] -= 1e-2 * (m / (1 - 0.9**number)) / (np.sqrt(v / (1 - 0.999**number)) + 1e-8)
        params = adapter.step(dense, params)
    for name, get in named.items():
        expected = original[name].ravel()
        expected[masks[name]] += deltas[name]
        # A step of Adam is at most about lr; 8 of them, each with a few roundings of 2^-24 in what it
        # divides.
        assert (
            np.abs(np.array(get(params), np.float64).ravel() - expected).max()
            < 8 * 1e-2 * 16 * 2**-24 + 2**-24
        )


def test_deltas_are_numpy_arrays_whatever_they_are_kept_in(make_adapter, make_train_step, batches):
    adapter, params = make_adapter(lr=1e-2, delta_type="bfloat16", dtype="bfloat16", selection="random")
    before = np.array(params["layers"][0]["kernel"]).ravel()
    params, _ = make_train_step(adapter)(params, batches[0])
    deltas, mask = adapter.deltas["layers/0/kernel"], adapter.masks["layers/0/kernel"]
    assert deltas.dtype == np.float32 and np.all(deltas != 0)
    summed = (before.astype(np.float32)[mask] + deltas).astype(jnp.bfloat16)
    assert np.array_equal(np.array(params["layers"][0]["kernel"]).ravel()[mask], summed)


def test_a_donated_step_is_in_place_and_touches_nothing_else(make_adapter, make_train_step, batches):
    adapter, params = make_adapter(lr=1e-2)
    train_step = make_train_step(adapter)
    before = {name: np.array(params["layers"][number]["kernel"]) for number, name in enumerate(adapter.masks)}
    params, _ = train_step(params, batches[0])  # which copies the arrays that were lent by NumPy
    for batch in batches:
        addresses = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(params)]
        params, _ = train_step(params, batch)
        assert [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(params)] == addresses
    for number, (name, mask) in enumerate(adapter.masks.items()):
        after = np.array(params["layers"][number]["kernel"])
        assert np.array_equal(np.flatnonzero(after != before[name]), mask)
        assert np.array_equal(after.ravel()[mask], before[name].ravel()[mask] + adapter.deltas[name])


def test_an_undonated_tree_stays_as_it_is(make_adapter, make_train_step, loss, batches, bits_of):
    donated, params = make_adapter(lr=1e-2)
    copied, kept = make_adapter(lr=1e-2)
    before = bits_of(kept)

    @jax.jit
    def train_step(params, batch):
        value, gradients = copied.value_and_grad(loss)(params, batch)
        return copied.step(gradients, params), value

    stepped, _ = train_step(kept, batches[0])
    params, _ = make_train_step(donated)(params, batches[0])
    assert bits_of(stepped) == bits_of(params) != before
    assert bits_of(kept) == before


def test_many_steps_in_one_program_equal_many_programs(make_adapter, make_train_step, loss, batches, bits_of):
    one, params = make_adapter(lr=1e-2)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)

    @functools.partial(jax.jit, donate_argnums=0)
    def train(params, batches):
        def body(params, batch):
            value, gradients = one.value_and_grad(loss)(params, batch)
            return one.step(gradients, params), value

        return jax.lax.scan(body, params, batches)

    scanned, values = train(params, stacked)
    many, params = make_adapter(lr=1e-2)
    train_step = make_train_step(many)
    for batch, value in zip(batches, values, strict=True):
        params, expected = train_step(params, batch)
        # The two programs fuse their sums over tokens differently.
        assert np.isclose(value, expected, rtol=1e-5)
    assert one.info.steps == many.info.steps == 3
    for scan_leaf, leaf in zip(jax.tree.leaves(scanned), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(scan_leaf, leaf, rtol=0, atol=1e-3 * 1e-2)  # a thousandth of a step


def test_accumulated_backward_passes_add_up(make_adapter, loss, batches):
    adapter, params = make_adapter(lr=1e-2)
    value_and_grad = jax.jit(adapter.value_and_grad(loss))
    first, second = (value_and_grad(params, batch)[1] for batch in batches[:2])
    summed = jax.tree.map(jnp.add, first, second)
    accumulated = np.array(np.from_dlpack(adapter.native.gradient("layers/0/kernel")))
    dense = [jax.grad(loss, allow_int=True)(params, batch)["layers"][0]["kernel"] for batch in batches[:2]]
    expected = np.array(dense[0] + dense[1]).ravel()[adapter.masks["layers/0/kernel"]]
    np.testing.assert_allclose(
        accumulated, expected, rtol=1e-5, atol=1e-7
    )  # sums over 12 tokens in other orders
    adapter.step(summed, params)
    assert adapter.info.steps == 1


def test_clear_gradients_forgets_a_backward_pass(make_adapter, loss, batches, bits_of):
    adapter, params = make_adapter(lr=1e-2)
    twin, twin_params = make_adapter(lr=1e-2)
    adapter.value_and_grad(loss)(params, batches[0])
    adapter.clear_gradients()
    stepped = [
        each.step(each.value_and_grad(loss)(tree, batches[1])[1], tree)
        for each, tree in ((adapter, params), (twin, twin_params))
    ]
    assert bits_of(stepped[0]) == bits_of(stepped[1])


def test_has_aux_returns_it(make_adapter, loss, batches):
    adapter, params = make_adapter()

    def with_aux(params, batch):
        return loss(params, batch), batch[0].sum()

    (value, aux), gradients = jax.jit(adapter.value_and_grad(with_aux, has_aux=True))(params, batches[0])
    assert np.isclose(value, loss(params, batches[0]), rtol=1e-5)
    assert np.isclose(aux, batches[0][0].sum(), rtol=1e-4)
    assert set(gradients.dense) == {"head/kernel"}


def test_no_dense_gradient_of_a_target_is_formed(random):
    params = {
        "kernel": jnp.asarray(random.standard_normal((1031, 517), dtype=np.float32))
    }  # sizes of nothing else
    adapter = SparseAdapter(params, "kernel", selection="random")
    params = adapter.select(params)
    x = jnp.asarray(random.standard_normal((8, 1031), dtype=np.float32))

    def train_step(params):
        _, gradients = adapter.value_and_grad(lambda tree: (linear(x, tree["kernel"]) ** 2).sum())(params)
        return adapter.step(gradients, params)

    memory = jax.jit(train_step, donate_argnums=0).lower(params).compile().memory_analysis()
    assert memory.temp_size_in_bytes < params["kernel"].nbytes / 4
    assert memory.alias_size_in_bytes == params["kernel"].nbytes
