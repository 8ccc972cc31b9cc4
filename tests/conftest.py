"""What holds for all tests."""

import os
import sys
from pathlib import Path

# A price table that this person has fetched must not change what tests see; processes that tests start inherit it.
os.environ["PEAKER_PRICES"] = "shipped"

# Apps, stand-ins and cases that several rings share.
sys.path.insert(0, str(Path(__file__).parent / "apps"))
