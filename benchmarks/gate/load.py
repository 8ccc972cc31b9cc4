"""A load generator that costs a third of what it loads: python -m benchmarks.gate.load CORE.

Reads one JSON command a line, answers with one. Plain sockets and epoll, no parsing: every response of a server has the
same length, which the first one tells. `closed`: each connection asks again as soon as it is answered. `open`: requests
are sent at times fixed before (Poisson), by whichever connection is free; latency counts from the time it was due.
"""

import gc
import json
import os
import random
import select
import socket
import sys
import time
from collections import deque
from typing import Any

READ_BYTES = 65_536


class Connections:
    """Keep-alive connections to one server, with the requests they send in turn."""

    def __init__(self, port: int, count: int, paths: list[str]) -> None:
        head = "GET {} HTTP/1.1\r\nhost: bench\r\nuser-agent: bench\r\naccept: */*\r\n\r\n"
        self.requests = [head.format(path).encode() for path in paths]
        self.sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
        self.poll = select.epoll()
        self.by_descriptor: dict[int, socket.socket] = {}
        for connection in self.sockets:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.poll.register(connection.fileno(), select.EPOLLIN)
            self.by_descriptor[connection.fileno()] = connection
        self.length = self._first_length()

    def _first_length(self) -> int:
        """Bytes of a whole response; raises AssertionError where it is no 200 or differs between requests."""
        lengths = set()
        for request in self.requests:
            self.sockets[0].sendall(request)
            data = b""
            while b"\r\n\r\n" not in data:
                data += self.sockets[0].recv(READ_BYTES)
            head, _, body = data.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            while len(body) < length:
                body += self.sockets[0].recv(READ_BYTES)
            lengths.add(len(head) + 4 + length)
        assert len(lengths) == 1, f"responses of different lengths: {lengths}"
        return lengths.pop()

    def close(self) -> None:
        self.poll.close()
        for connection in self.sockets:
            connection.close()


def closed_loop(connections: Connections, seconds: float) -> dict[str, Any]:
    requests, length, poll = connections.requests, connections.length, connections.poll
    by_descriptor, missing, turn, done = connections.by_descriptor, {}, 0, 0
    for descriptor, connection in by_descriptor.items():
        missing[descriptor] = length
        connection.send(requests[turn % len(requests)])
        turn += 1
    began_s = time.perf_counter()
    end_s = began_s + seconds
    while (now_s := time.perf_counter()) < end_s:
        for descriptor, _ in poll.poll(1.0):
            connection = by_descriptor[descriptor]
            missing[descriptor] -= len(connection.recv(READ_BYTES))
            if not missing[descriptor]:
                done += 1
                missing[descriptor] = length
                connection.send(requests[turn % len(requests)])
                turn += 1
    _drain(connections, set(by_descriptor), missing)
    return {"done": done, "seconds": now_s - began_s}


def open_loop(connections: Connections, seconds: float, per_second: float, seed: int) -> dict[str, Any]:
    requests, length, poll = connections.requests, connections.length, connections.poll
    chance = random.Random(seed)
    free = deque(connections.sockets)
    missing: dict[int, int] = {}
    due: dict[int, float] = {}
    latencies_s: list[float] = []
    late_s = 0.0
    begun_s = time.perf_counter()
    next_s, end_s, turn = begun_s, begun_s + seconds, 0
    while next_s < end_s or missing:
        now_s = time.perf_counter()
        while next_s <= now_s and next_s < end_s and free:
            connection = free.popleft()
            connection.send(requests[turn % len(requests)])
            turn += 1
            missing[connection.fileno()], due[connection.fileno()] = length, next_s
            late_s = max(late_s, now_s - next_s)
            next_s += chance.expovariate(per_second)
        wait_s = max(0.0, min(0.001, next_s - time.perf_counter())) if next_s < end_s else 0.01
        # Below the resolution of epoll's timeout it is asked again and again: this core is the generator's alone.
        for descriptor, _ in poll.poll(wait_s if wait_s >= 0.001 else 0):
            connection = connections.by_descriptor[descriptor]
            missing[descriptor] -= len(connection.recv(READ_BYTES))
            if not missing[descriptor]:
                latencies_s.append(time.perf_counter() - due[descriptor])
                del missing[descriptor]
                free.append(connection)
    ordered = sorted(latencies_s)
    return {
        "count": len(ordered),
        "p50_us": ordered[len(ordered) // 2] * 1e6,
        "p99_us": ordered[int(len(ordered) * 0.99)] * 1e6,
        "late_us": late_s * 1e6,
    }


def _drain(connections: Connections, waiting: set[int], missing: dict[int, int]) -> None:
    while waiting:
        for descriptor, _ in connections.poll.poll(5.0):
            missing[descriptor] -= len(connections.by_descriptor[descriptor].recv(READ_BYTES))
            if not missing[descriptor]:
                waiting.discard(descriptor)


def main() -> None:
    os.sched_setaffinity(0, {int(sys.argv[1])})
    gc.disable()
    opened: dict[int, Connections] = {}
    for line in sys.stdin:
        command = json.loads(line)
        port = command["port"]
        if port not in opened:
            opened[port] = Connections(port, command["connections"], command["paths"])
        if command["loop"] == "closed":
            answer = closed_loop(opened[port], command["seconds"])
        else:
            answer = open_loop(opened[port], command["seconds"], command["per_second"], command["seed"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
