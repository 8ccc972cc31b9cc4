"""The platform's store: a process of its own that answers more slowly the more is asked of it at once.

A stand-in for the database behind a real app, with what matters of one: real sockets, a limit of connections, and a
latency that grows once more queries run at once than it has room for. One line in, one line out:

    LIST PAGE            titles of one page, as JSON
    GET ID               one title, as JSON
    ADMIN STATS          connections, queries running now and at the most, queries answered and refused, as JSON
    ADMIN RESET          begin anew with counting
    ADMIN SLOW N S       be N times slower for S seconds

A connection whose first line is ADMIN is no client and does not count as a connection.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import random
import sys
import time

TITLES = 500
TITLES_ON_A_PAGE = 20
LINE_BYTES_MAX = 1024
IDLE_S_MAX = 300.0

_FIRST = ("Silent", "Electric", "Last", "Hidden", "Golden", "Second", "Broken", "Distant", "Paper", "Northern")
_SECOND = ("River", "Harbour", "Signal", "Winter", "Garden", "Engine", "Mirror", "Station", "Orchard", "Tide")
_KIND = ("drama", "documentary", "comedy", "thriller", "series")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """`base_ms` a query up to `knee` queries at once; above it each further one makes all slower in proportion."""

    base_ms: float = 40.0
    jitter: float = 0.1
    knee: int = 100
    connections_max: int = 100

    def latency_s(self, running: int, slower: float, chance: random.Random) -> float:
        """Seconds for a query that begins while `running` queries, itself included, are under way."""
        crowding = max(1.0, running / self.knee)
        return self.base_ms / 1000 * crowding * slower * chance.uniform(1 - self.jitter, 1 + self.jitter)


def title(number: int) -> dict[str, object]:
    """Title `number`, the same in every run."""
    name = f"{_FIRST[number % 10]} {_SECOND[number // 10 % 10]} {number // 100 + 1}"
    return {"id": number, "name": name, "kind": _KIND[number % 5], "minutes": 22 + number * 7 % 120}


class Store:
    """All connections together."""

    def __init__(self, behaviour: Behaviour, chance: random.Random) -> None:
        self._behaviour = behaviour
        self._chance = chance
        self._connections = self._connections_seen_max = 0
        self._running = self._running_max = 0
        self._answered = self._refused = 0
        self._slower, self._slower_until_s = 1.0, 0.0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends or says nothing for too long."""
        try:
            with contextlib.suppress(ConnectionError, TimeoutError):
                await self._serve(reader, writer)
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await _read_line(reader)
        if line.startswith("ADMIN "):
            while line:
                writer.write(self._administer(line.split()[1:]).encode() + b"\n")
                line = await _read_line(reader)
            return
        if self._connections >= self._behaviour.connections_max:
            self._refused += 1
            writer.write(b"ERR too many connections\n")
            return
        self._connections += 1
        self._connections_seen_max = max(self._connections_seen_max, self._connections)
        try:
            while line:
                writer.write((await self._query(line)).encode() + b"\n")
                line = await _read_line(reader)
        finally:
            self._connections -= 1

    async def _query(self, line: str) -> str:
        command, _, argument = line.partition(" ")
        if command not in ("LIST", "GET") or not argument.isdecimal():
            return "ERR say LIST PAGE or GET ID"
        self._running += 1
        self._running_max = max(self._running_max, self._running)
        try:
            slower = self._slower if time.monotonic() < self._slower_until_s else 1.0
            await asyncio.sleep(self._behaviour.latency_s(self._running, slower, self._chance))
        finally:
            self._running -= 1
        self._answered += 1
        number = int(argument)
        if command == "GET":
            return f"OK {json.dumps(title(number))}" if number < TITLES else "NONE"
        first = number * TITLES_ON_A_PAGE
        return f"OK {json.dumps([title(n) for n in range(first, min(first + TITLES_ON_A_PAGE, TITLES))])}"

    def _administer(self, words: list[str]) -> str:
        match words:
            case ["STATS"]:
                return f"OK {json.dumps(self._stats())}"
            case ["RESET"]:
                self._running_max, self._connections_seen_max = self._running, self._connections
                self._answered = self._refused = 0
                return "OK"
            case ["SLOW", times, seconds]:
                try:
                    self._slower, for_s = float(times), float(seconds)
                except ValueError:
                    return "ERR say ADMIN SLOW TIMES SECONDS"
                self._slower_until_s = time.monotonic() + for_s
                return "OK"
            case _:
                return "ERR say ADMIN STATS, ADMIN RESET or ADMIN SLOW TIMES SECONDS"

    def _stats(self) -> dict[str, int]:
        return {
            "connections": self._connections,
            "connections_max": self._connections_seen_max,
            "concurrency": self._running,
            "concurrency_max": self._running_max,
            "answered": self._answered,
            "refused": self._refused,
        }


async def _read_line(reader: asyncio.StreamReader) -> str:
    """One line without its end; "" when the other side has gone or sends what is no line."""
    try:
        async with asyncio.timeout(IDLE_S_MAX):
            return (await reader.readline()).decode("ascii").strip()
    except (ValueError, UnicodeDecodeError):  # Longer than the reader's limit, or not text.
        return ""


async def serve(host: str, port: int, behaviour: Behaviour, seed: int) -> None:
    """Listen until cancelled; the address is the one line on standard output."""
    store = Store(behaviour, random.Random(seed))
    server = await asyncio.start_server(store.connected, host, port, limit=LINE_BYTES_MAX, backlog=512)
    async with server:
        address = server.sockets[0].getsockname()
        print(f"{address[0]}:{address[1]}", flush=True)
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7400, help="0 takes a free one")
    usual = Behaviour()
    parser.add_argument("--base-ms", type=float, default=usual.base_ms)
    parser.add_argument("--knee", type=int, default=usual.knee, help="queries at once that it has room for")
    parser.add_argument("--connections-max", type=int, default=usual.connections_max)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    behaviour = Behaviour(base_ms=chosen.base_ms, knee=chosen.knee, connections_max=chosen.connections_max)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(chosen.host, chosen.port, behaviour, chosen.seed))


if __name__ == "__main__":
    sys.exit(main())
