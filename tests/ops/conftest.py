"""Tests of `cdl.ops` share their calls with the golden cases."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "golden"))
