"""Memory across the boundary: shared, kept alive, and read-only where it must be."""

import gc
import sys
import threading
import weakref

import numpy as np
import pytest

import speft


def test_lent_memory_is_shared_and_outlives_the_adapter(make_adapter):
    adapter, _, gradient = make_adapter()
    adapter.accumulate("w", dense=gradient)
    first, second = np.from_dlpack(adapter.gradient("w")), np.from_dlpack(adapter.gradient("w"))
    assert first.ctypes.data == second.ctypes.data and first.flags.writeable
    kept = first.copy()
    del adapter, second
    gc.collect()
    np.testing.assert_array_equal(first, kept)


def test_deltas_are_read_only(make_adapter):
    adapter, *_ = make_adapter()
    lent = adapter.deltas("w")
    assert (lent.shape, lent.dtype, lent.read_only, len(lent)) == ((5,), "float32", True, 5)
    assert not np.from_dlpack(lent).flags.writeable
    with pytest.raises(BufferError, match="read-only"):
        lent.__dlpack__()
    with pytest.raises(speft.InvalidArgument, match="read-only"):
        adapter.bind_weights("w", lent)


def test_lent_tensors_keep_to_dlpack(make_adapter):
    adapter, *_ = make_adapter()
    lent = adapter.gradient("w")
    assert lent.__dlpack_device__() == (1, 0)
    with pytest.raises(BufferError):
        lent.__dlpack__(copy=True)
    with pytest.raises(BufferError):
        lent.__dlpack__(dl_device=(2, 0))
    assert '"dltensor"' in repr(lent.__dlpack__())
    assert '"dltensor_versioned"' in repr(lent.__dlpack__(max_version=(1, 1)))


def test_capsules_release_what_they_hold(make_adapter):
    adapter, *_ = make_adapter()
    lent = adapter.gradient("w")
    before = sys.getrefcount(adapter.handle)
    capsules = [lent.__dlpack__(max_version=version) for version in (None, (1, 0)) for _ in range(100)]
    arrays = [np.from_dlpack(lent) for _ in range(100)]
    holding = sys.getrefcount(adapter.handle)
    assert holding == before + 300
    del capsules, arrays
    after = sys.getrefcount(adapter.handle)
    assert after == before


def test_weights_are_kept_while_bound_and_no_longer(context):
    class Weights(np.ndarray):
        """An array that can be watched."""

    weights = np.zeros((6, 4), np.float32).view(Weights)
    alive = weakref.ref(weights)
    adapter = speft.Adapter(context, [speft.Parameter("w", (6, 4))], density=0.5)
    adapter.bind_weights("w", weights)
    del weights
    assert alive() is not None
    adapter.bind_weights("w", None)
    assert alive() is None


def test_adapters_keep_their_context(context):
    adapter = speft.Adapter(speft.Context("cpu"), [speft.Parameter("w", (6, 4))], density=0.5)
    adapter.context.close()
    gc.collect()
    weights = np.zeros((6, 4), np.float32)
    adapter.bind_weights("w", weights)
    adapter.observe("w", dense=np.ones((6, 4), np.float32))
    adapter.finish_observation()
    adapter.select()


def test_loggers_are_let_go_with_the_last_adapter():
    class Log:
        def __call__(self, level, message):
            pass

    log = Log()
    alive = weakref.ref(log)
    context = speft.Context("cpu", log=log)
    adapter = speft.Adapter(context, [speft.Parameter("w", (6, 4))], density=0.5)
    del log, context
    gc.collect()
    assert alive() is not None
    del adapter
    gc.collect()
    assert alive() is None


def test_finalizers_run_on_any_thread(make_adapter):
    held = [make_adapter()[0] for _ in range(20)]
    threads = [threading.Thread(target=held.pop) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert held == []


def test_closing_lets_go_of_the_weights_even_while_memory_is_lent(make_adapter, context):
    adapter, weights, _ = make_adapter()
    lent = np.from_dlpack(adapter.gradient("w"))
    adapter.close()
    assert not lent.any()
    second = speft.Adapter(context, [speft.Parameter.of("w", weights)], selection="magnitude", budget=3)
    second.bind_weights("w", weights)
    second.select()


def test_closing_while_a_call_runs_is_safe(make_adapter):
    adapter, _, gradient = make_adapter(selected=False)
    adapter.observe("w", dense=gradient)
    adapter.finish_observation()
    adapter.select(progress=lambda done, total: adapter.close())
    with pytest.raises(speft.InvalidState, match="closed"):
        adapter.step()


def test_numpy_reads_bfloat16_deltas_by_their_bits(make_adapter):
    adapter, _, gradient = make_adapter(delta_type="bfloat16")
    adapter.accumulate("w", dense=gradient)
    adapter.step()
    deltas = adapter.deltas("w")
    assert deltas.dtype == "bfloat16"
    values = (np.from_dlpack(deltas.bits).astype(np.uint32) << 16).view(np.float32)
    # The first update of AdamW is lr, against the gradient's sign: rounding to 8 bits is within 1/128 of it.
    np.testing.assert_allclose(
        values, -1e-3 * np.sign(gradient.ravel()[np.from_dlpack(adapter.mask("w"))]), rtol=1 / 128
    )
    with pytest.raises(speft.InvalidArgument, match="16-bit.*int64"):
        adapter.mask("w").bits  # noqa: B018
