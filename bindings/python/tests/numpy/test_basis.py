"""A basis of gradients, against a singular value decomposition of the explicit stack."""

import numpy as np
import pytest

import speft


def gradients_of(random, steps=12, rows=20, columns=14):
    """A stack whose singular values fall by half: its singular vectors are well apart."""
    left = np.linalg.qr(random.standard_normal((rows, rows)))[0]
    right = np.linalg.qr(random.standard_normal((columns, columns)))[0]
    sizes = 0.5 ** np.arange(columns)
    cores = random.standard_normal((steps, columns)) * sizes
    return np.einsum("rq,sq,cq->src", left[:, :columns], cores, right).astype(np.float32)


def turned(vectors):
    """Of the sign that the basis has."""
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1)
    return vectors * np.sign(largest)


def fit(context, gradients, **options):
    basis = speft.Basis(context, *gradients.shape[1:], **options)
    for gradient in gradients:
        basis.observe(dense=gradient)
    basis.fit()
    return basis, *(np.from_dlpack(matrix) for matrix in basis.matrices())


def test_is_the_higher_order_svd_of_the_stack(context, random):
    """Unfolded along its rows and along its columns. Of a gap of eigenvalues Δ, relative to the largest, a vector is off
    by some float32 roundings over Δ: the first five have gaps above 1e-3."""
    gradients = gradients_of(random)
    stack = gradients.astype(np.float64)
    _, u, v = fit(context, gradients)
    of_columns = np.linalg.svd(stack.reshape(-1, stack.shape[2]), full_matrices=False)[2]
    of_rows = np.linalg.svd(stack.transpose(0, 2, 1).reshape(-1, stack.shape[1]), full_matrices=False)[2]
    np.testing.assert_allclose(u[:5], turned(of_columns)[:5], atol=1e-3)
    np.testing.assert_allclose(v[:5], turned(of_rows)[:5], atol=1e-3)


def test_is_orthogonal_also_where_the_gradients_span_less(context, random):
    gradients = gradients_of(random, steps=2)
    basis, u, v = fit(context, gradients)
    for matrix in (u, v):
        product = matrix.astype(np.float64) @ matrix.T
        np.testing.assert_allclose(product, np.eye(len(matrix)), atol=len(matrix) * 2.0**-23)
    assert basis.state.row_directions <= 14 < len(v)  # a stack of 20 × 14


def test_gradients_are_sparser_in_it(context, random):
    """The share of Σ dW² in the largest 5% of the entries: what the method is for."""

    def concentration(gradient):
        squares = np.sort(gradient.ravel() ** 2)[::-1]
        return squares[: squares.size // 20].sum() / squares.sum()

    gradients = gradients_of(random)
    _, u, v = fit(context, gradients)
    assert concentration(v @ gradients[0] @ u.T) > 0.99
    assert concentration(gradients[0]) < 0.6


def test_the_kept_directions_hold_their_share(context, random):
    gradients = gradients_of(random)
    basis, u, v = fit(context, gradients, row_directions=3, column_directions=2)
    assert (u.shape, v.shape) == ((2, 14), (3, 20))
    squares = (gradients.astype(np.float64) ** 2).sum()
    state = basis.state
    assert state.row_share == pytest.approx(((v @ gradients) ** 2).sum() / squares, rel=1e-5)
    assert state.column_share == pytest.approx(((gradients @ u.T) ** 2).sum() / squares, rel=1e-5)


def test_activations_are_as_good_as_their_product(context, random):
    x, dy = random.standard_normal((30, 14), dtype=np.float32), random.standard_normal((30, 20), dtype=np.float32)
    by_activations, by_product = speft.Basis(context, 20, 14), speft.Basis(context, 20, 14)
    by_activations.observe(x=x, dy=dy, scale=0.5)
    by_product.observe(dense=0.5 * dy.T @ x)
    for basis in (by_activations, by_product):
        basis.fit()
    for one, other in zip(by_activations.matrices(), by_product.matrices(), strict=True):
        # The spectrum of noise: neighbours 1% apart, and float32 roundings of a sum of 30.
        np.testing.assert_allclose(np.from_dlpack(one)[:3], np.from_dlpack(other)[:3], atol=1e-3)


def test_observes_further_and_fits_again(context, random):
    gradients = gradients_of(random)
    basis, u, _ = fit(context, gradients[:6])
    for gradient in gradients[6:]:
        basis.observe(dense=gradient)
    assert basis.state == speft.BasisState(False, 12, 0, 0, 0.0, 0.0)
    with pytest.raises(speft.InvalidState, match="again"):
        basis.matrices()
    basis.fit()
    _, expected, _ = fit(context, gradients)
    np.testing.assert_array_equal(u, expected)  # lent once, written anew


def test_refuses_by_name(context, random):
    gradient = gradients_of(random)[0]
    basis = speft.Basis(context, *gradient.shape)
    with pytest.raises(speft.InvalidState, match="no gradient"):
        basis.fit()
    with pytest.raises(speft.InvalidArgument, match=r"\[20, 14\]"):
        basis.observe(dense=gradient.T.copy())
    broken = gradient.copy()
    broken[3, 5] = np.inf
    with pytest.raises(speft.InvalidArgument, match="infinity"):
        basis.observe(dense=broken)
    basis.observe(dense=np.zeros_like(gradient))
    with pytest.raises(speft.InvalidArgument, match="all of them are 0"):
        basis.fit()
    basis.observe(dense=gradient)
    with pytest.raises(speft.Cancelled, match="basis"):
        basis.fit(progress=lambda done, total: done == 1)
    assert not basis.state.fitted
    basis.close()
    basis.close()
    with pytest.raises(speft.InvalidState, match="closed"):
        basis.fit()
    for options in ({"rows": 0}, {"row_directions": 21}, {"column_directions": 15}):
        with pytest.raises(speft.InvalidArgument, match=next(iter(options))):
            speft.Basis(context, **({"rows": 20, "columns": 14} | options))
