"""Where the repository and real data sets lie."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("DEEPTWINS_DATA") or ROOT.parent / "shared" / "data")
