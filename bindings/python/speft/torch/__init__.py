"""Sparse fine-tuning of PyTorch models: `SparseAdapter`, an optimizer that trains a few scalars a weight.

::

    from speft.torch import SparseAdapter

    adapter = SparseAdapter(
        model, targets=["*.query.weight", "*.value.weight"], density=0.005, dense=["head.*"]
    )
    adapter.estimate(lambda batch: loss(model, batch), estimation_batches)
    adapter.select()
    for batch in training_batches:
        loss(model, batch).backward()
        adapter.step()
        adapter.zero_grad()
    adapter.save("adapter.safetensors")

    adapter.unmerge()                                           # the pretrained weights are back, to the bit
    adapter = SparseAdapter.load("adapter.safetensors", model)  # and the trained ones again, in any process
"""

from ._adapter import SparseAdapter
from ._quantized import QuantizedLinear, quantize_layers
from ._targets import SparseValues

__all__ = ["QuantizedLinear", "SparseAdapter", "SparseValues", "quantize_layers"]

for _public in (QuantizedLinear, SparseAdapter, SparseValues, quantize_layers):
    _public.__module__ = __name__
