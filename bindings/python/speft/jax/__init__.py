"""Sparse fine-tuning of JAX arrays: `SparseAdapter`, in place through XLA where a tree is donated.

::

    import functools, jax
    from speft.jax import SparseAdapter, linear   # in the model: linear(x, params["kernel"], params["bias"])

    adapter = SparseAdapter(params, targets=["*/kernel"], density=0.005, dense=["head/*"])
    adapter.estimate(loss, params, estimation_batches)
    params = adapter.select(params)

    @functools.partial(jax.jit, donate_argnums=0)
    def train_step(params, batch):
        value, gradients = adapter.value_and_grad(loss)(params, batch)
        return adapter.step(gradients, params), value

    for batch in training_batches:
        params, value = train_step(params, batch)
    adapter.save("adapter.safetensors")
    params = adapter.unmerge(params)                                         # the original bits
    adapter, params = SparseAdapter.load("adapter.safetensors", params)      # and the trained ones, anywhere

It runs on the CPU: on JAX's first CPU device, with arrays that lie there as a whole.
"""

from ._adapter import Gradients, SparseAdapter
from ._linear import Tapped, linear
from ._native import speft_errors
from ._sparse import SparseState, sparse

__all__ = ["Gradients", "SparseAdapter", "SparseState", "Tapped", "linear", "sparse", "speft_errors"]

for _public in (Gradients, SparseAdapter, SparseState, Tapped, linear, sparse, speft_errors):
    _public.__module__ = __name__
