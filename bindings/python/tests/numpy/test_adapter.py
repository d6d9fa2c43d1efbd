"""The whole life of an adapter over NumPy arrays, against NumPy."""

import threading

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
        ("magnitude", lambda weights, gradient: abs(weights)),
    ],
)
def test_selection_takes_the_largest_scores(make_adapter, selection, score):
    adapter, weights, gradient = make_adapter(selection=selection)
    np.testing.assert_array_equal(np.from_dlpack(adapter.mask("w")), largest(score(weights, gradient), 5))


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
    with pytest.raises(speft.InvalidArgument, match="given masks"):
        speft.Adapter.plan_memory(context, parameters, selection="mask")
