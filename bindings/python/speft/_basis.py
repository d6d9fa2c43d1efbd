"""A basis in which gradients are sparse (SparseGrad)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from . import _capi
from ._call import call, integer, make, progress_of
from ._context import Context
from ._errors import InvalidArgument, InvalidState
from ._gradient import gradient_of
from ._tensor import Tensor, TensorLike


@dataclass(frozen=True)
class BasisState:
    """Where a basis stands.

    Attributes:
        fitted: whether it was fitted, and has observed nothing since. What follows is 0 until then.
        observations: gradients so far.
        row_directions, column_directions: how many the gradients span; the rest of the basis is arbitrary.
        row_share, column_share: of Σ dW², what the kept directions hold: 1 where all are kept.
    """

    fitted: bool
    observations: int
    row_directions: int
    column_directions: int
    row_share: float
    column_share: float


@dataclass(frozen=True)
class PlannedBasis:
    """A basis that `Adapter.plan_memory` takes some parameters to train in.

    Attributes:
        parameters: names of those that share it, all of one shape.
        row_directions, column_directions: as of a `Basis`; None: all.
    """

    parameters: Sequence[str]
    row_directions: int | None = None
    column_directions: int | None = None

    def to_native(self, shape: tuple[int, ...]) -> Any:
        """The C struct for matrices of this shape."""
        if len(shape) != 2:
            raise InvalidArgument(
                f"a basis is for matrices, and {self.parameters[0]!r} has shape {list(shape)}"
            )
        return _basis_options(*shape, self.row_directions, self.column_directions)


def _basis_options(
    rows: int, columns: int, row_directions: int | None, column_directions: int | None
) -> Any:
    kept = {"row_directions": row_directions, "column_directions": column_directions}
    return make(
        _capi.speft_basis_options,
        rows=integer("rows", rows),
        columns=integer("columns", columns),
        **{name: integer(name, count) for name, count in kept.items() if count is not None},
    )


class Basis:
    """Orthogonal U and V in which gradients dW [rows, columns] of one kind of matrix are sparse: V dW Uᵀ. ::

        basis = speft.Basis(context, 1536, 384)
        for x, dy in layers_and_steps:              # or dense=
            basis.observe(x=x, dy=dy)
        basis.fit()
        u, v = map(numpy.from_dlpack, basis.matrices())
        rotated = v @ gradient @ u.T

    Σ dW dWᵀ and Σ dWᵀ dW are kept, in float32, and no gradients. `Adapter.bind_basis` trains in it.

    Args:
        context: where it lives.
        rows, columns: of the matrices.
        row_directions, column_directions: how many rows V and U have, the leading ones; None: all.

    Raises:
        InvalidArgument: sizes below 1, or more directions than there are.
    """

    def __init__(
        self,
        context: Context,
        rows: int,
        columns: int,
        *,
        row_directions: int | None = None,
        column_directions: int | None = None,
    ):
        options = _basis_options(rows, columns, row_directions, column_directions)
        self._owned: Any = call(_capi.speft_create_basis, context.handle, options)
        self._context = context

    @property
    def handle(self) -> Any:
        """The C handle, for this package's own use. Raises `InvalidState` after `close`."""
        if self._owned is None:
            raise InvalidState("the basis has been closed")
        self._context.follow()
        return self._owned

    @property
    def state(self) -> BasisState:
        """Where it stands."""
        state = make(_capi.speft_basis_state)
        call(_capi.speft_get_basis_state, self.handle, state)
        return BasisState(
            fitted=bool(state.fitted),
            observations=state.observations,
            row_directions=state.row_directions,
            column_directions=state.column_directions,
            row_share=state.row_share,
            column_share=state.column_share,
        )

    def observe(
        self,
        *,
        dense: TensorLike | None = None,
        x: TensorLike | None = None,
        dy: TensorLike | None = None,
        layout: str = "out_in",
        scale: float = 1.0,
    ) -> None:
        """Adds one gradient of one matrix, given as for `Adapter.accumulate`; `scale` weighs it by its square.

        Raises:
            InvalidArgument: another shape, a NaN or an infinity; nothing is added then.
        """
        stream = self._context.dlpack_stream
        gradient = gradient_of(dense=dense, x=x, dy=dy, layout=layout, scale=scale, stream=stream)
        call(_capi.speft_observe_basis, self.handle, gradient)

    def fit(self, progress: Callable[[int, int], object] | None = None) -> None:
        """Finds U and V: rows, eigenvalues falling, the largest |entry| of each positive.

        Where gradients span fewer directions than there are, the others complete the basis: see `state`. More can
        be observed afterwards, and fitted again.

        Args:
            progress: called with (done, total) sides; anything true that it returns cancels.

        Raises:
            InvalidState: nothing was observed, or an adapter trains in it.
            InvalidArgument: all gradients were 0.
        """
        call(_capi.speft_fit_basis, self.handle, progress_of(progress))

    def matrices(self) -> tuple[Tensor, Tensor]:
        """U [column_directions, columns] and V [row_directions, rows], float32, lent: the next `fit` writes to them.

        Raises:
            InvalidState: not fitted since the last gradient.
        """
        u, v = (
            Tensor(view, self.handle, context=self._context, read_only=True)
            for view in call(_capi.speft_get_basis, self.handle)
        )
        return u, v

    def close(self) -> None:
        """Lets go of the basis. Twice is fine."""
        self._owned = None
