"""What holds for all tests."""

import os

# A price table that this person has fetched must not change what tests see; processes that tests start inherit it.
os.environ["PEAKER_PRICES"] = "shipped"
