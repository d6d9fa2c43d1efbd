"""The adapter that trains a few scalars of a tree of JAX arrays."""

from __future__ import annotations

import ctypes
import functools
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import _capi
from .._adapter import Adapter
from .._bases import Bases
from .._call import int64s, make
from .._context import Context
from .._errors import InvalidArgument, InvalidState
from .._files import Progress, Source, Target
from .._options import DECAYS, AdapterState, Hyperparameters, Parameter, Reselection
from .._selection import read_selection
from .._tensor import Tensor, set_dtype
from ._linear import Tapped, make_tap
from ._native import (
    MOVE_WEIGHTS,
    close_host,
    open_host,
    set_basis,
    speft_errors,
    take_arrival,
    take_moves,
    turn,
    wait_for_programs,
)
from ._trees import Patterns, choose, find, is_traced, replace_leaves

STEP, MERGE, UNMERGE, ATTACH = 0, 1, 2, 3

# Selections that need no observation.
_WITHOUT_GRADIENTS = (
    "random",
    "magnitude",
    "smallest-magnitude",
    "low-rank",
    "weight-change",
    "spiel-ag",
    "spiel-ma",
    "mask",
    "scores",
)

# Selections of each step's own gradient.
_BY_STEP = ("sparsegrad", "meprop")

ScoreFunction = Callable[[str, np.ndarray, np.ndarray | None], Any]


@functools.partial(jax.tree_util.register_dataclass, data_fields=["received", "dense"], meta_fields=[])
@dataclass(frozen=True)
class Gradients:
    """What `SparseAdapter.value_and_grad` returns: a tree, to be passed on, or added to others.

    Attributes:
        received: for each target whose gradient the backward pass has handed to the adapter, zeros: who needs
            them runs after it. Those of several backward passes may be added.
        dense: the gradients that are arrays: of the dense parameters, and with ``gradient="dense"`` of all.
    """

    received: dict[str, Any] = field(default_factory=dict)
    dense: dict[str, Any] = field(default_factory=dict)


class SparseAdapter:
    """Trains a chosen 0.5% (say) of the weights in a tree of JAX arrays.

    ::

        adapter = SparseAdapter(params, targets=["*/kernel"], density=0.005, dense=["head/*"])
        adapter.estimate(loss, params, estimation_batches)
        params = adapter.select(params)

        @functools.partial(jax.jit, donate_argnums=0)
        def train_step(params, batch):
            value, gradients = adapter.value_and_grad(loss)(params, batch)
            return adapter.step(gradients, params), value

        for batch in training_batches:
            params, value = train_step(params, batch)
        adapter.save("adapter.safetensors")
        params = adapter.unmerge(params)

    The weights stay JAX's: methods take the tree and return it, with new arrays in the place of those that
    are trained. `step`, `merge` and `unmerge` work inside ``jax.jit``, and there in place where their tree is
    donated; without it, XLA copies the trained arrays first, and the result is the same. Masks, deltas,
    moments and accumulated gradients are the adapter's own, outside of JAX: a step that runs is taken, once
    each time. So a step must not be run speculatively, vmapped or differentiated, and a program's order is
    that of its data: pass on the gradients and the trees that came back.

    The other methods are called outside of ``jit``. They wait for the programs that their thread has started,
    and so see every step before them. An adapter's programs and calls take turns, from whatever thread.

    Args:
        params: the tree of parameters, or one of their shapes (``jax.eval_shape``). It is not kept. The
            trained leaves are float32, bfloat16 or float16, on JAX's first CPU device.
        targets: patterns (``fnmatch``) over the leaves' paths, ``"encoder/0/kernel"`` say.
        density: the share of the targets' scalars that is selected, in (0, 1]; 0.005 if there is neither
            `budget` nor `rank`.
        budget, rank: their number instead. See `speft.Adapter`.
        selection: how they are chosen: a name, whose formulas are those of `speft.Adapter`; a function
            ``score(name, weight, gradient)`` of NumPy arrays that returns an array of the weight's shape
            (`gradient` is the mean of what was observed, or None); or a dict from the name of each target to
            its mask (flat indices, integers) or to its scores (floats of its shape).

            With ``"meprop"`` nothing is selected at first: each `step` selects by its own gradient, for which
            backward passes leave copies of the layers' inputs and output gradients until then; what was
            selected so far stays trained. ``"sparsegrad"`` does the same in a basis in which gradients are
            sparse, which `estimate` or `observe` fits to the gradients of some batches. Its targets stay as
            they are in the tree: under `value_and_grad` `linear` computes with W + VᵀΔU. To predict by the
            tree alone `merge` it, and `attach` it again before more steps. Masks and deltas count in the
            basis.
        dense: patterns of leaves that are trained in full, as a new head is.
        gradient: ``"activations"``: the targets are weights of linear layers that the loss computes by
            `speft.jax.linear`; no gradient of their size is ever formed. ``"dense"``: any loss and any shape
            of leaf, by JAX's own gradients; not with ``"sparsegrad"``.
        lr, betas, eps, weight_decay, momentum, decay: of a step; as for `speft.torch.SparseAdapter`.
        threads: CPU threads of the library; 0 for as many as the process may run on.
        basis: of ``"sparsegrad"``: one for each ``"kind"`` of target, those whose paths differ in numbers
            alone, or one for ``"each"``.
        directions: of ``"sparsegrad"``: the most directions that a basis has on either side; None: all.
        options: all other options of `speft.Adapter`: `scope`, `seed`, `optimizer`, `state`, `delta_type`,
            `reselect_every`, `threshold`, ….

    Raises:
        speft.InvalidArgument: a pattern matches nothing, or a leaf cannot be trained; the message names it.
        speft.Unsupported: a leaf lies on another device, or on several.
    """

    _history: list[Reselection]
    _compiled: tuple[Any, Any] | None  # a loss, and what `estimate` has made of it
    _selects_by_step: bool  # whether it is known to select at each step, without observations
    _bases: Bases | None  # until they are fitted: gradients are theirs

    def __init__(
        self,
        params: Any,
        targets: Patterns,
        *,
        density: float | None = None,
        budget: int | None = None,
        rank: int | None = None,
        selection: str | Mapping[str, Any] | ScoreFunction = "gradient",
        dense: Patterns = (),
        gradient: str = "activations",
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        decay: str | None = None,
        threads: int = 0,
        basis: str = "kind",
        directions: int | None = None,
        **options: Any,
    ):
        parameters = choose(params, targets, dense)
        method, given = read_selection(
            selection,
            {parameter.name for parameter in parameters if parameter.role == "sparse"},
            np.asarray,
            lambda array: not np.issubdtype(array.dtype, np.integer),
        )
        if density is None and budget is None and rank is None and method != "mask":
            density = 0.005
        native = Adapter(
            Context("cpu", threads=threads),
            parameters,
            selection=method,
            density=density,
            budget=budget,
            rank=rank,
            score=_fill_scores(selection) if callable(selection) else None,
            **options,
        )
        for name, array in given.items():
            if method == "mask":
                native.set_mask(name, np.ascontiguousarray(array, np.int64))
            else:
                native.set_scores(name, np.ascontiguousarray(array, np.float32))
        if method == "weight-change":
            for parameter, leaf in zip(parameters, find(params, parameters), strict=True):
                if parameter.role == "sparse":
                    native.set_reference(parameter.name, leaf)
        decay = decay or ("after" if method.startswith("spiel") else "original")
        hyperparameters = Hyperparameters(lr, betas, eps, weight_decay, decay, momentum)
        self._attach(native, gradient, hyperparameters)
        self._selects_by_step = method in _BY_STEP and options.get("schedule") != "none"
        if method == "sparsegrad":
            shapes = {p.name: p.shape for p in parameters if p.role == "sparse"}
            self._bases = Bases(native.context, shapes, basis, directions)
            self._observe_in(self._bases)

    @classmethod
    def load(
        cls,
        source: Source,
        params: Any,
        *,
        gradient: str = "activations",
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        decay: str | None = None,
        threads: int = 0,
    ) -> tuple[SparseAdapter, Any]:
        """The adapter in a file that `save` wrote, and the tree with it merged: to predict, or to train on.

        ::

            adapter, params = SparseAdapter.load("adapter.safetensors", params)

        The file says what is trained and how it was selected. The optimizer starts afresh. `attach` comes
        before more steps of ``"sparsegrad"``.

        Args:
            source: a path, an open binary file, or the file's bytes.
            params: the pretrained tree that the adapter was trained on, unchanged.
            gradient, lr, betas, eps, weight_decay, momentum, decay, threads: as for the constructor.

        Raises:
            speft.InvalidArgument: `params` lacks a leaf of the file, or it has another shape, type or
                content; the message names it.
            speft.IOFailure, speft.Corrupt, speft.Unsupported: the file cannot be read.
        """
        native = Adapter.load(Context("cpu", threads=threads), source)
        adapter = cls._from_file(native, gradient, (lr, betas, eps, weight_decay, momentum), decay)
        return adapter, adapter.merge(params)

    @classmethod
    def load_checkpoint(
        cls,
        source: Source,
        params: Any,
        *,
        score: ScoreFunction | None = None,
        gradient: str = "activations",
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        decay: str | None = None,
        threads: int = 0,
    ) -> tuple[SparseAdapter, Any]:
        """The adapter in a file that `save_checkpoint` wrote, to resume as if training had never stopped.

        As `load`, but attached; `params` may be the pretrained tree or the trained one. `score` is the
        function of a selection that moves its masks by one, which no file has. What is passed at each step is
        not in the file: the learning rate.
        """
        scorer = None if score is None else _fill_scores(score)
        native = Adapter.load_checkpoint(Context("cpu", threads=threads), source, score=scorer)
        adapter = cls._from_file(native, gradient, (lr, betas, eps, weight_decay, momentum), decay)
        return adapter, adapter.attach(params)

    # ---- gradients ----

    @property
    def taps(self) -> dict[str, np.ndarray]:
        """For each target what `linear` needs to know it by: float32 [8] or [9], to be passed unchanged.

        `value_and_grad` passes them by itself. As arguments of a compiled program they are data: the same
        program then serves other adapters.
        """
        return {
            parameter.name: make_tap(self._number, position, beside=self._selection == "sparsegrad")
            for position, parameter in enumerate(self._native.parameters)
            if parameter.role == "sparse"
        }

    def value_and_grad(
        self, loss: Callable[..., Any], *, has_aux: bool = False
    ) -> Callable[..., tuple[Any, Gradients]]:
        """As ``jax.value_and_grad`` of ``loss(params, …)``, but of what is trained only.

        With ``gradient="activations"`` the loss sees its targets as `Tapped`, and computes with them by
        `linear`; running the backward pass hands their gradients to the adapter, where they add up until the
        next `step` or, before the selection, `observe`. So what comes back is passed on, to one of them.

        Args:
            loss: from the tree of parameters and other arguments to a scalar; for ``"fisher"`` a mean over
                the examples, which the first axis of the layers' inputs counts.
            has_aux: whether it returns (scalar, anything), as in ``jax.value_and_grad``.

        Returns:
            A function of (params, …) that returns the loss's value (with aux, both), and the `Gradients`.
        """
        tapped = self._gradient == "activations"

        def value_and_grad(params: Any, *args: Any, **kwargs: Any) -> tuple[Any, Gradients]:
            named = self._named(params)
            sparse = {p.name for p in self._native.parameters if p.role == "sparse"} if tapped else set()
            taps = {name: jnp.asarray(tap) for name, tap in self.taps.items() if name in sparse}
            dense = {name: leaf for name, leaf in named.items() if name not in sparse}

            def of_trained(trained: Gradients) -> Any:
                leaves: dict[str, Any] = dict(trained.dense)
                leaves |= {name: Tapped(named[name], tap) for name, tap in trained.received.items()}
                return loss(replace_leaves(params, leaves), *args, **kwargs)

            return jax.value_and_grad(of_trained, has_aux=has_aux)(Gradients(taps, dense))

        return value_and_grad

    # ---- selecting ----

    def estimate(
        self,
        loss: Callable[..., Any],
        params: Any,
        batches: Iterable[Any],
        weight: Callable[[Any], float] | None = None,
    ) -> None:
        """Observes the gradients of ``loss(params, batch)`` over the batches, where the selection needs any.

        With ``"sparsegrad"`` they are what the bases are fitted to. With ``schedule="none"`` too its masks
        are chosen by them, in the bases: it then goes through the batches, which it holds, twice. GRaSP and
        SynFlow take other things than gradients: `observe` them by hand. Where dynamic masks need new
        observations, this makes them, when `reselection_due`.

        Args:
            loss: as for `value_and_grad`; it is compiled.
            params: the tree.
            batches: at least one.
            weight: from a batch to its weight, the number of its examples, say; None: 1 each.

        Raises:
            speft.InvalidArgument: there was no batch.
            speft.InvalidState: after `select`, unless masks are dynamic; or a target received no gradient.
        """
        method = self.info.selection
        if method in _WITHOUT_GRADIENTS or (method == "meprop" and self._selects_by_step):
            return
        if method in ("synflow", "grasp", "grasp-code"):
            raise InvalidArgument(
                f"selection {method!r} does not rank by gradients: observe() what it ranks by"
            )
        if self._compiled is None or self._compiled[0] is not loss:
            self._compiled = loss, jax.jit(self.value_and_grad(loss))
        value_and_grad = self._compiled[1]
        try:
            if self._bases is not None and not self._selects_by_step:
                batches = list(batches)
                self._observe_batches(value_and_grad, params, batches, weight)
                with self._turn():
                    self._train_in(self._bases)
            self._observe_batches(value_and_grad, params, batches, weight)
        except BaseException:
            self.clear_observations()
            raise

    def observe(self, gradients: Any, weight: float = 1.0) -> None:
        """Counts gradients as one batch.

        Args:
            gradients: what `value_and_grad` returned; or a tree of arrays with the targets' paths, of
                gradients or whatever else the selection ranks by.
            weight: of the batch: its number of examples, say. Means are Σwg/Σw. Bases count each as 1.

        Raises:
            speft.InvalidState: after `select`, unless masks are dynamic; or a target received no gradient.
        """
        _refuse_traced("observe", gradients)
        taps, dense = self._split(gradients)
        with speft_errors():
            jax.block_until_ready((taps, dense))
        with self._turn():
            if self._bases is not None:
                self._finish_batch_of(self._bases, dense)
                return
            for position, array in dense.items():
                self._native.observe(position, dense=array)
            self._native.finish_observation(weight)

    def clear_observations(self) -> None:
        """Forgets all that was observed: after a backward pass that failed, say."""
        with self._turn():
            self._native.clear_observations()
            if self._bases is not None:
                self._bases.clear()
                self._observe_in(self._bases)

    def select(self, params: Any, progress: Progress | None = None) -> Any:
        """Chooses the masks.

        Args:
            params: the tree.
            progress: called with (done, total); anything true that it returns cancels.

        Returns:
            The tree, whose trained arrays are copies: the weights plus the deltas, which are 0 so far. With
            ``"weight-change"`` its targets are those that the adapter was made with.

        Raises:
            speft.InvalidState: already selected, or nothing observed where the selection needs it.
            speft.InvalidArgument: fewer scalars can be selected than were asked for.
        """
        if self._bases is not None and not self._selects_by_step:
            raise InvalidState("call estimate first: it fits the basis, and then observes in it")
        with self._lent("select", params) as copies:
            if self._bases is not None:
                self._train_in(self._bases)
            self._native.select(progress)
        return replace_leaves(params, copies)

    def reselect(self, params: Any, progress: Progress | None = None) -> Any:
        """Moves the masks, when that is due, and otherwise returns the tree as it is.

        `step` does it by itself where no observation is needed: for SpIEL, for ``"meprop"`` and
        ``"sparsegrad"``, and for dynamic masks that are random or ranked by the weights alone. For others,
        and for a function of one's own::

            if adapter.reselection_due:
                adapter.estimate(loss, params, estimation_batches)
                params = adapter.reselect(params)

        Returns:
            The tree, whose trained arrays are copies. `history` tells what moved.
        """
        if not self.reselection_due:
            return params
        with self._lent("reselect", params) as copies:
            moved = self._native.reselect(progress)
        if moved is not None:
            self._history = [*self.history, moved]
        return replace_leaves(params, copies)

    @property
    def reselection_due(self) -> bool:
        """Whether `reselect` has to come before the next step.

        With ``"meprop"`` and ``"sparsegrad"``: whether a backward pass has handed over gradients, by which
        that step will select.
        """
        return self.info.reselection_due

    @property
    def history(self) -> list[Reselection]:
        """What each reselection has moved, since this object was made: `speft.Reselection`."""
        with self._turn():
            self._history += [Reselection(*moved) for moved in take_moves(self._number)]
        return list(self._history)

    # ---- training ----

    def step(
        self,
        gradients: Any,
        params: Any,
        *,
        lr: Any = None,
        clip_norm: float | None = None,
        gradient_scale: float = 1.0,
        allow_missing: bool = False,
    ) -> Any:
        """One update, by what has been accumulated, which is then cleared.

        Where masks move without observations, they do when it is time: see `history`. With ``"meprop"`` and
        ``"sparsegrad"`` that comes first, once all of this step's gradient is there; `clip_norm` is of the
        scalars that it selects.

        Args:
            gradients: what `value_and_grad` returned, or a sum of such; or a tree of arrays with the paths of
                all that is trained, as ``jax.grad`` gives it.
            params: the tree; in a jitted function that donates it the arrays are changed in place.
            lr: the learning rate in place of the constructor's; or one for the targets and one for the dense
                parameters. A traced one is taken as the float32 number that it is.
            clip_norm: scales all gradients, sparse and dense together, so that their 2-norm is at most this.
            gradient_scale: multiplies every gradient; not 0.
            allow_missing: whether a target that has never received a gradient is skipped; it is an error
                otherwise.

        Returns:
            The tree with the updated arrays.

        Raises:
            speft.InvalidState: before `select`; unmerged; no gradient; `reselection_due`. In a jitted
                function these come from the program, when its results are asked for: see `speft_errors`. The
                adapter is as before then, but for the gradients, which are cleared, and for scalars that its
                own gradient has selected, which keep deltas of 0; what was donated to the program is lost.
                Where `settled_limit` had made others leave, later steps of ``"meprop"`` are refused, too: the
                tree with their original weights was that of the failed one.
        """
        if gradient_scale == 0:
            raise InvalidArgument("gradient_scale must not be 0")
        if clip_norm is not None and not clip_norm > 0:
            raise InvalidArgument(f"clip_norm must be above 0, got {clip_norm!r}")
        taps, dense = self._split(gradients)
        return self._move(
            STEP, params, taps, dense, self._rates(lr), clip_norm or 0.0, gradient_scale, allow_missing
        )

    def clear_gradients(self) -> None:
        """Forgets the gradients that backward passes have handed over since the last step."""
        with self._turn():
            self._native.clear_gradient()

    # ---- weights and files ----

    def merge(self, params: Any) -> Any:
        """The tree with the trained weights; as it is when they are there, as after `select`.

        With ``"sparsegrad"`` that is another state than the one it is trained in: see `attach`.

        Raises:
            speft.InvalidState: not selected.
            speft.InvalidArgument: an adapter from a file meets another base model.
        """
        return self._move(MERGE, params)

    def attach(self, params: Any) -> Any:
        """The tree as training needs it, which is how `select` returns it.

        That is merged, but for the targets of ``"sparsegrad"``, which have their original weights: `linear`
        adds the product with their deltas.

        Raises:
            speft.InvalidState: not selected, or a weight was changed by somebody else.
            speft.InvalidArgument: an adapter from a file meets another base model.
        """
        return self._move(ATTACH, params)

    def unmerge(self, params: Any) -> Any:
        """The tree with the original weights, to the bit.

        Raises:
            speft.InvalidState: a trained weight is no longer what this adapter wrote there.
        """
        return self._move(UNMERGE, params)

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """For each target the flat indices of its trained scalars: int64 [k], increasing."""
        with self._turn():
            return {
                parameter.name: np.from_dlpack(self._native.mask(parameter.name))
                for parameter in self._native.parameters
                if parameter.role == "sparse"
            }

    @property
    def deltas(self) -> dict[str, np.ndarray]:
        """For each target what is added to those scalars now: float32 [k] in the mask's order, a copy.

        With ``delta_type="bfloat16"``, which NumPy does not have, the same numbers.
        """
        with self._turn():
            return {
                parameter.name: _copy_of(self._native.deltas(parameter.name)).astype(np.float32)
                for parameter in self._native.parameters
                if parameter.role == "sparse"
            }

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """What is trained, the targets first."""
        return self._native.parameters

    @property
    def native(self) -> Adapter:
        """The `speft.Adapter` beneath, bound to nothing; for what has no place here. No program may run."""
        return self._native

    @property
    def info(self) -> AdapterState:
        """Where the adapter stands: selected, merged, steps, and its counts of scalars."""
        with self._turn():
            return self._native.state

    def measure_rounding_loss(self) -> float:
        """The share of Σ|δ| that rounding θ0+δ to the weights' type loses. See `speft.Adapter`."""
        with self._turn():
            return self._native.measure_rounding_loss()

    def save(self, target: Target, *, format: str = "exact", progress: Progress | None = None) -> None:
        """Writes the adapter, the dense parameters too, to a safetensors file. See `speft.Adapter.save`.

        Raises:
            speft.InvalidState: before `select`.
            speft.IOFailure: it cannot be written; an old file is untouched.
        """
        with self._turn():
            self._native.save(target, format=format, progress=progress)

    def save_checkpoint(self, target: Target, *, progress: Progress | None = None) -> None:
        """As `save`, with what training needs beside, to resume to the bit. See `load_checkpoint`."""
        with self._turn():
            self._native.save_checkpoint(target, progress=progress)

    def close(self) -> None:
        """Lets go of the adapter; trees stay as they are, merged or not. Twice is fine.

        Programs that were made with it, and methods, raise `speft.InvalidState` from here on.
        """
        self._finalizer()
        self._native.close()

    def __enter__(self) -> SparseAdapter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self._native).replace("speft.Adapter", "speft.jax.SparseAdapter", 1)

    # ---- inside ----

    def _attach(self, native: Adapter, gradient: str, hyperparameters: Hyperparameters) -> None:
        if gradient not in ("activations", "dense"):
            raise InvalidArgument(f"gradient must be 'activations' or 'dense', got {gradient!r}")
        code = DECAYS.get(hyperparameters.decay)
        if code is None:
            raise InvalidArgument(f"decay must be one of {', '.join(DECAYS)}; got {hyperparameters.decay!r}")
        self._native = native
        self._selection = native.state.selection
        if self._selection == "sparsegrad" and gradient == "dense":
            raise InvalidArgument("selection 'sparsegrad' replaces layers: use gradient='activations'")
        self._gradient = gradient
        self._hyperparameters = hyperparameters
        group = [*hyperparameters.betas, hyperparameters.eps, hyperparameters.weight_decay]
        self._group = [*map(float, group), float(hyperparameters.momentum), float(code)]
        self._history = []
        self._compiled = None
        self._selects_by_step = False
        self._bases = None
        self._number = open_host(native.handle)
        # Runs before this object lets go of `native`: programs lose the adapter first.
        self._finalizer = weakref.finalize(self, close_host, self._number)

    @classmethod
    def _from_file(
        cls, native: Adapter, gradient: str, numbers: tuple[Any, ...], decay: str | None
    ) -> SparseAdapter:
        adapter = cls.__new__(cls)
        decay = decay or ("after" if native.state.selection.startswith("spiel") else "original")
        lr, betas, eps, weight_decay, momentum = numbers
        adapter._attach(native, gradient, Hyperparameters(lr, betas, eps, weight_decay, decay, momentum))
        return adapter

    def _observe_batches(
        self,
        value_and_grad: Callable[..., tuple[Any, Gradients]],
        params: Any,
        batches: Iterable[Any],
        weight: Callable[[Any], float] | None,
    ) -> None:
        seen = 0
        for batch in batches:
            of_batch = 1.0 if weight is None else float(weight(batch))
            if self._bases is None:
                with self._turn():
                    self._native.begin_observation(of_batch)
            _, gradients = value_and_grad(params, batch)
            self.observe(gradients, of_batch)
            seen += 1
        if seen == 0:
            raise InvalidArgument("batches must have at least one batch")

    def _observe_in(self, bases: Bases) -> None:
        """Sends what backward passes hand over to the bases."""
        for name, basis in bases:
            set_basis(self._number, self._position(name), basis.handle)

    def _finish_batch_of(self, bases: Bases, dense: Mapping[int, Any]) -> None:
        """Closes a batch whose gradients have arrived from backward passes, or as arrays by position."""
        for name, _ in bases:
            position = self._position(name)
            if position in dense:
                bases.observe(name, dense=dense[position])
            elif take_arrival(self._number, position):
                bases.note_arrival(name)
        bases.finish_batch()

    def _train_in(self, bases: Bases) -> None:
        """Fits the bases, to train in them from here on; in a turn."""
        bases.bind(self._native)
        for name, _ in bases:
            set_basis(self._number, self._position(name), None)
        self._bases = None

    def _position(self, name: str) -> int:
        return next(i for i, parameter in enumerate(self._native.parameters) if parameter.name == name)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Calls of the library itself: after the programs before them, and with others kept out."""
        wait_for_programs()
        with turn(self._number):
            self._native.handle  # noqa: B018  # raises when closed
            yield

    @contextmanager
    def _lent(self, call: str, params: Any) -> Iterator[dict[str, Any]]:
        """Copies of the trained arrays, by name, bound while the block runs: nobody has seen them yet."""
        _refuse_traced(call, params)
        named = self._named(params)
        copies = jax.block_until_ready({name: jnp.array(leaf, copy=True) for name, leaf in named.items()})
        with self._turn():
            try:
                for name, copy in copies.items():
                    self._native.bind_weights(name, _memory_of(copy))
                yield copies
            finally:
                for name in copies:
                    self._native.bind_weights(name, None)

    def _named(self, params: Any) -> dict[str, Any]:
        leaves = find(params, self._native.parameters)
        return {p.name: leaf for p, leaf in zip(self._native.parameters, leaves, strict=True)}

    def _split(self, gradients: Any) -> tuple[list[Any], dict[int, Any]]:
        """What taps have received, and the arrays by the parameters' positions."""
        parameters = self._native.parameters
        if not isinstance(gradients, Gradients):
            return [], dict(enumerate(find(gradients, parameters, "gradients")))
        named = {parameter.name: parameter for parameter in parameters}
        for name in (*gradients.received, *gradients.dense):
            if name not in named:
                raise InvalidArgument(f"gradients: {name!r} is nothing that this adapter trains")
        wanted = [p for p in parameters if p.name not in gradients.received]
        arrays = find(gradients.dense, wanted, "gradients")
        positions = {p.name: position for position, p in enumerate(parameters)}
        dense = {positions[p.name]: array for p, array in zip(wanted, arrays, strict=True)}
        return list(gradients.received.values()), dense

    def _rates(self, lr: Any) -> Any:
        """The learning rates of both groups: bits of doubles where they are numbers, else float32."""
        rates = self._hyperparameters.lr if lr is None else lr
        pair = list(rates) if isinstance(rates, (tuple, list)) else [rates, rates]
        if len(pair) != 2:
            raise InvalidArgument(
                f"lr must be one number, or one for targets and one for dense ones; got {lr!r}"
            )
        if any(isinstance(rate, jax.Array) for rate in pair):
            return jnp.stack([jnp.asarray(rate, jnp.float32).reshape(()) for rate in pair])
        return np.array(pair, np.float64).view(np.uint32).reshape(2, 2)

    def _move(
        self,
        call: int,
        params: Any,
        taps: Sequence[Any] = (),
        dense: Mapping[int, Any] | None = None,
        rates: Any = None,
        clip_norm: float = 0.0,
        gradient_scale: float = 1.0,
        allow_missing: bool = False,
    ) -> Any:
        dense = dense or {}
        named = self._named(params)
        self._native.handle  # noqa: B018  # raises when closed
        operands = [
            np.array([self._number], np.uint32),
            self._rates(None) if rates is None else rates,
            *taps,
            *dense.values(),
            *named.values(),
        ]
        first = len(operands) - len(named)
        run = jax.ffi.ffi_call(
            MOVE_WEIGHTS,
            [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in named.values()],
            has_side_effect=True,
            input_output_aliases={first + i: i for i in range(len(named))},
        )
        attributes = {
            "call": np.int32(call),
            "taps": np.int64(len(taps)),
            "dense": np.array(list(dense), np.int64),
            "groups": np.array(2 * self._group, np.float64),
            "clip_norm": np.float64(clip_norm),
            "gradient_scale": np.float64(gradient_scale),
            "allow_missing": np.int32(allow_missing),
        }
        if any(map(is_traced, operands)):
            moved = run(*operands, **attributes)
        else:
            wait_for_programs()  # whose layers may need the deltas where they are now
            with speft_errors():
                moved = jax.block_until_ready(run(*operands, **attributes))
        return replace_leaves(params, dict(zip(named, moved, strict=True)))


def _refuse_traced(call: str, tree: Any) -> None:
    if any(map(is_traced, jax.tree.leaves(tree))):
        raise InvalidState(f"{call} must be called outside of jax.jit, with arrays")


def _memory_of(array: jax.Array) -> Tensor:
    """The memory of an array that only its owner knows yet, to be written to."""
    memory = (ctypes.c_char * array.nbytes).from_address(array.unsafe_buffer_pointer())
    shape = int64s("shape", array.shape)
    view = make(_capi.speft_tensor, data=memory, shape=shape, ndim=array.ndim)
    view.device.type = _capi.SPEFT_DEVICE_CPU
    set_dtype(view.dtype, str(array.dtype))
    return Tensor(view, (view, array))


def _copy_of(tensor: Tensor) -> np.ndarray:
    """A tensor of the library's in NumPy, whose DLPack knows no bfloat16."""
    if tensor.dtype != "bfloat16":
        return np.array(np.from_dlpack(tensor))
    dtype = np.dtype(jnp.bfloat16)
    size = int(np.prod(tensor.shape)) * dtype.itemsize
    memory = (ctypes.c_char * size).from_address(int(tensor._view.data) + tensor._view.byte_offset)
    return np.frombuffer(memory, dtype).reshape(tensor.shape).copy()


def _fill_scores(score: ScoreFunction) -> Callable[..., None]:
    """`score` as `speft.Adapter` calls it."""

    def compute(name: str, weights: Tensor, gradient: Tensor | None, scores: Tensor) -> None:
        given = _copy_of(weights)
        out = np.from_dlpack(scores)
        computed = np.asarray(score(name, given, None if gradient is None else np.from_dlpack(gradient)))
        if computed.shape != out.shape:
            raise InvalidArgument(
                f"the scores of {name!r} must have its shape {list(out.shape)}, got {list(computed.shape)}"
            )
        out[...] = computed

    return compute
