"""Many adapters one after another, and several at a time."""

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import speft


def resident_bytes() -> int:
    fields = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in fields if line.startswith("Anonymous:"))


def live(context, weights, gradient, count):
    """`count` adapters, each selected, trained for a step, and forgotten without a word."""
    for _ in range(count):
        adapter = speft.Adapter(context, [speft.Parameter.of("w", weights)], selection="magnitude", budget=64)
        adapter.bind_weights("w", weights)
        adapter.select()
        adapter.accumulate("w", dense=gradient)
        adapter.step()
        np.from_dlpack(adapter.deltas("w"))
        adapter.unmerge()


def test_ten_thousand_adapters_leave_nothing_behind(context, random):
    """A thousand fill the allocators' own pools. The smallest array of the rest together, 64 float32 deltas of each,
    would be 2.3 MB: growth below 1 MB has none of them."""
    weights = random.standard_normal((32, 64), dtype=np.float32)
    gradient = random.standard_normal((32, 64), dtype=np.float32)
    live(context, weights, gradient, 1000)
    gc.collect()
    before = resident_bytes()
    live(context, weights, gradient, 9000)
    gc.collect()
    assert resident_bytes() - before < 1_000_000


def train(seed, steps=50):
    """A life in a context of its own."""
    random = np.random.default_rng(seed)
    weights = random.standard_normal((64, 32), dtype=np.float32)
    adapter = speft.Adapter(
        speft.Context("cpu", threads=2), [speft.Parameter.of("w", weights)], selection="snip", density=0.05
    )
    adapter.bind_weights("w", weights)
    adapter.observe("w", dense=random.standard_normal((64, 32), dtype=np.float32))
    adapter.finish_observation()
    adapter.select()
    for _ in range(steps):
        adapter.accumulate("w", dense=random.standard_normal((64, 32), dtype=np.float32))
        adapter.step()
    return weights


def test_contexts_side_by_side_give_what_they_give_alone():
    alone = [train(seed) for seed in range(4)]
    with ThreadPoolExecutor(max_workers=2) as threads:
        together = list(threads.map(train, range(4)))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_handle_that_two_threads_use_at_once_is_busy(make_adapter):
    """The first call is held open in its callback until the second has had its answer."""
    adapter, _, gradient = make_adapter(selected=False)
    adapter.observe("w", dense=gradient)
    adapter.finish_observation()
    inside, answered, answers = threading.Event(), threading.Event(), []

    def hold(done, total):
        inside.set()
        answered.wait()

    def meet():
        inside.wait()
        try:
            with pytest.raises(speft.Busy) as caught:
                adapter.unmerge()
            answers.append(caught.value)
        finally:
            answered.set()

    second = threading.Thread(target=meet)
    second.start()
    adapter.select(progress=hold)
    second.join()
    assert len(answers) == 1
    assert adapter.state.selected
