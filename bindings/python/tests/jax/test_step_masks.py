"""MeProp: masks of each step's own gradient, against the NumPy level to the bit."""

import functools
import io

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import speft
from speft.jax import SparseAdapter, linear, sparse, speft_errors

NAMES = ("layers/0/kernel", "layers/1/kernel")
LR = 1e-2


def of_products(params, batch):
    """A loss whose gradients of `up` and `down` are those of known x and dy, and that of `bias` is known."""
    return sum((linear(x, params[name]) * dy).sum() for name, (x, dy) in batch["layers"].items()) + (
        params["bias"] * batch["bias"]
    ).sum()


@pytest.fixture
def draw(random):
    def batch(dtype="float32"):
        def tensor(*shape):
            return jnp.asarray(random.standard_normal(shape, dtype=np.float32), dtype)

        layers = {"up": (tensor(5, 9), tensor(5, 7)), "down": (tensor(5, 7), tensor(5, 4))}
        return {"layers": layers, "bias": jnp.asarray(random.standard_normal(5, dtype=np.float32))}

    return batch


class Twin:
    """The same adapter of the NumPy level."""

    def __init__(self, params, lend, options):
        self.weights = {name: np.array(leaf) for name, leaf in params.items()}
        parameters = [
            speft.Parameter("down", (7, 4), str(params["down"].dtype)),
            speft.Parameter("up", (9, 7), str(params["up"].dtype)),
            speft.Parameter("bias", (5,), role="dense", group=1),
        ]
        self.native = speft.Adapter(speft.Context("cpu"), parameters, **options)
        for name, array in self.weights.items():
            self.native.bind_weights(name, lend(array))
        self.native.select()

    def accumulate(self, batch):
        for name, (x, dy) in batch["layers"].items():
            self.native.accumulate(name, x=x, dy=dy, layout="in_out")
        self.native.accumulate("bias", dense=batch["bias"])

    def accumulate_dense(self, gradients):
        for name in self.weights:
            self.native.accumulate(name, dense=gradients[name])

    def step(self, clip_norm=None, **options):
        moved = self.native.reselect()
        if clip_norm is not None:
            self.native.clip_gradient(clip_norm)
        self.native.step([speft.Hyperparameters(lr=LR, weight_decay=0.1)] * 2, **options)
        return moved

    def compare(self, adapter, params):
        for name, weight in self.weights.items():
            assert np.array(params[name]).tobytes() == weight.tobytes()
        for name, mask in adapter.masks.items():
            assert np.array_equal(mask, np.from_dlpack(self.native.mask(name)))


@pytest.fixture
def twins(random, lend):
    """A tree of two targets and a dense parameter, under an adapter of each level."""

    def make(dtype="float32", gradient="activations", **options):
        options = {"selection": "meprop", "budget": 8, **options}
        params = {
            name: jnp.asarray(random.standard_normal(shape, dtype=np.float32), kept)
            for name, shape, kept in (("up", (9, 7), dtype), ("down", (7, 4), dtype), ("bias", (5,), None))
        }
        adapter = SparseAdapter(
            params, ["up", "down"], dense="bias", gradient=gradient, lr=LR, weight_decay=0.1, **options
        )
        twin = Twin(params, lend, options)
        return adapter, adapter.select(params), twin

    return make


def make_step(adapter, **options):
    @functools.partial(jax.jit, donate_argnums=0)
    def train_step(params, batch):
        _, gradients = adapter.value_and_grad(of_products)(params, batch)
        return adapter.step(gradients, params, **options)

    return train_step


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scope": "per-tensor", "optimizer": "adam"},
        {"settled_limit": 6},
        {"state": "bfloat16", "delta_type": "bfloat16"},
    ],
    ids=lambda options: "-".join(map(str, options.values())) or "default",
)
def test_steps_equal_the_numpy_level_to_the_bit(twins, draw, dtype, options):
    adapter, params, twin = twins(dtype, **options)
    assert adapter.info.selected_scalars == 0
    assert all(len(mask) == len(adapter.deltas[name]) == 0 for name, mask in adapter.masks.items())
    before = {name: np.array(leaf).tobytes() for name, leaf in params.items()}
    train_step = make_step(adapter, clip_norm=0.5)
    expected = []
    for _ in range(5):
        batch = draw(dtype)
        params = train_step(params, batch)
        twin.accumulate(batch)
        expected.append(twin.step(clip_norm=0.5))
        twin.compare(adapter, params)
    assert adapter.history == expected
    sizes = [move.selected for move in adapter.history]
    assert sizes[0] < sizes[1] and len(set(sizes)) > 1
    assert train_step._cache_size() == 1  # a mask that grows is no part of the program
    params = adapter.unmerge(params)
    assert {name: np.array(leaf).tobytes() for name, leaf in params.items()} == before


@pytest.mark.parametrize("jitted", [True, False])
def test_dense_gradients_equal_the_numpy_level_to_the_bit(twins, draw, jitted):
    adapter, params, twin = twins(gradient="dense")
    step = functools.partial(adapter.step, clip_norm=0.5, gradient_scale=0.5)
    step = jax.jit(step) if jitted else step
    for _ in range(4):
        gradients = jax.jit(jax.grad(of_products))(params, draw())
        assert not adapter.reselection_due
        params = step(gradients, params)
        twin.accumulate_dense(gradients)
        twin.step(clip_norm=0.5, gradient_scale=0.5)
        twin.compare(adapter, params)


@pytest.mark.parametrize("gradient", ["activations", "dense"])
def test_accumulated_backward_passes_are_selected_from_as_one(twins, draw, gradient):
    adapter, params, twin = twins(gradient=gradient)
    value_and_grad = jax.jit(adapter.value_and_grad(of_products))
    for _ in range(3):
        batches = [draw() for _ in range(2)]
        # One after the other: programs run side by side, and a sum of float32 depends on its order.
        first, second = (jax.block_until_ready(value_and_grad(params, batch)[1]) for batch in batches)
        summed = jax.tree.map(jnp.add, first, second)
        if gradient == "dense":
            twin.accumulate_dense(summed.dense)
        else:
            assert adapter.reselection_due
            for batch in batches:
                twin.accumulate(batch)
        params = adapter.step(summed, params)
        assert not adapter.reselection_due
        twin.step()
        twin.compare(adapter, params)
    assert adapter.info.steps == 3


def test_a_weight_may_be_used_twice(twins, draw):
    adapter, params, twin = twins()
    batches = [draw() for _ in range(2)]

    def of_both(params, batches):
        return sum(of_products(params, batch) for batch in batches)

    _, gradients = jax.jit(adapter.value_and_grad(of_both))(params, batches)
    params = adapter.step(gradients, params)
    for batch in batches:
        for name, (x, dy) in batch["layers"].items():
            twin.native.accumulate(name, x=x, dy=dy, layout="in_out")
    twin.native.accumulate("bias", dense=gradients.dense["bias"])
    twin.step()
    for name, mask in adapter.masks.items():
        assert np.array_equal(mask, np.from_dlpack(twin.native.mask(name)))
    for name, weight in twin.weights.items():
        # XLA may run independent calls in any order, in which float32 sums differ.
        np.testing.assert_allclose(np.array(params[name]), weight, rtol=0, atol=1e-3 * LR)


def test_clear_gradients_forgets_what_a_step_would_have_selected_by(twins, draw):
    adapter, params, twin = twins()
    adapter.value_and_grad(of_products)(params, draw())
    assert adapter.reselection_due
    adapter.clear_gradients()
    assert not adapter.reselection_due and adapter.info.selected_scalars == 0
    batch = draw()
    params = make_step(adapter)(params, batch)
    twin.accumulate(batch)
    twin.step()
    twin.compare(adapter, params)


def test_a_reselection_by_hand_comes_before_the_step(twins, draw):
    adapter, params, twin = twins()
    for _ in range(3):
        batch = draw()
        _, gradients = adapter.value_and_grad(of_products)(params, batch)
        params = adapter.reselect(params)
        assert not adapter.reselection_due
        with pytest.raises(speft.InvalidState, match="selected already"), speft_errors():
            jax.block_until_ready(adapter.value_and_grad(of_products)(params, batch))
        params = adapter.step(gradients, params)
        twin.accumulate(batch)
        twin.step()
        twin.compare(adapter, params)
    assert [move.step for move in adapter.history] == [0, 1, 2]


def test_many_steps_in_one_program_equal_many_programs(twins, draw):
    adapter, params, twin = twins()
    batches = [draw() for _ in range(4)]

    @functools.partial(jax.jit, donate_argnums=0)
    def train(params, batches):
        def body(params, batch):
            _, gradients = adapter.value_and_grad(of_products)(params, batch)
            return adapter.step(gradients, params), None

        return jax.lax.scan(body, params, batches)[0]

    params = train(params, jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches))
    for batch in batches:
        twin.accumulate(batch)
        twin.step()
    twin.compare(adapter, params)


def test_optax_applies_masks_that_grow(twins, draw):
    """An update stands for whole arrays: none has the length of a mask."""
    adapter, params, twin = twins()
    optimizer = sparse(adapter, lambda updates: LR, clip_norm=0.5)
    state = optimizer.init(params)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def train_step(params, state, batch):
        _, gradients = adapter.value_and_grad(of_products)(params, batch)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    for _ in range(4):
        batch = draw()
        params, state = train_step(params, state, batch)
        twin.accumulate(batch)
        twin.step(clip_norm=0.5)
        twin.compare(adapter, params)


def test_no_observation_is_needed_before_the_selection(make_adapter, make_train_step, loss, batches):
    adapter, params = make_adapter(selected=False, selection="meprop", density=0.05, lr=LR)
    adapter.estimate(loss, params, ())  # looks at none
    params = adapter.select(params)
    adapter.estimate(loss, params, batches)
    assert adapter.info.observations == 0 and not adapter.reselection_due
    before = {name: np.array(params["layers"][number]["kernel"]) for number, name in enumerate(NAMES)}
    train_step = make_train_step(adapter)
    for batch in batches:
        params, _ = train_step(params, batch)
    for number, (name, mask) in enumerate(adapter.masks.items()):
        after = np.array(params["layers"][number]["kernel"])
        assert np.array_equal(np.flatnonzero(after != before[name]), mask)


def test_a_mask_may_be_chosen_once(make_adapter, make_train_step, loss, batches):
    options = {"selection": "meprop", "schedule": "none", "optimizer": "sgd", "lr": LR}
    adapter, params = make_adapter(selected=False, **options)
    once, _ = make_adapter(selected=False, selection="gradient")
    for each in (adapter, once):
        each.estimate(loss, params, batches)
        each.select(params)
    masks = adapter.masks
    assert all(np.array_equal(once.masks[name], mask) for name, mask in masks.items())
    train_step = make_train_step(adapter)
    for batch in batches:
        params, _ = train_step(params, batch)
    assert all(np.array_equal(masks[name], mask) for name, mask in adapter.masks.items())
    assert adapter.history == []


# ---- files ----


@pytest.mark.parametrize("restored", ["pretrained", "trained"])
def test_a_checkpoint_resumes_to_the_bit(twins, draw, restored):
    adapter, params, twin = twins()
    base = jax.tree.map(jnp.copy, params)
    train_step = make_step(adapter)
    first, second = [draw() for _ in range(3)], [draw() for _ in range(3)]
    for batch in first:
        params = train_step(params, batch)
    buffer = io.BytesIO()
    adapter.save_checkpoint(buffer)
    resumed, again = SparseAdapter.load_checkpoint(
        buffer.getvalue(), base if restored == "pretrained" else params, lr=LR, weight_decay=0.1
    )
    train_step = make_step(resumed)
    for batch in second:
        again = train_step(again, batch)
    for batch in first + second:
        twin.accumulate(batch)
        twin.step()
    twin.compare(resumed, again)
    assert [move.step for move in resumed.history] == [3, 4, 5]


def test_a_saved_adapter_has_the_trained_bits_and_keeps_its_masks(twins, draw):
    adapter, params, _ = twins()
    base = jax.tree.map(jnp.copy, params)
    train_step = make_step(adapter)
    for _ in range(3):
        params = train_step(params, draw())
    buffer = io.BytesIO()
    adapter.save(buffer)
    loaded, merged = SparseAdapter.load(buffer.getvalue(), jax.tree.map(jnp.copy, base), lr=LR)
    for name, leaf in params.items():
        assert np.array(merged[name]).tobytes() == np.array(leaf).tobytes()
    masks = loaded.masks
    merged = make_step(loaded)(merged, draw())
    assert all(np.array_equal(mask, masks[name]) for name, mask in loaded.masks.items())
    unmerged = loaded.unmerge(merged)
    for name, leaf in base.items():
        assert np.array(unmerged[name]).tobytes() == np.array(leaf).tobytes()


# ---- what fails ----


def overflowing(batch):
    return {**batch, "bias": jnp.full((5,), jnp.inf)}


def test_a_step_that_fails_leaves_deltas_of_0_behind(twins, draw):
    adapter, params, twin = twins()
    for step in range(4):
        batch = draw()
        if step == 2:
            _, gradients = adapter.value_and_grad(of_products)(params, overflowing(draw()))
            with pytest.raises(speft.InvalidArgument, match="the norm of the gradients is inf"):
                adapter.step(gradients, params, clip_norm=0.5)
            assert adapter.info.steps == 2 and not adapter.reselection_due
        _, gradients = adapter.value_and_grad(of_products)(params, batch)
        params = adapter.step(gradients, params, clip_norm=0.5)
        twin.accumulate(batch)
        twin.step(clip_norm=0.5)
        for name, weight in twin.weights.items():  # a gradient of 0 moves nothing
            assert np.array(params[name]).tobytes() == weight.tobytes()


def test_a_step_that_fails_after_scalars_have_left_ends_the_training(twins, draw):
    """What left regained its original bits in a tree that nobody got: later calls would not know of it."""
    adapter, params, _ = twins(settled_limit=2)
    base = jax.tree.map(np.array, params)
    train_step = make_step(adapter)
    for _ in range(3):
        params = train_step(params, draw())
    _, gradients = adapter.value_and_grad(of_products)(params, overflowing(draw()))
    with pytest.raises(speft.InvalidArgument, match="the norm of the gradients is inf"):
        adapter.step(gradients, params, clip_norm=0.5)
    _, gradients = adapter.value_and_grad(of_products)(params, draw())
    for call in (functools.partial(adapter.step, gradients), adapter.merge, adapter.unmerge):
        with pytest.raises(speft.InvalidState, match="a step has failed after scalars had left the mask"):
            call(params)
    adapter.clear_gradients()
    buffer = io.BytesIO()
    adapter.save_checkpoint(buffer)
    resumed, again = SparseAdapter.load_checkpoint(buffer.getvalue(), jax.tree.map(jnp.array, base), lr=LR)
    again = make_step(resumed)(again, draw())
    unmerged = resumed.unmerge(again)
    for name, array in base.items():
        assert np.array(unmerged[name]).tobytes() == array.tobytes()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"optimizer": "sgd"}, "meprop selects at each step, for which AdamW and Adam are lazy"),
        ({"state": "blocks8"}, "meprop selects at each step, and moments of 8 bits would be rounded at each"),
    ],
)
def test_what_cannot_be_lazy_is_refused_by_name(make_params, options, message):
    with pytest.raises(speft.InvalidArgument, match=message):
        SparseAdapter(make_params(), "head/*", selection="meprop", **options)
