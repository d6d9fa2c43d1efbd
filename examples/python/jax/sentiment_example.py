"""Makes the files of the PyTorch example importable of which some are used here: those that need no PyTorch.

Import this before any of them.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "sentiment"))
