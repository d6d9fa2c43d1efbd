"""The optimizer that trains a few scalars of a model."""

from __future__ import annotations

import contextlib
import io
import math
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

import torch
from torch import nn

from .._adapter import Adapter, Progress
from .._bases import Bases
from .._errors import InvalidArgument, InvalidState, Unsupported
from .._options import AdapterState, Hyperparameters, Parameter, Reselection
from .._selection import read_selection
from ._capture import capture_layers, hook_gradient
from ._device import make_context
from ._grasp import hessian_products
from ._host import expose_values, ignore_in_data_parallel, train_only
from ._quantized import multiply
from ._synflow import flow_gradients
from ._targets import SparseValues, Target, device_of, examine, find_parameters, resolve

Patterns = str | Sequence[str]

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

# Selections that need dense weights: they write to them, or differentiate by them.
_OF_DENSE_WEIGHTS = ("synflow", "grasp", "grasp-code", "weight-change", "sparsegrad")

# Selections of each step's own gradient.
_BY_STEP = ("sparsegrad", "meprop")

Batch = TypeVar("Batch")
ScoreFunction = Callable[[str, torch.Tensor, torch.Tensor | None], torch.Tensor]


class SparseAdapter(torch.optim.Optimizer):
    """Trains a chosen 0.5% (say) of a model's weights in place, as an ordinary PyTorch optimizer.

    ::

        adapter = SparseAdapter(
            model, targets=["*.query.weight", "*.value.weight"], density=0.005, dense=["head.*"]
        )
        adapter.estimate(lambda batch: loss(model, batch), estimation_batches)
        adapter.select()
        for batch in training_batches:
            loss(model, batch).backward()
            adapter.step()
            adapter.zero_grad()
        adapter.save("adapter.safetensors")

    From `select` on its first group (named ``"sparse"``) holds one float32 Parameter of k values for each
    target, whose ``.grad`` is the sparse gradient; the second (``"dense"``) holds the parameters that are
    trained in full. Clipping over ``adapter.parameters()`` or ``model.parameters()``, ``GradScaler``,
    learning-rate schedulers and Hugging Face's Trainer therefore work as they do with any optimizer. `step`
    uses the sum accumulated since `zero_grad`. All parameters of the model that are neither targets nor dense
    are frozen until `close`.

    Args:
        model: trained in place; on one device; not wrapped in DistributedDataParallel yet, which will ignore
            the targets (reduce the ``.grad`` of ``adapter.parameters()`` instead: k values, not N).
        targets: patterns (``fnmatch``) over the names in ``model.named_parameters()``; a tied parameter is
            one target.
        density: the share of the targets' scalars that is selected, in (0, 1]; 0.005 if there is neither
            `budget` nor `rank`.
        budget: their number, instead: of all targets, of each, or of each row, as `scope` says.
        rank: instead, as many as LoRA of this rank would train: rank·(rows + columns) a target.
        density_of: of what `density` is a share: ``"targets"``, or ``"model"``, all scalars of all
            parameters.
        scope: ``"global"``, one ranking over all targets; ``"per-tensor"``, the same share of each; or
            ``"per-row"``, the same share of each of their rows.
        selection: how they are chosen: the largest of a score of each, whose formulas are those of
            `speft.Adapter`.

            - ``"gradient"``, ``"snip"``, ``"force"``, ``"taylor-fo"``, ``"fisher"``, ``"wanda"``: from the
              backward passes of some batches. Fisher information is exact for each example where the first
              axis of the layers' inputs counts the examples and the loss is a mean over them; with
              ``gradient="dense"``, and where a layer is used several times, it is that of what came at once.
              Wanda needs ``gradient="activations"``.
            - ``"synflow"``, ``"grasp"``, ``"grasp-code"``: as those, and only by `estimate`, which knows
              their recipes.
            - ``"random"``, ``"magnitude"``, ``"smallest-magnitude"``, ``"low-rank"``: without any batch.
            - ``"weight-change"`` (LT-SFT): the adapter keeps a copy of the targets, and takes no gradients
              before `select`: train them in full with any optimizer. `select` ranks how far each scalar has
              come, and puts all of them back.
            - ``"spiel-ag"``, ``"spiel-ma"`` (SpIEL): random at first; `step` then moves the masks.
            - a function ``score(name, weight, gradient)`` that returns a tensor of the weight's shape;
              `gradient` is the mean of what was observed, or None.
            - a dict from the name of each target to its mask (flat indices, integers) or to its scores
              (floats of its shape).

            - ``"meprop"``: not once, but for each step by its own gradient, the largest entries; what was
              selected so far stays trained. No batch is needed before `select`.
            - ``"sparsegrad"``: the same in a basis in which gradients are sparse, which `estimate` or
              `observe` fits to the gradients of some batches. Targets are layers' weights, which stay as they
              are: the layers compute with W + VᵀΔU, by the library. Their masks and deltas count in the
              basis.
        dense: patterns of parameters that are trained in full, as a new head is.
        optimizer: ``"adamw"``, ``"adam"``, ``"sgd"``, ``"lion"``, ``"sm3"`` or ``"adafactor"``; None: SM3 for
            ``"spiel-ma"``, which requires it, AdamW otherwise.
        lr, betas, eps, weight_decay, momentum: of both groups, to be changed there. Decay is decoupled, but
            Adam's and SGD's; momentum is SGD's.
        decay: ``"original"`` pulls a weight to its pretrained value, ``"zero"`` to 0, as
            ``torch.optim.AdamW`` does, ``"after"`` to its pretrained value after each update; None: after for
            SpIEL, original otherwise.
        state: how moments are kept: ``"float32"``, ``"bfloat16"`` or ``"blocks8"``. See `speft.Adapter`.
        delta_type: ``"float32"``, or ``"bfloat16"``: 2 bytes a weight less, rounded stochastically.
        age: ``"common"``, one count of updates for each parameter, or ``"per-weight"``.
        random: of random masks: ``"exact"``, exactly k, or ``"bernoulli"``.
        seed: of random masks.
        approximation_rank: of ``"low-rank"``; None: 128.
        mean: of ``"gradient"`` and ``"snip"``: of ``"signed"`` gradients, or of ``"absolute"`` ones.
        threshold: of ``"sparsegrad"`` and ``"meprop"``: of a step's k largest gradients only those of at
            least this size.
        gradient: ``"activations"`` computes the selected gradients from the inputs and output gradients of
            the linear layers, and never keeps a dense one of a target; ``"dense"`` takes ``.grad``, of any
            kind of parameter.
        backend: ``"auto"``: the one of the model's device. On a GPU, ``"cuda"``, it works on the stream that is
            current where PyTorch calls it, and in memory of PyTorch's own.
        threads: CPU threads of the library; 0 for as many as the process may run on.
        total_steps, reselect_every, window, rate, schedule, candidates, drop, keep_moments, settled_limit,
            track_moves: how masks move while training. See `speft.Adapter`, and `reselect`. `reselect_every`
            makes the masks of any selection dynamic but those of ``"weight-change"`` and of a dict.
            ``schedule="none"`` makes those of ``"sparsegrad"`` and ``"meprop"`` stay as the mean of the
            observed gradients chooses them.
        basis: of ``"sparsegrad"``: one for each ``"kind"`` of target, those whose names differ in numbers
            alone, or one for ``"each"``.
        directions: of ``"sparsegrad"``: the most directions that a basis has on either side; None: all.

    Attributes:
        history: what each reselection has moved, since this object was made: `speft.Reselection`, with its
            ``step``, ``dropped``, ``grown`` and ``turnover``.

    Raises:
        speft.InvalidArgument: a pattern matches nothing; a target is of another kind than `gradient` can do;
            the message names it.
        speft.Unsupported: this version has no code for an option; the message names it.
    """

    def __init__(
        self,
        model: nn.Module,
        targets: Patterns,
        *,
        density: float | None = None,
        budget: int | None = None,
        rank: int | None = None,
        density_of: str = "targets",
        scope: str = "global",
        selection: str | Mapping[str, torch.Tensor] | ScoreFunction = "gradient",
        dense: Patterns = (),
        optimizer: str | None = None,
        lr: float | torch.Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        decay: str | None = None,
        delta_type: str = "float32",
        age: str = "common",
        state: str = "float32",
        random: str = "exact",
        seed: int = 0,
        approximation_rank: int | None = None,
        mean: str = "signed",
        threshold: float | None = None,
        gradient: str = "activations",
        backend: str = "auto",
        threads: int = 0,
        total_steps: int | None = None,
        reselect_every: int | None = None,
        window: int | None = None,
        rate: float | None = None,
        schedule: str | None = None,
        candidates: int | None = None,
        drop: str | None = None,
        keep_moments: bool | None = None,
        settled_limit: int | None = None,
        track_moves: bool | None = None,
        basis: str = "kind",
        directions: int | None = None,
    ):
        trained = resolve(model, targets, dense)
        device = device_of(trained)
        method, given = read_selection(
            selection,
            {target.name for target in trained if not target.dense},
            torch.as_tensor,
            torch.is_floating_point,
        )
        if method == "wanda" and gradient == "dense":
            raise InvalidArgument(
                "selection 'wanda' ranks by the inputs of layers: use gradient='activations'"
            )
        for target in trained:
            if target.quantized is not None and method in _OF_DENSE_WEIGHTS:
                raise Unsupported(f"selection {method!r} needs dense weights; {target.name!r} is quantized")
        if method == "sparsegrad" and gradient == "dense":
            raise InvalidArgument("selection 'sparsegrad' replaces layers: use gradient='activations'")
        if density is None and budget is None and rank is None and method != "mask":
            density = 0.005
        score = self._score = _fill_scores(selection) if callable(selection) else None
        native = Adapter(
            make_context(device, backend, threads),
            [_declare(target) for target in trained],
            selection=method,
            scope=scope,
            density=density,
            budget=budget,
            rank=rank,
            model_scalars=_count_model_scalars(model, density_of),
            random=random,
            seed=seed,
            approximation_rank=approximation_rank,
            mean=mean,
            threshold=threshold,
            score=score,
            optimizer=optimizer,
            age=age,
            state=state,
            delta_type=delta_type,
            total_steps=total_steps,
            reselect_every=reselect_every,
            window=window,
            rate=rate,
            schedule=schedule,
            candidates=candidates,
            drop=drop,
            keep_moments=keep_moments,
            settled_limit=settled_limit,
            track_moves=track_moves,
        )
        if method == "weight-change":
            for target in trained:
                if not target.dense:
                    native.set_reference(target.name, target.weight.detach())
        for name, tensor in given.items():
            if method == "mask":
                native.set_mask(name, tensor.detach().to("cpu", torch.int64).contiguous())
            else:
                native.set_scores(name, tensor.detach().to(device, torch.float32).contiguous())
        hyperparameters = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "decay": decay,
        }
        self._attach(native, model, trained, gradient, hyperparameters)
        self._selects_by_step = method in _BY_STEP and schedule != "none"
        if method == "sparsegrad":
            shapes = {target.name: tuple(target.weight.shape) for target in self._targets}
            self._bases = Bases(native.context, shapes, basis, directions)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        model: nn.Module,
        *,
        lr: float | torch.Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        decay: str | None = None,
        gradient: str = "activations",
        backend: str = "auto",
        threads: int = 0,
    ) -> SparseAdapter:
        """The adapter in a file that `save` wrote, merged into `model`: ready to predict, or to train on.

        The file says what is trained and how it was selected. The optimizer starts afresh.

        Args:
            path: the file.
            model: the pretrained model that the adapter was trained on, unchanged.
            lr, betas, eps, weight_decay, momentum, decay, gradient, backend, threads: as for the constructor.

        Raises:
            speft.InvalidArgument: the model lacks a parameter of the file, or it has another shape, type or
                content; the message names it, and the model is unchanged.
            speft.IOFailure, speft.Corrupt, speft.Unsupported: the file cannot be read.
        """
        device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
        native = Adapter.load(make_context(device, backend, threads), path)
        trained = _match(native, model, path)
        if device_of(trained) != device:  # of a model in parts
            native.close()
            native = Adapter.load(make_context(device_of(trained), backend, threads), path)
        hyperparameters = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "decay": decay,
        }
        adapter = cls.__new__(cls)
        adapter._score = None
        adapter._attach(native, model, trained, gradient, hyperparameters)
        return adapter

    # ---- selecting ----

    def estimate(
        self,
        loss: Callable[[Batch], torch.Tensor],
        batches: Iterable[Batch],
        weight: Callable[[Batch], float] | None = None,
    ) -> None:
        """Runs whatever the selection needs over the batches, and counts them: one word for every method.

        Most need a backward pass a batch: this is what a loop with `observe` does. GRaSP goes through the
        batches, which it holds, twice and differentiates twice; it takes a float32 number for each scalar of
        the targets, and the graph of a backward pass. SynFlow calls `loss` with the first batch alone, for
        the shapes, while all weights are replaced by their absolute values in place, biases are left out, and
        the network is made linear: activations and dropout pass their input on, attention is the mean of the
        values (so that queries and keys score 0), normalizations divide by their input's root mean square,
        held constant, and embeddings and floating inputs are ones. Where the selection needs no batch,
        nothing runs.

        Where dynamic masks need new observations, this makes them, between the step that makes
        `reselection_due` true and `reselect`. The gradients of dense parameters are dropped.

        Args:
            loss: from a batch to its scalar loss, by the adapter's model. For ``"fisher"`` it is a mean over
                the batch's examples.
            batches: at least one.
            weight: from a batch to its weight, the number of its examples, say; None: 1 each.

        Raises:
            speft.InvalidArgument: there was no batch; or SynFlow's sum of outputs is not finite.
            speft.InvalidState: after `select`, unless masks are dynamic; or a target received no gradient.

            When it raises, `loss` too, all observations are forgotten, and the weights are as they were.
        """
        method = self._native.state.selection
        if method in _WITHOUT_GRADIENTS or (method == "meprop" and self._selects_by_step):
            return
        self._refresh()
        weighed = ((batch, 1.0 if weight is None else float(weight(batch))) for batch in batches)
        try:
            if method == "synflow":
                self._estimate_flow(loss, weighed)
            elif method in ("grasp", "grasp-code"):
                self._estimate_products(loss, weighed)
            elif self._bases is not None:
                self._estimate_in_bases(loss, weighed)
            else:
                self._estimate_gradients(loss, weighed)
        except BaseException:
            if self._bases is not None:
                self._bases.clear()
            with contextlib.suppress(InvalidState):  # not after a selection that stays
                self._native.clear_observations()
            raise
        finally:
            self._drop_gradients()

    def observe(self, weight: float = 1.0) -> None:
        """Counts what the backward passes since the last call have brought as one batch, and consumes it.

        The gradients of dense parameters are dropped with it. Where the selection needs no gradients this
        changes nothing, and need not be called. While training, gradients are for `step`: dynamic masks are
        estimated again by `estimate`.

        Args:
            weight: of the batch: its number of examples, say. Means are Σwg/Σw.

        Raises:
            speft.InvalidState: after `select`; or a target received no gradient, which the message names.
        """
        self._refresh()
        if self._bases is not None:
            self._refuse_foreign_gradients()
            self._bases.finish_batch()
        elif self._gradient == "dense":
            self._observe_dense(weight)
        else:
            self._refuse_foreign_gradients()
            self._native.finish_observation(weight)
        self._drop_gradients()

    def select(self, progress: Progress | None = None) -> None:
        """Chooses the masks. From here on the weights are the pretrained ones plus the deltas, 0 so far.

        Args:
            progress: called with (done, total); anything true that it returns cancels.

        Raises:
            speft.InvalidState: already selected, or nothing observed where the selection needs it.
            speft.InvalidArgument: fewer scalars can be selected than were asked for.
        """
        self._refresh()
        if self._bases is not None:
            if not self._selects_by_step:
                raise InvalidState("call estimate first: it fits the basis, and then observes in it")
            self._bases.bind(self._native)
        self._native.select(progress)
        self._bases = None
        self._drop_gradients()
        self._expose()
        if self._trains_in_full:  # the weights have returned
            self._announce_change()

    def reselect(self, progress: Progress | None = None) -> Reselection | None:
        """Moves the masks, when that is due. The Parameters of the first group stay, with other values.

        `step` does it by itself where no observation is needed: for SpIEL, and for dynamic masks that are
        random or ranked by the weights alone. For others, and for a function of one's own::

            adapter.step()
            adapter.zero_grad()
            if adapter.reselection_due:
                adapter.estimate(loss, estimation_batches)
                adapter.reselect()

        Returns:
            What moved, or None when none was due.

        Raises:
            speft.InvalidState: nothing was observed since the last selection; or not selected, or unmerged.
            speft.InvalidArgument: fewer scalars can be selected than were asked for. All is as before then.
        """
        self._refresh()
        moved = self._native.reselect(progress)
        if moved is not None:
            self._show_values()
            self._announce_change()
            self.history.append(moved)
        return moved

    @property
    def reselection_due(self) -> bool:
        """Whether `reselect` has to come before the next step."""
        return self._native.state.reselection_due

    def clear_observations(self) -> None:
        """Forgets all that was observed, an open batch included: after a backward pass that failed, say.

        Raises:
            speft.InvalidState: after `select`.
        """
        if self._bases is not None:
            self._bases.clear()
        self._native.clear_observations()
        self._drop_gradients()

    # ---- training ----

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates deltas and weights by the gradients accumulated since `zero_grad`.

        Parameters whose ``.grad`` is None stay as they are. Where masks move without observations, they do
        when it is time, and the gradients of targets are cleared then: see `history`.

        Args:
            closure: computes the loss again, and its gradients, first.

        Returns:
            What `closure` returned.

        Raises:
            speft.InvalidState: before `select`; unmerged; no gradient at all; no gradient of some target
                has ever arrived, which the message names; or `reselection_due`.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._refresh()
        if self._selected:
            self._select_step()
            self._bring_gradients()
        groups = [
            Hyperparameters(
                lr=float(group["lr"]),
                betas=(float(group["betas"][0]), float(group["betas"][1])),
                eps=group["eps"],
                weight_decay=group["weight_decay"],
                decay=group["decay"],
                momentum=group["momentum"],
            )
            for group in self.param_groups
        ]
        self._native.step(groups, keep_gradient=True)
        self._announce_change()
        state = self._native.state
        if state.reselection_due and state.selection in _WITHOUT_GRADIENTS:
            self.reselect()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients of all that is trained.

        Args:
            set_to_none: as for any PyTorch optimizer: False leaves zeros, with which `step` goes on.
        """
        if self._selected and self._native.state.reselection_due and self._selects_by_step:
            self._native.clear_gradient()  # it was for no step: no scalar need be selected
        super().zero_grad(set_to_none=set_to_none)
        for target in self._targets:
            target.weight.grad = None
        if set_to_none and self._selected:
            self._native.clear_gradient()
            for target in self._targets:
                target.received = False

    def parameters(self) -> Iterator[nn.Parameter]:
        """What is trained, as the groups hold it: for clipping, all-reduce, counting."""
        for group in self.param_groups:
            yield from group["params"]

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """As PyTorch knows them. To look at them is to ask for the gradient of what is trained."""
        if getattr(self, "_selects_by_step", False):
            self._select_step()
        return self._groups

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        self._groups = groups

    def __setstate__(self, state: dict[str, Any]) -> None:
        # PyTorch's load_state_dict ends here, and writes past the property.
        others = {name: value for name, value in state.items() if name != "param_groups"}
        super().__setstate__(others)
        self.param_groups = state["param_groups"]

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Refused once the adapter is made: what is trained is said by `targets` and `dense`."""
        if getattr(self, "_closed", None) is not None:
            raise Unsupported("an adapter trains its targets and dense parameters: no group can be added")
        super().add_param_group(param_group)

    # ---- weights and files ----

    def merge(self) -> None:
        """Writes the trained weights into the model; nothing to do when they are there, as after `select`.

        With ``"sparsegrad"`` that is another state than the one it is trained in: see `attach`.

        Raises:
            speft.InvalidState: not selected, or another adapter is merged into the same weights.
        """
        self._refresh()
        self._native.merge()
        self._announce_change()

    def attach(self) -> None:
        """Puts what was learned into effect as training needs it, as it is after `select`.

        That is `merge` but for ``"sparsegrad"``, whose targets get their original weights back, and whose
        layers compute with the deltas beside them.

        Raises:
            speft.InvalidState: not selected, or a weight was changed by somebody else.
        """
        self._refresh()
        self._native.attach()
        self._announce_change()

    def unmerge(self) -> None:
        """Writes the original weights back, to the bit; nothing to do when they are there.

        Raises:
            speft.InvalidState: a trained weight was changed by somebody else; nothing is written then.
        """
        self._refresh()
        self._native.unmerge()
        self._announce_change()

    @property
    def masks(self) -> dict[str, torch.Tensor]:
        """For each target the flat indices of its trained scalars: int64 [k], increasing, on the CPU."""
        return {target.name: torch.from_dlpack(self._native.mask(target.index)) for target in self._targets}

    @property
    def deltas(self) -> dict[str, torch.Tensor]:
        """For each target what is added to those scalars now: float32 [k] in the mask's order, a copy."""
        return {
            target.name: torch.from_dlpack(self._native.deltas(target.index)).clone()
            for target in self._targets
        }

    @property
    def native(self) -> Adapter:
        """The `speft.Adapter` beneath, for what has no place in an optimizer."""
        return self._native

    @property
    def info(self) -> AdapterState:
        """Where the adapter stands: selected, merged, steps, and its counts of scalars."""
        return self._native.state

    def save(
        self, path: str | os.PathLike[str], *, format: str = "exact", progress: Progress | None = None
    ) -> None:
        """Writes the adapter, the dense parameters too, to a safetensors file. See `speft.Adapter.save`.

        Raises:
            speft.InvalidState: before `select`.
            speft.IOFailure: it cannot be written; an old file is untouched.
        """
        self._native.save(path, format=format, progress=progress)

    def leave_bases(self, density: float) -> tuple[Adapter, float]:
        """What ``"sparsegrad"`` has learned as ordinary sparse deltas, and how much of ΣΔW² they keep.

        The adapter is one of the NumPy level: `speft.Adapter.save` it, and `load` it here like any other. See
        `speft.Adapter.leave_bases`.
        """
        self._refresh()
        return self._native.leave_bases(density)

    def measure_rounding_loss(self) -> float:
        """The share of Σ|δ| that rounding θ0+δ to the weights' type loses. See `speft.Adapter`."""
        return self._native.measure_rounding_loss()

    def state_dict(self) -> dict[str, Any]:
        """The groups' hyperparameters and, from `select` on, all that training needs to go on to the bit.

        That is masks, deltas, original weights, moments and ages, as one tensor of bytes; not the gradients.
        """
        state = super().state_dict()
        if self._selected:
            buffer = io.BytesIO()
            self._native.save_checkpoint(buffer)
            state["checkpoint"] = torch.frombuffer(bytearray(buffer.getbuffer()), dtype=torch.uint8)
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes on where `state_dict` was taken, in an adapter made with the same targets.

        The model may hold its pretrained weights, or those that its own checkpoint has brought back. What
        this adapter had selected and learned before is given up, gradients too.

        Raises:
            speft.InvalidArgument: it is of other parameters; or the model's weights are neither of the two.
                Nothing is changed then.
            speft.InvalidState: it was taken before `select`, and this adapter is past it.
        """
        state = dict(state_dict)
        checkpoint = state.pop("checkpoint", None)
        if checkpoint is not None:
            self._resume(checkpoint.cpu().numpy().tobytes())
        elif self._selected:
            raise InvalidState("the state_dict was taken before the selection, which this adapter has made")
        super().load_state_dict(state)

    def _resume(self, checkpoint: bytes) -> None:
        """Puts the adapter of a checkpoint in the place of the present one."""
        resumed = Adapter.load_checkpoint(self._native.context, checkpoint, score=self._score)
        if resumed.parameters != self._native.parameters:
            raise InvalidArgument(
                f"the state_dict is of other parameters: {_describe(resumed)}; this adapter has "
                f"{_describe(self._native)}"
            )
        self._refresh()
        before = self._native
        with contextlib.suppress(InvalidState):  # not when a checkpoint of the model has replaced them
            before.unmerge()
        self._bind(before, None)
        try:
            self._bind(resumed, self._trained)
            resumed.attach()
        except BaseException:
            resumed.close()
            self._bind(before, self._trained)
            if self._selected:
                before.attach()
            raise
        before.close()
        resumed.clear_gradient()
        self._native = resumed
        self._bases = None  # they came with it
        if self._selected:
            self._show_values()
        else:
            self._expose()
        self._drop_gradients()
        self._announce_change()

    @staticmethod
    def _bind(native: Adapter, trained: Sequence[Target] | None) -> None:
        for index in range(len(native.parameters)):
            native.bind_weights(index, None if trained is None else trained[index].binding)

    # ---- its end ----

    def close(self) -> None:
        """Gives the model back as an ordinary one. Twice is fine.

        Its weights stay as they are, merged or not; layers and ``requires_grad`` are as before. The adapter
        can no longer be used.
        """
        self._detach()
        self._native.close()
        self._closed = True

    def __enter__(self) -> SparseAdapter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("a SparseAdapter cannot be copied or pickled: save() it, and load() it elsewhere")

    # ---- gradients on their way in (see _capture.py) ----

    @property
    def capturing(self) -> bool:
        """Whether gradients are taken."""
        return not (self._closed or self._suspended or (self._trains_in_full and not self._selected))

    @property
    def taking_dense(self) -> bool:
        """Whether dense gradients are taken as they arrive."""
        return self.capturing and (self._selected or self._estimating)

    def multiplying(self, target: Target) -> bool:
        """Whether the target's layers compute by the library: quantized, or with deltas that are beside W."""
        if self._closed:
            return False
        return target.quantized is not None or (self._in_basis and self._applies_deltas)

    @property
    def _applies_deltas(self) -> bool:
        """Whether the deltas of what is trained beside its weights are in effect, and not merged."""
        if not self._selected:
            return False
        state = self._native.state
        return state.attached and not state.merged

    def multiply(self, target: Target, inputs: torch.Tensor, *, layout: str, forward: bool) -> torch.Tensor:
        """inputs (W+Δ)ᵀ, or inputs (W+Δ) of the backward pass: [tokens, …] of the inputs' type."""
        if target.has_moved():
            self._refresh()
        if not self._applies_deltas:  # before the selection, unmerged, or merged
            assert target.quantized is not None
            return multiply(self._native.context, target.quantized, inputs, layout=layout, forward=forward)
        axis = 0 if (layout == "out_in") == forward else 1
        features = target.binding.shape[axis]
        outputs = torch.empty(inputs.shape[0], features, dtype=inputs.dtype, device=inputs.device)
        product = self._native.linear_forward if forward else self._native.linear_backward
        product(target.index, inputs, outputs, layout=layout)
        return outputs

    def receive(self, target: Target, examples: int | None = None, **gradient: Any) -> None:
        """Takes one contribution to a target's gradient from the backward pass."""
        if self._bases is not None:
            self._bases.observe(target.name, **gradient)
        elif self._estimating or target.values is None:
            if self._by_example and examples:
                gradient |= {"scale": float(examples), "example_offsets": _offsets(gradient["x"], examples)}
            self._native.observe(target.index, **gradient)
        elif self._selects_by_step:
            self._native.accumulate(target.index, **gradient)
            target.received = True  # its scalars are selected when somebody looks
        else:
            self._take_over_gradient(target, target.values)
            self._native.accumulate(target.index, **gradient)
            target.received = True
            target.values.grad = target.gradient

    def _take_over_gradient(self, target: Target, values: SparseValues) -> None:
        """Whatever the host has made of a target's ``.grad`` becomes what the library holds."""
        grad = values.grad
        if grad is target.gradient:
            return
        if grad is not None and target.received:
            # As if it had been done in place: what else the library has made of that gradient remains.
            assert target.gradient is not None
            target.gradient.copy_(grad.detach())
            values.grad = target.gradient
            return
        self._native.clear_gradient(target.index)
        target.received = False
        if grad is not None:
            self._native.accumulate(target.index, values=grad.detach().to(torch.float32).contiguous())
            target.received = True
            values.grad = target.gradient

    def _select_step(self) -> None:
        """Selects the scalars of a step whose gradient has arrived, where each step has its own."""
        if not (self._selects_by_step and self._selected and self._native.state.reselection_due):
            return
        arrived = [target for target in self._targets if target.received]
        self._refresh()
        moved = self._native.reselect()
        assert moved is not None
        self.history.append(moved)
        self._show_values()
        for target in arrived:
            target.received = True
            assert target.values is not None
            target.values.grad = target.gradient

    def _bring_gradients(self) -> None:
        """What a step is about to use, into the library."""
        if self._gradient == "activations":
            self._refuse_foreign_gradients()
        for target in self._trained:
            if target.values is not None:
                self._take_over_gradient(target, target.values)
                continue
            self._native.clear_gradient(target.index)
            if target.weight.grad is not None:
                self._native.accumulate(target.index, dense=target.weight.grad.contiguous())

    def _estimate_gradients(self, loss: Callable[[Any], torch.Tensor], batches: Iterator[Any]) -> None:
        observed = 0
        self._estimating = True
        try:
            for batch, weight in batches:
                self._drop_gradients()
                self._native.begin_observation(weight)
                loss(batch).backward()
                if self._gradient == "activations":
                    self._refuse_foreign_gradients()
                self._native.finish_observation()
                observed += 1
        finally:
            self._estimating = False
        _require_batches(observed)

    def _estimate_in_bases(self, loss: Callable[[Any], torch.Tensor], batches: Iterator[Any]) -> None:
        """Fits the bases; and where the masks are to stay, goes through the batches again, in the bases."""
        assert self._bases is not None
        weighed = list(batches)
        _require_batches(len(weighed))
        for batch, _ in weighed:
            self._drop_gradients()
            loss(batch).backward()
            self._refuse_foreign_gradients()
            self._bases.finish_batch()
        if self._selects_by_step:
            return
        self._bases.bind(self._native)
        self._bases = None
        self._estimate_gradients(loss, iter(weighed))

    def _estimate_products(self, loss: Callable[[Any], torch.Tensor], batches: Iterator[Any]) -> None:
        weighed = list(batches)
        _require_batches(len(weighed))
        with self._suspend():
            weights = {target.name: target.weight for target in self._targets}
            for weight, products in hessian_products(weights, loss, weighed):
                self._observe_tensors(weight, products)

    def _estimate_flow(self, loss: Callable[[Any], torch.Tensor], batches: Iterator[Any]) -> None:
        first = list(islice(batches, 1))
        _require_batches(len(first))
        ((batch, weight),) = first
        with self._suspend():
            weights = [target.weight for target in self._targets]
            gradients = flow_gradients(self._model, weights, lambda: loss(batch))
        self._observe_tensors(weight, gradients)

    def _observe_tensors(self, weight: float, gradients: Sequence[torch.Tensor]) -> None:
        self._native.begin_observation(weight)
        for target, gradient in zip(self._targets, gradients, strict=True):
            self._native.observe(target.index, dense=gradient.detach().contiguous())
        self._native.finish_observation()

    @contextlib.contextmanager
    def _suspend(self) -> Iterator[None]:
        """Ordinary layers for a while: the taps have no second derivative."""
        self._suspended = True
        try:
            yield
        finally:
            self._suspended = False

    def _observe_dense(self, weight: float) -> None:
        missing = [target.name for target in self._targets if target.weight.grad is None]
        if missing and self._native.state.selection not in _WITHOUT_GRADIENTS:
            raise InvalidState(f"no gradient of {missing[0]!r} has arrived since the last observation")
        self._native.begin_observation(weight)
        for target in self._targets:
            if target.weight.grad is not None:
                self._native.observe(target.index, dense=target.weight.grad.contiguous())
        self._native.finish_observation()

    def _drop_gradients(self) -> None:
        for target in self._trained:
            target.weight.grad = None

    def _refuse_foreign_gradients(self) -> None:
        """A target that is used outside of its layers gets a gradient that no tap sees."""
        for target in self._targets:
            if target.weight.grad is not None:
                raise InvalidState(
                    f"target {target.name!r} received a dense gradient past the adapter: it is used outside "
                    "of its linear layer; use gradient='dense'"
                )

    # ---- the model and the library, kept together ----

    def _attach(
        self,
        native: Adapter,
        model: nn.Module,
        trained: list[Target],
        gradient: str,
        hyperparameters: dict[str, Any],
    ) -> None:
        if gradient not in ("activations", "dense"):
            raise InvalidArgument(f"gradient must be 'activations' or 'dense', got {gradient!r}")
        method = native.state.selection
        if hyperparameters["decay"] is None:
            hyperparameters["decay"] = "after" if method in ("spiel-ag", "spiel-ma") else "original"
        for index, target in enumerate(trained):
            target.index = index
            native.bind_weights(index, target.binding)
        dense = [target.weight for target in trained if target.dense]
        groups: list[dict[str, Any]] = [{"params": [], "name": "sparse"}, {"params": dense, "name": "dense"}]
        super().__init__(groups, hyperparameters)
        self._native = native
        self._model = model
        self.history: list[Reselection] = []
        self._trains_in_full = method == "weight-change"
        self._by_example = method == "fisher"
        self._in_basis = method == "sparsegrad"
        self._estimating = self._suspended = False
        self._bases: Bases | None = None
        self._selects_by_step = False
        self._trained = trained
        self._targets = [target for target in trained if not target.dense]
        self._gradient = gradient
        self._selected = False
        self._closed = False
        # Also when the adapter is merely forgotten, the model becomes an ordinary one again.
        self._undo: list[Callable[[], None]] = []
        self._detach = weakref.finalize(self, _run_backwards, self._undo)
        self._detach.atexit = False
        tap = capture_layers if gradient == "activations" else hook_gradient
        try:
            for target in self._targets:
                self._undo.append(tap(target, self))
            self._undo.append(ignore_in_data_parallel(model, self._targets))
            differentiable = [target.weight for target in trained if target.quantized is None]
            self._undo.append(train_only(model, differentiable))
            if native.state.selected:
                self.attach()
                self._expose()
        except BaseException:
            self.close()
            raise
        self._drop_gradients()

    def _expose(self) -> None:
        """Shows the deltas as Parameters, to this optimizer's first group and to the model."""
        self._selected = True
        for target in self._targets:
            deltas = torch.from_dlpack(self._native.deltas(target.index))
            target.values = SparseValues(deltas, requires_grad=True)
            target.values.grad_dtype = torch.float32  # whatever the deltas are
            self._undo.append(expose_values(target))
            self.param_groups[0]["params"].append(target.values)
        self._show_values()

    def _show_values(self) -> None:
        """Points the Parameters at the library's memory."""
        for target in self._targets:
            assert target.values is not None
            target.values.grad = None
            target.received = False
            target.values.data = torch.from_dlpack(self._native.deltas(target.index))
            target.gradient = torch.from_dlpack(self._native.gradient(target.index))

    def _refresh(self) -> None:
        """Follows weights that the host has moved since the last call.

        All of them are unbound first: one may lie now where another one was, which that one still claims.
        """
        moved = [target for target in self._trained if target.has_moved()]
        for target in moved:
            self._native.bind_weights(target.index, None)
        for target in moved:
            target.find_quantized()
            self._native.bind_weights(target.index, target.binding)

    def _announce_change(self) -> None:
        """Tells autograd that the weights were written to, so that a stale graph is noticed."""
        torch.autograd.graph.increment_version([target.weight for target in self._trained])


def _run_backwards(undo: list[Callable[[], None]]) -> None:
    while undo:
        undo.pop()()


def _require_batches(count: int) -> None:
    if not count:
        raise InvalidArgument("batches must hold at least one batch")


def _offsets(x: torch.Tensor, examples: int) -> torch.Tensor:
    """Where each of equally long examples begins in x [tokens, in], and the end."""
    return torch.arange(examples + 1, device="cpu") * (x.shape[0] // examples)


def _fill_scores(score: ScoreFunction) -> Callable[..., None]:
    """A user's function, as the NumPy level calls it."""

    def fill(name: str, weights: Any, gradient: Any, scores: Any) -> None:
        target = torch.from_dlpack(scores)
        given = score(
            name, torch.from_dlpack(weights), None if gradient is None else torch.from_dlpack(gradient)
        )
        if not torch.is_tensor(given) or given.shape != target.shape:
            came = list(given.shape) if torch.is_tensor(given) else type(given).__name__
            raise InvalidArgument(
                f"selection must return a tensor of the shape {list(target.shape)} for {name!r}, got {came}"
            )
        target.copy_(given.detach())

    return fill


def _count_model_scalars(model: nn.Module, density_of: str) -> int | None:
    if density_of not in ("targets", "model"):
        raise InvalidArgument(f"density_of must be 'targets' or 'model', got {density_of!r}")
    if density_of == "targets":
        return None
    parameters = [target for _, target in find_parameters(model)]
    for target in parameters:
        target.find_quantized()  # whose codes are not its scalars
    return sum(math.prod(target.binding.shape) for target in parameters)


def _describe(native: Adapter) -> str:
    return ", ".join(f"{parameter.name} {list(parameter.shape)}" for parameter in native.parameters)


def _declare(target: Target) -> Parameter:
    role, group = ("dense", 1) if target.dense else ("sparse", 0)
    return Parameter.of(target.name, target.binding, role=role, group=group)


def _match(native: Adapter, model: nn.Module, path: str | os.PathLike[str]) -> list[Target]:
    """The model's parameters that a loaded adapter has, in its order."""
    by_name = {name: target for names, target in find_parameters(model) for name in names}
    trained = []
    for parameter in native.parameters:
        target = by_name.get(parameter.name)
        if target is None:
            raise InvalidArgument(
                f"the model has no parameter {parameter.name!r}, which {os.fspath(path)!r} trains"
            )
        target.name, target.dense = parameter.name, parameter.role == "dense"
        trained.append(target)
    examine(trained)
    return trained
