"""SpIEL against a transcription of the method into NumPy, in float64: its clock, schedules and seeds."""

from fractions import Fraction
from itertools import pairwise
from math import cos, floor, pi

import numpy as np
import pytest

import speft

SHAPES = {"first": (8, 6), "second": (5, 7)}
EVERY, WINDOW, STEPS, RATE, DENSITY = 20, 5, 200, 0.2, 0.2
LR, BETAS, EPS, DECAY = 0.005, (0.9, 0.99), 1e-8, 0.5

# Deltas of up to 0.5, rounded to float32 200 times by 2^-25 or less, in both directions.
CLOSE = {"rtol": 0, "atol": 1e-6}


def best(scores, count):
    """Positions of the `count` largest scores: of equal ones those that come first."""
    return np.argsort(-scores, kind="stable")[:count]


class Spiel:
    """All targets as one vector: `first` in its rows, then `second`."""

    def __init__(self, method, weights, mask, scope, schedule, total_steps, drop):
        self.method, self.schedule, self.total_steps, self.drop = method, schedule, total_steps, drop
        self.original = weights.astype(np.float64)
        self.active = np.isin(np.arange(weights.size), mask)
        self.phi, self.after_last = np.zeros(weights.size), np.zeros(weights.size)
        self.m, self.v = np.zeros(weights.size), np.zeros(weights.size)
        self.age = np.zeros(weights.size, dtype=int)
        bounds = np.cumsum([0, *(rows * columns for rows, columns in SHAPES.values())])
        self.places = [slice(*pair) for pair in pairwise(bounds)]
        self.groups = self.places if scope == "per-tensor" else [slice(0, weights.size)]
        self.rows = [np.zeros((rows, 1)) for rows, _ in SHAPES.values()]
        self.columns = [np.zeros((1, columns)) for _, columns in SHAPES.values()]
        self.step_count = 0

    @property
    def weights(self):
        return self.original + self.phi

    def is_due(self, step):
        if self.schedule == "none":
            return step == WINDOW
        return step >= WINDOW and (step - WINDOW) % EVERY == 0 and step < (self.total_steps or np.inf)

    def step(self, gradient):
        """One update by the step's gradient, clipped. Returns what was dropped and grown, when due."""
        self.step_count += 1
        if self.method == "spiel-ag":
            self.follow(gradient)
            self.adamw(gradient)
        else:
            self.sm3(gradient)
        self.phi *= 1 - LR * DECAY
        return self.reselect() if self.is_due(self.step_count) else None

    def follow(self, gradient):
        if self.is_due(self.step_count + WINDOW - 1):  # the first step of a window
            self.candidates = [
                group.start
                + best(np.where(self.active, -np.inf, abs(gradient))[group], self.active[group].sum())
                for group in self.groups
            ]
            self.sums, self.squares = np.zeros(gradient.size), np.zeros(gradient.size)
        if any(self.is_due(self.step_count + ahead) for ahead in range(WINDOW)):
            self.sums += gradient
            self.squares += gradient**2

    def adamw(self, gradient):
        on = self.active
        self.age[on] += 1
        self.m[on] = BETAS[0] * self.m[on] + (1 - BETAS[0]) * gradient[on]
        self.v[on] = BETAS[1] * self.v[on] + (1 - BETAS[1]) * gradient[on] ** 2
        m, v = self.m[on] / (1 - BETAS[0] ** self.age[on]), self.v[on] / (1 - BETAS[1] ** self.age[on])
        self.phi[on] -= LR * m / (np.sqrt(v) + EPS)

    def sm3(self, gradient):
        for place, shape, rows, columns in zip(
            self.places, SHAPES.values(), self.rows, self.columns, strict=True
        ):
            on, g = self.active[place].reshape(shape), gradient[place].reshape(shape)
            second = np.where(on, np.minimum(rows, columns) + g**2, 0)
            self.phi[place] -= (LR * np.where(on, g / np.sqrt(np.where(on, second, 1)), 0)).ravel()
            rows[:] = np.maximum(rows, second.max(1, keepdims=True))
            columns[:] = np.maximum(columns, second.max(0, keepdims=True))

    def replaced(self, k):
        if self.step_count == WINDOW:
            return k
        t, total, share = self.step_count, self.total_steps, Fraction(str(RATE))
        return {
            "linear": lambda: floor(k * share * Fraction(total - t, total)),
            "cosine": lambda: floor(k * RATE / 2 * (1 + cos(pi * t / total))),
            "constant": lambda: floor(k * share),
        }[self.schedule]()

    def reselect(self):
        before = self.active.copy()
        loss = abs(self.phi - self.after_last) if self.drop == "change" else abs(self.phi)
        for index, group in enumerate(self.groups):
            q = self.replaced(before[group].sum())
            dropped = group.start + best(np.where(before, -loss, -np.inf)[group], q)
            if self.method == "spiel-ag":
                candidates = np.sort(self.candidates[index])
                grown = candidates[best(abs(self.sums[candidates]), q)]
                mean = self.sums[grown] / WINDOW
                self.m[grown] = (1 - BETAS[0] ** WINDOW) * mean
                self.v[grown] = (1 - BETAS[1] ** WINDOW) * self.squares[grown] / WINDOW
                self.age[grown] = WINDOW
            else:
                scores = np.concatenate(
                    [(np.sqrt(r) * np.sqrt(c)).ravel() for r, c in zip(self.rows, self.columns, strict=True)]
                )
                grown = group.start + best(np.where(before, -np.inf, scores)[group], q)
            self.active[dropped], self.active[grown] = False, True
            self.phi[dropped] = self.phi[grown] = 0
        self.after_last = self.phi.copy()
        return np.flatnonzero(before & ~self.active), np.flatnonzero(self.active & ~before)


def train_both(context, method, form, *, scope="global", schedule=None, total_steps=STEPS, drop=None, **more):
    micro_batches, max_norm = more.get("micro_batches", 1), more.get("max_norm")
    random = np.random.default_rng(more.get("seed", 3))
    weights = {name: random.standard_normal(shape, dtype=np.float32) for name, shape in SHAPES.items()}
    wanted = {name: random.standard_normal(shape, dtype=np.float32) for name, shape in SHAPES.items()}
    original = {name: weight.copy() for name, weight in weights.items()}
    adapter = speft.Adapter(
        context,
        [speft.Parameter.of(name, weight) for name, weight in weights.items()],
        selection=method,
        scope=scope,
        density=DENSITY,
        total_steps=total_steps,
        reselect_every=EVERY,
        window=WINDOW,
        rate=RATE,
        schedule=schedule,
        drop=drop,
        track_moves=True,
    )
    for name, weight in weights.items():
        adapter.bind_weights(name, weight)
    adapter.select()

    offsets = dict(zip(SHAPES, np.cumsum([0, *(weight.size for weight in weights.values())]), strict=False))

    def together(read):
        return np.concatenate([np.from_dlpack(read(name)) + offsets[name] for name in SHAPES])

    reference = Spiel(
        method,
        np.concatenate([weight.ravel() for weight in weights.values()]),
        together(adapter.mask),
        scope,
        schedule or ("linear" if total_steps else "constant"),
        total_steps,
        drop,
    )
    moves = 0
    for step in range(1, STEPS + 1):
        gradient = np.zeros(reference.phi.size)
        for _ in range(micro_batches):
            for place, (name, shape) in zip(reference.places, SHAPES.items(), strict=True):
                current = reference.weights[place].reshape(shape).astype(np.float32)
                x = random.standard_normal((9, shape[1]), dtype=np.float32)
                dy = (x @ (current - wanted[name]).T) / np.float32(9)
                gradient[place] += (dy.T.astype(np.float64) @ x).ravel() / micro_batches
                given = {"dense": dy.T @ x} if form == "dense" else {"x": x, "dy": dy}
                adapter.accumulate(name, **given, scale=1 / micro_batches)
        if max_norm is not None:
            norm = np.sqrt((gradient[reference.active] ** 2).sum())
            # A float32 sum of squares.
            assert adapter.clip_gradient(max_norm) == pytest.approx(norm, rel=1e-5)
            gradient *= min(1, max_norm / (norm + 1e-6))
        adapter.step(
            speft.Hyperparameters(lr=LR, betas=BETAS, eps=EPS, weight_decay=DECAY, decay="after"),
        )
        moved, expected = adapter.reselect(), reference.step(gradient)
        assert (moved is None) == (expected is None), step
        if moved is not None:
            moves += 1
            assert (moved.step, moved.dropped, moved.grown) == (step, *map(len, expected))
            np.testing.assert_array_equal(together(adapter.dropped), expected[0])
            np.testing.assert_array_equal(together(adapter.grown), expected[1])
            assert adapter.state.selected_scalars == moved.selected
        np.testing.assert_array_equal(together(adapter.mask), np.flatnonzero(reference.active))
        for place, name in zip(reference.places, SHAPES, strict=True):
            mask = np.from_dlpack(adapter.mask(name))
            delta = np.from_dlpack(adapter.deltas(name))
            np.testing.assert_allclose(delta, reference.phi[place][mask], **CLOSE)
            merged = original[name].copy().ravel()
            merged[mask] += delta
            np.testing.assert_array_equal(weights[name].ravel(), merged)  # the dropped regain their bits
            if method == "spiel-ag":
                np.testing.assert_array_equal(np.from_dlpack(adapter.ages(name)), reference.age[place][mask])
    assert moves == (1 if schedule == "none" else 10)
    adapter.unmerge()
    for name, weight in weights.items():
        np.testing.assert_array_equal(weight, original[name])
    return adapter


FORMS = ["dense", "activations"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scope", ["global", "per-tensor"])
@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant", "none"])
@pytest.mark.parametrize("method", ["spiel-ag", "spiel-ma"])
def test_schedules(context, method, schedule, scope, form):
    train_both(context, method, form, scope=scope, schedule=schedule)


@pytest.mark.parametrize("method", ["spiel-ag", "spiel-ma"])
@pytest.mark.parametrize("form", FORMS)
def test_dropping_what_changed_least(context, method, form):
    train_both(context, method, form, schedule="constant", drop="change")


@pytest.mark.parametrize("method", ["spiel-ag", "spiel-ma"])
@pytest.mark.parametrize("form", FORMS)
def test_micro_batches_and_clipping(context, method, form):
    train_both(context, method, form, micro_batches=2, max_norm=0.5)


@pytest.mark.parametrize("method", ["spiel-ag", "spiel-ma"])
def test_without_an_end_the_rate_stays(context, method):
    train_both(context, method, "dense", total_steps=None)
