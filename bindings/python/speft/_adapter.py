"""The adapter: the C calls as methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from . import _capi
from ._basis import Basis, PlannedBasis
from ._call import Pointers, call, int64s, integer, make, progress_of
from ._context import Context
from ._errors import Busy, InvalidArgument, InvalidState
from ._files import Progress, Source, Target, load_options, save_options
from ._gradient import gradient_of
from ._options import (
    ROLES,
    SELECTIONS,
    AdapterState,
    Hyperparameters,
    MemoryPlan,
    Parameter,
    Requantization,
    Reselection,
    adapter_options,
    groups_of,
    linear_options,
    name_of,
)
from ._quantization import QuantizedTensor
from ._tensor import Tensor, TensorLike, borrow, dtype_name, lent, new_indices


class Adapter:
    """For each targeted parameter a mask, deltas, the original values and the optimizer's state.

    Its life, over NumPy arrays here::

        weights = np.random.default_rng(0).standard_normal((4, 3), dtype=np.float32)
        adapter = speft.Adapter(speft.Context("cpu"), [speft.Parameter.of("w", weights)], density=0.25)
        adapter.bind_weights("w", weights)

        adapter.observe("w", dense=gradient)      # once or more a batch, each parameter
        adapter.finish_observation()              # once a batch
        adapter.select()                          # 3 of the 12 scalars are chosen

        adapter.accumulate("w", dense=gradient)   # while the host's backward pass runs
        adapter.step(speft.Hyperparameters(lr=1e-3))
        np.from_dlpack(adapter.mask("w")), np.from_dlpack(adapter.deltas("w"))

        adapter.unmerge()                         # the original bits are back
        adapter.merge()                           # and the trained ones
        adapter.save("adapter.safetensors")

    Methods take a parameter by its name or by its position. Tensors are anything with ``__dlpack__``,
    row-major contiguous, on the context's device; see `TensorLike`. A call that raises has changed nothing.

    Args:
        context: where it lives.
        parameters: at least one; names are unique.
        selection: how scalars are chosen: the largest of a score of each, with θ the weight and g the mean of
            what was observed.

            - ``"gradient"``: abs(g)
            - ``"snip"``: abs(gθ)
            - ``"force"``: -gθ
            - ``"taylor-fo"``: (gθ)²
            - ``"fisher"``: the mean of g², with g the gradient of one observation, or of one example where
              `observe` has their `example_offsets`
            - ``"synflow"``: g·abs(θ), where g is observed as ∂R/∂abs(θ), R the sum of the outputs of the
              network with all weights replaced by their absolute values and its non-linearities taken out
            - ``"grasp"``: -hθ, where h, observed in place of gradients, is the product of the loss's Hessian
              and the mean gradient; ``"grasp-code"``: hθ, the sign of the public code
            - ``"wanda"``: abs(θ)·‖x‖, with x the inputs that the weight multiplies, from activations only
            - ``"magnitude"``: abs(θ); ``"smallest-magnitude"``: -abs(θ)
            - ``"low-rank"``: the absolute entries of the best approximation of the weight matrix of rank
              `approximation_rank`
            - ``"weight-change"``: abs(θ - θ0), θ0 given with `set_reference`, to which the weights then
              return
            - ``"random"``: the same probability for each
            - ``"spiel-ag"``, ``"spiel-ma"``: random at first; then masks move to where gradients accumulate,
              or to where SM3, the optimizer that it requires, has the largest second moments
            - ``"mask"``: given with `set_mask`; ``"scores"``: given with `set_scores`
            - ``"score-function"``: computed by `score`

            Instead of once, each step's scalars are selected by its own gradient, and the mask is the union
            of what was selected so far, with ``"meprop"``, the largest abs(g), and with ``"sparsegrad"``, the
            largest abs(VgUᵀ) in a `Basis` that `bind_basis` gives each sparse parameter: `reselect` then
            comes once the step's gradient is accumulated, before `gradient`, `clip_gradient` and `step`.
        scope: ``"global"``, one ranking over all sparse parameters; ``"per-tensor"``, the same share of
            each; or ``"per-row"``, the same share of each index of their first axis.
        density: the share of the sparse parameters' scalars to select, in (0, 1].
        budget: their number instead: of all, of each parameter, or of each row, as `scope` says.
        rank: as many as low-rank factors of this rank would have, rank·(rows + columns) a parameter.
            Exactly one of `density`, `budget` and `rank` is given, but for ``"mask"``, which needs none.
        model_scalars: of how many scalars `density` is a share, frozen ones included; None: of the sparse
            parameters'.
        random: ``"exact"`` or ``"bernoulli"`` (each scalar by itself, so that their number varies).
        seed: of random masks, which are a function of it and of the parameters' names.
        approximation_rank: of ``"low-rank"``; None: 128.
        mean: of ``"gradient"`` and ``"snip"``: ``"signed"``, the absolute value of the mean gradient, or
            ``"absolute"``, the mean of absolute gradients.
        threshold: of ``"sparsegrad"`` and ``"meprop"``: of a step's k largest gradients only those of at
            least this size; None: all of them.
        score: of ``"score-function"``, called as ``score(name, weights, gradient, scores)`` for each sparse
            parameter while the masks are chosen: reads `weights` and `gradient` (the mean of what was
            observed, or None), and writes to `scores`, float32. All are a `Tensor` of the parameter's shape,
            lent for the call. What it raises comes out of `select`.
        optimizer: ``"adamw"``, ``"adam"``, ``"sgd"``, ``"lion"``, ``"sm3"`` or ``"adafactor"``; None for
            ``"sm3"`` with ``"spiel-ma"`` and ``"adamw"`` otherwise.
        age: ``"common"``, one count of updates for each parameter, or ``"per-weight"``.
        state: how moments and velocities are kept: ``"float32"``; ``"bfloat16"``, rounded stochastically; or
            ``"blocks8"``, a byte each with a scale for every 64.
        delta_type: ``"float32"``, or ``"bfloat16"``: 2 bytes a weight less, rounded stochastically.
        total_steps: T, at and after which nothing moves and towards which the rate falls; None: not known,
            the rate stays.
        reselect_every: S: SpIEL reselects after step `window` and after every S steps from there on; None:
            20, or T where that is less. With any other method but given masks and scores and
            ``"weight-change"``, the masks are dynamic: after every S steps the host observes again, where the
            method needs it, and calls `reselect`. Scalars that leave stay as trained, *settled*. None: masks
            stay.
        window: γ: the steps before a reselection over which ``"spiel-ag"`` averages gradients; None: 5.
        rate: ξ, of SpIEL: the share of the k selected scalars that a reselection replaces; None: 0.2. The
            first one replaces all.
        schedule: of SpIEL's rate, after step t: ``"linear"``, ξ(T-t)/T; ``"cosine"``, ξ/2·(1 + cos(πt/T));
            ``"constant"``, ξ; ``"none"``, no further replacements (of ``"sparsegrad"`` and ``"meprop"``:
            a mask chosen once, by the mean of what was observed); None: linear where there are
            `total_steps`, else constant.
        candidates: K: how many scalars ``"spiel-ag"`` follows in a window, of all parameters together; None:
            k.
        drop: which scalars SpIEL drops: those of the least ``"magnitude"`` of their delta, or of the least
            ``"change"`` of it since the last reselection; None: magnitude.
        keep_moments: whether scalars that stay selected in dynamic masks keep their moments. SpIEL's do.
        settled_limit: the most settled scalars: of more, those that changed least regain their original bits.
            With ``"sparsegrad"`` and ``"meprop"``: the most scalars of the mask beside those of the step.
            None: any number.
        track_moves: whether `dropped` and `grown` tell what the last reselection moved: 4 bytes a scalar.

    Raises:
        InvalidArgument: the message names the parameter or the option.
        Unsupported: the message names what this version does not have.
    """

    _owned: Any  # the C handle, None once closed

    def __init__(self, context: Context, parameters: Sequence[Parameter], **options: Any):
        structs = Pointers(parameter.to_native() for parameter in parameters)
        score = options["score"] = _scorer(options.get("score"), [parameter.name for parameter in parameters])
        native_options = adapter_options(**options)
        handle = call(
            _capi.speft_create_adapter, context.handle, native_options, structs.addresses, len(structs)
        )
        self._open(context, handle, score)

    @classmethod
    def load(cls, context: Context, source: Source, *, progress: Progress | None = None) -> Adapter:
        """The adapter in a file that `save` wrote: selected, unmerged, and bound to nothing.

        Bind every one of its `parameters`, then `merge`. It can be trained on; the optimizer starts afresh,
        after a checkpoint too.

        Args:
            context: where it will live.
            source: a path; or a binary file, which is read to its end; or the file's content as bytes.
            progress: called with (done, total) bytes; anything true that it returns cancels.

        Raises:
            IOFailure: the file cannot be read.
            Corrupt: it is damaged, or no adapter.
            Unsupported: it is of another format.
        """
        return cls._read(_capi.speft_load_adapter, context, source, progress)

    @classmethod
    def load_checkpoint(
        cls,
        context: Context,
        source: Source,
        *,
        progress: Progress | None = None,
        score: Callable[..., object] | None = None,
    ) -> Adapter:
        """The adapter in a file that `save_checkpoint` wrote, to resume as if training had never stopped.

        Bind its `parameters` and `merge`, as after `load`; here the weights may hold the merged bits already,
        as a checkpoint of the model does. What is passed at each step is not in the file: the learning rate.

        Args:
            context, source, progress: as for `load`.
            score: of masks that move by a score function, which no file has; as for the constructor.

        Raises:
            InvalidArgument: `save` wrote the file, without a training state.
            IOFailure, Corrupt, Unsupported: as `load`.
        """
        return cls._read(_capi.speft_load_checkpoint, context, source, progress, score)

    @staticmethod
    def plan_memory(
        context: Context,
        parameters: Sequence[Parameter],
        *,
        tokens: int = 0,
        bases: Sequence[PlannedBasis] = (),
        **options: Any,
    ) -> MemoryPlan:
        """What an adapter made with the same arguments would need; nothing is allocated for it.

        Given masks have no size yet: plan for ``"random"`` ones of the same budget.

        Args:
            context, parameters, options: as for the constructor.
            tokens: of one gradient from activations, at most; 0 for any number.
            bases: of ``"sparsegrad"``, which needs one for each sparse parameter.
        """
        structs = Pointers(parameter.to_native() for parameter in parameters)
        planned = _planned(bases, parameters)
        plan = make(
            _capi.speft_memory_plan,
            tokens=integer("tokens", tokens),
            bases=planned.addresses if bases else None,
        )
        options["score"] = _scorer(options.get("score"), [parameter.name for parameter in parameters])
        call(
            _capi.speft_plan_memory,
            context.handle,
            adapter_options(**options),
            structs.addresses,
            len(structs),
            plan,
        )
        return MemoryPlan(
            plan.observation,
            plan.announced_observation,
            plan.selection,
            plan.training,
            plan.reselection,
            plan.fitting,
            plan.products,
            plan.merging,
        )

    # ---- what is in it ----

    @property
    def handle(self) -> Any:
        """The C handle, for this package's own use. Raises `InvalidState` after `close`."""
        if self._owned is None:
            raise InvalidState("the adapter has been closed")
        self._context.follow()
        return self._owned

    @property
    def context(self) -> Context:
        """Where it lives."""
        return self._context

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Its parameters, in the order of their positions."""
        return self._parameters

    @property
    def state(self) -> AdapterState:
        """Where it stands."""
        state = make(_capi.speft_adapter_state)
        call(_capi.speft_get_adapter_state, self.handle, state)
        return AdapterState(
            selected=bool(state.selected),
            merged=bool(state.merged),
            attached=bool(state.attached),
            selection=name_of(state.method, SELECTIONS),
            steps=state.steps,
            observations=state.observations,
            selected_scalars=state.selected_scalars,
            trained_scalars=state.trained_scalars,
            targeted_scalars=state.targeted_scalars,
            settled_scalars=state.settled_scalars,
            next_reselection=state.next_reselection or None,
            reselection_due=bool(state.reselection_due),
        )

    def selected_count(self, parameter: int | str) -> int:
        """k of one parameter, the length of its mask, deltas and gradient; of a dense one all its scalars."""
        count: int = call(_capi.speft_get_selected_count, self.handle, self._position(parameter))
        return count

    def mask(self, parameter: int | str) -> Tensor:
        """The strictly increasing flat indices that were selected: int64 [k], in host memory, a copy.

        Raises:
            InvalidState: before `select`.
        """
        indices = new_indices(self.selected_count(parameter))
        call(_capi.speft_get_mask, self.handle, self._position(parameter), borrow("indices", indices))
        return indices

    def deltas(self, parameter: int | str) -> Tensor:
        """What is added to the selected scalars: [k] in the mask's order, lent, to be read.

        float32, or what `delta_type` says. To be asked for again after a reselection.

        Raises:
            InvalidState: before `select`.
        """
        view = call(_capi.speft_get_deltas, self.handle, self._position(parameter))
        return Tensor(view, self.handle, context=self._context, read_only=True)

    def ages(self, parameter: int | str) -> Tensor:
        """How many updates are behind the moments of each selected scalar: int64 [k], a copy.

        All are the parameter's own count unless ages are kept ``"per-weight"``, as masks that move need it.

        Raises:
            InvalidState: before `select`.
        """
        ages = new_indices(self.selected_count(parameter))
        call(_capi.speft_get_ages, self.handle, self._position(parameter), borrow("ages", ages))
        return ages

    def dropped(self, parameter: int | str) -> Tensor:
        """The flat indices that left the mask in the last reselection, rising: int64, a copy.

        None before the first one, and of an adapter from a file.

        Raises:
            InvalidState: before `select`, or without `track_moves`.
        """
        return self._moved(parameter, _capi.SPEFT_MOVED_DROPPED)

    def grown(self, parameter: int | str) -> Tensor:
        """The flat indices that came into the mask in the last reselection, as `dropped`."""
        return self._moved(parameter, _capi.SPEFT_MOVED_GROWN)

    def measure_rounding_loss(self, parameter: int | str | None = None) -> float:
        """The share of Σ|δ| that rounding θ0+δ to the weight's type loses.

        bfloat16 weights around 0.02 lose 0.4% of deltas around 0.01, and a third of those around 0.0001.

        Args:
            parameter: a sparse one; None: all of them together.

        Raises:
            InvalidState: before `select`, or an adapter from a file before its first `merge`.
        """
        position = -1 if parameter is None else self._position(parameter)
        share: float = call(_capi.speft_measure_rounding_loss, self.handle, position)
        return share

    # ---- weights ----

    def bind_weights(self, parameter: int | str, weights: TensorLike | QuantizedTensor | None) -> None:
        """Lends the memory of one parameter: dense weights are trained in place, quantized ones beside them.

        It may be bound to other memory any time: the contents must have moved with it. The memory is kept
        alive until then, or until it is unbound with None.

        Args:
            parameter: which.
            weights: of the parameter's shape and type, on the context's device, writable. Of quantized ones
                the parameter's type is what they are dequantized to where their values are needed, and only
                `merge` and `unmerge` write to them; `linear_forward` and `linear_backward` compute with them
                and their deltas.

        Raises:
            InvalidArgument: another shape, type, device or stride, or read-only; scales that are negative or
                not finite.
            InvalidState: another adapter is merged into overlapping memory, and this one is merged too; or
                quantized weights in place of dense ones, or the reverse, before `unmerge`.
            Unsupported: quantized weights of a parameter in a basis.
        """
        position = self._position(parameter)
        if weights is None:
            native = None
        elif isinstance(weights, QuantizedTensor):
            native = weights.to_native(stream=self._stream, writable=True)
        else:
            name = f"the weights of {self._parameters[position].name!r}"
            data = borrow(name, weights, stream=self._stream, writable=True)
            native = make(_capi.speft_weights, kind=_capi.SPEFT_WEIGHTS_DENSE, data=data)
        call(_capi.speft_bind_weights, self.handle, position, native)
        self._bound[position] = native

    def bind_basis(self, parameter: int | str, basis: Basis | None) -> None:
        """Trains a parameter in a basis, beside its weights; None: in the ordinary one. ::

            adapter = speft.Adapter(context, [up], selection="sparsegrad", density=0.01)
            adapter.bind_weights("up", weights)
            adapter.bind_basis("up", basis)               # fitted; several parameters may share it
            adapter.select()
            adapter.linear_forward("up", x, y)            # y = x (W + VᵀΔU)ᵀ, in the host's forward pass
            adapter.linear_backward("up", dy, dx)         # and in its backward pass, with
            adapter.accumulate("up", x=x, dy=dy)
            adapter.reselect()
            adapter.step()

        The mask, `deltas`, `gradient` and gradients given as `values` count in its directions. The basis is
        fitted no more while an adapter trains in it.

        Raises:
            InvalidArgument: it is of another shape or of another context; or the parameter is dense.
            InvalidState: it is not fitted; after an observation or `select`; or the selection is another.
        """
        native = None if basis is None else basis.handle
        call(_capi.speft_bind_basis, self.handle, self._position(parameter), native)

    def leave_bases(self, density: float) -> tuple[Adapter, float]:
        """An adapter without bases from this one: the largest entries of each ΔW = VᵀΔU, as ordinary deltas.

        Args:
            density: the share of the scalars of each parameter in a basis that stays, in (0, 1].

        Returns:
            The adapter: selected, unmerged, and bound to nothing, as after `load`. And how much of ΣΔW² over
            all those parameters it keeps.

        Raises:
            InvalidState: no parameter is in a basis; before `select`; merged; or weights are not bound.
        """
        handle, share = call(_capi.speft_leave_bases, self.handle, float(density))
        ordinary = type(self).__new__(type(self))
        ordinary._open(self._context, handle, None)
        return ordinary, share

    def merge(self) -> None:
        """Writes round(θ0+δ) into the bound weights; nothing to do when merged already, as after `select`.

        A parameter in a basis becomes round(W + VᵀΔU), all of it. Of a quantized one the blocks that have a
        delta are quantized anew, which loses small deltas: see `measure_requantization`. Of both the adapter
        keeps a copy of what was there, and cannot be trained, until `attach` or `unmerge`.

        Raises:
            InvalidArgument: an adapter from a file meets another base model than it was trained on; or a
                quantized weight would not be finite.
            InvalidState: not selected, not bound, or another adapter is merged into the same memory.
        """
        call(_capi.speft_merge, self.handle)

    def attach(self) -> None:
        """Puts what was learned into effect as training needs it, which is how `select` leaves it.

        That is merged, but for parameters in a basis and quantized ones, which have their original bits:
        `linear_forward` and `linear_backward` apply their deltas. Where there are none it is `merge`.

        Raises:
            InvalidArgument, InvalidState: as `merge` and `unmerge` do.
        """
        call(_capi.speft_attach, self.handle)

    def unmerge(self) -> None:
        """Writes the original bits back; nothing to do when unmerged already.

        Raises:
            InvalidState: a weight is no longer what this adapter wrote there; nothing is written.
        """
        call(_capi.speft_unmerge, self.handle)

    def measure_requantization(self, parameter: int | str | None = None) -> Requantization:
        """What `merge` has left of the deltas of quantized weights.

        Args:
            parameter: a quantized one; None: all of them together.

        Raises:
            InvalidState: not merged.
            InvalidArgument: the parameter's weights are dense.
        """
        position = -1 if parameter is None else self._position(parameter)
        done = make(_capi.speft_requantization)
        call(_capi.speft_get_requantization, self.handle, position, done)
        return Requantization(done.deltas, done.changed, done.relative_error)

    # ---- selection ----

    def begin_observation(self, weight: float = 1.0) -> None:
        """Announces the weight of the batch whose gradients follow. Optional: it saves one accumulator.

        Raises:
            InvalidState: after `select`, unless masks are dynamic; or when a batch is open.
        """
        call(_capi.speft_begin_observation, self.handle, weight)
        self._announced = True

    def observe(
        self,
        parameter: int | str,
        *,
        dense: TensorLike | None = None,
        x: TensorLike | None = None,
        dy: TensorLike | None = None,
        layout: str = "out_in",
        scale: float = 1.0,
        example_offsets: TensorLike | None = None,
    ) -> None:
        """Adds a gradient to what a parameter has received in this batch.

        It is dropped where the selection needs no gradients, and for dense parameters.

        Args:
            parameter: which.
            dense, x, dy, layout, scale: as for `accumulate`; ``"wanda"`` needs no `dy`.
            example_offsets: for ``"fisher"`` from activations: int64 [examples + 1] in host memory, the first
                token of each example, and the number of tokens at the end. Each example then counts by the
                square of its own gradient. Under a loss that is a mean over examples, `scale` is their
                number.

        Raises:
            InvalidState: after `select`, unless masks are dynamic.
        """
        gradient = gradient_of(
            dense=dense,
            x=x,
            dy=dy,
            layout=layout,
            scale=scale,
            observed=True,
            stream=self._stream,
            example_offsets=example_offsets,
        )
        call(_capi.speft_observe, self.handle, self._position(parameter), gradient)

    def finish_observation(self, weight: float | None = None) -> None:
        """Closes one batch. Means over batches are Σwg/Σw.

        Args:
            weight: the batch's w > 0, its number of examples, say; None for the announced one, or for 1.

        Raises:
            InvalidState: a sparse parameter received nothing; the message names it, and the batch stays open.
        """
        if weight is not None and weight == 0:
            raise InvalidArgument(f"weight must be a finite number above 0, got {weight!r}")
        if weight is None:
            weight = 0.0 if self._announced else 1.0  # 0 stands for the announced one
        call(_capi.speft_finish_observation, self.handle, weight)
        self._announced = False

    def clear_observations(self) -> None:
        """Forgets all that was observed, an open batch included: after a backward pass that failed, say.

        Raises:
            InvalidState: after `select`, unless masks are dynamic.
        """
        call(_capi.speft_clear_observations, self.handle)
        self._announced = False

    def set_mask(self, parameter: int | str, indices: TensorLike) -> None:
        """Gives the mask of one parameter, for ``selection="mask"``.

        Args:
            parameter: which.
            indices: flat, strictly increasing, int64 [k], in host memory.

        Raises:
            InvalidArgument: not increasing, or outside of the parameter.
            InvalidState: after `select`.
        """
        call(_capi.speft_set_mask, self.handle, self._position(parameter), borrow("indices", indices))

    def set_scores(self, parameter: int | str, scores: TensorLike) -> None:
        """Gives the scores of one parameter, for ``selection="scores"``; the largest win.

        Args:
            parameter: which.
            scores: float32, of the parameter's shape.

        Raises:
            InvalidState: after `select`.
        """
        view = borrow("scores", scores, stream=self._stream)
        call(_capi.speft_set_scores, self.handle, self._position(parameter), view)

    def set_reference(self, parameter: int | str, original: TensorLike) -> None:
        """Gives the weights that ``selection="weight-change"`` measures from and returns to: a copy is kept.

        Args:
            parameter: which.
            original: of the parameter's type and shape.

        Raises:
            InvalidState: after `select`.
        """
        view = borrow("original", original, stream=self._stream)
        call(_capi.speft_set_reference, self.handle, self._position(parameter), view)

    def select(self, progress: Progress | None = None) -> None:
        """Chooses the masks. The weights, which must be bound, equal round(θ0+δ) from here on.

        The larger score wins, then the earlier parameter, then the smaller index. NaN is never selected.

        Args:
            progress: called with (done, total); anything true that it returns cancels, and what it raises
                comes out here.

        Raises:
            InvalidState: already selected; nothing observed where the selection needs it; weights not bound.
            InvalidArgument: fewer scalars can be selected than the budget asks for.
            Cancelled: by `progress`.
        """
        call(_capi.speft_select, self.handle, progress_of(progress))

    def reselect(self, progress: Progress | None = None) -> Reselection | None:
        """Chooses again while training, when that is due: to be called after every step where masks move.

        The next step is refused as long as one is due. The gradients of sparse parameters are cleared, and
        tensors that the adapter lent before are no longer its own. With ``"sparsegrad"`` and ``"meprop"`` it
        comes before the step instead, and selects the scalars of the gradient that has been accumulated.

        Returns:
            What moved, or None when none was due.

        Raises:
            InvalidState: not selected; unmerged; weights not bound, or changed behind the adapter; nothing
                observed since the last selection where the method needs it.
            InvalidArgument: fewer scalars can be selected than are asked for. All is as before then.
            Cancelled: by `progress`.
        """
        moved = make(_capi.speft_reselection)
        call(_capi.speft_reselect, self.handle, progress_of(progress), moved)
        if not moved.due:
            return None
        return Reselection(moved.step, moved.dropped, moved.grown, moved.settled, self.state.selected_scalars)

    # ---- training ----

    def accumulate(
        self,
        parameter: int | str,
        *,
        dense: TensorLike | None = None,
        x: TensorLike | None = None,
        dy: TensorLike | None = None,
        values: TensorLike | None = None,
        layout: str = "out_in",
        scale: float = 1.0,
    ) -> None:
        """Adds a gradient to the k values that a parameter has accumulated. Exactly one form is given.

        All are float32, bfloat16 or float16, and free for reuse when the call returns.

        Args:
            parameter: which.
            dense: dL/dW, of the parameter's shape.
            x, dy: [tokens, in] and [tokens, out] of a linear layer; dL/dW is their product over the tokens.
            values: dL/dW at the mask, [k]; not for a dense parameter.
            layout: of the linear layer's weight: ``"out_in"`` (``torch.nn.Linear``) or ``"in_out"``.
            scale: multiplies the contribution; not 0.

        Raises:
            InvalidState: before `select`.
        """
        gradient = gradient_of(
            dense=dense, x=x, dy=dy, values=values, layout=layout, scale=scale, stream=self._stream
        )
        call(_capi.speft_accumulate, self.handle, self._position(parameter), gradient)

    def gradient(self, parameter: int | str) -> Tensor:
        """The accumulated values: float32 [k], lent, to be read and written, as clipping and all-reduce do.

        Zeros when nothing has been accumulated since the last clear; writing them does not count as a
        gradient.

        Raises:
            InvalidState: before `select`.
        """
        view = call(_capi.speft_get_gradient, self.handle, self._position(parameter))
        return Tensor(view, self.handle, context=self._context)

    def clear_gradient(self, parameter: int | str | None = None) -> None:
        """Forgets what a parameter has accumulated; None: all of them."""
        position = -1 if parameter is None else self._position(parameter)
        call(_capi.speft_clear_gradient, self.handle, position)

    def clip_gradient(self, max_norm: float) -> float:
        """Scales all gradients, sparse and dense together, so that their 2-norm is at most `max_norm`.

        As ``torch.nn.utils.clip_grad_norm_`` does. ``float("inf")`` only measures.

        Returns:
            The norm before.

        Raises:
            InvalidArgument: the norm is not finite; nothing is scaled then.
        """
        norm: float = call(_capi.speft_clip_gradient, self.handle, max_norm)
        return norm

    def step(
        self,
        hyperparameters: Hyperparameters | Sequence[Hyperparameters] | None = None,
        *,
        keep_gradient: bool = False,
        allow_missing: bool = False,
        gradient_scale: float = 1.0,
    ) -> None:
        """One update of the deltas and of the weights, by what was accumulated, which is then cleared.

        Args:
            hyperparameters: for all parameters, or one for each of their groups.
            keep_gradient: do not clear.
            allow_missing: whether a parameter that has never received a gradient since the selection is
                skipped; it is an error otherwise. One that has, but not since the last clear, stays as it is.
            gradient_scale: multiplies every gradient; not 0.

        Raises:
            InvalidState: not selected, unmerged, weights not bound, no gradient.
        """
        if gradient_scale == 0:
            raise InvalidArgument("gradient_scale must not be 0")
        groups = Pointers(groups_of(hyperparameters))
        options = make(
            _capi.speft_step_options,
            keep_gradient=int(keep_gradient),
            allow_missing=int(allow_missing),
            gradient_scale=gradient_scale,
            groups=groups.addresses if len(groups) else None,
            group_count=len(groups),
        )
        call(_capi.speft_step, self.handle, options)

    def linear_forward(
        self,
        parameter: int | str,
        x: TensorLike,
        out: TensorLike,
        *,
        layout: str = "out_in",
        delta_only: bool = False,
        accumulate: bool = False,
    ) -> None:
        """out = x (W+Δ)ᵀ, where Δ is not in the weights: in a basis, beside quantized ones, or unmerged.

        Args:
            parameter: which.
            x, out: [tokens, in] and [tokens, out].
            layout: of the weight: ``"out_in"`` or ``"in_out"``.
            delta_only: Δ in place of W+Δ.
            accumulate: added to what `out` holds.

        Raises:
            InvalidArgument: another shape or type; or the parameter is dense.
            InvalidState: before `select`; Δ is in the weights; or they are not bound.
        """
        self._linear(_capi.speft_linear_forward, parameter, layout, delta_only, accumulate, {"x": x}, out)

    def linear_backward(
        self,
        parameter: int | str,
        dy: TensorLike,
        out: TensorLike,
        *,
        layout: str = "out_in",
        delta_only: bool = False,
        accumulate: bool = False,
    ) -> None:
        """out = dy (W+Δ): dy [tokens, out], out [tokens, in]; otherwise as `linear_forward`."""
        self._linear(_capi.speft_linear_backward, parameter, layout, delta_only, accumulate, {"dy": dy}, out)

    # ---- files ----

    def save(self, target: Target, *, format: str = "exact", progress: Progress | None = None) -> None:
        """Writes masks, deltas, names, options and the base's hash to a safetensors file; no optimizer state.

        A path is written to a temporary name and renamed: a crash leaves the old file or the new one. ::

            buffer = io.BytesIO()
            adapter.save(buffer)
            speft.Adapter.load(context, buffer.getvalue())

        Args:
            target: a path, or a binary file to write to.
            format: ``"exact"``: a reload is identical. ``"compact"``: bfloat16 deltas, 2 bytes a weight less.
            progress: called with (done, total) bytes; anything true that it returns cancels.

        Raises:
            InvalidState: before `select`.
            IOFailure: it cannot be written; the old file is untouched. What a file's ``write`` raises comes
                out as it is.
        """
        self._write(_capi.speft_save_adapter, target, format, progress)

    def save_checkpoint(self, target: Target, *, progress: Progress | None = None) -> None:
        """As `save`, exact, with what training needs beside: resuming is as if it had never stopped.

        That is the original bits, the optimizer's state, and what has been accumulated since the last clear.
        """
        self._write(_capi.speft_save_checkpoint, target, "exact", progress)

    # ---- its end ----

    def close(self) -> None:
        """Lets go of the adapter and of the weights, which stay as they are, merged or not. Twice is fine.

        Memory that it has lent stays valid. Other methods raise `InvalidState` from here on.
        """
        handle, self._owned = self._owned, None
        if handle is None:
            return
        with suppress(Busy):  # a call that runs needs them to its end; they go with it
            for position in tuple(self._bound):
                call(_capi.speft_bind_weights, handle, position, None)
                del self._bound[position]

    def __enter__(self) -> Adapter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._owned is None:
            return "speft.Adapter(closed)"
        state = self.state
        return (
            f"speft.Adapter({len(self._parameters)} parameters, {state.selection}, "
            f"{state.selected_scalars} of {state.targeted_scalars} scalars selected, {state.steps} steps)"
        )

    # ---- inside ----

    def _open(self, context: Context, handle: Any, score: Any = None) -> None:
        self._owned = handle
        self._context = context
        count = _capi.speft_count_parameters(handle)
        self._parameters = tuple(self._read_parameter(position) for position in range(count))
        self._positions = {parameter.name: position for position, parameter in enumerate(self._parameters)}
        # What keeps the host's memory alive while it is bound: the producers' capsules.
        self._bound: dict[int, Any] = {}
        _capi.tie(handle, (self._bound, score))
        self._announced = False

    @classmethod
    def _read(
        cls,
        function: Callable[..., Any],
        context: Context,
        source: Source,
        progress: Progress | None,
        score: Callable[..., object] | None = None,
    ) -> Adapter:
        names: list[str] = []
        scorer = _scorer(score, names)
        options, path = load_options(source, progress, scorer)
        adapter = cls.__new__(cls)
        adapter._open(context, call(function, context.handle, options, path), scorer)
        names += (parameter.name for parameter in adapter.parameters)
        return adapter

    def _write(
        self, function: Callable[..., Any], target: Target, format: str, progress: Progress | None
    ) -> None:
        options, path = save_options(target, format, progress)
        call(function, self.handle, options, path)

    def _moved(self, parameter: int | str, which: int) -> Tensor:
        position = self._position(parameter)
        indices = new_indices(call(_capi.speft_get_moved, self.handle, position, which, None))
        call(_capi.speft_get_moved, self.handle, position, which, borrow("indices", indices))
        return indices

    def _linear(
        self,
        function: Callable[..., Any],
        parameter: int | str,
        layout: str,
        delta_only: bool,
        accumulate: bool,
        given: dict[str, TensorLike],
        out: TensorLike,
    ) -> None:
        options = linear_options(layout, accumulate, delta_only)
        views = [borrow(name, tensor, stream=self._stream) for name, tensor in given.items()]
        views.append(borrow("out", out, stream=self._stream, writable=True))
        call(function, self.handle, self._position(parameter), options, *views)

    def _read_parameter(self, position: int) -> Parameter:
        info = make(_capi.speft_parameter)
        call(_capi.speft_get_parameter, self.handle, position, info)
        return Parameter(
            info.name, info.shape, dtype_name(info.dtype), role=name_of(info.role, ROLES), group=info.group
        )

    @property
    def _stream(self) -> int | None:
        return self._context.dlpack_stream

    def _position(self, parameter: int | str) -> int:
        if isinstance(parameter, str):
            try:
                return self._positions[parameter]
            except KeyError:
                raise InvalidArgument(
                    f"parameter must be one of ({', '.join(self._positions)}), got {parameter!r}"
                ) from None
        return integer("parameter", parameter)


def _planned(bases: Sequence[PlannedBasis], parameters: Sequence[Parameter]) -> Pointers:
    """For each parameter the C struct of the basis that names it, or None."""
    places = {parameter.name: place for place, parameter in enumerate(parameters)}
    structs: list[Any] = [None] * len(parameters)
    for basis in bases:
        for name in basis.parameters:
            if name not in places:
                raise InvalidArgument(f"bases: no parameter is named {name!r}")
            if structs[places[name]] is not None:
                raise InvalidArgument(f"bases: {name!r} is in two of them")
        if basis.parameters:
            struct = basis.to_native(parameters[places[basis.parameters[0]]].shape)
            for name in basis.parameters:
                structs[places[name]] = struct
    return Pointers(structs)


def _scorer(score: Any, names: Sequence[str]) -> Any:
    """What the library calls for `score`; `names` are those of the parameters by then."""
    if score is None:
        return None
    if not callable(score):
        raise TypeError(f"score must be callable with (name, weights, gradient, scores), got {score!r}")

    def compute(position: int, *capsules: Any) -> None:
        score(names[position], *(None if capsule is None else lent(capsule) for capsule in capsules))

    return compute


def linear_forward_each(
    layers: Sequence[tuple[Adapter, int | str]],
    choice: TensorLike,
    x: TensorLike,
    out: TensorLike,
    *,
    layout: str = "out_in",
    delta_only: bool = False,
    accumulate: bool = False,
) -> None:
    """A batch whose rows are served by different adapters over one base. ::

        choice = numpy.array([0, 1, 1, -1])
        speft.linear_forward_each([(french, "up"), (german, "up")], choice, x, y)

    out[t] = x[t] (W+Δ)ᵀ for each row t, Δ that of ``layers[choice[t]]``. The work is that of one product with W
    and one with each Δ, however the rows are mixed.

    Args:
        layers: parameters of adapters of one context, each as for `Adapter.linear_forward`, and, unless
            `delta_only`, bound to the same W.
        choice: int64 [tokens], in host memory: for each row which of them, -1 for W alone.
        x, out: [tokens, in] and [tokens, out].
        layout, delta_only, accumulate: as for `Adapter.linear_forward`.

    Raises:
        InvalidArgument: shapes or types do not fit, or the adapters do not belong together.
        InvalidState: as `Adapter.linear_forward`, of any of the adapters.
    """
    options = linear_options(layout, accumulate, delta_only)
    for adapter, _ in layers:
        if not isinstance(adapter, Adapter):
            raise TypeError(f"layers must be pairs of an Adapter and a parameter; got {adapter!r}")
    handles = tuple(adapter.handle for adapter, _ in layers)
    positions = int64s("layers", [adapter._position(parameter) for adapter, parameter in layers])
    stream = layers[0][0].context.dlpack_stream if layers else None
    views = (
        borrow("x", x, stream=stream),
        borrow("choice", choice),
        borrow("out", out, stream=stream, writable=True),
    )
    call(_capi.speft_linear_forward_each, handles, positions, options, *views)
