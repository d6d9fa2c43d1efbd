import copy

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from speft.torch import SparseAdapter  # noqa: E402

TARGETS = ["0.weight", "2.weight"]


class Batches:
    """A small classifier, its pretrained copy, and batches for it: the same ones in every test."""

    def __init__(self):
        torch.manual_seed(0)
        self.model = nn.Sequential(
            nn.Linear(12, 20), nn.Tanh(), nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 3)
        )
        self.original = copy.deepcopy(self.model)
        self.inputs = torch.randn(12, 16, 12)
        self.labels = torch.randint(0, 3, (12, 16))

    def loss(self, index, model=None):
        model = model or self.model
        return nn.functional.cross_entropy(model(self.inputs[index]), self.labels[index])


@pytest.fixture(autouse=True)
def one_seed():
    torch.manual_seed(1)


@pytest.fixture
def make_batches():
    return Batches


@pytest.fixture
def batches():
    return Batches()


@pytest.fixture
def make_adapter(batches):
    """A selected adapter over two of the three layers, the last one dense."""

    def make(selected=True, **options):
        options = {"density": 0.1, "dense": ["4.*"], "lr": 1e-2, **options}
        adapter = SparseAdapter(batches.model, options.pop("targets", TARGETS), **options)
        if selected:
            for index in range(2):
                batches.loss(index).backward()
                adapter.observe()
            adapter.select()
        return adapter

    return make
