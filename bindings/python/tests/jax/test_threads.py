"""Programs run on XLA's threads: they take turns on an adapter, with each other and with Python."""

import threading
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import speft
from speft.jax import SparseAdapter, linear


def test_two_adapters_in_two_threads_give_what_they_give_alone(
    make_adapter, make_train_step, batches, bits_of
):
    def train(seed):
        adapter, params = make_adapter(seed=seed, lr=1e-2, selection="spiel-ag", reselect_every=3, window=2)
        train_step = make_train_step(adapter)
        for number in range(20):
            params, _ = train_step(params, batches[number % 3])
        return bits_of(params), {name: mask.tolist() for name, mask in adapter.masks.items()}

    alone = [train(seed) for seed in (1, 2)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(train, (1, 2)))
    assert together == alone
    assert together[0] != together[1]


def test_python_may_look_while_programs_are_under_way(make_adapter, make_train_step, batches):
    adapter, params = make_adapter(lr=1e-2)
    train_step = make_train_step(adapter)
    for number in range(1, 30):
        params, _ = train_step(params, batches[number % 3])  # not waited for
        assert adapter.info.steps == number  # but by this
        assert adapter.deltas.keys() == adapter.masks.keys()


def test_independent_backward_passes_never_meet(make_adapter, loss, batches):
    """No data orders them, so XLA may run them at once: none gets BUSY, and all arrive."""
    adapter, params = make_adapter(density=1.0)
    value_and_grad = jax.jit(adapter.value_and_grad(loss))
    value_and_grad(params, batches[0])  # compiled
    adapter.clear_gradients()
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda number: value_and_grad(params, batches[number % 3])[1], range(24)))
    jax.block_until_ready(results)
    received = np.from_dlpack(adapter.native.gradient("layers/0/kernel")).reshape(12, 16)
    trees = [jax.grad(loss, allow_int=True)(params, batch)["layers"][0]["kernel"] for batch in batches]
    expected = 8 * sum(np.array(tree, np.float64) for tree in trees)
    # 24 float32 sums over 12 tokens, of numbers below 1, in any order
    np.testing.assert_allclose(received, expected, rtol=0, atol=24 * 12 * 2**-24)


def test_a_second_thread_waits_its_turn(random):
    """A score function holds the selection open; another thread's call waits for it and sees what it made."""
    started, released = threading.Event(), threading.Event()

    def score(name, weight, gradient):
        started.set()
        assert released.wait(60)
        return weight

    params = {"w": jnp.array(random.standard_normal((4, 4), dtype=np.float32))}
    adapter = SparseAdapter(params, "w", selection=score, budget=3)
    with ThreadPoolExecutor(2) as pool:
        selecting = pool.submit(adapter.select, params)
        assert started.wait(60)
        looking = pool.submit(lambda: adapter.info.selected)
        assert not looking.done()
        with pytest.raises(speft.Busy):  # what has no turn is refused by the library, at once
            adapter.native.state  # noqa: B018
        released.set()
        selecting.result()
        assert looking.result() is True


def test_a_callback_that_calls_back_in_is_busy_and_does_not_wait_for_itself(random):
    caught = []

    def score(name, weight, gradient):
        try:
            adapter.info  # noqa: B018
        except speft.Busy as busy:
            caught.append(busy)
        return weight

    params = {"w": jnp.array(random.standard_normal((4, 4), dtype=np.float32))}
    adapter = SparseAdapter(params, "w", selection=score, budget=3)
    adapter.select(params)
    assert len(caught) == 1


def test_closing_waits_for_the_program_that_runs(make_adapter, make_train_step, batches):
    """Whichever of them comes first: the steps are taken or refused, each as a whole, and nothing crashes."""
    for _ in range(20):
        adapter, params = make_adapter(lr=1e-2)
        train_step = make_train_step(adapter)
        params, _ = train_step(params, batches[0])
        try:
            with ThreadPoolExecutor(1) as pool:
                closing = pool.submit(adapter.close)
                for batch in batches:
                    params, _ = train_step(params, batch)
                closing.result()
            jax.block_until_ready(params)
        except jax.errors.JaxRuntimeError as error:
            assert "the adapter has been closed" in str(error)
        except speft.InvalidState as error:
            assert "closed" in str(error)


def test_a_dropped_adapter_is_gone_for_its_programs(random):
    params = {"w": jnp.array(random.standard_normal((4, 4), dtype=np.float32))}
    adapter = SparseAdapter(params, "w", selection="random", density=1.0)
    params = adapter.select(params)
    taps = adapter.taps
    backward = jax.jit(
        lambda taps: jax.grad(lambda taps: linear(params["w"], params["w"], tap=taps["w"]).sum())(taps)
    )
    jax.block_until_ready(backward(taps))
    del adapter
    with pytest.raises(speft.InvalidState, match="closed"), speft.jax.speft_errors():
        jax.block_until_ready(backward(taps))
