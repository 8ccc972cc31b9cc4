"""The apps of the recorded session and its player are plain modules, as a user's app is."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "apps"))
