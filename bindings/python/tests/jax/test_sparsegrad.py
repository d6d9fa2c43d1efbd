"""SparseGrad: training in a basis, against the NumPy level to the bit, and its layers against float64."""

import functools
import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import speft
from speft.jax import Gradients, SparseAdapter, linear

LR = 1e-2
SHAPES = {"down": (7, 4), "up": (9, 7)}
TOKENS = 5

# The unit roundoff of each type: half the distance from 1 to the next number.
ROUNDOFF = {"float32": 2.0**-24, "bfloat16": 2.0**-8, "float16": 2.0**-11}


def of_products(params, batch):
    """A loss whose gradients of `up` and `down` are those of known x and dy; and the layers' outputs."""
    ys = {name: linear(x, params[name]) for name, (x, _) in batch["layers"].items()}
    loss = sum((ys[name] * dy).sum() for name, (_, dy) in batch["layers"].items())
    return loss + (params["bias"] * batch["bias"]).sum(), ys


@pytest.fixture
def draw(random):
    def batch(dtype="float32"):
        def tensor(*shape):
            return jnp.asarray(random.standard_normal(shape, dtype=np.float32), dtype)

        layers = {name: (tensor(TOKENS, rows), tensor(TOKENS, cols)) for name, (rows, cols) in SHAPES.items()}
        return {"layers": layers, "bias": tensor(5).astype(jnp.float32)}

    return batch


class Twin:
    """The same adapter of the NumPy level, with bases of its own."""

    def __init__(self, params, lend, observed, directions=None, **options):
        self.weights = {name: np.array(leaf) for name, leaf in params.items()}
        context = speft.Context("cpu")
        parameters = [speft.Parameter(name, SHAPES[name], str(params[name].dtype)) for name in SHAPES]
        parameters.append(speft.Parameter("bias", (5,), role="dense", group=1))
        self.native = speft.Adapter(context, parameters, selection="sparsegrad", **options)
        self.bases = {}
        for name, shape in SHAPES.items():
            kept = dict.fromkeys(("row_directions", "column_directions"), directions)
            basis = self.bases[name] = speft.Basis(context, *shape, **kept)
            for batch in observed:
                x, dy = batch["layers"][name]
                basis.observe(x=x, dy=dy, layout="in_out")
            basis.fit()
        for name, array in self.weights.items():
            self.native.bind_weights(name, lend(array))
        for name, basis in self.bases.items():
            self.native.bind_basis(name, basis)

    def step(self, batch, clip_norm=None):
        for name, (x, dy) in batch["layers"].items():
            self.native.accumulate(name, x=x, dy=dy, layout="in_out")
        self.native.accumulate("bias", dense=batch["bias"])
        self.native.reselect()
        if clip_norm is not None:
            self.native.clip_gradient(clip_norm)
        self.native.step([speft.Hyperparameters(lr=LR, weight_decay=0.1)] * 2)

    def file(self):
        return file_of(self.native)

    def matrices(self, name):
        """V, Δ̃ and U in float64."""
        u, v = (np.from_dlpack(matrix).astype(np.float64) for matrix in self.bases[name].matrices())
        delta = np.zeros(len(v) * len(u))
        delta[np.from_dlpack(self.native.mask(name))] = np.from_dlpack(self.native.deltas(name))
        return v, delta.reshape(len(v), len(u)), u

    def check_product(self, name, inputs, outputs, transposed=False):
        """That `outputs` is inputs (W + VᵀΔ̃U), or by its transpose, up to rounding; and Δ̃ is seen."""
        v, delta, u = self.matrices(name)
        weight = self.weights[name].astype(np.float64)
        added, bound = v.T @ delta @ u, abs(weight) + abs(v.T) @ abs(delta) @ abs(u)
        if transposed:
            weight, added, bound = weight.T, added.T, bound.T
        x, y = (np.asarray(array).astype(np.float64) for array in (inputs, outputs))
        # Whatever the order of the three products, each term has met at most so many roundings to float32;
        # the two sums, and the sum of both, are then rounded to the output's type.
        roundings = sum(weight.shape) + sum(delta.shape) + 4
        tolerance = roundings * ROUNDOFF["float32"] + 3 * ROUNDOFF[str(outputs.dtype)]
        tolerance = 1.01 * tolerance * (abs(x) @ bound)  # 1.01: products of the above
        assert (abs(y - x @ (weight + added)) <= tolerance).all()
        if outputs.dtype == jnp.float32 and delta.any():
            assert (abs(y - x @ weight) > tolerance).any()


def file_of(adapter, **options):
    buffer = io.BytesIO()
    adapter.save(buffer, **options)
    return buffer.getvalue()


def bytes_of(tree):
    return {name: np.array(leaf).tobytes() for name, leaf in tree.items()}


def loss_of(params, batch):
    return of_products(params, batch)[0]


@pytest.fixture
def make_adapter(random):
    """An adapter of two targets and a dense parameter, not selected, and its tree."""

    def make(dtype="float32", **options):
        params = {
            name: jnp.asarray(random.standard_normal(shape, dtype=np.float32), kept)
            for name, shape, kept in (*((name, SHAPES[name], dtype) for name in SHAPES), ("bias", (5,), None))
        }
        options = {"selection": "sparsegrad", "budget": 8, "lr": LR, "weight_decay": 0.1, **options}
        return SparseAdapter(params, list(SHAPES), dense="bias", **options), params

    return make


@pytest.fixture
def twins(make_adapter, draw, lend):
    """That adapter, selected in bases that `estimate` has fitted; and its twin."""

    def make(dtype="float32", directions=None, **options):
        adapter, params = make_adapter(dtype, directions=directions, **options)
        observed = [draw(dtype) for _ in range(3)]
        adapter.estimate(loss_of, params, observed)
        twin = Twin(params, lend, observed, directions, **{"budget": 8, **options})
        twin.native.select()
        return adapter, adapter.select(params), twin

    return make


def make_step(adapter, **options):
    def train_step(params, batch):
        (_, ys), gradients = adapter.value_and_grad(of_products, has_aux=True)(params, batch)
        return adapter.step(gradients, params, **options), ys

    return train_step


def donated(function):
    return functools.partial(jax.jit, donate_argnums=0)(function)


@pytest.mark.parametrize("transformed", [lambda f: f, jax.jit, donated], ids=["eager", "jit", "donated"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_steps_equal_the_numpy_level_to_the_bit(twins, draw, transformed, dtype):
    adapter, params, twin = twins(dtype)
    before = bytes_of({name: params[name] for name in SHAPES})
    train_step = transformed(make_step(adapter, clip_norm=0.5))
    for _ in range(4):
        batch = draw(dtype)
        params, ys = train_step(params, batch)
        for name, y in ys.items():
            twin.check_product(name, batch["layers"][name][0], y)
        twin.step(batch, clip_norm=0.5)
        assert file_of(adapter) == twin.file()  # masks, deltas and bases
        assert np.array(params["bias"]).tobytes() == twin.weights["bias"].tobytes()
        assert bytes_of({name: params[name] for name in SHAPES}) == before
    sizes = [move.selected for move in adapter.history]
    assert len(sizes) == 4 and sizes[0] < sizes[-1]


@pytest.mark.parametrize(
    "options",
    [
        {"scope": "per-tensor", "optimizer": "adam"},
        {"settled_limit": 6},
        {"directions": 3},
        {"threshold": 0.5},
    ],
    ids=lambda options: "-".join(options),
)
def test_options_are_those_of_the_numpy_level(twins, draw, options):
    adapter, params, twin = twins(**options)
    train_step = donated(make_step(adapter))
    for _ in range(4):
        batch = draw()
        params, ys = train_step(params, batch)
        for name, y in ys.items():
            twin.check_product(name, batch["layers"][name][0], y)
        twin.step(batch)
    assert file_of(adapter) == twin.file()


def test_many_steps_in_one_program_see_each_its_own_delta(twins, draw):
    """The deltas are no data of the program: all it has to go by is that weights and taps pass through."""
    adapter, params, twin = twins()
    batches = [draw()] * 4  # the same inputs, which a compiler might compute with once

    @jax.jit
    def train(params, batches):
        return jax.lax.scan(make_step(adapter), params, batches)

    params, scanned = train(params, jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches))

    @jax.jit
    def train_unrolled(params):
        outputs = []
        for batch in batches:
            params, ys = make_step(adapter)(params, batch)
            outputs.append(ys)
        return params, outputs

    params, unrolled = train_unrolled(params)
    outputs = [{name: y[step] for name, y in scanned.items()} for step in range(4)] + unrolled
    for batch, ys in zip(batches * 2, outputs, strict=True):
        for name, y in ys.items():
            twin.check_product(name, batch["layers"][name][0], y)
        twin.step(batch)
    assert file_of(adapter) == twin.file()


def test_the_input_gradient_is_that_of_the_delta_before_the_step(twins, draw):
    adapter, params, twin = twins()
    for _ in range(2):
        batch = draw()
        params, _ = make_step(adapter)(params, batch)
        twin.step(batch)

    @jax.jit
    def program(params, taps, batch):
        def loss(taps, xs):
            dys = {name: dy for name, (_, dy) in batch["layers"].items()}
            return sum((linear(x, params[name], tap=taps[name]) * dys[name]).sum() for name, x in xs.items())

        xs = {name: x for name, (x, _) in batch["layers"].items()}
        received, dxs = jax.grad(loss, argnums=(0, 1))(taps, xs)
        return adapter.step(Gradients(received, {"bias": batch["bias"]}), params), dxs

    batch = draw()
    _, dxs = program(params, adapter.taps, batch)
    for name, dx in dxs.items():
        twin.check_product(name, batch["layers"][name][1], dx, transposed=True)
    twin.step(batch)
    assert file_of(adapter) == twin.file()


@pytest.mark.parametrize(
    "transformed",
    [
        lambda f, x: f(x.reshape(1, 1, TOKENS, -1))[0, 0],
        lambda f, x: jax.vmap(f)(x),
        lambda f, x: jax.vmap(jax.vmap(f))(x.reshape(TOKENS, 1, -1))[:, 0],
        lambda f, x: jax.lax.map(f, x),
        lambda f, x: jax.checkpoint(f)(x),
        lambda f, x: jax.jit(f)(x),
    ],
    ids=["axes", "vmap", "vmap-vmap", "scan", "remat", "jit"],
)
def test_products_under_transformations(twins, draw, transformed):
    adapter, params, twin = twins()
    batch = draw()
    params, _ = make_step(adapter)(params, batch)
    twin.step(batch)
    for name, (x, dy) in draw()["layers"].items():

        def layer(x, name=name):
            return linear(x, params[name], tap=adapter.taps[name])

        y, pull = jax.vjp(lambda x, layer=layer: transformed(layer, x), x)  # noqa: B023
        twin.check_product(name, x, y)
        twin.check_product(name, dy, pull(dy)[0], transposed=True)
    adapter.clear_gradients()


def test_a_layout_is_that_of_the_weight(twins, draw):
    adapter, params, twin = twins()
    batch = draw()
    params, _ = make_step(adapter)(params, batch)
    twin.step(batch)
    x, dy = draw()["layers"]["up"]
    layer = functools.partial(linear, layout="out_in", tap=adapter.taps["up"])
    dx, pull = jax.vjp(lambda dy: layer(dy, params["up"]), dy)
    twin.check_product("up", dy, dx, transposed=True)
    twin.check_product("up", x, pull(x)[0])


def test_gradients_flow_through_a_model_as_those_of_its_merged_weights(make_params, loss, batches):
    """dX of the second layer reaches the first layer's bias; against autograd in float64."""
    params = make_params()
    options = {"dense": ["layers/*/bias", "head/*"], "density": 0.2, "lr": 0.05, "selection": "sparsegrad"}
    adapter = SparseAdapter(params, "layers/*/kernel", **options)
    adapter.estimate(loss, params, batches)
    params = adapter.select(params)
    value_and_grad = jax.jit(adapter.value_and_grad(loss))
    values = []
    for batch in batches * 4:
        value, gradients = value_and_grad(params, batch)
        params = adapter.step(gradients, params)
        values.append(float(value))
    assert np.mean(values[-3:]) < np.mean(values[:3])
    value, gradients = value_and_grad(params, batches[0])
    adapter.clear_gradients()
    merged = adapter.merge(params)
    with jax.enable_x64(True):

        def widen(leaf):
            array = np.asarray(leaf)
            return jnp.asarray(array, jnp.float64) if array.dtype == np.float32 else leaf

        wide = jax.tree.map(widen, merged)
        expected, by_leaf = jax.value_and_grad(loss, allow_int=True)(wide, jax.tree.map(widen, batches[0]))
        expected, by_leaf = jax.device_get((expected, by_leaf))
    # Sums of at most 28 terms (a layer's 16, and the 12 tokens), through two layers, forward and back, each
    # rounded in float32; what is compared is the largest of its array.
    tolerance = 4 * 28 * ROUNDOFF["float32"]
    assert abs(float(value) - float(expected)) <= tolerance * float(expected)
    for name, gradient in gradients.dense.items():
        first, *rest = name.split("/")
        leaf = by_leaf[first]
        for key in rest:
            leaf = leaf[int(key) if key.isdigit() else key]
        assert np.abs(np.asarray(gradient) - leaf).max() <= tolerance * np.abs(leaf).max()


# ---- weights and files ----


@pytest.fixture
def trained(twins, draw):
    adapter, params, twin = twins()
    for _ in range(3):
        batch = draw()
        params, _ = make_step(adapter)(params, batch)
        twin.step(batch)
    return adapter, params, twin


@pytest.mark.parametrize("transformed", [lambda f: f, jax.jit, donated], ids=["eager", "jit", "donated"])
def test_merging_and_back_is_to_the_bit(trained, draw, transformed):
    adapter, params, twin = trained
    attached = bytes_of(params)
    call = {name: transformed(getattr(adapter, name)) for name in ("merge", "attach", "unmerge")}
    merged = call["merge"](params)
    twin.native.merge()
    assert bytes_of(merged) == {name: array.tobytes() for name, array in twin.weights.items()}
    assert (np.array(merged["up"]) != np.frombuffer(attached["up"], np.float32).reshape(9, 7)).all()
    assert adapter.info.merged and not adapter.info.attached

    # The delta is in the weight now, and is not added again.
    x = draw()["layers"]["up"][0]
    by_tap = linear(x, merged["up"], tap=adapter.taps["up"])
    assert np.array_equal(by_tap, linear(x, merged["up"]))
    _, gradients = adapter.value_and_grad(loss_of)(merged, draw())
    with pytest.raises(speft.InvalidState, match="attach"):
        adapter.step(gradients, merged)

    params = call["attach"](merged)
    twin.native.attach()
    assert bytes_of(params) == attached
    batch = draw()
    params, _ = make_step(adapter)(params, batch)
    twin.step(batch)
    assert file_of(adapter) == twin.file()

    params = call["unmerge"](params)
    twin.native.unmerge()
    assert bytes_of(params) == {name: array.tobytes() for name, array in twin.weights.items()}
    x = draw()["layers"]["up"][0]
    assert np.array_equal(linear(x, params["up"], tap=adapter.taps["up"]), linear(x, params["up"]))


def test_a_saved_adapter_predicts_the_same(trained, draw):
    adapter, params, twin = trained
    base = adapter.unmerge(params)
    before = bytes_of(base)
    params = adapter.attach(base)
    x = draw()["layers"]["up"][0]
    expected = np.array(linear(x, params["up"], tap=adapter.taps["up"]))
    loaded, merged = SparseAdapter.load(file_of(adapter), base, lr=LR)
    assert bytes_of(merged) == bytes_of(adapter.merge(params))
    attached = loaded.attach(merged)
    assert bytes_of(attached) == bytes_of(params)
    assert np.array_equal(linear(x, attached["up"], tap=loaded.taps["up"]), expected)
    assert bytes_of(loaded.unmerge(attached)) == before


@pytest.mark.parametrize("restored", ["pretrained", "trained"])
def test_a_checkpoint_resumes_to_the_bit(trained, draw, restored):
    adapter, params, twin = trained
    buffer = io.BytesIO()
    adapter.save_checkpoint(buffer)
    base = params if restored == "trained" else adapter.unmerge(params)
    resumed, resumed_params = SparseAdapter.load_checkpoint(buffer.getvalue(), base, lr=LR, weight_decay=0.1)
    assert resumed.info.attached and not resumed.info.merged
    for _ in range(2):
        batch = draw()
        resumed_params, ys = make_step(resumed)(resumed_params, batch)
        twin.check_product("up", batch["layers"]["up"][0], ys["up"])
        twin.step(batch)
    assert file_of(resumed) == twin.file()
    assert np.array(resumed_params["bias"]).tobytes() == twin.weights["bias"].tobytes()


# ---- bases ----


@pytest.mark.parametrize("sharing, count", [("kind", 1), ("each", 2)])
def test_kinds_share_a_basis(random, sharing, count):
    params = {"layers": [jnp.asarray(random.standard_normal((6, 6), dtype=np.float32)) for _ in range(2)]}
    adapter = SparseAdapter(params, "layers/*", selection="sparsegrad", density=0.2, basis=sharing)
    x = jnp.asarray(random.standard_normal((4, 6), dtype=np.float32))
    adapter.estimate(lambda p, x: (linear(linear(x, p["layers"][0]), p["layers"][1]) ** 2).sum(), params, [x])
    adapter.select(params)
    data = file_of(adapter)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert len([name for name in header if name.startswith("basis.")]) == 2 * count  # a U and a V


def test_bases_may_be_fitted_by_hand_and_to_arrays(make_adapter, draw, lend):
    adapter, params = make_adapter()
    batches = [draw() for _ in range(4)]
    _, gradients = adapter.value_and_grad(loss_of)(params, batches[0])
    adapter.observe(gradients)
    adapter.clear_observations()  # as if it had not been
    for batch in batches[1:3]:
        _, gradients = adapter.value_and_grad(loss_of)(params, batch)
        adapter.observe(gradients)
    dense = {name: np.array(x.T @ dy) for name, (x, dy) in batches[3]["layers"].items()}
    adapter.observe({**dense, "bias": np.zeros(5, np.float32)})
    params = adapter.select(params)
    twin = Twin(params, lend, batches[1:3], budget=8)
    for name, basis in twin.bases.items():
        twin.native.bind_basis(name, None)
        basis.observe(dense=dense[name])
        basis.fit()
        twin.native.bind_basis(name, basis)
    twin.native.select()
    params, _ = make_step(adapter)(params, batches[0])
    twin.step(batches[0])
    assert file_of(adapter) == twin.file()


def test_a_mask_may_be_chosen_once(make_adapter, draw, lend):
    adapter, params = make_adapter(schedule="none")
    observed = [draw() for _ in range(3)]
    adapter.estimate(loss_of, params, iter(observed))
    params = adapter.select(params)
    twin = Twin(params, lend, observed, budget=8, schedule="none")
    for batch in observed:
        twin.native.begin_observation()
        for name, (x, dy) in batch["layers"].items():
            twin.native.observe(name, x=x, dy=dy, layout="in_out")
        twin.native.finish_observation()
    twin.native.select()
    assert file_of(adapter) == twin.file()
    masks = adapter.masks
    params, _ = make_step(adapter)(params, draw())
    assert all(np.array_equal(mask, masks[name]) for name, mask in adapter.masks.items())
    assert adapter.history == []


# ---- what fails ----


@pytest.mark.parametrize(
    "options, message",
    [({"gradient": "dense"}, "gradient='activations'"), ({"basis": "all"}, "'kind' or 'each'")],
)
def test_options_are_refused_by_name(make_adapter, options, message):
    with pytest.raises(speft.InvalidArgument, match=message):
        make_adapter(**options)


def test_only_matrices_have_a_basis():
    with pytest.raises(speft.InvalidArgument, match=r"target 'w' has shape \[5\]"):
        SparseAdapter({"w": jnp.zeros(5)}, "w", selection="sparsegrad")


def test_bases_come_before_the_selection(make_adapter, draw):
    adapter, params = make_adapter()
    with pytest.raises(speft.InvalidState, match="observed no gradient"):
        adapter.select(params)
    with pytest.raises(speft.InvalidArgument, match="at least one batch"):
        adapter.estimate(loss_of, params, [])

    def of_one(params, batch):
        x, dy = batch["layers"]["up"]
        return (linear(x, params["up"]) * dy).sum()

    with pytest.raises(speft.InvalidState, match="no gradient of 'down'"):
        adapter.observe(adapter.value_and_grad(of_one)(params, draw())[1])
    fixed, params = make_adapter(schedule="none")
    with pytest.raises(speft.InvalidState, match="estimate"):
        fixed.select(params)


def test_a_selection_that_fails_can_be_made_again(make_adapter, draw):
    adapter, params = make_adapter()
    adapter.estimate(loss_of, params, [draw()])
    with pytest.raises(speft.InvalidArgument, match="must have the leaf 'up'"):
        adapter.select({name: leaf for name, leaf in params.items() if name != "up"})
    make_step(adapter)(adapter.select(params), draw())
    assert adapter.info.steps == 1


def test_a_failed_estimate_forgets_what_it_has_observed(make_adapter, draw, lend):
    adapter, params = make_adapter()
    batches = [draw() for _ in range(2)]

    def failing():
        yield batches[0]
        raise KeyError("no more")

    with pytest.raises(KeyError):
        adapter.estimate(loss_of, params, failing())
    adapter.estimate(loss_of, params, batches[1:])
    params = adapter.select(params)
    twin = Twin(params, lend, batches[1:], budget=8)
    twin.native.select()
    assert file_of(adapter) == twin.file()


def test_a_step_that_fails_after_scalars_have_left_loses_nothing(twins, draw):
    """The weights are as they were: what leaves a basis was beside them."""
    adapter, params, _ = twins(settled_limit=2)
    for _ in range(3):
        params, _ = make_step(adapter)(params, draw())
    overflowing = {**draw(), "bias": jnp.full((5,), jnp.inf)}
    _, gradients = adapter.value_and_grad(loss_of)(params, overflowing)
    with pytest.raises(speft.InvalidArgument, match="the norm of the gradients is inf"):
        adapter.step(gradients, params, clip_norm=0.5)
    assert adapter.history[-1].dropped > 0
    make_step(adapter)(params, draw())
    assert adapter.info.steps == 4
