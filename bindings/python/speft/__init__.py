"""Sparse parameter-efficient fine-tuning: trains a small set of chosen scalars of a model's weights in place.

The host owns the model, the data and automatic differentiation; libspeft owns which weights move, how they
move, and what is kept of it. With PyTorch, use `speft.torch.SparseAdapter`, an optimizer. With anything else,
this is the place::

    context = speft.Context("cpu")
    adapter = speft.Adapter(context, [speft.Parameter.of("w", weights)], selection="gradient", density=0.005)
    adapter.bind_weights("w", weights)          # a NumPy array, or whatever has __dlpack__: trained in place

    adapter.observe("w", dense=gradient)        # saliences ...
    adapter.finish_observation()
    adapter.select()                            # ... choose the mask

    adapter.accumulate("w", dense=gradient)     # or x= and dy= of a linear layer, or values= at the mask
    adapter.step(speft.Hyperparameters(lr=1e-3))
    adapter.save("adapter.safetensors")

Words: a *parameter* is one named tensor of the model; its *mask* the strictly increasing flat indices of the
scalars that are trained; a *delta* what is added to one of them; the *density* the share of the targeted
scalars that is selected. Every failure is a `speft.Error`, of a subclass for each status of the C library; a
call that fails has changed nothing. Neither NumPy nor PyTorch is needed to import this package.
"""

from . import _capi

if _capi.speft_abi_version() != _capi.SPEFT_ABI_VERSION:
    raise ImportError(
        f"this package was built for version {_capi.SPEFT_ABI_VERSION} of libspeft's binary interface, "
        f"but the libspeft that was loaded has version {_capi.speft_abi_version()}"
    )

from ._adapter import Adapter, linear_forward_each
from ._basis import Basis, BasisState, PlannedBasis
from ._context import Allocator, Backend, Context, backends, has_openmp, operations
from ._errors import (
    Busy,
    Cancelled,
    Corrupt,
    DeviceFailure,
    Error,
    Internal,
    InvalidArgument,
    InvalidState,
    IOFailure,
    OutOfMemory,
    Unavailable,
    Unsupported,
)
from ._options import (
    SELECTIONS,
    AdapterState,
    Hyperparameters,
    MemoryPlan,
    Parameter,
    Requantization,
    Reselection,
)
from ._quantization import QuantizedTensor, quantize
from ._tensor import Tensor, TensorLike, bfloat16

#: The release of libspeft, ``"0.1.0"`` say.
__version__: str = _capi.speft_version()

__all__ = [
    "SELECTIONS",
    "Adapter",
    "AdapterState",
    "Allocator",
    "Backend",
    "Basis",
    "BasisState",
    "Busy",
    "Cancelled",
    "Context",
    "Corrupt",
    "DeviceFailure",
    "Error",
    "Hyperparameters",
    "IOFailure",
    "Internal",
    "InvalidArgument",
    "InvalidState",
    "MemoryPlan",
    "OutOfMemory",
    "Parameter",
    "PlannedBasis",
    "QuantizedTensor",
    "Requantization",
    "Reselection",
    "Tensor",
    "TensorLike",
    "Unavailable",
    "Unsupported",
    "__version__",
    "backends",
    "bfloat16",
    "has_openmp",
    "linear_forward_each",
    "operations",
    "quantize",
]

# Readers of tracebacks, of help() and of pickles need not know in which file a class is.
for _public in [globals()[_name] for _name in __all__]:
    if isinstance(_public, type):
        _public.__module__ = __name__
