"""Observing and choosing, against the NumPy level and plain NumPy; masks that move."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import speft
from speft.jax import SparseAdapter, linear

NAMES = ("layers/0/kernel", "layers/1/kernel")


def kernels_of(params):
    return [np.array(layer["kernel"]) for layer in params["layers"]]


def top(scores, k):
    """The flat indices of the k largest over all arrays, as one increasing list an array."""
    flat = np.concatenate([score.ravel() for score in scores])
    chosen = np.sort(np.argsort(-flat, kind="stable")[:k])
    ends = np.cumsum([score.size for score in scores])
    return [
        chosen[(chosen >= end - score.size) & (chosen < end)] - (end - score.size)
        for score, end in zip(scores, ends, strict=True)
    ]


def mean_gradients(loss, params, batches):
    trees = [jax.grad(loss, allow_int=True)(params, batch) for batch in batches]
    return [
        sum(np.array(tree["layers"][i]["kernel"], np.float64) for tree in trees) / len(trees)
        for i in range(2)
    ]


@pytest.mark.parametrize("gradient", ["activations", "dense"])
@pytest.mark.parametrize(
    "method, score", [("gradient", lambda g, w: abs(g)), ("snip", lambda g, w: abs(g * w))]
)
def test_masks_are_those_of_the_mean_gradient(make_adapter, loss, batches, gradient, method, score):
    adapter, params = make_adapter(selected=False, selection=method, gradient=gradient, density=0.1)
    adapter.estimate(loss, params, batches)
    adapter.select(params)
    scores = [
        score(g, w) for g, w in zip(mean_gradients(loss, params, batches), kernels_of(params), strict=True)
    ]
    # The sums over tokens round differently: the k-th and the next score must be further apart than that.
    flat = np.sort(np.concatenate([each.ravel() for each in scores]))[::-1]
    assert adapter.info.selected_scalars == 35 and flat[34] > flat[35] * (1 + 1e-4)
    for name, mask in zip(NAMES, top(scores, 35), strict=True):
        assert np.array_equal(adapter.masks[name], mask)


def test_batches_count_by_their_weight(make_adapter, loss, batches):
    adapter, params = make_adapter(selected=False, selection="gradient")
    weights = {id(batch): weight for batch, weight in zip(batches, (1.0, 4.0, 0.5), strict=True)}
    adapter.estimate(loss, params, batches, weight=lambda batch: weights[id(batch)])
    by_hand, _ = make_adapter(selected=False, selection="gradient")
    value_and_grad = jax.jit(by_hand.value_and_grad(loss))
    for batch in batches:
        _, gradients = value_and_grad(params, batch)
        by_hand.observe(gradients, weights[id(batch)])
    assert adapter.info.observations == by_hand.info.observations == 3
    adapter.select(params)
    by_hand.select(params)
    for name in NAMES:
        assert np.array_equal(adapter.masks[name], by_hand.masks[name])


def test_fisher_counts_examples_one_by_one(make_adapter, loss, batches):
    adapter, params = make_adapter(selected=False, selection="fisher")
    adapter.estimate(loss, params, batches[:1])
    adapter.select(params)
    x, y = batches[0]
    scores = [0.0, 0.0]
    for example in range(4):
        one = jax.grad(loss, allow_int=True)(params, (x[example : example + 1], y[example : example + 1]))
        scores = [s + np.array(one["layers"][i]["kernel"], np.float64) ** 2 for i, s in enumerate(scores)]
    flat = np.sort(np.concatenate([score.ravel() for score in scores]))[::-1]
    assert flat[34] > flat[35] * (1 + 1e-4)
    for name, mask in zip(NAMES, top(scores, 35), strict=True):
        assert np.array_equal(adapter.masks[name], mask)


def test_fisher_under_vmap_is_refused(make_adapter, loss, batches):
    adapter, params = make_adapter(selected=False, selection="fisher")

    def mapped(params, batch):
        return jax.vmap(loss, (None, 0))(params, batch).mean()

    with pytest.raises(speft.Unsupported, match="'fisher' counts examples by the first axis"):
        adapter.estimate(mapped, params, batches)
    assert adapter.info.observations == 0


def test_wanda_ranks_by_the_norm_of_a_layers_inputs(random):
    weights = random.standard_normal((6, 4), dtype=np.float32)
    x = random.standard_normal((20, 6), dtype=np.float32) * np.array([1, 5, 0.1, 2, 3, 1], np.float32)
    params = {"w": jnp.array(weights)}
    adapter = SparseAdapter(params, "w", selection="wanda", budget=7)
    adapter.estimate(lambda tree, x: linear(x, tree["w"]).sum(), params, [jnp.array(x)])
    adapter.select(params)
    (mask,) = top([abs(weights) * np.linalg.norm(x, axis=0)[:, None]], 7)
    assert np.array_equal(adapter.masks["w"], mask)


def test_random_masks_are_those_of_the_numpy_level(make_adapter):
    adapter, params = make_adapter(seed=5)
    twin = speft.Adapter(
        speft.Context("cpu"),
        [speft.Parameter(name, kernel.shape) for name, kernel in zip(NAMES, kernels_of(params), strict=True)],
        selection="random",
        density=0.1,
        seed=5,
    )
    kernels = kernels_of(params)
    for name, kernel in zip(NAMES, kernels, strict=True):
        twin.bind_weights(name, kernel)
    twin.select()
    for name in NAMES:
        assert np.array_equal(adapter.masks[name], np.from_dlpack(twin.mask(name)))


def test_any_tree_of_scores_can_be_observed(make_adapter, make_params, loss, batches):
    """GRaSP: Hessian-vector products with the mean gradient, which JAX makes in a line, are observed."""
    adapter, params = make_adapter(selected=False, selection="grasp", gradient="dense")

    def of_kernels(kernels):
        layers = [
            {**layer, "kernel": kernel} for layer, kernel in zip(params["layers"], kernels, strict=True)
        ]
        return loss({**params, "layers": layers}, batches[0])

    kernels = [layer["kernel"] for layer in params["layers"]]
    mean = jax.grad(of_kernels)(kernels)
    _, products = jax.jvp(jax.grad(of_kernels), (kernels,), (mean,))
    adapter.observe({**params, "layers": [{"kernel": product} for product in products]})
    adapter.select(params)
    scores = [-np.array(h) * np.array(w) for h, w in zip(products, kernels, strict=True)]
    for name, mask in zip(NAMES, top(scores, 35), strict=True):
        assert np.array_equal(adapter.masks[name], mask)
    other, _ = make_adapter(selected=False, selection="grasp")
    with pytest.raises(speft.InvalidArgument, match="'grasp' does not rank by gradients"):
        other.estimate(loss, params, batches)


def test_a_function_scores_numpy_arrays(make_adapter, loss, batches):
    seen = []

    def score(name, weight, gradient):
        seen.append((name, weight.dtype, gradient.dtype))
        return -abs(weight) + 0 * gradient

    adapter, params = make_adapter(selected=False, selection=score)
    adapter.estimate(loss, params, batches[:1])
    adapter.select(params)
    assert seen == [(name, np.float32, np.float32) for name in NAMES]
    for name, mask in zip(NAMES, top([-abs(kernel) for kernel in kernels_of(params)], 35), strict=True):
        assert np.array_equal(adapter.masks[name], mask)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_function_scores_16_bit_weights(make_adapter, dtype):
    def score(name, weight, gradient):
        assert weight.dtype == jnp.dtype(dtype) and gradient is None
        return weight.astype(np.float32)

    adapter, params = make_adapter(selection=score, dtype=dtype)
    for name, mask in zip(
        NAMES, top([kernel.astype(np.float32) for kernel in kernels_of(params)], 35), strict=True
    ):
        assert np.array_equal(adapter.masks[name], mask)


def test_what_a_score_function_raises_comes_out(make_adapter, loss, batches):
    adapter, params = make_adapter(selected=False, selection=lambda *_: 1 / 0)
    adapter.estimate(loss, params, batches[:1])
    with pytest.raises(ZeroDivisionError):
        adapter.select(params)
    wrong, params = make_adapter(selected=False, selection=lambda name, weight, gradient: weight[:1])
    wrong.estimate(loss, params, batches[:1])
    with pytest.raises(speft.InvalidArgument, match="must have its shape"):
        wrong.select(params)


def test_masks_and_scores_can_be_given(make_adapter, random):
    masks = {NAMES[0]: np.array([3, 17, 60]), NAMES[1]: np.array([0])}
    adapter, params = make_adapter(selection=masks, density=None)
    assert {name: list(mask) for name, mask in adapter.masks.items()} == {
        n: list(m) for n, m in masks.items()
    }
    scores = {
        name: jnp.asarray(random.standard_normal(k.shape), jnp.float32)
        for name, k in zip(NAMES, kernels_of(params), strict=True)
    }
    adapter, _ = make_adapter(selection=scores)
    for name, mask in zip(NAMES, top([np.array(score) for score in scores.values()], 35), strict=True):
        assert np.array_equal(adapter.masks[name], mask)


def test_weight_change_returns_to_the_weights_of_its_making(make_adapter, make_params, bits_of):
    adapter, params = make_adapter(selected=False, selection="weight-change")
    moved = {**params, "layers": [{**layer, "kernel": layer["kernel"] * 1.5} for layer in params["layers"]]}
    selected = adapter.select(moved)
    assert bits_of(selected) == bits_of(params)
    assert bits_of(moved) != bits_of(params)
    scores = [
        abs(after - before) for after, before in zip(kernels_of(moved), kernels_of(params), strict=True)
    ]
    for name, mask in zip(NAMES, top(scores, 35), strict=True):
        assert np.array_equal(adapter.masks[name], mask)


def test_a_cancelled_selection_can_be_made_again(make_adapter):
    adapter, params = make_adapter(selected=False, selection="magnitude")
    with pytest.raises(speft.Cancelled):
        adapter.select(params, progress=lambda done, total: True)
    assert not adapter.info.selected
    adapter.select(params)
    assert adapter.info.selected


# ---- masks that move ----


@pytest.mark.parametrize("method", ["spiel-ag", "spiel-ma", "random"])
def test_steps_move_masks_where_no_observation_is_needed(
    make_adapter, make_train_step, batches, bits_of, method
):
    options = {"window": 2} if method.startswith("spiel") else {}
    adapter, params = make_adapter(selection=method, reselect_every=4, lr=1e-2, seed=2, **options)
    base = bits_of(params)
    train_step = make_train_step(adapter)
    first = adapter.masks
    for number in range(9):
        params, _ = train_step(params, batches[number % 3])
    moves = adapter.history
    assert [move.step for move in moves] == ([2, 6] if options else [4, 8])
    assert all(move.grown > 0 and move.selected == 35 for move in moves)
    assert any(not np.array_equal(first[name], mask) for name, mask in adapter.masks.items())
    assert train_step._cache_size() == 1  # masks are no part of the program
    assert bits_of(adapter.unmerge(params)) == base


def test_moving_masks_equal_the_numpy_level_to_the_bit(random):
    weights = random.standard_normal((9, 7), dtype=np.float32)
    options = {"selection": "spiel-ag", "budget": 12, "reselect_every": 3, "window": 2, "total_steps": 12}
    params = {"w": jnp.array(weights)}
    adapter = SparseAdapter(params, "w", lr=1e-2, **options)
    params = adapter.select(params)
    twin = speft.Adapter(speft.Context("cpu"), [speft.Parameter.of("w", weights)], **options)
    twin.bind_weights("w", weights)
    twin.select()

    @jax.jit
    def train_step(params, x, dy):
        _, gradients = adapter.value_and_grad(lambda tree: (linear(x, tree["w"]) * dy).sum())(params)
        return adapter.step(gradients, params)

    for _ in range(10):
        x = jnp.array(random.standard_normal((5, 9), dtype=np.float32))
        dy = jnp.array(random.standard_normal((5, 7), dtype=np.float32))
        params = train_step(params, x, dy)
        twin.accumulate("w", x=x, dy=dy, layout="in_out")
        twin.step(speft.Hyperparameters(lr=1e-2, decay="after"))
        twin.reselect()
        assert np.array_equal(adapter.masks["w"], np.from_dlpack(twin.mask("w")))
        assert np.array(params["w"]).tobytes() == weights.tobytes()
    assert len(adapter.history) == 3


def test_dynamic_masks_are_observed_again_when_due(make_adapter, make_train_step, loss, batches, bits_of):
    adapter, params = make_adapter(selected=False, selection="gradient", reselect_every=2, lr=1e-2)
    base = bits_of(params)
    adapter.estimate(loss, params, batches)
    params = adapter.select(params)
    train_step = make_train_step(adapter)
    for number in range(6):
        assert adapter.reselect(params) is params  # none is due
        params, _ = train_step(params, batches[number % 3])
        if adapter.reselection_due:
            adapter.estimate(loss, params, batches)
            params = adapter.reselect(params)
    assert [move.step for move in adapter.history] == [2, 4, 6]
    assert adapter.info.settled_scalars > 0
    assert bits_of(adapter.unmerge(params)) == base


def test_a_step_is_refused_while_a_reselection_is_due(make_adapter, make_train_step, loss, batches):
    adapter, params = make_adapter(selected=False, selection="gradient", reselect_every=1)
    adapter.estimate(loss, params, batches)
    params = adapter.select(params)
    params, _ = jax.block_until_ready(make_train_step(adapter)(params, batches[0]))
    with pytest.raises(speft.InvalidState, match="reselect"):
        adapter.step(jax.grad(loss, allow_int=True)(params, batches[0]), params)
    adapter.estimate(loss, params, batches)
    assert adapter.info.observations > 0
    adapter.reselect(params)
