"""The whole life of an adapter over NumPy arrays, against NumPy."""

import threading
from itertools import pairwise

import numpy as np
import pytest

import speft


def largest(scores, count):
    """Flat indices of the `count` largest scores, increasing: the definition of a selection without ties."""
    return np.sort(np.argsort(-scores.ravel(), kind="stable")[:count])


def adamw(gradients, lr, betas, eps, weight_decay):
    """The deltas after one AdamW step a gradient, in float64, with decay toward 0 deltas."""
    delta = moment = square = np.zeros_like(gradients[0], dtype=np.float64)
    for age, gradient in enumerate(np.asarray(gradients, dtype=np.float64), start=1):
        delta = delta - lr * weight_decay * delta
        moment = betas[0] * moment + (1 - betas[0]) * gradient
        square = betas[1] * square + (1 - betas[1]) * gradient**2
        delta = delta - lr * (moment / (1 - betas[0] ** age)) / (
            np.sqrt(square / (1 - betas[1] ** age)) + eps
        )
    return delta


# 20 updates of a few float32 roundings each, against float64: some tens of units in the last place.
CLOSE = {"rtol": 1e-5, "atol": 1e-7}


def test_version_is_the_librarys():
    assert speft.__version__.count(".") == 2


def test_backends_tell_what_is_there_and_why_not():
    found = {backend.name: backend for backend in speft.backends()}
    assert found["cpu"].available and found["cpu"].version == speft.__version__ and found["cpu"].reason == ""
    assert all(backend.reason for backend in found.values() if not backend.available)


def test_unavailable_backend_gives_its_reason():
    with pytest.raises(speft.Unavailable, match="nowhere"):
        speft.Context("nowhere")


@pytest.mark.parametrize(
    ("selection", "score"),
    [
        ("gradient", lambda weights, gradient: abs(gradient)),
        ("snip", lambda weights, gradient: abs(gradient * weights)),
        ("force", lambda weights, gradient: -gradient * weights),
        ("taylor-fo", lambda weights, gradient: (gradient * weights).astype(np.float64) ** 2),
        ("fisher", lambda weights, gradient: gradient.astype(np.float64) ** 2),
        ("grasp", lambda weights, gradient: -gradient * weights),
        ("grasp-code", lambda weights, gradient: gradient * weights),
        ("magnitude", lambda weights, gradient: abs(weights)),
        ("smallest-magnitude", lambda weights, gradient: -abs(weights)),
    ],
)
def test_selection_takes_the_largest_scores(make_adapter, selection, score):
    adapter, weights, gradient = make_adapter(selection=selection)
    np.testing.assert_array_equal(np.from_dlpack(adapter.mask("w")), largest(score(weights, gradient), 5))


def test_synflow_multiplies_by_the_size_of_a_weight(make_adapter):
    """What is observed for it is never negative: each weight's size adds to the sum of the outputs."""
    adapter, weights, gradient = make_adapter(selected=False, selection="synflow")
    adapter.observe("w", dense=abs(gradient))
    adapter.finish_observation()
    adapter.select()
    np.testing.assert_array_equal(np.from_dlpack(adapter.mask("w")), largest(abs(gradient) * abs(weights), 5))


def test_observations_are_weighted_means(context, random):
    weights = np.zeros((5, 5), np.float32)
    gradients = random.standard_normal((3, 5, 5), dtype=np.float32)
    adapter = speft.Adapter(context, [speft.Parameter.of("w", weights)], budget=7)
    adapter.bind_weights("w", weights)
    for weight, gradient in zip((1.0, 30.0, 2.0), gradients, strict=True):
        adapter.observe("w", dense=gradient)
        adapter.finish_observation(weight)
    adapter.select()
    mean = np.average(gradients, axis=0, weights=(1, 30, 2))
    np.testing.assert_array_equal(np.from_dlpack(adapter.mask(0)), largest(abs(mean), 7))
    assert adapter.state.observations == 3


def observe_all(adapter, gradients, weights):
    for weight, gradient in zip(weights, gradients, strict=True):
        adapter.observe("w", dense=gradient)
        adapter.finish_observation(weight)
    adapter.select()
    return np.from_dlpack(adapter.mask("w"))


BATCHES = (2.0, 30.0, 5.0)


def test_fisher_averages_squares(make_adapter, random):
    gradients = random.standard_normal((3, 6, 4), dtype=np.float32)
    adapter, *_ = make_adapter(selected=False, selection="fisher")
    mean = np.average(gradients.astype(np.float64) ** 2, axis=0, weights=BATCHES)
    np.testing.assert_array_equal(observe_all(adapter, gradients, BATCHES), largest(mean, 5))


def test_fisher_of_examples_from_activations(make_adapter, random):
    adapter, *_ = make_adapter(selected=False, selection="fisher")
    expected, total = np.zeros((6, 4)), 0
    for offsets in ([0, 2, 3, 7, 9], [0, 5, 5, 9]):  # one example has no tokens
        x = random.standard_normal((9, 4), dtype=np.float32)
        dy = random.standard_normal((9, 6), dtype=np.float32)
        examples = len(offsets) - 1
        for begin, end in pairwise(offsets):
            expected += (dy[begin:end].astype(np.float64).T @ x[begin:end]) ** 2
        adapter.observe("w", x=x, dy=dy / examples, scale=examples, example_offsets=np.array(offsets))
        adapter.finish_observation(examples)  # each example counts alike
        total += examples
    adapter.select()
    np.testing.assert_array_equal(np.from_dlpack(adapter.mask("w")), largest(expected / total, 5))


@pytest.mark.parametrize("selection", ["gradient", "snip"])
def test_means_of_absolute_gradients(make_adapter, random, selection):
    gradients = random.standard_normal((3, 6, 4), dtype=np.float32)
    adapter, weights, _ = make_adapter(selected=False, selection=selection, mean="absolute")
    score = np.average(abs(gradients), axis=0, weights=BATCHES)
    score = score * abs(weights) if selection == "snip" else score
    mask = observe_all(adapter, gradients, BATCHES)
    np.testing.assert_array_equal(mask, largest(score, 5))
    adapter, *_ = make_adapter(selected=False, selection="gradient")
    assert (observe_all(adapter, gradients, BATCHES) != largest(score, 5)).any()


@pytest.mark.parametrize("layout", ["out_in", "in_out"])
def test_wanda_needs_inputs_alone(context, random, layout):
    weights = random.standard_normal((6, 4), dtype=np.float32)
    inputs = 4 if layout == "out_in" else 6
    adapter = speft.Adapter(context, [speft.Parameter.of("w", weights)], selection="wanda", budget=7)
    adapter.bind_weights("w", weights)
    everything = random.standard_normal((3, 9, inputs), dtype=np.float32)
    for x in everything:
        adapter.observe("w", x=x, layout=layout)
        adapter.finish_observation()
    adapter.select()
    norm = np.sqrt((everything.reshape(-1, inputs).astype(np.float64) ** 2).sum(0))
    score = abs(weights) * (norm if layout == "out_in" else norm[:, None])
    np.testing.assert_array_equal(np.from_dlpack(adapter.mask("w")), largest(score, 7))


@pytest.mark.parametrize("rank", [1, 3, 100])
def test_low_rank_is_that_of_the_singular_value_decomposition(context, random, rank):
    weights = random.standard_normal((9, 7), dtype=np.float32)
    adapter = speft.Adapter(
        context,
        [speft.Parameter.of("w", weights)],
        selection="low-rank",
        approximation_rank=rank,
        budget=12,
    )
    adapter.bind_weights("w", weights)
    adapter.select()
    u, s, v = np.linalg.svd(weights.astype(np.float64), full_matrices=False)
    approximation = (u[:, :rank] * s[:rank]) @ v[:rank]
    np.testing.assert_array_equal(np.from_dlpack(adapter.mask("w")), largest(abs(approximation), 12))


def test_weight_change_ranks_how_far_it_came_and_rewinds(make_adapter, random):
    adapter, weights, _ = make_adapter(selected=False, selection="weight-change")
    original = weights.copy()
    adapter.set_reference("w", weights)
    weights += random.standard_normal((6, 4), dtype=np.float32)
    change = abs(weights - original)
    adapter.select()
    np.testing.assert_array_equal(np.from_dlpack(adapter.mask("w")), largest(change, 5))
    np.testing.assert_array_equal(weights, original)
    assert not np.from_dlpack(adapter.deltas("w")).any()


def test_a_score_of_ones_own(context, random):
    shapes = {"a": (6, 4), "b": (5,)}
    weights = {name: random.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}
    gradients = {name: random.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}
    calls = []

    def score(name, weight, gradient, scores):
        calls.append(name)
        assert weight.read_only and weight.shape == scores.shape == shapes[name]
        np.testing.assert_array_equal(np.from_dlpack(weight), weights[name])
        np.testing.assert_array_equal(np.from_dlpack(gradient), gradients[name])
        np.from_dlpack(scores)[...] = np.from_dlpack(gradient) / np.from_dlpack(weight)

    parameters = [speft.Parameter.of(name, weight) for name, weight in weights.items()]
    adapter = speft.Adapter(context, parameters, selection="score-function", score=score, budget=8)
    for name, weight in weights.items():
        adapter.bind_weights(name, weight)
        adapter.observe(name, dense=gradients[name])
    adapter.finish_observation()
    adapter.select()
    assert calls == ["a", "b"]
    ratio = np.concatenate([(gradients[name] / weights[name]).ravel() for name in shapes])
    masks = [np.from_dlpack(adapter.mask("a")), np.from_dlpack(adapter.mask("b")) + 24]
    np.testing.assert_array_equal(np.concatenate(masks), largest(ratio, 8))


def test_a_score_needs_no_observation(make_adapter):
    def score(name, weights, gradient, scores):
        assert gradient is None
        np.from_dlpack(scores)[...] = np.arange(24).reshape(6, 4)

    adapter, *_ = make_adapter(selected=False, selection="score-function", score=score, budget=3)
    adapter.select()
    assert np.from_dlpack(adapter.mask("w")).tolist() == [21, 22, 23]


def test_announced_weight_is_that_of_the_batch(make_adapter):
    adapter, _, gradient = make_adapter(selected=False)
    adapter.begin_observation(4.0)
    adapter.observe("w", dense=gradient)
    with pytest.raises(speft.InvalidArgument, match="4"):
        adapter.finish_observation(3.0)
    adapter.finish_observation()
    adapter.select()


def test_cleared_observations_do_not_count(make_adapter, random):
    adapter, _, gradient = make_adapter(selected=False)
    adapter.observe("w", dense=1000 * random.standard_normal((6, 4), dtype=np.float32))
    adapter.clear_observations()
    adapter.observe("w", dense=gradient)
    adapter.finish_observation()
    adapter.select()
    np.testing.assert_array_equal(np.from_dlpack(adapter.mask("w")), largest(abs(gradient), 5))


def test_given_masks_and_scores(make_adapter):
    adapter, *_ = make_adapter(selected=False, selection="mask", budget=None)
    adapter.set_mask("w", np.array([1, 2, 23]))
    adapter.select()
    assert np.from_dlpack(adapter.mask("w")).tolist() == [1, 2, 23]

    adapter, *_ = make_adapter(selected=False, selection="scores", budget=2)
    scores = np.zeros((6, 4), np.float32)
    scores[0, 3], scores[4, 1] = 2, 1
    adapter.set_scores("w", scores)
    adapter.select()
    assert np.from_dlpack(adapter.mask("w")).tolist() == [3, 17]


def test_random_masks_are_a_function_of_seed_and_name(context):
    def draw(name, seed):
        weights = np.zeros(1000, np.float32)
        adapter = speft.Adapter(
            context, [speft.Parameter.of(name, weights)], selection="random", budget=50, seed=seed
        )
        adapter.bind_weights(name, weights)
        adapter.select()
        return np.from_dlpack(adapter.mask(0)).tolist()

    assert draw("a", 1) == draw("a", 1)
    assert draw("a", 1) != draw("a", 2)
    assert draw("a", 1) != draw("b", 1)
    assert len(set(draw("a", 1))) == 50


def test_training_is_adamw_on_the_selected_scalars(make_adapter, random):
    adapter, weights, _ = make_adapter()
    before = weights.copy()
    mask = np.from_dlpack(adapter.mask("w"))
    gradients = random.standard_normal((20, 6, 4), dtype=np.float32)
    options = {"lr": 1e-2, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}
    for gradient in gradients:
        adapter.accumulate("w", dense=gradient)
        adapter.step(speft.Hyperparameters(**options))
    deltas = np.from_dlpack(adapter.deltas("w"))
    np.testing.assert_allclose(deltas, adamw([g.ravel()[mask] for g in gradients], **options), **CLOSE)

    expected = before.copy()
    expected.ravel()[mask] += deltas
    np.testing.assert_array_equal(weights, expected)
    adapter.unmerge()
    np.testing.assert_array_equal(weights, before)
    adapter.merge()
    np.testing.assert_array_equal(weights, expected)
    assert adapter.state.steps == 20


def test_the_three_forms_of_a_gradient_agree(make_adapter, random):
    x = random.standard_normal((9, 4), dtype=np.float32)
    dy = random.standard_normal((9, 6), dtype=np.float32)
    dense = dy.T @ x
    adapter, *_ = make_adapter()
    mask = np.from_dlpack(adapter.mask("w"))
    adapter.accumulate("w", dense=dense)
    adapter.accumulate("w", x=x, dy=dy, scale=2.0)
    adapter.accumulate("w", values=dense.ravel()[mask], scale=-0.5)
    # Sums of 9 products, in another order than NumPy's.
    np.testing.assert_allclose(
        np.from_dlpack(adapter.gradient("w")), 2.5 * dense.ravel()[mask], rtol=1e-5, atol=1e-5
    )


def test_weight_in_the_layout_in_out(context, random):
    weights = np.zeros((4, 6), np.float32)
    x = random.standard_normal((9, 4), dtype=np.float32)
    dy = random.standard_normal((9, 6), dtype=np.float32)
    adapter = speft.Adapter(context, [speft.Parameter.of("w", weights)], density=1.0, selection="magnitude")
    adapter.bind_weights("w", weights)
    adapter.select()
    adapter.accumulate("w", x=x, dy=dy, layout="in_out")
    np.testing.assert_allclose(
        np.from_dlpack(adapter.gradient("w")), (x.T @ dy).ravel(), rtol=1e-5, atol=1e-5
    )


def test_gradient_is_lent_to_be_written(make_adapter):
    adapter, _, gradient = make_adapter()
    adapter.accumulate("w", dense=gradient)
    lent = np.from_dlpack(adapter.gradient("w"))
    lent[:] = [3, 0, 0, 0, 4]
    assert adapter.clip_gradient(float("inf")) == 5.0
    assert adapter.clip_gradient(1.0) == 5.0
    # 1/(5 + 1e-6) in float32 is within 2e-7 of 1/5.
    np.testing.assert_allclose(lent, [0.6, 0, 0, 0, 0.8], rtol=1e-6)
    adapter.clear_gradient("w")
    with pytest.raises(speft.InvalidState):
        adapter.step()


def test_step_options(make_adapter):
    adapter, _, gradient = make_adapter()
    with pytest.raises(speft.InvalidState, match="'w'"):
        adapter.step()
    adapter.accumulate("w", dense=gradient)
    adapter.step(keep_gradient=True, gradient_scale=0.5)
    adapter.step()
    with pytest.raises(speft.InvalidState):
        adapter.step()
    assert adapter.state.steps == 2


def test_dense_parameter_beside_a_sparse_one(context, random):
    body = random.standard_normal((6, 4), dtype=np.float32)
    head = random.standard_normal(4, dtype=np.float32)
    adapter = speft.Adapter(
        context,
        [speft.Parameter.of("body", body), speft.Parameter.of("head", head, role="dense", group=1)],
        selection="magnitude",
        budget=3,
    )
    adapter.bind_weights("body", body)
    adapter.bind_weights("head", head)
    adapter.select()
    before = head.copy()
    gradients = random.standard_normal((5, 4), dtype=np.float32)
    for gradient in gradients:
        adapter.accumulate("body", dense=np.ones((6, 4), np.float32))
        adapter.accumulate("head", dense=gradient)
        adapter.step([speft.Hyperparameters(lr=0.0), speft.Hyperparameters(lr=0.1)])
    expected = before + adamw(gradients, 0.1, (0.9, 0.999), 1e-8, 0.0)
    np.testing.assert_allclose(head, expected, **CLOSE)
    assert not np.from_dlpack(adapter.deltas("body")).any()
    assert (adapter.state.selected_scalars, adapter.state.trained_scalars) == (3, 7)
    assert np.from_dlpack(adapter.mask("head")).tolist() == [0, 1, 2, 3]


def test_bfloat16_weights(context, random):
    values = random.standard_normal((6, 4), dtype=np.float32)
    bits = (values.view(np.uint32) >> 16).astype(np.uint16)
    before = bits.copy()
    weights = speft.bfloat16(bits)
    parameter = speft.Parameter.of("w", weights)
    assert parameter.dtype == "bfloat16"
    adapter = speft.Adapter(context, [parameter], selection="magnitude", budget=4)
    adapter.bind_weights("w", weights)
    adapter.select()
    adapter.accumulate("w", dense=np.ones((6, 4), np.float32))
    adapter.step(speft.Hyperparameters(lr=0.5))
    changed = np.flatnonzero(bits != before)
    np.testing.assert_array_equal(changed, np.from_dlpack(adapter.mask("w")))
    adapter.unmerge()
    np.testing.assert_array_equal(bits, before)


def test_rebinding_moves_the_training(make_adapter):
    adapter, weights, gradient = make_adapter()
    moved = weights.copy()
    adapter.bind_weights("w", moved)
    adapter.accumulate("w", dense=gradient)
    before = weights.copy()
    adapter.step()
    np.testing.assert_array_equal(weights, before)
    assert (moved != before).sum() == 5


def test_unbound_weights_are_named(make_adapter):
    adapter, *_ = make_adapter()
    adapter.bind_weights("w", None)
    with pytest.raises(speft.InvalidState, match="'w'"):
        adapter.unmerge()


def test_bound_memory_is_kept_alive(context):
    adapter = speft.Adapter(context, [speft.Parameter("w", (1000,))], selection="random", budget=10)
    adapter.bind_weights("w", np.zeros(1000, np.float32))
    others = [np.ones(1000, np.float32) for _ in range(50)]  # would lie where the array was
    adapter.select()
    adapter.accumulate("w", dense=np.ones(1000, np.float32))
    adapter.step()
    assert all((other == 1).all() for other in others)


def test_files(make_adapter, context, tmp_path):
    adapter, weights, gradient = make_adapter()
    adapter.accumulate("w", dense=gradient)
    adapter.step()
    trained = weights.copy()
    path = tmp_path / "adapter.safetensors"
    adapter.save(path)
    adapter.unmerge()
    adapter.close()

    loaded = speft.Adapter.load(context, path)
    assert loaded.parameters == (speft.Parameter("w", (6, 4)),)
    assert (loaded.state.selected, loaded.state.merged) == (True, False)
    loaded.bind_weights("w", weights)
    loaded.merge()
    np.testing.assert_array_equal(weights, trained)


def test_operations_and_their_implementations(context, make_adapter):
    operations = speft.operations()
    assert "select_top" in operations
    assert all("reference" in context.implementations(operation) for operation in operations)
    make_adapter()
    assert context.implementation("select_top") in context.implementations("select_top")
    context.set_implementation("merge", "reference")
    context.set_implementation("merge", None)
    with pytest.raises(speft.InvalidArgument, match="nonsense"):
        context.implementations("nonsense")


def test_context_calls(context):
    context.synchronize()
    context.set_stream(None)
    with pytest.raises(speft.Unsupported, match="stream"):
        context.set_stream(1)
    assert context.backend == "cpu"
    assert speft.Context("cpu", threads=1).backend == "cpu"


def test_log_reaches_python():
    lines = []
    with speft.Context("cpu", log=lambda level, message: lines.append((level, message))):
        pass
    assert any(level == "info" and "cpu" in message for level, message in lines)


def test_calls_from_other_threads(make_adapter):
    adapter, _, gradient = make_adapter()
    thread = threading.Thread(target=lambda: (adapter.accumulate("w", dense=gradient), adapter.step()))
    thread.start()
    thread.join()
    assert adapter.state.steps == 1


def test_rows_are_ranked_by_themselves(make_adapter):
    adapter, _, gradient = make_adapter(scope="per-row", budget=2)
    expected = [largest(abs(row), 2) + 4 * index for index, row in enumerate(gradient)]
    np.testing.assert_array_equal(np.from_dlpack(adapter.mask("w")), np.concatenate(expected))


def test_sgd_with_momentum(make_adapter):
    adapter, weights, gradient = make_adapter(optimizer="sgd")
    mask, original = np.from_dlpack(adapter.mask("w")), weights.copy()
    delta, velocity = np.zeros(5), np.zeros(5)
    for _ in range(10):
        adapter.accumulate("w", dense=gradient)
        adapter.step(speft.Hyperparameters(lr=0.01, momentum=0.9, weight_decay=0.1))
        velocity = 0.9 * velocity + gradient.ravel()[mask] + 0.1 * delta
        delta = delta - 0.01 * velocity
    np.testing.assert_allclose(np.from_dlpack(adapter.deltas("w")), delta, **CLOSE)
    np.testing.assert_allclose(weights.ravel()[mask], original.ravel()[mask] + delta, **CLOSE)


def train(adapter, gradients, **options):
    for gradient in gradients:
        adapter.accumulate("w", dense=gradient)
        adapter.step(speft.Hyperparameters(**options))


def test_adam_adds_decay_to_the_gradient(make_adapter, random):
    adapter, *_ = make_adapter(optimizer="adam")
    mask = np.from_dlpack(adapter.mask("w"))
    gradients = random.standard_normal((20, 6, 4), dtype=np.float32)
    delta = m = v = np.zeros(5)
    for age, gradient in enumerate(gradients, start=1):
        g = gradient.ravel()[mask] + 0.3 * delta
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g**2
        delta = delta - 0.01 * (m / (1 - 0.8**age)) / (np.sqrt(v / (1 - 0.95**age)) + 1e-6)
    train(adapter, gradients, lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.3)
    np.testing.assert_allclose(np.from_dlpack(adapter.deltas("w")), delta, **CLOSE)


def test_lion(make_adapter, random):
    adapter, *_ = make_adapter(optimizer="lion")
    mask = np.from_dlpack(adapter.mask("w"))
    gradients = random.standard_normal((20, 6, 4), dtype=np.float32)
    delta = m = np.zeros(5)
    for gradient in gradients:
        g = gradient.ravel()[mask].astype(np.float64)
        delta = delta - 0.01 * 0.3 * delta
        delta = delta - 0.01 * np.sign(0.9 * m + 0.1 * g)
        m = 0.99 * m + 0.01 * g
    train(adapter, gradients, lr=0.01, betas=(0.9, 0.99), weight_decay=0.3)
    np.testing.assert_allclose(np.from_dlpack(adapter.deltas("w")), delta, **CLOSE)


def test_adafactor(make_adapter, random):
    adapter, *_ = make_adapter(optimizer="adafactor")
    chosen = np.zeros((6, 4), dtype=bool)
    chosen.ravel()[np.from_dlpack(adapter.mask("w"))] = True
    gradients = random.standard_normal((20, 6, 4), dtype=np.float32)
    delta, rows, columns = np.zeros((6, 4)), np.zeros((6, 1)), np.zeros((1, 4))
    for t, gradient in enumerate(gradients.astype(np.float64), start=1):
        beta = 1 - t**-0.8
        square = np.where(chosen, gradient**2 + 1e-30, 0)
        for sums, axis in ((rows, 1), (columns, 0)):
            count = chosen.sum(axis, keepdims=True)
            mean = square.sum(axis, keepdims=True) / np.maximum(count, 1)
            sums[:] = np.where(count > 0, beta * sums + (1 - beta) * mean, sums)
        scale = np.broadcast_to(rows, chosen.shape)[chosen].mean()
        u = gradient[chosen] / np.sqrt((rows * columns)[chosen] / scale)
        delta[chosen] -= 0.01 * u / max(1, np.sqrt((u**2).mean()))
    train(adapter, gradients, lr=0.01)
    np.testing.assert_allclose(np.from_dlpack(adapter.deltas("w")), delta[chosen], **CLOSE)


@pytest.mark.parametrize("optimizer", ["adamw", "lion", "sgd"])
def test_decay_after_the_update(make_adapter, optimizer):
    """The last factor of a step: with a gradient of 0 it is all that happens to a delta."""
    adapter, _, gradient = make_adapter(optimizer=optimizer)
    options = {"lr": 0.1, "betas": (0.0, 0.0), "decay": "after"}
    train(adapter, [gradient], **options)
    before = np.from_dlpack(adapter.deltas("w")).copy()
    assert before.all()
    train(adapter, [np.zeros_like(gradient)], weight_decay=0.5, **options)
    # One product and one difference, in float32.
    np.testing.assert_allclose(np.from_dlpack(adapter.deltas("w")), before * 0.95, rtol=2e-7)


@pytest.mark.parametrize(("state", "error"), [("bfloat16", 2**-8), ("blocks8", 2**-4)])
def test_narrow_moments_follow_the_wide_ones(make_adapter, random, state, error):
    """Relative to the largest moment of the block: its rounding, or the widest step between 8-bit codes."""
    gradients = random.standard_normal((10, 6, 4), dtype=np.float32)
    narrow, *_ = make_adapter(optimizer="sgd", state=state)
    wide, *_ = make_adapter(optimizer="sgd")
    for adapter in (narrow, wide):
        mask = np.from_dlpack(adapter.mask("w"))
        for gradient in gradients:
            adapter.accumulate("w", values=gradient.ravel()[:5])
            adapter.step(speft.Hyperparameters(lr=1.0, momentum=0.5))
        assert mask.size == 5
    deltas = [np.from_dlpack(adapter.deltas("w")) for adapter in (narrow, wide)]
    assert (deltas[0] != deltas[1]).any()
    # A rounding of one velocity comes back twice in the delta, through 1 + 1/2 + 1/4 + ...
    assert abs(deltas[0] - deltas[1]).max() <= 10 * 2 * error * 2 * abs(gradients).max()


def test_the_rounding_that_a_narrow_weight_loses(context, random):
    bits = (random.standard_normal(40, dtype=np.float32).view(np.uint32) >> 16).astype(np.uint16)
    weights = speft.bfloat16(bits)
    adapter = speft.Adapter(context, [speft.Parameter.of("w", weights)], selection="magnitude", density=1.0)
    adapter.bind_weights("w", weights)
    original = (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    adapter.select()
    assert adapter.measure_rounding_loss() == 0
    adapter.accumulate("w", dense=random.standard_normal(40, dtype=np.float32))
    adapter.step()
    delta = np.from_dlpack(adapter.deltas("w")).astype(np.float64)
    moved = (bits.astype(np.uint32) << 16).view(np.float32) - original
    expected = abs(delta - moved).sum() / abs(delta).sum()
    assert adapter.measure_rounding_loss("w") == pytest.approx(expected, rel=1e-12)
    assert expected > 0.1  # 1e-3 beside weights around 1, which lie 2^-7 apart


def test_a_memory_plan_counts_what_a_selected_weight_takes(context):
    parameters = [speft.Parameter("w", (1000, 1000), "bfloat16")]
    plans = [
        speft.Adapter.plan_memory(context, parameters, selection="gradient", budget=budget, tokens=1)
        for budget in (10_000, 20_000)
    ]
    # Index 4, original 2, delta 4, gradient 4, two moments 8; and scratch for sums, up to 4 for each thread's part.
    assert 22 <= (plans[1].training - plans[0].training) / 10_000 <= 60
    assert plans[0].observation - plans[0].announced_observation == 4 * 1000 * 1000
    assert plans[0].announced_observation >= 4 * 1000 * 1000
    assert plans[0].selection > plans[0].training
    assert plans[0].reselection == 0
    moving = speft.Adapter.plan_memory(
        context, parameters, selection="gradient", budget=10_000, tokens=1, reselect_every=100
    )
    assert moving.reselection >= moving.announced_observation
    assert plans[0].fitting == plans[0].merging == 0
    assert plans[0].products >= 14 * 10_000  # what the selected weights keep, and scratch
    with pytest.raises(speft.InvalidArgument, match="given masks"):
        speft.Adapter.plan_memory(context, parameters, selection="mask")


def test_a_memory_plan_counts_a_shared_basis_once(context):
    rows, columns = 64, 32
    parameters = [speft.Parameter(name, (rows, columns)) for name in ("first", "second")]

    def plan(*bases):
        return speft.Adapter.plan_memory(
            context, parameters, selection="sparsegrad", density=0.1, tokens=8, bases=bases
        )

    shared = plan(speft.PlannedBasis(["first", "second"]))
    own = plan(speft.PlannedBasis(["first"]), speft.PlannedBasis(["second"]))
    # U, V, and V transposed.
    assert own.training - shared.training == 4 * (columns**2 + 2 * rows**2)
    # At least the sums and one gradient, of each basis.
    assert own.fitting - shared.fitting >= 4 * (columns**2 + rows**2 + rows * columns)
    assert shared.merging > shared.training > 0
    assert shared.products > 0
    few = plan(speft.PlannedBasis(["first", "second"], row_directions=8, column_directions=4))
    assert few.training < shared.training
    for bases, match in (
        ((), "'first'"),
        ((speft.PlannedBasis(["first"]),), "'second'"),
        ((speft.PlannedBasis(["third"]),), "'third'"),
        ((speft.PlannedBasis(["first", "second"]), speft.PlannedBasis(["second"])), "in two"),
        ((speft.PlannedBasis(["first", "second"], row_directions=65),), "row_directions"),
    ):
        with pytest.raises(speft.InvalidArgument, match=match):
            plan(*bases)
    vector = [speft.Parameter("bias", (rows,))]
    with pytest.raises(speft.InvalidArgument, match="matrices"):
        speft.Adapter.plan_memory(
            context, vector, selection="sparsegrad", density=0.1, bases=[speft.PlannedBasis(["bias"])]
        )
