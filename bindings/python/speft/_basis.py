"""A basis in which gradients are sparse (SparseGrad). `Unsupported` in this version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import _capi
from ._call import call, integer, make, progress_of
from ._context import Context
from ._errors import InvalidState
from ._gradient import gradient_of
from ._tensor import Tensor, TensorLike


class Basis:
    """Orthogonal U and V for the matrices of one kind, all `rows` × `columns`, fitted to their gradients.

    Raises:
        Unsupported: in this version, when made.
    """

    def __init__(self, context: Context, rows: int, columns: int):
        options = make(
            _capi.speft_basis_options, rows=integer("rows", rows), columns=integer("columns", columns)
        )
        self._owned: Any = call(_capi.speft_create_basis, context.handle, options)

    @property
    def handle(self) -> Any:
        """The C handle, for this package's own use. Raises `InvalidState` after `close`."""
        if self._owned is None:
            raise InvalidState("the basis has been closed")
        return self._owned

    def observe(
        self, *, dense: TensorLike | None = None, x: TensorLike | None = None, dy: TensorLike | None = None
    ) -> None:
        """Accumulates Σ dW dWᵀ and Σ dWᵀ dW of one gradient, given as for `Adapter.observe`."""
        call(_capi.speft_observe_basis, self.handle, gradient_of(dense=dense, x=x, dy=dy))

    def fit(self, progress: Callable[[int, int], object] | None = None) -> None:
        """Computes the eigenvectors: rows, eigenvalues falling, the largest |entry| of each positive."""
        call(_capi.speft_fit_basis, self.handle, progress_of(progress))

    def matrices(self) -> tuple[Tensor, Tensor]:
        """U [columns, columns] and V [rows, rows], float32, lent."""
        u, v = call(_capi.speft_get_basis, self.handle)
        return Tensor(u, self.handle, read_only=True), Tensor(v, self.handle, read_only=True)

    def close(self) -> None:
        """Lets go of the basis; adapters that train in it keep it. Twice is fine."""
        self._owned = None
