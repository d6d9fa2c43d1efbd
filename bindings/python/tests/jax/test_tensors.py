"""JAX arrays at the NumPy level, `speft.Adapter`: what is read is taken, what would be written is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import speft

DTYPES = ["float32", "bfloat16", "float16"]


@pytest.fixture
def draw(random):
    def array(*shape, dtype="float32"):
        return jnp.asarray(random.standard_normal(shape, dtype=np.float32), dtype)

    return array


@pytest.fixture
def make(lend):
    """An adapter at the NumPy level of one weight, 6 × 4, which NumPy holds."""

    def adapter_of(weights, **options):
        adapter = speft.Adapter(
            speft.Context("cpu"),
            [speft.Parameter("w", (6, 4), str(weights.dtype))],
            **{"budget": 5, **options},
        )
        held = np.array(weights)
        adapter.bind_weights("w", lend(held))
        return adapter, held

    return adapter_of


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_are_refused_since_jax_arrays_are_immutable(draw, dtype):
    weights = draw(6, 4, dtype=dtype)
    adapter = speft.Adapter(speft.Context("cpu"), [speft.Parameter.of("w", weights)], budget=5)
    with pytest.raises(
        speft.InvalidArgument, match=r"the weights of 'w' must (be writable|lend its own memory)"
    ):
        adapter.bind_weights("w", weights)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dense_gradients_are_read(draw, make, dtype):
    weights, gradient = draw(6, 4, dtype=dtype), draw(6, 4, dtype=dtype)
    adapter, _ = make(weights, selection="gradient")
    adapter.observe("w", dense=gradient)
    adapter.finish_observation()
    adapter.select()
    mask = np.from_dlpack(adapter.mask("w"))
    flat = np.array(gradient, np.float32).ravel()
    assert set(mask) == set(np.argsort(-abs(flat), kind="stable")[:5])
    adapter.accumulate("w", dense=gradient)
    assert np.array_equal(np.from_dlpack(adapter.gradient("w")), flat[mask])


@pytest.mark.parametrize("dtype", DTYPES)
def test_activations_and_values_are_read(draw, make, dtype):
    adapter, _ = make(draw(6, 4), selection="random")
    adapter.select()
    mask = np.from_dlpack(adapter.mask("w"))
    x, dy = draw(3, 6, dtype=dtype), draw(3, 4, dtype=dtype)
    adapter.accumulate("w", x=x, dy=dy, layout="in_out")
    expected = (np.array(x, np.float64).T @ np.array(dy, np.float64)).ravel()[mask]
    np.testing.assert_allclose(np.from_dlpack(adapter.gradient("w")), expected, rtol=0, atol=3 * 16 * 2**-24)
    adapter.clear_gradient()
    values = draw(5, dtype=dtype)
    adapter.accumulate("w", values=values)
    assert np.array_equal(np.from_dlpack(adapter.gradient("w")), np.array(values, np.float32))


def test_scores_and_references_are_read(draw, make):
    scores = draw(6, 4)
    adapter, _ = make(draw(6, 4), selection="scores")
    adapter.set_scores("w", scores)
    adapter.select()
    assert set(np.from_dlpack(adapter.mask("w"))) == set(np.argsort(-np.array(scores).ravel())[:5])
    original = draw(6, 4)
    adapter, held = make(draw(6, 4), selection="weight-change")
    adapter.set_reference("w", original)
    adapter.select()
    assert np.array_equal(held, original)


def test_masks_are_int64_which_jax_has_to_be_told(draw, make):
    adapter, _ = make(draw(6, 4), selection="mask", budget=None)
    with pytest.raises(speft.InvalidArgument, match="int64"):
        adapter.set_mask("w", jnp.array([1, 5, 7]))
    with jax.enable_x64(True):
        adapter.set_mask("w", jnp.array([1, 5, 7], jnp.int64))
    adapter.select()
    assert list(np.from_dlpack(adapter.mask("w"))) == [1, 5, 7]


def test_what_the_library_lends_to_be_written_can_be_read_by_jax(draw, make):
    adapter, _ = make(draw(6, 4), selection="random")
    adapter.select()
    adapter.accumulate("w", dense=draw(6, 4))
    assert np.array_equal(
        np.array(jnp.from_dlpack(adapter.gradient("w"))), np.from_dlpack(adapter.gradient("w"))
    )
    # What is lent to be read only needs DLPack 1.0, which jnp.from_dlpack does not ask for: by way of NumPy.
    with pytest.raises(BufferError, match="read-only"):
        jnp.from_dlpack(adapter.deltas("w"))
    assert jnp.asarray(np.from_dlpack(adapter.deltas("w"))).shape == (5,)


def test_a_transposed_array_is_a_copy_in_row_major_order(draw, make):
    gradient = draw(4, 6).T
    adapter, _ = make(draw(6, 4), selection="random")
    adapter.select()
    adapter.accumulate("w", dense=gradient)
    mask = np.from_dlpack(adapter.mask("w"))
    assert np.array_equal(np.from_dlpack(adapter.gradient("w")), np.array(gradient).ravel()[mask])
