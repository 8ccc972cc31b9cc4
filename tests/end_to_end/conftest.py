"""Code that several rings share stands in tests/apps as plain modules."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "apps"))
