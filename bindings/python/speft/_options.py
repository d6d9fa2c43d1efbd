"""The names that options take in Python, and the records that go in and come out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import _capi
from ._call import code_of, int64s, integer, make
from ._errors import InvalidArgument
from ._tensor import SCALARS, TensorLike, describe, set_dtype

if TYPE_CHECKING:
    from ._quantization import QuantizedTensor

SELECTIONS: dict[str, int] = {
    "random": _capi.SPEFT_SELECT_RANDOM,
    "magnitude": _capi.SPEFT_SELECT_MAGNITUDE,
    "gradient": _capi.SPEFT_SELECT_GRADIENT,
    "snip": _capi.SPEFT_SELECT_SNIP,
    "mask": _capi.SPEFT_SELECT_GIVEN_MASK,
    "scores": _capi.SPEFT_SELECT_GIVEN_SCORES,
    "force": _capi.SPEFT_SELECT_FORCE,
    "taylor-fo": _capi.SPEFT_SELECT_TAYLOR_FO,
    "fisher": _capi.SPEFT_SELECT_FISHER,
    "synflow": _capi.SPEFT_SELECT_SYNFLOW,
    "grasp": _capi.SPEFT_SELECT_GRASP,
    "grasp-code": _capi.SPEFT_SELECT_GRASP_CODE,
    "weight-change": _capi.SPEFT_SELECT_WEIGHT_CHANGE,
    "low-rank": _capi.SPEFT_SELECT_LOW_RANK,
    "wanda": _capi.SPEFT_SELECT_WANDA,
    "spiel-ag": _capi.SPEFT_SELECT_SPIEL_AG,
    "spiel-ma": _capi.SPEFT_SELECT_SPIEL_MA,
    "sparsegrad": _capi.SPEFT_SELECT_SPARSEGRAD,
    "meprop": _capi.SPEFT_SELECT_MEPROP,
    "smallest-magnitude": _capi.SPEFT_SELECT_SMALLEST_MAGNITUDE,
    "score-function": _capi.SPEFT_SELECT_SCORE_FUNCTION,
}
SCOPES = {
    "global": _capi.SPEFT_SCOPE_GLOBAL,
    "per-tensor": _capi.SPEFT_SCOPE_PER_TENSOR,
    "per-row": _capi.SPEFT_SCOPE_PER_ROW,
}
RANDOMS = {"exact": _capi.SPEFT_RANDOM_EXACT, "bernoulli": _capi.SPEFT_RANDOM_BERNOULLI}
MEANS = {"signed": _capi.SPEFT_MEAN_SIGNED, "absolute": _capi.SPEFT_MEAN_OF_ABSOLUTES}
SCHEDULES = {
    "linear": _capi.SPEFT_SCHEDULE_LINEAR,
    "cosine": _capi.SPEFT_SCHEDULE_COSINE,
    "constant": _capi.SPEFT_SCHEDULE_CONSTANT,
    "none": _capi.SPEFT_SCHEDULE_NONE,
}
DROPS = {"magnitude": _capi.SPEFT_DROP_MAGNITUDE, "change": _capi.SPEFT_DROP_CHANGE}
OPTIMIZERS = {
    "adamw": _capi.SPEFT_OPTIMIZER_ADAMW,
    "sgd": _capi.SPEFT_OPTIMIZER_SGD,
    "sm3": _capi.SPEFT_OPTIMIZER_SM3,
    "lion": _capi.SPEFT_OPTIMIZER_LION,
    "adafactor": _capi.SPEFT_OPTIMIZER_ADAFACTOR,
    "adam": _capi.SPEFT_OPTIMIZER_ADAM,
}
AGES = {"common": _capi.SPEFT_AGE_COMMON, "per-weight": _capi.SPEFT_AGE_PER_WEIGHT}
STATES = {
    "float32": _capi.SPEFT_STATE_FLOAT32,
    "bfloat16": _capi.SPEFT_STATE_BFLOAT16,
    "blocks8": _capi.SPEFT_STATE_BLOCKS8,
}
DECAYS = {
    "original": _capi.SPEFT_DECAY_TO_ORIGINAL,
    "zero": _capi.SPEFT_DECAY_TO_ZERO,
    "after": _capi.SPEFT_DECAY_AFTER_UPDATE,
}
DELTA_TYPES = {"float32": _capi.SPEFT_DELTA_FLOAT32, "bfloat16": _capi.SPEFT_DELTA_BFLOAT16}
ROLES = {"sparse": _capi.SPEFT_ROLE_SPARSE, "dense": _capi.SPEFT_ROLE_DENSE}
PARTS = {"whole": _capi.SPEFT_PART_WHOLE, "range": _capi.SPEFT_PART_RANGE, "block": _capi.SPEFT_PART_BLOCK}
LAYOUTS = {"out_in": _capi.SPEFT_LAYOUT_OUT_IN, "in_out": _capi.SPEFT_LAYOUT_IN_OUT}
FORMATS = {"exact": _capi.SPEFT_FORMAT_EXACT, "compact": _capi.SPEFT_FORMAT_COMPACT}
WEIGHTS = {"nf4": _capi.SPEFT_WEIGHTS_NF4, "fp4": _capi.SPEFT_WEIGHTS_FP4, "int8": _capi.SPEFT_WEIGHTS_INT8}
LOG_LEVELS = {
    "debug": _capi.SPEFT_LOG_DEBUG,
    "info": _capi.SPEFT_LOG_INFO,
    "warning": _capi.SPEFT_LOG_WARNING,
}


def name_of(code: int, codes: dict[str, int]) -> str:
    """The name of a C constant."""
    return next((name for name, value in codes.items() if value == code), str(code))


@dataclass(frozen=True)
class Parameter:
    """One parameter of the model, as an adapter knows it.

    Attributes:
        name: unique within the adapter, not empty.
        shape: of the whole parameter.
        dtype: ``"float32"``, ``"bfloat16"`` or ``"float16"``.
        role: ``"sparse"`` (a mask of its scalars is trained) or ``"dense"`` (all of it is, as a new head is).
        group: which `Hyperparameters` of a step apply to it; 0 unless there are several.
        part: what this process holds of it: ``"whole"``; ``"range"`` or ``"block"``, from `offset` on, as
            large as `extent` (one number for a range, one an axis for a block), raise `Unsupported` in this
            version.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    role: str = "sparse"
    group: int = 0
    part: str = "whole"
    offset: tuple[int, ...] | None = None
    extent: tuple[int, ...] | None = None

    @classmethod
    def of(
        cls, name: str, tensor: TensorLike | QuantizedTensor, *, role: str = "sparse", group: int = 0
    ) -> Parameter:
        """The parameter that `tensor` holds: its shape and element type; of a quantized one those it had."""
        from ._quantization import QuantizedTensor

        if isinstance(tensor, QuantizedTensor):
            return cls(name, tensor.shape, tensor.dtype, role, group)
        shape, dtype = describe(name, tensor)
        return cls(name, shape, dtype, role, group)

    def to_native(self) -> Any:
        """The C struct."""
        if self.dtype not in SCALARS:
            raise InvalidArgument(
                f"the dtype of {self.name!r} must be one of {', '.join(SCALARS)}; got {self.dtype!r}"
            )
        made = make(
            _capi.speft_parameter,
            name=self.name,
            role=code_of("role", self.role, ROLES),
            shape=int64s("shape", self.shape),
            ndim=len(self.shape),
            part=code_of("part", self.part, PARTS),
            offset=None if self.offset is None else int64s("offset", self.offset),
            extent=None if self.extent is None else int64s("extent", self.extent),
            group=integer("group", self.group),
        )
        set_dtype(made.dtype, self.dtype)
        return made


@dataclass(frozen=True)
class Hyperparameters:
    """How one group of parameters moves in a step, in float32, one rounding an operation.

    Attributes:
        lr: the learning rate.
        betas: AdamW's, Adam's and Lion's decay of the first and second moment.
        eps: AdamW's and Adam's, added to the root of the second moment.
        weight_decay: strength of the decay: it is decoupled, but Adam's and SGD's is added to the gradient.
        decay: what it pulls to: ``"original"`` pulls the delta to 0 and so the weight to its pretrained
            value; ``"zero"`` pulls the weight itself to 0, as PyTorch's optimizers do; ``"after"`` the delta
            to 0 as SpIEL does, decoupled and after the update, with any optimizer.
        momentum: SGD's, in [0, 1).
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    decay: str = "original"
    momentum: float = 0.0

    def to_native(self) -> Any:
        """The C struct."""
        return make(
            _capi.speft_hyperparameters,
            decay=code_of("decay", self.decay, DECAYS),
            learning_rate=self.lr,
            beta1=self.betas[0],
            beta2=self.betas[1],
            epsilon=self.eps,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
        )


@dataclass(frozen=True)
class AdapterState:
    """Where an adapter stands.

    Attributes:
        selected: whether the masks are chosen (or came from a file).
        merged: whether the weights hold round(θ0+δ) now, those in a basis too.
        attached: whether steps can be taken: merged, but for parameters in a basis. See `Adapter.attach`.
        selection: the method's name.
        steps: updates so far.
        observations: batches that the selection has seen.
        selected_scalars: over all sparse parameters.
        trained_scalars: those and the dense ones.
        targeted_scalars: all scalars of the sparse parameters, the denominator of the density.
        settled_scalars: no longer selected, but changed by then: dynamic masks.
        next_reselection: the step after which the masks move next, the present one when that is due; None:
            they do not.
        reselection_due: whether `Adapter.reselect` has to come before the next step.
    """

    selected: bool
    merged: bool
    attached: bool
    selection: str
    steps: int
    observations: int
    selected_scalars: int
    trained_scalars: int
    targeted_scalars: int
    settled_scalars: int
    next_reselection: int | None
    reselection_due: bool


@dataclass(frozen=True)
class Reselection:
    """What a reselection moved.

    Attributes:
        step: after which it came.
        dropped: scalars that are no longer selected; with dynamic masks they are settled.
        grown: scalars that are newly selected.
        settled: scalars of the settled set, by now.
        selected: scalars that are selected, by now.
    """

    step: int
    dropped: int
    grown: int
    settled: int
    selected: int

    @property
    def turnover(self) -> float:
        """The share of the selected scalars that are new."""
        return self.grown / self.selected if self.selected else 0.0


@dataclass(frozen=True)
class Requantization:
    """What merging into quantized weights has left of the deltas.

    Attributes:
        deltas: scalars with a delta.
        changed: of those, how many have got another code; a new scale alone does not count.
        relative_error: ‖ŵ−w‖/‖w‖ over the blocks that were quantized anew: w is what was dequantized plus its
            deltas, ŵ what is dequantized now.
    """

    deltas: int
    changed: int
    relative_error: float


@dataclass(frozen=True)
class MemoryPlan:
    """The most that an adapter has at one time, in bytes of the device, its scratch included.

    Attributes:
        observation: while gradients are observed, two accumulators a sparse parameter.
        announced_observation: the same where `Adapter.begin_observation` announces each batch: one of them.
        selection: while `Adapter.select` runs, after announced observations.
        training: from the selection on, while gradients arrive and steps are taken.
        reselection: while `Adapter.reselect` runs; 0 where masks do not move.
        fitting: while bases are made: observed, fitted and bound, and none is closed; 0 without bases.
        products: while `Adapter.linear_forward` or `Adapter.linear_backward` runs, and gradients of the other
            parameters are held.
        merging: while an adapter with bases is merged, and as long as it is; 0 without bases.
    """

    observation: int
    announced_observation: int
    selection: int
    training: int
    reselection: int
    fitting: int
    products: int
    merging: int


def adapter_options(
    *,
    selection: str = "gradient",
    scope: str = "global",
    density: float | None = None,
    budget: int | None = None,
    rank: int | None = None,
    model_scalars: int | None = None,
    random: str = "exact",
    seed: int = 0,
    approximation_rank: int | None = None,
    mean: str = "signed",
    threshold: float | None = None,
    score: Any = None,
    optimizer: str | None = None,
    age: str = "common",
    state: str = "float32",
    delta_type: str = "float32",
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
) -> Any:
    """The C struct for the keyword options that `speft.Adapter` documents.

    `score` is what `_capi.compute_scores` calls: with a position and DLPack capsules.
    """
    counts = {
        "total_steps": total_steps,
        "reselect_every": reselect_every,
        "window": window,
        "candidates": candidates,
        "settled_limit": settled_limit,
    }
    moving = {
        "rate": _given("rate", rate, "in (0, 1]"),
        "schedule": None if schedule is None else code_of("schedule", schedule, SCHEDULES),
        "drop": None if drop is None else code_of("drop", drop, DROPS),
        "keep_moments": None if keep_moments is None else int(keep_moments),
        "track_moves": None if track_moves is None else int(track_moves),
    }
    moving |= {name: _count(name, value) for name, value in counts.items() if value is not None}
    given = {name: value for name, value in moving.items() if value is not None}
    return make(
        _capi.speft_adapter_options,
        delta_type=code_of("delta_type", delta_type, DELTA_TYPES),
        selection=make(
            _capi.speft_selection_options,
            method=code_of("selection", selection, SELECTIONS),
            scope=code_of("scope", scope, SCOPES),
            random=code_of("random", random, RANDOMS),
            density=_given("density", density, "in (0, 1]") or 0.0,
            budget=_count("budget", budget),
            rank=_count("rank", rank),
            model_scalars=_count("model_scalars", model_scalars),
            seed=integer("seed", seed),
            approximation_rank=_count("approximation_rank", approximation_rank),
            mean=code_of("mean", mean, MEANS),
            threshold=_given("threshold", threshold, "above 0") or 0.0,
            score=score_of(score),
            schedule=make(_capi.speft_schedule_options, **given) if given else None,
        ),
        optimizer=make(
            _capi.speft_optimizer_options,
            kind=code_of("optimizer", optimizer or default_optimizer(selection), OPTIMIZERS),
            age=code_of("age", age, AGES),
            state=code_of("state", state, STATES),
        ),
    )


def default_optimizer(selection: str) -> str:
    """SpIEL-MA grows by the moments of SM3."""
    return "sm3" if selection == "spiel-ma" else "adamw"


def score_of(score: Any) -> Any:
    """The C struct for what `_capi.compute_scores` calls: with a position and DLPack capsules."""
    return None if score is None else make(_capi.speft_score_function, user=score, compute=_capi.compute_scores)


def _given(argument: str, value: Any, expected: str) -> Any:
    """A number or None. C says "not given" by 0, so that a 0 that was given is refused here."""
    if value is not None and value == 0:
        raise InvalidArgument(f"{argument} must be {expected}, got {value!r}")
    return value


def _count(argument: str, value: int | None) -> int:
    return integer(argument, _given(argument, value, "at least 1") or 0)


def linear_options(layout: str, accumulate: bool, delta_only: bool = False) -> Any:
    """The C struct that says how a layer's product is meant."""
    return make(
        _capi.speft_linear_options,
        layout=code_of("layout", layout, LAYOUTS),
        delta_only=int(delta_only),
        accumulate=int(accumulate),
    )


def groups_of(hyperparameters: Hyperparameters | Sequence[Hyperparameters] | None) -> list[Any]:
    """The C structs of a step's groups."""
    if hyperparameters is None:
        return []
    if isinstance(hyperparameters, Hyperparameters):
        return [hyperparameters.to_native()]
    return [group.to_native() for group in hyperparameters]
