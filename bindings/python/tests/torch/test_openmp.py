"""Work on PyTorch's own threads."""

import threading

import numpy as np
import pytest
import torch

import speft


def train(context, tokens=300):
    """A life whose product, selection and step are large enough to be cut into many tasks."""
    random = np.random.default_rng(3)
    weights = random.standard_normal((200, 300), dtype=np.float32)
    x = random.standard_normal((tokens, 300), dtype=np.float32)
    dy = random.standard_normal((tokens, 200), dtype=np.float32)
    adapter = speft.Adapter(context, [speft.Parameter.of("w", weights)], selection="snip", density=0.1)
    adapter.bind_weights("w", weights)
    adapter.observe("w", x=x, dy=dy)
    adapter.finish_observation()
    adapter.select()
    for _ in range(2):
        adapter.accumulate("w", x=x, dy=dy)
        adapter.step()
    return weights


def test_answers_do_not_depend_on_whose_threads_work():
    expected = train(speft.Context("cpu", threads=2))
    assert speft.has_openmp()
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            np.testing.assert_array_equal(train(speft.Context("cpu", openmp=True)), expected)
    finally:
        torch.set_num_threads(before)


def test_the_librarys_own_threads_stay_away(monkeypatch):
    """Threads of this process, as the kernel counts them, do not grow when PyTorch's are used."""

    def count():
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("Threads:"))

    torch.randn(500, 500) @ torch.randn(500, 500)  # PyTorch's are there now
    train(speft.Context("cpu", openmp=True))
    before = count()
    train(speft.Context("cpu", openmp=True))
    assert count() == before


def test_two_threads_of_the_host_at_once():
    expected = train(speft.Context("cpu", threads=1))
    found = [None, None]

    def work(index):
        found[index] = train(speft.Context("cpu", openmp=True))

    workers = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for weights in found:
        np.testing.assert_array_equal(weights, expected)


def test_threads_are_counted_at_the_context():
    with pytest.raises(TypeError, match="threads"):
        speft.Context("cpu", openmp=True, threads=1.5)
