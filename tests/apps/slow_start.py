"""A handler whose module lets an instance start only after a while: a thread keeps its zygote from being forked."""

from __future__ import annotations

import threading
import time
from typing import Any

# A running thread makes this code unsafe to fork, so that every instance imports it anew, and takes its time.
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
time.sleep(0.5)


def handler(_: Any, __: Any) -> str:
    return "done"
