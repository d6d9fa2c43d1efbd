"""Masks of each step's own gradient, in place and in a basis, against NumPy in float64."""

import re
from pathlib import Path

import numpy as np
import pytest

import speft

FORMAT = Path(__file__).resolve().parents[4] / "docs" / "file-format.md"

ROWS, COLUMNS, TOKENS, STEPS = 20, 14, 30, 6
LR, BETAS, EPS = 0.01, (0.9, 0.999), 1e-8


class Lazy:
    """Adam on all scalars of a matrix, where only the chosen ones of a step move."""

    def __init__(self, shape):
        self.delta, self.first, self.second = (np.zeros(shape) for _ in range(3))
        self.age = np.zeros(shape, int)

    def step(self, gradient, count):
        chosen = np.zeros(gradient.size, bool)
        chosen[np.argsort(-np.abs(gradient).ravel(), kind="stable")[:count]] = True
        at = chosen.reshape(gradient.shape)
        self.age[at] += 1
        self.first[at] = BETAS[0] * self.first[at] + (1 - BETAS[0]) * gradient[at]
        self.second[at] = BETAS[1] * self.second[at] + (1 - BETAS[1]) * gradient[at] ** 2
        mean = self.first[at] / (1 - BETAS[0] ** self.age[at])
        square = self.second[at] / (1 - BETAS[1] ** self.age[at])
        self.delta[at] -= LR * mean / (np.sqrt(square) + EPS)


def weights_of(random):
    return random.standard_normal((ROWS, COLUMNS), dtype=np.float32)


def batch_of(random):
    return (
        random.standard_normal((TOKENS, COLUMNS), dtype=np.float32),
        random.standard_normal((TOKENS, ROWS), dtype=np.float32),
    )


@pytest.fixture
def make(context, random):
    def make(selection, **options):
        weights = weights_of(random)
        adapter = speft.Adapter(
            context, [speft.Parameter.of("up", weights)], selection=selection, budget=25, **options
        )
        adapter.bind_weights("up", weights)
        return adapter, weights

    return make


def fitted(context, random, **options):
    basis = speft.Basis(context, ROWS, COLUMNS, **options)
    for _ in range(4):
        x, dy = batch_of(random)
        basis.observe(x=x, dy=dy)
    basis.fit()
    return basis


def spread(adapter, shape):
    deltas = np.zeros(shape)
    deltas.ravel()[np.from_dlpack(adapter.mask("up"))] = np.from_dlpack(adapter.deltas("up"))
    return deltas


def train(adapter, random, steps=STEPS, reference=None, rotate=lambda gradient: gradient):
    for _ in range(steps):
        x, dy = batch_of(random)
        adapter.accumulate("up", x=x, dy=dy)
        assert adapter.state.reselection_due
        moved = adapter.reselect()
        assert moved is not None and moved.grown <= 25
        if reference:
            reference.step(rotate(dy.T.astype(np.float64) @ x), 25)
        adapter.step(speft.Hyperparameters(lr=LR))


# Adam divides by √v: a gradient of relative error 1e-6 moves a delta by that share of lr a step, and entries that
# tie in float32 do not occur among random numbers.
def assert_near(actual, expected):
    np.testing.assert_allclose(actual, expected, atol=LR * STEPS * 1e-4)


def test_meprop_is_lazy_adam_on_the_largest_entries(make, random):
    adapter, weights = make("meprop")
    before = weights.copy()
    adapter.select()
    assert adapter.state.selected_scalars == 0
    reference = Lazy((ROWS, COLUMNS))
    train(adapter, random, reference=reference)
    assert_near(spread(adapter, (ROWS, COLUMNS)), reference.delta)
    assert_near(weights - before, reference.delta)
    ages = reference.age[reference.age > 0]
    np.testing.assert_array_equal(np.from_dlpack(adapter.ages("up")), ages)
    assert ages.max() > ages.min()
    adapter.unmerge()
    np.testing.assert_array_equal(weights, before)


@pytest.mark.parametrize("directions", [{}, {"row_directions": 11, "column_directions": 9}])
def test_sparsegrad_is_that_in_the_basis(make, context, random, directions):
    adapter, weights = make("sparsegrad")
    before = weights.copy()
    basis = fitted(context, random, **directions)
    u, v = (np.from_dlpack(matrix).astype(np.float64) for matrix in basis.matrices())
    adapter.bind_basis("up", basis)
    adapter.select()
    reference = Lazy((len(v), len(u)))
    train(adapter, random, reference=reference, rotate=lambda gradient: v @ gradient @ u.T)
    assert_near(spread(adapter, (len(v), len(u))), reference.delta)
    np.testing.assert_array_equal(weights, before)

    effective = before + v.T @ spread(adapter, (len(v), len(u))) @ u
    x, dy = batch_of(random)
    y, dx = np.empty((TOKENS, ROWS), np.float32), np.empty((TOKENS, COLUMNS), np.float32)
    adapter.linear_forward("up", x, y)
    adapter.linear_backward("up", dy, dx)
    np.testing.assert_allclose(y, x @ effective.T, atol=1e-4)  # float32 sums of 14 and 20 products near 1
    np.testing.assert_allclose(dx, dy @ effective, atol=1e-4)
    more = y.copy()
    adapter.linear_forward("up", x, more, delta_only=True, accumulate=True)
    np.testing.assert_allclose(more - y, x @ (effective - before).T, atol=1e-4)

    state = adapter.state
    assert state.attached and not state.merged
    adapter.merge()
    np.testing.assert_allclose(weights, effective, atol=1e-6)
    assert adapter.state.merged and not adapter.state.attached
    with pytest.raises(speft.InvalidState, match="in the weights"):
        adapter.linear_forward("up", x, y)
    adapter.attach()
    np.testing.assert_array_equal(weights, before)
    train(adapter, random, steps=1)
    adapter.unmerge()
    np.testing.assert_array_equal(weights, before)


def test_a_gradient_that_is_sparse_in_a_hidden_basis_is_found_again(context, random):
    """Gradients VᵀSU with the same few directions at each step: the fitted basis has them, up to sign and order."""
    left = np.linalg.qr(random.standard_normal((ROWS, ROWS)))[0]
    right = np.linalg.qr(random.standard_normal((COLUMNS, COLUMNS)))[0]
    sizes = np.zeros((ROWS, COLUMNS))
    sizes[[0, 1, 2, 3], [0, 1, 2, 3]] = 8, 4, 2, 1  # sums of squares well apart: the basis is unique
    signs = random.choice([-1.0, 1.0], (3, ROWS, 1))
    gradients = [left.T @ (sizes * sign) @ right for sign in signs]
    basis = speft.Basis(context, ROWS, COLUMNS)
    for gradient in gradients:
        basis.observe(dense=gradient.astype(np.float32))
    basis.fit()
    weights = weights_of(random)
    adapter = speft.Adapter(
        context, [speft.Parameter.of("up", weights)], selection="sparsegrad", budget=4
    )
    adapter.bind_weights("up", weights)
    adapter.bind_basis("up", basis)
    adapter.select()
    adapter.accumulate("up", dense=gradients[0].astype(np.float32))
    adapter.reselect()
    np.testing.assert_array_equal(np.from_dlpack(adapter.mask("up")), [0, 15, 30, 45])  # the diagonal
    values = np.from_dlpack(adapter.gradient("up"))
    scale = np.linalg.norm(gradients[0]) / np.linalg.norm(sizes)
    np.testing.assert_allclose(np.abs(values), scale * np.array([8, 4, 2, 1]), rtol=1e-4)  # float32 Gram sums


def test_files_bring_the_basis_along(make, context, random, tmp_path):
    adapter, weights = make("sparsegrad")
    before = weights.copy()
    adapter.bind_basis("up", fitted(context, random))
    adapter.select()
    train(adapter, random)
    adapter.save(tmp_path / "a.safetensors")
    adapter.merge()
    loaded = speft.Adapter.load(context, tmp_path / "a.safetensors")
    again = before.copy()
    loaded.bind_weights("up", again)
    loaded.attach()
    np.testing.assert_array_equal(again, before)
    loaded.merge()
    np.testing.assert_array_equal(again, weights)
    merged = again.copy()
    loaded.unmerge()
    stranger = speft.Adapter.load(context, tmp_path / "a.safetensors")
    stranger.bind_weights("up", weights_of(random))
    with pytest.raises(speft.InvalidArgument, match="right model"):
        stranger.attach()

    # The reader of docs/file-format.md, of a checkpoint too, whose ages have a type of their own.
    (code,) = re.findall(r"^```python\n(.*?)^```$", FORMAT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    documented: dict = {}
    exec(code, documented)
    adapter.attach()
    adapter.save_checkpoint(tmp_path / "checkpoint.safetensors")
    for name in ("a.safetensors", "checkpoint.safetensors"):
        indices, deltas = documented["read_adapter"](tmp_path / name)["up"]
        np.testing.assert_array_equal(indices, np.from_dlpack(adapter.mask("up")))
        _, tensors = documented["read_tensors"](tmp_path / name)
        turned = documented["turn_back"](indices, deltas, tensors["basis.0.u"], tensors["basis.0.v"])
        np.testing.assert_allclose(before + turned, merged, atol=1e-5)  # float32 sums in another order


def test_leaving_the_basis_keeps_the_largest_entries(make, context, random):
    adapter, weights = make("sparsegrad")
    before = weights.copy()
    adapter.bind_basis("up", fitted(context, random))
    adapter.select()
    train(adapter, random)
    adapter.merge()
    delta = weights.astype(np.float64) - before
    with pytest.raises(speft.InvalidState, match="merged"):
        adapter.leave_bases(0.1)
    adapter.attach()
    ordinary, share = adapter.leave_bases(0.1)
    largest = np.sort(np.argsort(-np.abs(delta).ravel())[:28])
    np.testing.assert_array_equal(np.from_dlpack(ordinary.mask("up")), largest)
    kept = (delta.ravel()[largest] ** 2).sum() / (delta**2).sum()
    assert share == pytest.approx(kept, rel=1e-4)  # `delta` is of rounded weights
    ordinary.bind_weights("up", weights)
    ordinary.merge()
    np.testing.assert_allclose(weights.ravel()[largest], (before + delta).ravel()[largest], atol=1e-6)


def test_a_threshold_selects_fewer(make, random):
    adapter, _ = make("meprop", threshold=12.0)
    adapter.select()
    x, dy = batch_of(random)
    adapter.accumulate("up", x=x, dy=dy)
    adapter.reselect()
    expected = np.flatnonzero(np.abs(dy.T.astype(np.float64) @ x) >= 12)
    assert 0 < len(expected) < 25
    np.testing.assert_array_equal(np.from_dlpack(adapter.mask("up")), expected)


def test_a_mask_chosen_once_by_the_mean(make, context, random):
    adapter, _ = make("sparsegrad", schedule="none", optimizer="sgd")
    basis = fitted(context, random)
    u, v = (np.from_dlpack(matrix) for matrix in basis.matrices())
    adapter.bind_basis("up", basis)
    mean = np.zeros((ROWS, COLUMNS))
    for _ in range(3):
        x, dy = batch_of(random)
        adapter.observe("up", x=x, dy=dy)
        adapter.finish_observation()
        mean += dy.T @ x / 3
    adapter.select()
    largest = np.argsort(-np.abs(v @ mean @ u.T).ravel())[:25]
    np.testing.assert_array_equal(np.from_dlpack(adapter.mask("up")), np.sort(largest))
    x, dy = batch_of(random)
    adapter.accumulate("up", x=x, dy=dy)
    adapter.step()
    assert not adapter.state.reselection_due


def test_refusals(make, context, random):
    adapter, _ = make("sparsegrad")
    with pytest.raises(speft.InvalidState, match="'up' has no basis"):
        adapter.select()
    with pytest.raises(speft.InvalidArgument, match=r"\[20, 14\]"):
        adapter.bind_basis("up", fitted_of_another_shape(context, random))
    basis = fitted(context, random)
    adapter.bind_basis("up", basis)
    adapter.select()
    with pytest.raises(speft.InvalidState, match="trains in the basis"):
        basis.fit()
    x, dy = batch_of(random)
    adapter.accumulate("up", x=x, dy=dy)
    for call in (adapter.step, lambda: adapter.gradient("up"), lambda: adapter.clip_gradient(1.0)):
        with pytest.raises(speft.InvalidState, match="speft_reselect"):
            call()
    adapter.reselect()
    with pytest.raises(speft.InvalidState, match="selected already"):
        adapter.accumulate("up", x=x, dy=dy)
    with pytest.raises(speft.InvalidState, match="only where the selection method is sparsegrad"):
        make("meprop")[0].bind_basis("up", basis)


def fitted_of_another_shape(context, random):
    basis = speft.Basis(context, COLUMNS, ROWS)
    x, dy = batch_of(random)
    basis.observe(x=dy, dy=x)
    basis.fit()
    return basis
