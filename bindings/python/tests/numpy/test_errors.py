"""Bad input: each has an exception with what was expected and what came, and leaves all as it was."""

import inspect
import pickle

import numpy as np
import pytest

import speft


def declare(shape=(6, 4), **options):
    return speft.Parameter("w", shape, **options)


def test_one_exception_for_each_status():
    kinds = speft.Error.__subclasses__()
    assert sorted(kind.status for kind in kinds) == list(range(1, 12))
    assert all(kind.__module__ == "speft" and getattr(speft, kind.__name__) is kind for kind in kinds)


def test_exceptions_are_also_pythons_own(tmp_path, context):
    with pytest.raises(OSError, match="missing") as caught:
        speft.Adapter.load(context, tmp_path / "missing")
    assert caught.value.errno == caught.value.native_code == 2
    assert isinstance(caught.value, speft.IOFailure)
    assert issubclass(speft.InvalidArgument, ValueError) and issubclass(speft.InvalidState, RuntimeError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"density": 0.0}, "density.*0.0"),
        ({"density": 1.5}, "density.*1.5"),
        ({"density": -0.1}, "density.*-0.1"),
        ({"density": float("nan")}, "density.*nan"),
        ({"budget": 0}, "budget.*0"),
        ({"budget": 25}, "budget.*24"),
        ({"budget": -1}, "budget.*-1"),
        ({"budget": 2**70}, "budget"),
        ({"budget": 3, "density": 0.5}, "density.*budget|budget.*density"),
        ({}, "density.*budget|budget.*density"),
        ({"rank": 0}, "rank.*0"),
        ({"rank": 3}, "rank 3.*24"),
        ({"rank": 1, "budget": 3}, "density.*budget.*rank"),
        ({"budget": 3, "model_scalars": 9}, "model_scalars.*9"),
        ({"density": 0.5, "model_scalars": 50}, "density 0.5.*50.*24"),
        ({"budget": 5, "scope": "per-row"}, "budget.*4.*'w'"),
        ({"density": 0.5, "delta_type": "float16"}, "delta_type.*bfloat16.*'float16'"),
        ({"density": 0.5, "selection": "best"}, "selection.*gradient.*'best'"),
        ({"density": 0.5, "scope": "local"}, "scope.*per-tensor.*'local'"),
        ({"density": 0.5, "random": "often"}, "random.*bernoulli.*'often'"),
        ({"density": 0.5, "optimizer": "adamax"}, "optimizer.*adamw.*'adamax'"),
        ({"density": 0.5, "state": "int4"}, "state.*blocks8.*'int4'"),
        ({"density": 0.5, "mean": "geometric"}, "mean.*absolute.*'geometric'"),
        ({"density": 0.5, "approximation_rank": 0}, "approximation_rank.*at least 1.*0"),
        ({"density": 0.2, "selection": "spiel-ag", "rate": 0.0}, "rate.*0"),
        ({"density": 0.2, "selection": "spiel-ag", "rate": 1.5}, "rate.*1.5"),
        ({"density": 0.2, "selection": "spiel-ag", "window": 0}, "window.*0"),
        ({"density": 0.2, "selection": "spiel-ag", "window": 21}, "window.*21|21.*window"),
        (
            {"density": 0.2, "selection": "spiel-ag", "reselect_every": 4, "window": 5},
            "window.*5|reselect_every.*4",
        ),
        (
            {"density": 0.2, "selection": "spiel-ag", "window": 5, "total_steps": 3},
            "window.*3|total_steps.*3",
        ),
        ({"density": 0.2, "selection": "spiel-ag", "reselect_every": 50, "total_steps": 40}, "40"),
        ({"density": 0.2, "selection": "spiel-ag", "candidates": 3}, "candidates.*3"),
        ({"density": 0.2, "selection": "spiel-ag", "schedule": "stairs"}, "schedule.*cosine.*'stairs'"),
        ({"density": 0.2, "selection": "spiel-ag", "schedule": "linear"}, "total_steps"),
        ({"density": 0.2, "selection": "spiel-ag", "drop": "age"}, "drop.*change.*'age'"),
        ({"density": 0.55, "selection": "spiel-ag"}, "13.*24|24.*13"),
        ({"density": 0.2, "selection": "spiel-ma", "optimizer": "adamw"}, "SM3"),
        ({"density": 0.5, "reselect_every": -1}, "reselect_every.*-1"),
        ({"density": 0.5, "reselect_every": 20, "total_steps": 10}, "reselect_every.*20"),
        ({"density": 0.5, "settled_limit": -1}, "settled_limit.*-1"),
        ({"density": 0.5, "selection": "score-function"}, "score"),
        ({"density": 0.5, "age": "old"}, "age.*per-weight.*'old'"),
    ],
)
def test_options(context, options, expected):
    with pytest.raises(speft.InvalidArgument, match=expected):
        speft.Adapter(context, [declare()], **options)


def test_wrong_types_are_type_errors(context):
    with pytest.raises(TypeError, match="budget must be an integer"):
        speft.Adapter(context, [declare()], budget=2.5)
    with pytest.raises(TypeError, match="density"):
        speft.Adapter(context, [declare()], density="much")
    with pytest.raises(TypeError, match="__dlpack__"):
        speft.Adapter(context, [declare()], density=0.5).bind_weights("w", [[1.0]])


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ([], "parameter|count"),
        ([declare(), declare()], "'w'"),
        ([declare(shape=(0, 4))], "scalar"),
        ([declare(shape=(-1, 4))], "-1"),
        ([declare(dtype="float64")], "'w'.*float32.*'float64'"),
        ([declare(role="frozen")], "role.*'frozen'"),
        ([speft.Parameter("", (3,))], "name"),
    ],
)
def test_parameters(context, parameters, expected):
    with pytest.raises(speft.InvalidArgument, match=expected):
        speft.Adapter(context, parameters, density=0.5)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (np.zeros((4, 6), np.float32), r"6.*4.*4.*6"),
        (np.zeros((6, 4), np.float64), "float32.*float64|float64"),
        (np.zeros((6, 8), np.float32)[:, ::2], "contiguous|stride"),
        (np.zeros((4, 6), np.float32).T, "contiguous|stride"),
    ],
)
def test_weights(context, weights, expected):
    adapter = speft.Adapter(context, [declare()], density=0.5)
    with pytest.raises(speft.InvalidArgument, match=expected):
        adapter.bind_weights("w", weights)


def test_read_only_weights(context):
    weights = np.zeros((6, 4), np.float32)
    weights.flags.writeable = False
    adapter = speft.Adapter(context, [declare()], density=0.5)
    with pytest.raises(speft.InvalidArgument, match=r"'w'.*writable.*read-only"):
        adapter.bind_weights("w", weights)
    adapter.observe("w", dense=weights)  # to be read, it is welcome


def test_producers_before_dlpack_1_cannot_be_trusted(context):
    class Old:
        def __init__(self, array):
            self.array = array

        def __dlpack__(self, stream=None):
            return self.array.__dlpack__()

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    old = Old(np.ones((6, 4), np.float32))
    adapter = speft.Adapter(context, [declare()], density=0.5)
    with pytest.raises(speft.InvalidArgument, match=r"'w'.*writable.*Old"):
        adapter.bind_weights("w", old)
    adapter.observe("w", dense=old)


def test_bfloat16_is_made_of_uint16():
    with pytest.raises(speft.InvalidArgument, match=r"uint16.*float32"):
        speft.bfloat16(np.zeros(3, np.float32))


@pytest.mark.parametrize(
    ("gradient", "expected"),
    [
        ({"dense": np.zeros((4, 6), np.float32)}, "'w'.*dense"),
        ({"dense": np.zeros((6, 4), np.int64)}, "'w'.*dense.*int64"),
        ({"dense": np.zeros((6, 4), np.float32), "scale": float("nan")}, "scale.*nan"),
        ({"dense": np.zeros((6, 4), np.float32), "scale": 0.0}, "scale"),
        ({"x": np.zeros((3, 4), np.float32)}, "x= and dy=.*got x"),
        ({"x": np.zeros((3, 4), np.float32), "dy": np.zeros((2, 6), np.float32)}, "dy"),
        (
            {"x": np.zeros((3, 4), np.float32), "dy": np.zeros((3, 6), np.float32), "layout": "io"},
            "layout.*'io'",
        ),
        ({"values": np.zeros(4, np.float32)}, "values.*5.*4"),
        ({}, "none of them"),
    ],
)
def test_gradients(make_adapter, gradient, expected):
    adapter, *_ = make_adapter()
    with pytest.raises(speft.InvalidArgument, match=expected):
        adapter.accumulate("w", **gradient)
    assert not np.from_dlpack(adapter.gradient("w")).any()


def test_unknown_parameter(make_adapter):
    adapter, _, gradient = make_adapter()
    with pytest.raises(speft.InvalidArgument, match=r"\(w\).*'v'"):
        adapter.accumulate("v", dense=gradient)
    for position in (-1, 1):
        with pytest.raises(speft.InvalidArgument, match=str(position)):
            adapter.accumulate(position, dense=gradient)


def test_calls_at_the_wrong_time(make_adapter):
    adapter, _, gradient = make_adapter(selected=False)
    for call in (
        adapter.step,
        adapter.merge,
        adapter.unmerge,
        adapter.select,
        lambda: adapter.mask("w"),
        lambda: adapter.deltas("w"),
        lambda: adapter.gradient("w"),
        lambda: adapter.accumulate("w", dense=gradient),
        lambda: adapter.save("never-written"),
    ):
        with pytest.raises(speft.InvalidState):
            call()
    adapter, _, gradient = make_adapter()
    for call in (
        adapter.select,
        adapter.begin_observation,
        adapter.finish_observation,
        adapter.clear_observations,
        lambda: adapter.observe("w", dense=gradient),
        lambda: adapter.set_mask("w", np.array([1])),
        lambda: adapter.set_scores("w", gradient),
    ):
        with pytest.raises(speft.InvalidState):
            call()


def test_missing_observation_is_named(context, random):
    weights = [np.zeros((3, 3), np.float32) for _ in "ab"]
    adapter = speft.Adapter(
        context, [speft.Parameter.of(n, w) for n, w in zip("ab", weights, strict=True)], budget=2
    )
    for name, weight in zip("ab", weights, strict=True):
        adapter.bind_weights(name, weight)
    adapter.observe("a", dense=np.ones((3, 3), np.float32))
    with pytest.raises(speft.InvalidState, match="'b'"):
        adapter.finish_observation()
    adapter.observe("b", dense=np.ones((3, 3), np.float32))
    adapter.finish_observation()
    with pytest.raises(speft.InvalidArgument, match="weight"):
        adapter.finish_observation(0)


@pytest.mark.parametrize("indices", [[3, 2], [2, 2], [-1], [24]])
def test_masks(make_adapter, indices):
    adapter, *_ = make_adapter(selected=False, selection="mask", budget=None)
    with pytest.raises(speft.InvalidArgument, match="'w'"):
        adapter.set_mask("w", np.array(indices))


def test_two_adapters_on_the_same_weights(make_adapter, context):
    first, weights, _ = make_adapter()
    second = speft.Adapter(context, [declare()], selection="magnitude", budget=3)
    second.bind_weights("w", weights)
    with pytest.raises(speft.InvalidState, match="'w'"):
        second.select()
    first.unmerge()
    second.select()


def test_weights_changed_behind_the_adapter(make_adapter):
    adapter, weights, _ = make_adapter()
    weights += 1
    changed = weights.copy()
    with pytest.raises(speft.InvalidState, match="changed"):
        adapter.unmerge()
    np.testing.assert_array_equal(weights, changed)


def test_files(make_adapter, context, tmp_path):
    adapter, weights, _ = make_adapter()
    path = tmp_path / "a.safetensors"
    adapter.save(path)
    whole = path.read_bytes()
    adapter.unmerge()

    with pytest.raises(OSError, match="missing"):
        adapter.save(tmp_path / "missing" / "a.safetensors")
    assert path.read_bytes() == whole

    for damaged in (b"", whole[:-1], whole[:20], b"not an adapter at all"):
        path.write_bytes(damaged)
        with pytest.raises(speft.Corrupt):
            speft.Adapter.load(context, path)

    path.write_bytes(whole)
    loaded = speft.Adapter.load(context, path)
    other = weights + 1
    before = other.copy()
    loaded.bind_weights("w", other)
    with pytest.raises(speft.InvalidArgument, match="'w'"):
        loaded.merge()
    np.testing.assert_array_equal(other, before)


def test_progress_reports_cancels_and_raises(make_adapter, tmp_path):
    adapter, _, gradient = make_adapter(selected=False)
    adapter.observe("w", dense=gradient)
    adapter.finish_observation()
    with pytest.raises(speft.Cancelled):
        adapter.select(progress=lambda done, total: True)

    def fail(done, total):
        raise KeyError("from the callback")

    with pytest.raises(KeyError, match="from the callback"):
        adapter.select(progress=fail)
    assert not adapter.state.selected

    seen = []
    adapter.select(progress=lambda done, total: seen.append((done, total)))
    assert seen and all(0 <= done <= total for done, total in seen)
    path = tmp_path / "a.safetensors"
    with pytest.raises(speft.Cancelled):
        adapter.save(path, progress=lambda done, total: True)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TypeError, match="progress"):
        adapter.save(path, progress=3)


def test_what_a_score_raises_comes_out_of_the_selection(make_adapter):
    answer = {}

    def score(name, weights, gradient, scores):
        if answer.get("fails", True):
            raise KeyError("from the score")
        np.from_dlpack(scores)[...] = 1

    adapter, weights, _ = make_adapter(selected=False, selection="score-function", score=score)
    before = weights.copy()
    with pytest.raises(KeyError, match="from the score"):
        adapter.select()
    assert not adapter.state.selected
    np.testing.assert_array_equal(weights, before)
    answer["fails"] = False
    adapter.select()
    assert np.from_dlpack(adapter.mask("w")).tolist() == [0, 1, 2, 3, 4]


def test_scores_are_callable(context):
    with pytest.raises(TypeError, match="score must be callable"):
        speft.Adapter(context, [declare()], density=0.5, selection="score-function", score=3)


def test_calls_into_the_adapter_from_a_score_are_busy(make_adapter):
    caught = []

    def score(name, weights, gradient, scores):
        try:
            adapter.unmerge()
        except speft.Busy as error:
            caught.append(error)
        np.from_dlpack(scores)[...] = 1

    adapter, *_ = make_adapter(selected=False, selection="score-function", score=score)
    adapter.select()
    assert len(caught) == 1


@pytest.mark.parametrize("selection", ["gradient", "fisher", "snip", "force"])
def test_gradients_that_are_not_numbers_are_never_selected(make_adapter, selection):
    adapter, _, gradient = make_adapter(selected=False, selection=selection)
    broken = gradient.copy()
    broken.ravel()[4:] = np.nan
    adapter.observe("w", dense=broken)
    adapter.finish_observation()
    with pytest.raises(speft.InvalidArgument, match="4"):  # 5 are asked for
        adapter.select()
    assert not adapter.state.selected
    adapter.clear_observations()
    adapter.observe("w", dense=gradient)
    adapter.finish_observation()
    adapter.select()


@pytest.mark.parametrize(
    ("selection", "gradient", "expected"),
    [
        ("wanda", {"dense": np.zeros((6, 4), np.float32)}, "'w'"),
        ("gradient", {"x": np.zeros((3, 4), np.float32)}, "dy"),
        ("fisher", {"offsets": [0, 2]}, "example_offsets"),  # 3 tokens
        ("fisher", {"offsets": [0, 2, 1, 3]}, "example_offsets"),
        ("fisher", {"offsets": [1, 3]}, "example_offsets"),
    ],
)
def test_observations(make_adapter, selection, gradient, expected):
    adapter, *_ = make_adapter(selected=False, selection=selection)
    if "offsets" in gradient:
        gradient = {
            "x": np.zeros((3, 4), np.float32),
            "dy": np.zeros((3, 6), np.float32),
            "example_offsets": np.array(gradient["offsets"]),
        }
    with pytest.raises(speft.InvalidArgument, match=expected):
        adapter.observe("w", **gradient)


def test_references(make_adapter):
    adapter, weights, _ = make_adapter(selected=False, selection="weight-change")
    with pytest.raises(speft.InvalidState, match="'w'"):
        adapter.select()
    with pytest.raises(speft.InvalidArgument, match="'w'"):
        adapter.set_reference("w", weights[:3].copy())
    with pytest.raises(speft.InvalidArgument, match="'w'"):
        adapter.set_reference("w", weights.astype(np.float16))


def test_low_rank_is_of_matrices(context):
    with pytest.raises(speft.InvalidArgument, match=r"'w'.*axes|axes.*'w'"):
        speft.Adapter(context, [declare(shape=(24,))], budget=3, selection="low-rank")


def test_calls_from_inside_a_callback_are_busy(make_adapter):
    adapter, _, gradient = make_adapter(selected=False)
    adapter.observe("w", dense=gradient)
    adapter.finish_observation()
    with pytest.raises(speft.Busy):
        adapter.select(progress=lambda done, total: adapter.unmerge())
    adapter.select()


def test_what_this_version_does_not_have_says_so(context):
    with pytest.raises(speft.Unsupported):
        speft.Adapter(context, [declare(part="range", offset=(0,), extent=(3,))], budget=3)


def test_closed_things_raise(make_adapter, context):
    adapter, _, gradient = make_adapter()
    deltas = np.from_dlpack(adapter.deltas("w"))
    adapter.close()
    adapter.close()
    assert deltas.shape == (5,) and not deltas.any()  # its memory lives on
    argument = {
        "parameter": "w",
        "weights": None,
        "basis": None,
        "indices": np.zeros(1, np.int64),
        "scores": gradient,
        "original": gradient,
    }
    argument |= {"density": 0.1, "max_norm": 1.0}
    argument |= {"x": gradient, "dy": gradient, "out": gradient, "target": "never-written"}
    for name, method in inspect.getmembers(speft.Adapter, inspect.isfunction):
        if name.startswith("_") or name in ("close", "plan_memory"):
            continue
        parameters = list(inspect.signature(method).parameters.values())[1:]
        arguments = [
            argument[parameter.name] for parameter in parameters if parameter.default is parameter.empty
        ]
        given = {"dense": gradient} if name in ("observe", "accumulate") else {}
        with pytest.raises(speft.InvalidState, match="closed"):
            getattr(adapter, name)(*arguments, **given)
    context.close()
    with pytest.raises(speft.InvalidState, match="closed"):
        context.synchronize()
    assert "closed" in repr(adapter) and "closed" in repr(context)


def test_a_status_has_the_name_of_the_header():
    assert speft.IOFailure("full").status_name == "IO"
    assert speft.DeviceFailure("lost").status_name == "DEVICE"
    assert speft.Error("of a later version", status=1000).status_name == "UNKNOWN"
