"""speft.torch on an emulated GPU, for test_torch.py: models on the CPU whose tensors say that they lie on a GPU.

PyTorch's stream is another one in each call of the library. What is not shown: PyTorch's own streams and memory.
"""

import copy
import itertools

import speft
import torch
from speft import _capi, _tensor
from speft.torch import SparseAdapter, _adapter, _quantized, quantize_layers
from torch import nn

STREAMS = itertools.cycle([0, 1, 2])  # CUDA's own names for its default ones
TARGETS = {"0.weight": (130, 33), "2.weight": (65, 130)}
# A gradient is a sum over tokens, in another order; AdamW divides by its size.
CLOSE = {"rtol": 0, "atol": 1e-5}
SAME = {"rtol": 0, "atol": 0}


def go_to_the_gpu():
    """From here on PyTorch's tensors lie on device 0, and the library's look to PyTorch as if on the CPU."""
    export, lend = _tensor._export, _tensor.Tensor.__dlpack__

    def export_from_gpu(argument, tensor, stream):
        capsule = export(argument, tensor, stream)
        if isinstance(tensor, torch.Tensor) and tensor.dtype != torch.int64:  # indices are the host's
            _capi.view_tensor(capsule).device.type = _capi.SPEFT_DEVICE_CUDA
        return capsule

    def lend_to_cpu(self, **options):
        capsule = lend(self, **options)
        _capi.view_tensor(capsule).device.type = _capi.SPEFT_DEVICE_CPU
        return capsule

    _tensor._export, _tensor.Tensor.__dlpack__ = export_from_gpu, lend_to_cpu
    _tensor.Tensor.__dlpack_device__ = lambda self: (_capi.SPEFT_DEVICE_CPU, 0)
    for module in (_adapter, _quantized):
        module.make_context = lambda *_: speft.Context("cuda", stream=lambda: next(STREAMS))
    _quantized._contexts.of = {}


def live(quantized=False, **options):
    """Trains, and takes it off again: the deltas, and the weights that were trained."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(33, 130), nn.Tanh(), nn.Linear(130, 65), nn.Tanh(), nn.Linear(65, 3))
    masks = {name: torch.arange(5, rows * columns, 17) for name, (rows, columns) in TARGETS.items()}
    if quantized:
        quantize_layers(model, list(TARGETS))
    original = copy.deepcopy(model.state_dict())
    x, labels = torch.randn(32, 33), torch.randint(0, 3, (32,))
    adapter = SparseAdapter(model, list(TARGETS), selection=masks, dense=["4.*"], lr=1e-2, **options)
    adapter.select()
    for _ in range(4):
        nn.functional.cross_entropy(model(x), labels).backward()
        nn.utils.clip_grad_norm_(adapter.parameters(), 0.5)
        adapter.step()
        adapter.zero_grad()
    trained, deltas = copy.deepcopy(model.state_dict()), adapter.deltas
    adapter.load_state_dict(adapter.state_dict())
    adapter.unmerge()
    assert all(torch.equal(model.state_dict()[name], original[name]) for name in TARGETS)
    adapter.close()
    return {**trained, **{f"delta of {name}": values for name, values in deltas.items()}}


CASES = [
    ({"gradient": "dense", "optimizer": "adamw"}, SAME),
    ({"gradient": "dense", "optimizer": "lion"}, SAME),
    ({"gradient": "activations", "optimizer": "adamw"}, CLOSE),
    ({"gradient": "activations", "optimizer": "adamw", "state": "bfloat16"}, CLOSE),
    ({"quantized": True}, {"rtol": 0, "atol": 2e-2}),  # its products may round their inputs
]

on_cpu = [live(**options) for options, _ in CASES]
go_to_the_gpu()
for (options, tolerance), expected in zip(CASES, on_cpu, strict=True):
    found = live(**options)
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, **tolerance, msg=lambda text: f"{options}: {text}")
