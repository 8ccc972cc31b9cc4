"""For each byte on FD, fork; the child answers with a byte and ends. With `app`, from the image a zygote has.

`python forker.py FD [app EVENT]`: the floor of any start by fork, bare and for this app.
"""

import gc
import os
import signal
import socket
import sys


def warm(event: str) -> None:
    from app import app  # type: ignore[import-not-found]  # found beside this file

    from peaker.functions import preparation

    gc.disable()
    preparation.warm_up(app, event)
    gc.collect()


def main() -> None:
    channel = socket.socket(fileno=int(sys.argv[1]))
    if sys.argv[2:]:
        warm(sys.argv[3])
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    channel.send(b"r")
    while channel.recv(1):
        if os.fork() == 0:
            channel.send(b"a")
            os._exit(0)


main()
