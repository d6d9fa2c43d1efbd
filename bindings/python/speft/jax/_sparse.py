"""The adapter as optax sees an optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .._errors import InvalidArgument
from ._adapter import SparseAdapter


class Replacement:
    """An update of one array: what is added to it, it replaces.

    A sum w + (w' - w) would need an array as large as w, and round to other bits than w'.
    """

    __array_ufunc__ = None  # NumPy asks here first, too

    def __init__(self, value: Any):
        self._value = value

    def __radd__(self, replaced: Any) -> Any:
        return self._value


class SparseState(NamedTuple):
    """What optax keeps of it: the number of updates, for schedules. All else is the adapter's."""

    updates: Any


class Transformation(NamedTuple):
    """As ``optax.GradientTransformation``."""

    init: Callable[[Any], SparseState]
    update: Callable[..., tuple[Any, SparseState]]


def sparse(
    adapter: SparseAdapter, learning_rate: Any = None, *, clip_norm: float | None = None
) -> Transformation:
    """`SparseAdapter.step` in the form of an optax optimizer. optax itself is not needed.

    ::

        optimizer = speft.jax.sparse(adapter, optax.cosine_decay_schedule(1e-3, 1000))
        state = optimizer.init(params)

        @functools.partial(jax.jit, donate_argnums=(0, 1))
        def train_step(params, state, batch):
            value, gradients = adapter.value_and_grad(loss)(params, batch)
            updates, state = optimizer.update(gradients, state, params)
            return optax.apply_updates(params, updates), state, value

    ``update`` takes the step; the updates stand for the new arrays, and adding them to the old ones gives the
    new ones to the bit, without a copy. So they are to be applied as they are, in the same program: this is
    the last transformation of an ``optax.chain``, and the ones before it act on gradients that are arrays.

    Args:
        adapter: selected before the first update.
        learning_rate: a number, a schedule from the number of updates, or None for the adapter's own.
        clip_norm: as for `SparseAdapter.step`.
    """

    def init(params: Any) -> SparseState:
        return SparseState(jnp.zeros((), jnp.int32))

    def update(gradients: Any, state: SparseState, params: Any = None, **_: Any) -> tuple[Any, SparseState]:
        if params is None:
            raise InvalidArgument("update() needs params, which it moves")
        lr = learning_rate(state.updates) if callable(learning_rate) else learning_rate
        moved = adapter.step(gradients, params, lr=lr, clip_norm=clip_norm)
        return jax.tree.map(Replacement, moved), SparseState(state.updates + 1)

    return Transformation(init, update)
