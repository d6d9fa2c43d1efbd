"""One process with PyTorch and speft, each with threads of its own, whichever came first."""

import subprocess
import sys

USE_SPEFT = """
import numpy, speft
weights = numpy.linspace(-1, 1, 1 << 20, dtype=numpy.float32)
context = speft.Context("cpu", threads=4)
adapter = speft.Adapter(context, [speft.Parameter.of("w", weights)], selection="magnitude", budget=1000)
adapter.bind_weights("w", weights)
adapter.select()
mask = numpy.from_dlpack(adapter.mask("w"))
assert mask.tolist() == [*range(500), *range((1 << 20) - 500, 1 << 20)]
"""

USE_TORCH = """
import torch
torch.set_num_threads(4)
assert (torch.ones(512, 512) @ torch.ones(512, 512) == 512).all()
"""

# Gradients do not depend on the weights, and are sums of few multiples of 1/64: exact in any order, so that
# nothing but a wrong answer can make two processes differ.
TRAIN = """
import hashlib
from speft.torch import SparseAdapter
random = torch.Generator().manual_seed(0)
def draw(*shape):
    return torch.randint(-8, 8, shape, generator=random) / 8
model = torch.nn.Linear(512, 512, bias=False)
with torch.no_grad():
    model.weight.copy_(draw(512, 512))
x, gradient = draw(64, 512), draw(64, 512)
adapter = SparseAdapter(model, ["weight"], density=0.05, selection="snip", threads=4)
(model(x) * gradient).sum().backward()
adapter.observe()
adapter.select()
for step in range(3):
    (model(x) * gradient).sum().backward()
    adapter.step()
    adapter.zero_grad()
everything = [model.weight.detach(), adapter.masks["weight"], adapter.deltas["weight"]]
print(hashlib.sha256(b"".join(bytes(each.numpy()) for each in everything)).hexdigest())
"""


def trained_after(*parts: str) -> str:
    command = [sys.executable, "-c", "".join([*parts, TRAIN])]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_training_is_the_same_in_both_orders() -> None:
    assert trained_after(USE_TORCH, USE_SPEFT) == trained_after(USE_SPEFT, USE_TORCH)
