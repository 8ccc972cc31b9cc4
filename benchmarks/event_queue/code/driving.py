"""Part of the peers' own programs: sends, waits until all is finished, and prints what it took as JSON.

    python -m PEER_load load EVENTS SENDERS
    python -m PEER_load latency EVENTS

Runs with the peers' Python and imports nothing of Peaker.
"""

import json
import socket
import sys
import tempfile
import time
from pathlib import Path

FINISH_S_MAX = 300.0


class Stamps:
    """Where handlers tell when they began."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.path = str(Path(self._folder.name) / "told")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.settimeout(60)

    def next_s(self) -> float:
        return float(self._socket.recv(100))


def report(begun_s: float, accepted_s: float, finished_s: float) -> None:
    """Seconds to the last acceptance and to the last end."""
    print(json.dumps({"accept_s": accepted_s - begun_s, "finish_s": finished_s - begun_s}))


def report_latency(sent_s: list[float], accepted_s: list[float], began_s: list[float]) -> None:
    """Milliseconds of each event."""
    print(
        json.dumps(
            {
                "accept_to_start_ms": [
                    (began - accepted) * 1000 for accepted, began in zip(accepted_s, began_s, strict=True)
                ],
                "send_to_start_ms": [(began - sent) * 1000 for sent, began in zip(sent_s, began_s, strict=True)],
            }
        )
    )


def wait_until(is_over) -> float:  # noqa: ANN001
    """The moment at which it was."""
    deadline_s = time.monotonic() + FINISH_S_MAX
    while not is_over():
        if time.monotonic() > deadline_s:
            sys.exit("not finished in time")
        time.sleep(0.01)
    return time.time()
