"""A Flask app, hence WSGI, that streams by generators."""

import time
from collections.abc import Iterator
from pathlib import Path

from flask import Flask, Response, request

WAIT_S_MAX = 20.0
app = Flask(__name__)


@app.get("/waits")
def waits() -> Response:
    until = Path(request.args["until"])

    def parts() -> Iterator[bytes]:
        yield b"first "
        deadline_s = time.monotonic() + WAIT_S_MAX
        while not until.exists() and time.monotonic() < deadline_s:
            time.sleep(0.005)
        yield b"last"

    return Response(parts(), mimetype="text/plain")


@app.get("/endless")
def endless() -> Response:
    """A WSGI app does not hear of a client that leaves: it goes on, into nothing, until it is done."""
    notes = Path(request.args["notes"])

    def parts() -> Iterator[bytes]:
        for _ in range(200):
            yield bytes(200_000)
        notes.write_text("ended")

    return Response(parts(), mimetype="text/plain")
