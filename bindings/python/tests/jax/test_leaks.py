"""Many adapters, many steps: memory and compiled programs stay as they are."""

import gc
import os

import jax
import jax.numpy as jnp
import numpy as np

from speft.jax import Gradients, SparseAdapter, linear

WEIGHTS = np.random.default_rng(5).standard_normal((64, 64), dtype=np.float32)
X = jnp.array(np.random.default_rng(6).standard_normal((4, 64), dtype=np.float32))


def resident_bytes():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@jax.jit
def backward(taps, params):
    return jax.grad(lambda taps: (linear(X, params["w"], tap=taps["w"]) ** 2).sum())(taps)


def live(close):
    """The life of one adapter. It hands its taps to a program that all share."""
    params = {"w": jnp.array(WEIGHTS)}
    adapter = SparseAdapter(params, "w", selection="random", density=0.1)
    params = adapter.select(params)
    adapter.step(Gradients(backward(adapter.taps, params), {}), params)
    if close:
        adapter.close()


def test_ten_thousand_adapters_leave_nothing_behind():
    for number in range(1000):
        live(close=number % 2)
    after_1000 = resident_bytes()
    for number in range(9000):
        live(close=number % 2)
    # A leak of the smallest kind, a mask of 409 indices of 4 bytes, would come to 14 MB; an allocator's
    # arenas vary by a few.
    assert resident_bytes() - after_1000 < 9000 * 409 * 4 / 2
    assert backward._cache_size() == 1


def test_many_steps_leave_nothing_behind(make_adapter, make_train_step, batches):
    adapter, params = make_adapter(selection="spiel-ag", reselect_every=20, window=2, lr=1e-3)
    train_step = make_train_step(adapter)

    def train(count):
        nonlocal params
        for number in range(count):
            params, _ = train_step(params, batches[number % 3])
        jax.block_until_ready(params)
        return resident_bytes()

    after_500 = train(500)
    # 4,500 further steps: 384 bytes each, a sixth of what a step's gradients take, would come to this.
    assert train(4500) - after_500 < 4500 * 384
    assert train_step._cache_size() == 1
    assert len(adapter.history) == 250


def test_steps_outside_of_jit_are_compiled_once(make_adapter, loss, batches):
    adapter, params = make_adapter()
    gradients = jax.grad(loss, allow_int=True)(params, batches[0])
    params = adapter.step(gradients, params, lr=1.0)
    compiled = []

    def listen(event, seconds, **_):
        if "backend_compile" in event:
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        jax.jit(lambda x: x + 1)(3)
        assert len(compiled) == 1  # it does listen
        for number in range(6):
            params = adapter.step(gradients, params, lr=10.0**-number)
        assert len(compiled) == 1
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
