"""The CUDA backend of libspeft. The package `speft` finds it here; nothing has to be imported.

Attributes:
    __version__: that of libspeft, which has to be the same in `speft`.
    folder: where ``libspeft_cuda.so`` lies: a ``backend_path`` for other programs.
"""

from importlib.metadata import version
from pathlib import Path

__version__ = version("speft-cu13")
folder = str(Path(__file__).parent)
