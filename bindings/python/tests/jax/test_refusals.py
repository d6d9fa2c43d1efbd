"""What cannot be done says so, by name, and loses nothing."""

import functools

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import speft
from speft.jax import Gradients, SparseAdapter, speft_errors


@pytest.mark.parametrize(
    "options, message",
    [
        ({"targets": "none/*"}, r"targets: the pattern 'none/\*' matches no leaf of params"),
        ({"targets": "layers/*", "dense": "*/bias"}, "'layers/0/bias' is matched by targets and by dense"),
        ({"targets": []}, "targets: at least one pattern is needed"),
        ({"targets": "steps"}, "the dtype of 'steps' must be one of float32, bfloat16, float16; got int32"),
        (
            {"targets": "head/*", "gradient": "sparse"},
            "gradient must be 'activations' or 'dense', got 'sparse'",
        ),
        ({"targets": "head/*", "decay": "none"}, "decay must be one of original, zero, after; got 'none'"),
        ({"targets": "head/*", "selection": "best"}, "selection must be one of random, .*; got 'best'"),
        ({"targets": "head/*", "density": 2.0}, r"density must be in \(0, 1\]; got 2"),
        (
            {"targets": "head/*", "selection": {"w": [1]}},
            "selection names what is no target: 'w'|has nothing for the target",
        ),
        ({"targets": "head/*", "optimizer": "adamax"}, "optimizer must be one of"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, dict) else "",
)
def test_options_are_refused_by_name(make_params, options, message):
    with pytest.raises(speft.InvalidArgument, match=message):
        SparseAdapter(make_params(), **options)


def test_float64_is_refused_by_name():
    with jax.enable_x64(True):
        params = {"w": jnp.zeros((3, 3), jnp.float64)}
    with pytest.raises(speft.InvalidArgument, match=r"the dtype of 'w' must be one of .*; got float64"):
        SparseAdapter(params, "w")


def changed(params, **layer):
    return {**params, "layers": [{**params["layers"][0], **layer}, params["layers"][1]]}


@pytest.mark.parametrize("call", ["select", "step", "merge", "unmerge"])
@pytest.mark.parametrize(
    "change, message",
    [
        (lambda p: {"head": p["head"]}, "params must have the leaf 'layers/0/kernel'; got head/kernel"),
        (
            lambda p: changed(p, kernel=jnp.zeros((16, 12))),
            r"'layers/0/kernel' must be float32 \[12, 16\], got float32 \[16, 12\]",
        ),
        (
            lambda p: changed(p, kernel=jnp.zeros((12, 16), jnp.float16)),
            r"must be float32 \[12, 16\], got float16",
        ),
    ],
    ids=["leaf", "shape", "dtype"],
)
def test_other_trees_are_refused_by_name(make_adapter, loss, batches, call, change, message):
    adapter, params = make_adapter(selected=call != "select")
    gradients = jax.grad(loss, allow_int=True)(params, batches[0])
    wrong = change(params)
    calls = {
        "select": adapter.select,
        "step": functools.partial(adapter.step, gradients),
        "merge": adapter.merge,
        "unmerge": adapter.unmerge,
    }
    for run in (calls[call], jax.jit(calls[call])):
        with pytest.raises(
            (speft.InvalidArgument, speft.InvalidState), match=message if run is calls[call] else None
        ):
            run(wrong)
    assert adapter.info.steps == 0
    calls[call](params)


def test_wrong_gradients_are_refused_by_name(make_adapter, loss, batches):
    adapter, params = make_adapter()
    _, gradients = adapter.value_and_grad(loss)(params, batches[0])
    with pytest.raises(speft.InvalidArgument, match="gradients must have the leaf 'head/kernel'"):
        adapter.step(Gradients(gradients.received, {}), params)
    with pytest.raises(speft.InvalidArgument, match="gradients: 'other' is nothing that this adapter trains"):
        adapter.step(Gradients({**gradients.received, "other": jnp.zeros(8)}, gradients.dense), params)
    with pytest.raises(
        speft.InvalidArgument, match=r"gradients: 'head/kernel' must have the shape \[10, 2\], got \[2\]"
    ):
        adapter.step(Gradients(gradients.received, {"head/kernel": jnp.zeros(2)}), params)
    with pytest.raises(speft.InvalidArgument, match="gradient must be float32, bfloat16 or float16"):
        adapter.step(Gradients(gradients.received, {"head/kernel": jnp.zeros((10, 2), jnp.int32)}), params)
    for options, message in (
        ({"gradient_scale": 0}, "gradient_scale must not be 0"),
        ({"clip_norm": -1.0}, "clip_norm must be above 0, got -1.0"),
        ({"lr": (1.0, 2.0, 3.0)}, "lr must be one number, or one for targets and one for dense ones"),
        ({"lr": -1.0}, "learning_rate"),
    ):
        with pytest.raises(speft.InvalidArgument, match=message):
            adapter.step(gradients, params, **options)
    assert adapter.info.steps == 0


def test_the_order_of_calls_is_kept(make_adapter, loss, batches):
    adapter, params = make_adapter(selected=False, selection="gradient")
    gradients = jax.grad(loss, allow_int=True)(params, batches[0])
    for call in (adapter.select, functools.partial(adapter.step, gradients), adapter.merge):
        with pytest.raises(speft.InvalidState):
            call(params)
    with pytest.raises(speft.InvalidState):
        adapter.save("unwritten")
    with pytest.raises(speft.InvalidArgument, match="at least one batch"):
        adapter.estimate(loss, params, [])
    adapter.estimate(loss, params, batches)
    params = adapter.select(params)
    with pytest.raises(speft.InvalidState):
        adapter.select(params)
    with pytest.raises(speft.InvalidState):
        adapter.observe(gradients)
    with pytest.raises(speft.InvalidState, match="layers/0/kernel"):  # handed over by nobody
        adapter.step(
            Gradients(
                {name: jnp.zeros(8) for name in adapter.taps}, {"head/kernel": gradients["head"]["kernel"]}
            ),
            params,
        )
    base = adapter.unmerge(params)
    with pytest.raises(speft.InvalidState, match="merge"):
        adapter.step(gradients, base)


def test_what_looks_at_arrays_is_refused_inside_of_jit(make_adapter, loss, batches):
    adapter, params = make_adapter(selected=False, selection="gradient")
    for call in (adapter.select, adapter.observe):
        with pytest.raises(speft.InvalidState, match=r"must be called outside of jax\.jit"):
            jax.jit(call)(params)


def test_a_failure_in_a_program_is_a_speft_error_where_asked(make_adapter, make_train_step, batches):
    adapter, params = make_adapter(selected=False)
    train_step = make_train_step(adapter)
    with pytest.raises(speft.InvalidState, match=r"^nothing is selected yet") as caught, speft_errors():
        jax.block_until_ready(train_step(jax.tree.map(jnp.copy, params), batches[0]))
    assert isinstance(caught.value.__cause__, jax.errors.JaxRuntimeError)
    with pytest.raises(jax.errors.JaxRuntimeError, match="libspeft INVALID_STATE: nothing is selected yet"):
        jax.block_until_ready(train_step(jax.tree.map(jnp.copy, params), batches[0]))
    # It has hurt nobody: the adapter goes on, in the same program.
    assert adapter.info.steps == 0
    adapter.clear_observations()  # before the selection a backward pass is one
    params = adapter.select(params)
    params, _ = train_step(params, batches[0])
    assert adapter.info.steps == 1


def test_other_errors_of_programs_pass_through():
    def fail(_):
        raise RuntimeError("elsewhere")

    with pytest.raises(jax.errors.JaxRuntimeError, match="elsewhere"), speft_errors():
        jax.block_until_ready(jax.jit(lambda x: jax.pure_callback(fail, x, x))(jnp.zeros(3)))


def test_a_donated_tree_cannot_be_used_again(make_adapter, make_train_step, batches):
    adapter, params = make_adapter()
    make_train_step(adapter)(params, batches[0])
    with pytest.raises(speft.InvalidArgument, match="'layers/0/kernel' has been donated to another call"):
        adapter.unmerge(params)


def test_arrays_elsewhere_are_refused(make_adapter, make_params, loss, batches):
    adapter, params = make_adapter()
    _, second = jax.devices()
    moved = jax.device_put(make_params(), second)
    with pytest.raises(speft.Unsupported, match=r"'layers/0/kernel' is on cpu:1: .* first CPU device alone"):
        SparseAdapter(moved, "layers/*/kernel")
    with pytest.raises(speft.Unsupported, match="first CPU device alone"):
        adapter.unmerge(moved)
    with pytest.raises(speft.Unsupported, match="this program runs on device 1"), speft_errors():
        jax.block_until_ready(jax.jit(adapter.unmerge)(moved))
    adapter.unmerge(params)


@pytest.mark.parametrize("spec", [PartitionSpec("devices"), PartitionSpec()], ids=["sharded", "replicated"])
def test_sharded_arrays_are_refused(make_adapter, make_params, loss, batches, spec):
    adapter, params = make_adapter()
    placement = NamedSharding(Mesh(jax.devices(), "devices"), spec)
    spread = {**params, "layers": jax.device_put(params["layers"], placement)}
    with pytest.raises(speft.Unsupported, match="'layers/0/kernel' is spread over 2 devices"):
        SparseAdapter(spread, "layers/*/kernel")
    gradients = jax.grad(loss, allow_int=True)(params, batches[0])
    with pytest.raises(speft.Unsupported, match="is spread over 2 devices"):
        adapter.step(gradients, spread)
    # In a program only XLA knows where arrays lie. It refuses to spread a call with effects.
    with pytest.raises(Exception, match=r"Side-effect HLO must have sharding|must not be sharded"):
        jax.block_until_ready(jax.jit(adapter.step)(gradients, {**spread, "head": params["head"]}))
    assert adapter.info.steps == 0
    adapter.step(gradients, params)


def test_a_closed_adapter_is_refused_everywhere(make_adapter, make_train_step, loss, batches):
    adapter, params = make_adapter()
    train_step = make_train_step(adapter)
    kept = jax.tree.map(jnp.copy, params)
    params, _ = train_step(params, batches[0])
    adapter.close()
    adapter.close()
    with pytest.raises(speft.InvalidState, match="closed"), speft_errors():
        jax.block_until_ready(train_step(params, batches[0]))
    for call in (
        lambda: adapter.info,
        lambda: adapter.masks,
        lambda: adapter.unmerge(kept),
        lambda: adapter.history,
    ):
        with pytest.raises(speft.InvalidState, match="closed"):
            call()
    assert "closed" in repr(adapter)


def test_a_context_manager_closes(make_adapter):
    adapter, params = make_adapter()
    with adapter as same:
        assert same is adapter
        adapter.unmerge(params)
    with pytest.raises(speft.InvalidState, match="closed"):
        adapter.unmerge(params)
