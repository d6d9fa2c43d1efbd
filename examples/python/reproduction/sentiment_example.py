"""Makes the files of the sentiment example importable: its data, model and methods are used here too.

Import this before any of them.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "sentiment"))
