"""Masks that are chosen anew every few steps, against NumPy: what leaves them stays as trained, settled."""

import io

import numpy as np
import pytest

import speft

SHAPE, EVERY, K = (9, 7), 4, 12
LR, BETAS, EPS = 0.05, (0.8, 0.9), 1e-6

# Some 20 updates of a few float32 roundings each, against float64.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}

SCORES = {
    "gradient": lambda weights, gradient: abs(gradient),
    "snip": lambda weights, gradient: abs(weights * gradient),
    "force": lambda weights, gradient: -weights * gradient,
    "fisher": lambda weights, gradient: gradient.astype(np.float64) ** 2,
    "magnitude": lambda weights, gradient: abs(weights),
    "smallest-magnitude": lambda weights, gradient: -abs(weights),
}
WITHOUT_GRADIENTS = ("magnitude", "smallest-magnitude", "random")


def largest(scores, count):
    return np.sort(np.argsort(-scores.ravel(), kind="stable")[:count])


class Dynamic:
    """One weight, its mask and all that has moved, in float64."""

    def __init__(self, weights, mask, keep_moments=False):
        self.original, self.keep_moments = weights.astype(np.float64).ravel(), keep_moments
        self.phi, self.m, self.v = (np.zeros(weights.size) for _ in range(3))
        self.age = np.zeros(weights.size, dtype=int)
        self.once, self.mask = np.zeros(weights.size, dtype=bool), mask
        self.once[mask] = True

    def step(self, gradient):
        on, g = self.mask, gradient.astype(np.float64).ravel()[self.mask]
        self.age[on] += 1
        self.m[on] = BETAS[0] * self.m[on] + (1 - BETAS[0]) * g
        self.v[on] = BETAS[1] * self.v[on] + (1 - BETAS[1]) * g**2
        m, v = self.m[on] / (1 - BETAS[0] ** self.age[on]), self.v[on] / (1 - BETAS[1] ** self.age[on])
        self.phi[on] -= LR * m / (np.sqrt(v) + EPS)

    def reselect(self, mask):
        staying = np.intersect1d(mask, self.mask) if self.keep_moments else []
        forgotten = np.setdiff1d(np.arange(self.phi.size), staying)
        self.m[forgotten] = self.v[forgotten] = self.age[forgotten] = 0
        self.mask = mask
        self.once[mask] = True

    @property
    def settled(self):
        return np.setdiff1d(np.flatnonzero(self.once), self.mask)


class Training:
    """An adapter over one weight whose masks move, and its gradients."""

    def __init__(self, context, selection, **options):
        self.random = np.random.default_rng(options.pop("data_seed", 5))
        self.selection = selection
        self.weights = self.random.standard_normal(SHAPE, dtype=np.float32)
        self.original = self.weights.copy()
        self.adapter = speft.Adapter(
            context,
            [speft.Parameter.of("w", self.weights)],
            selection=selection,
            budget=K,
            reselect_every=EVERY,
            track_moves=True,
            **options,
        )
        self.adapter.bind_weights("w", self.weights)
        self.observe()
        self.adapter.select()

    def observe(self):
        """Observes where the method needs it; returns the scores by which it ranks."""
        gradient = self.random.standard_normal(SHAPE, dtype=np.float32)
        if self.selection not in WITHOUT_GRADIENTS:
            self.adapter.observe("w", dense=gradient)
            self.adapter.finish_observation()
        return SCORES[self.selection](self.weights, gradient) if self.selection in SCORES else None

    def step(self):
        gradient = self.random.standard_normal(SHAPE, dtype=np.float32)
        self.adapter.accumulate("w", dense=gradient)
        self.adapter.step(speft.Hyperparameters(lr=LR, betas=BETAS, eps=EPS))
        return gradient

    def period(self):
        for _ in range(EVERY):
            self.step()
        self.observe()
        return self.adapter.reselect()

    def mask(self):
        return np.from_dlpack(self.adapter.mask("w"))


@pytest.mark.parametrize("keep_moments", [False, True])
@pytest.mark.parametrize("selection", [*SCORES, "random"])
def test_periods(context, selection, keep_moments):
    training = Training(context, selection, keep_moments=keep_moments)
    adapter = training.adapter
    reference = Dynamic(training.original, training.mask(), keep_moments)
    for step in range(1, 5 * EVERY + 1):
        assert adapter.state.next_reselection == -(-step // EVERY) * EVERY
        reference.step(training.step())
        due = step % EVERY == 0
        assert adapter.state.reselection_due == due
        if not due:
            assert adapter.reselect() is None
            continue
        with pytest.raises(speft.InvalidState, match="reselect"):
            training.step()
        adapter.clear_gradient()
        scores = training.observe()
        moved = adapter.reselect()
        mask = training.mask()
        assert mask.size == K
        if scores is not None:
            np.testing.assert_array_equal(mask, largest(scores, K))
        dropped, grown = np.setdiff1d(reference.mask, mask), np.setdiff1d(mask, reference.mask)
        np.testing.assert_array_equal(np.from_dlpack(adapter.dropped("w")), dropped)
        np.testing.assert_array_equal(np.from_dlpack(adapter.grown("w")), grown)
        assert selection.endswith("magnitude") or grown.size
        reference.reselect(mask)
        assert moved == speft.Reselection(step, len(dropped), len(grown), len(reference.settled), K)
        assert moved.turnover == len(grown) / K
        assert adapter.state.settled_scalars == len(reference.settled)
        np.testing.assert_array_equal(np.from_dlpack(adapter.ages("w")), reference.age[mask])

        deltas = np.from_dlpack(adapter.deltas("w"))
        np.testing.assert_allclose(deltas, reference.phi[mask], **CLOSE)
        np.testing.assert_allclose(training.weights.ravel(), reference.original + reference.phi, **CLOSE)
        untouched = np.setdiff1d(np.arange(training.weights.size), np.flatnonzero(reference.once))
        np.testing.assert_array_equal(
            training.weights.ravel()[untouched], training.original.ravel()[untouched]
        )
    trained = training.weights.copy()
    adapter.unmerge()
    np.testing.assert_array_equal(training.weights, training.original)
    adapter.merge()
    np.testing.assert_array_equal(training.weights, trained)


def test_scalars_that_come_back_keep_their_deltas(context):
    """Scores that alternate between two halves: what is selected again goes on from where it settled."""
    turn = {"first": True}

    def score(name, weights, gradient, scores):
        values = np.from_dlpack(scores)
        values[...] = 0
        values.ravel()[:K] = 1 if turn["first"] else -1
        values.ravel()[K : 2 * K] = -1 if turn["first"] else 1

    training = Training.__new__(Training)
    training.random, training.selection = np.random.default_rng(5), "random"
    training.weights = training.random.standard_normal(SHAPE, dtype=np.float32)
    training.adapter = adapter = speft.Adapter(
        context,
        [speft.Parameter.of("w", training.weights)],
        selection="score-function",
        score=score,
        budget=K,
        reselect_every=EVERY,
    )
    adapter.bind_weights("w", training.weights)
    adapter.select()
    for _ in range(EVERY):
        training.step()
    first = np.from_dlpack(adapter.deltas("w")).copy()
    assert first.all()
    turn["first"] = False
    adapter.reselect()
    assert not np.from_dlpack(adapter.deltas("w")).any()
    turn["first"] = True
    training.period()
    assert training.mask().tolist() == list(range(K))
    np.testing.assert_array_equal(np.from_dlpack(adapter.deltas("w")), first)
    assert adapter.state.settled_scalars == K


def test_random_masks_draw_anew_and_the_same_again(context):
    def draw(seed):
        training = Training(context, "random", seed=seed)
        masks = [training.mask().tolist()]
        for _ in range(3):
            training.period()
            masks.append(training.mask().tolist())
        return masks

    masks = draw(1)
    assert len({tuple(mask) for mask in masks}) == 4
    assert draw(1) == masks
    assert draw(2) != masks


def test_no_more_than_the_limit_settle(context):
    training = Training(context, "gradient", settled_limit=5)
    for _ in range(4):
        moved = training.period()
        assert moved.settled <= 5
    changed = np.flatnonzero(training.weights != training.original)
    assert np.setdiff1d(changed, training.mask()).size == moved.settled == 5
    training.adapter.unmerge()
    np.testing.assert_array_equal(training.weights, training.original)


def test_of_more_than_the_limit_those_that_changed_least_return(context):
    unlimited, limited = Training(context, "gradient"), Training(context, "gradient", settled_limit=5)
    before = unlimited.mask()
    for training in (unlimited, limited):
        training.period()
    settled = np.setdiff1d(before, unlimited.mask())
    assert settled.size > 5
    change = abs(unlimited.weights - unlimited.original).ravel()[settled]
    kept = settled[largest(change, 5)]
    changed = np.flatnonzero(limited.weights != limited.original)
    np.testing.assert_array_equal(np.setdiff1d(changed, limited.mask()), kept)


def test_files_hold_what_has_settled(context):
    training = Training(context, "gradient")
    for _ in range(3):
        training.period()
    trained = training.weights.copy()
    buffer = io.BytesIO()
    training.adapter.save(buffer)
    training.adapter.close()

    weights = training.original.copy()
    loaded = speft.Adapter.load(context, buffer.getvalue())
    loaded.bind_weights("w", weights)
    loaded.merge()
    np.testing.assert_array_equal(weights, trained)
    loaded.unmerge()
    np.testing.assert_array_equal(weights, training.original)


@pytest.mark.parametrize("options", [{}, {"keep_moments": True}, {"settled_limit": 9}, {"total_steps": 12}])
@pytest.mark.parametrize("selection", ["gradient", "random"])
@pytest.mark.parametrize("steps", [EVERY - 1, EVERY, EVERY + 2])
def test_a_checkpoint_goes_on_as_if_nothing_had_been(context, selection, options, steps):
    def go_on(training, begin, end):
        for step in range(begin, end):
            training.random = np.random.default_rng(step)
            training.step()
            if training.adapter.state.reselection_due:
                training.observe()
                training.adapter.reselect()

    straight = Training(context, selection, **options)
    go_on(straight, 0, 4 * EVERY)

    stopped = Training(context, selection, **options)
    go_on(stopped, 0, steps)
    buffer = io.BytesIO()
    stopped.adapter.save_checkpoint(buffer)
    stopped.adapter.close()
    stopped.adapter = speft.Adapter.load_checkpoint(context, buffer.getvalue())
    stopped.weights = stopped.original.copy()
    stopped.adapter.bind_weights("w", stopped.weights)
    stopped.adapter.merge()
    go_on(stopped, steps, 4 * EVERY)
    np.testing.assert_array_equal(stopped.mask(), straight.mask())
    np.testing.assert_array_equal(stopped.weights, straight.weights)
    assert stopped.adapter.state == straight.adapter.state
    stopped.adapter.unmerge()
    np.testing.assert_array_equal(stopped.weights, straight.original)


def test_nothing_moves_at_the_end_or_after_it(context):
    training = Training(context, "gradient", total_steps=2 * EVERY)
    training.period()
    assert training.adapter.state.next_reselection is None
    for _ in range(2 * EVERY):
        training.step()
        assert training.adapter.reselect() is None
    with pytest.raises(speft.InvalidArgument, match=r"total_steps, 3; got 4"):
        Training(context, "gradient", total_steps=EVERY - 1)


def test_a_reselection_needs_new_observations(context):
    training = Training(context, "gradient")
    for _ in range(EVERY):
        training.step()
    before, mask = training.weights.copy(), training.mask()
    with pytest.raises(speft.InvalidState, match="observ"):
        training.adapter.reselect()
    training.adapter.observe("w", dense=np.full(SHAPE, np.nan, np.float32))
    training.adapter.finish_observation()
    with pytest.raises(speft.InvalidArgument, match=str(K)):
        training.adapter.reselect()
    np.testing.assert_array_equal(training.mask(), mask)
    np.testing.assert_array_equal(training.weights, before)
    training.adapter.clear_observations()
    training.observe()
    assert training.adapter.reselect() is not None


def test_a_cancelled_reselection_changes_nothing(context):
    training = Training(context, "gradient")
    for _ in range(EVERY):
        training.step()
    training.observe()
    before, mask = training.weights.copy(), training.mask()
    with pytest.raises(speft.Cancelled):
        training.adapter.reselect(progress=lambda done, total: True)
    np.testing.assert_array_equal(training.mask(), mask)
    np.testing.assert_array_equal(training.weights, before)
    training.adapter.reselect()


def test_masks_that_stay_are_never_due(make_adapter):
    adapter, _, gradient = make_adapter()
    adapter.accumulate("w", dense=gradient)
    adapter.step()
    assert adapter.reselect() is None
    state = adapter.state
    assert (state.settled_scalars, state.next_reselection, state.reselection_due) == (0, None, False)
    for moved in (adapter.dropped, adapter.grown):
        with pytest.raises(speft.InvalidState, match="track_moves"):
            moved("w")
    assert np.from_dlpack(adapter.ages("w")).tolist() == [1] * 5
