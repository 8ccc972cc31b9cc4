"""Replays against real servers that stall and misbehave."""

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from peaker.clock import SystemClock
from peaker.http1 import Address
from peaker.traffic.arrivals import Spread, arrival_times_s
from peaker.traffic.mix import Mix, Target
from peaker.traffic.replay import Replay
from peaker.traffic.tally import Outcome, Sample, Tally
from peaker.traffic.trace import Trace

Answer = Callable[[str, asyncio.StreamWriter], Awaitable[bool]]
"""Answers one request on its path; False ends the connection."""

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-peaker-ran: server\r\n\r\nok"


@contextlib.asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[Address]:
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            going_on = True
            while going_on:
                head = await reader.readuntil(b"\r\n\r\n")
                going_on = await answer(head.split()[1].decode(), writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # The client has gone, as clients do.
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.get_running_loop().create_task(serve(reader, writer)))

    listening = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=1000)
    try:
        yield Address(host="127.0.0.1", port=listening.sockets[0].getsockname()[1])
    finally:
        listening.close()
        for connection in connections:
            connection.cancel()
        if connections:
            await asyncio.wait(connections)


def replay_of(
    trace: Trace, address: Address, *paths: str, timeout_s: float = 5.0, connections_max: int = 500, seed: int = 1
) -> tuple[Replay, list[Sample]]:
    samples: list[Sample] = []
    replay = Replay(
        arrival_times_s(trace, Spread.RANDOM, random.Random(seed)),
        Mix([Target("GET", path) for path in paths or ("/",)], host="test"),
        address,
        clock=SystemClock(),
        chance=random.Random(seed),
        timeout_s=timeout_s,
        connections_max=connections_max,
        on_sample=samples.append,
    )
    return replay, samples


async def answer_at_once(_path: str, writer: asyncio.StreamWriter) -> bool:
    writer.write(OK)
    return True


def test_a_stall_of_the_server_shows_in_the_latencies_of_all_who_came_during_it() -> None:
    """1. A server answers nothing from 0.5 s to 1.0 s. 2. 200 requests a second come all the while.

    3. About a hundred came during the stall and waited for its end; a closed loop would have seen one slow answer.
    """

    async def run() -> tuple[Tally, list[Sample]]:
        free = asyncio.Event()
        free.set()

        async def answer(_path: str, writer: asyncio.StreamWriter) -> bool:
            await free.wait()
            writer.write(OK)
            return True

        async with server(answer) as address:
            loop = asyncio.get_running_loop()
            loop.call_later(0.5, free.clear)
            loop.call_later(1.0, free.set)
            replay, samples = replay_of(Trace((300,), 1.5), address)
            return await replay.run(), samples

    tally, samples = uvloop.run(run())
    assert (tally.sent, tally.failed) == (300, 0)
    came_in_stall = [sample for sample in samples if 0.55 < sample.due_s < 0.95]
    assert len(came_in_stall) > 50
    for sample in came_in_stall:
        assert sample.done_s == pytest.approx(1.0, abs=0.15)
        assert sample.sent_s - sample.due_s < 0.2
    waits = [sample.done_s - sample.due_s for sample in samples]
    assert 60 < sum(wait > 0.05 for wait in waits) < 140
    assert tally.summary()["all"]["latency_ms"]["p95"] > 300


def test_each_kind_of_failure_is_named() -> None:
    async def misbehave(path: str, writer: asyncio.StreamWriter) -> bool:
        if path == "/never":
            await asyncio.Event().wait()
        answers = {
            "/refuse": b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n",
            "/crash": b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n",
            "/absent": b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n",
            "/break": b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
            "/nonsense": b"what?\r\n\r\n",
            "/moved": b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n",
        }
        writer.write(answers[path])
        return path not in ("/break", "/nonsense")

    async def run(path: str) -> Tally:
        async with server(misbehave) as address:
            replay, _ = replay_of(Trace((5,), 0.1), address, path, timeout_s=0.3)
            return await replay.run()

    async def run_against_nobody() -> Tally:
        async with server(misbehave) as address:
            pass
        replay, _ = replay_of(Trace((5,), 0.1), address)
        return await replay.run()

    expected = {
        "/refuse": Outcome.REFUSED,
        "/crash": Outcome.SERVER_ERROR,
        "/absent": Outcome.CLIENT_ERROR,
        "/break": Outcome.CONNECTION_BROKEN,
        "/nonsense": Outcome.CONNECTION_BROKEN,
        "/never": Outcome.TIMED_OUT,
        "/moved": Outcome.ANSWERED,
    }
    for path, outcome in expected.items():
        assert asyncio.run(run(path)).outcomes == {outcome: 5}, path
    assert asyncio.run(run_against_nobody()).outcomes == {Outcome.CONNECTION_FAILED: 5}


def test_requests_that_find_no_connection_are_named_and_connections_stay_bounded() -> None:
    async def run() -> tuple[Tally, int]:
        opened = 0

        async def never(_path: str, _writer: asyncio.StreamWriter) -> bool:
            nonlocal opened
            opened += 1
            await asyncio.Event().wait()
            return False

        async with server(never) as address:
            # The two connections are taken for 0.6 s; those due until 0.1 s wait for one and give up before.
            replay, _ = replay_of(Trace((10,), 0.1), address, timeout_s=0.6, connections_max=2)
            return await replay.run(), opened

    tally, opened = asyncio.run(run())
    assert tally.outcomes[Outcome.TIMED_OUT] >= 2
    # Who gets one in its last millisecond may not have it connected in time.
    kinds = (Outcome.TIMED_OUT, Outcome.NO_CONNECTION_FREE, Outcome.CONNECTION_FAILED)
    assert sum(tally.outcomes[kind] for kind in kinds) == 10
    assert opened == tally.outcomes[Outcome.TIMED_OUT]


def test_latencies_are_told_by_where_the_request_ran() -> None:
    async def run() -> Tally:
        turns = itertools.cycle([b"server", b"function", b"server"])

        async def answer(_path: str, writer: asyncio.StreamWriter) -> bool:
            writer.write(OK.replace(b"server", next(turns)))
            return True

        async with server(answer) as address:
            replay, _ = replay_of(Trace((90,), 0.3), address)
            return await replay.run()

    placements = asyncio.run(run()).summary()["placements"]
    assert {name: placement["requests"] for name, placement in placements.items()} == {"server": 60, "function": 30}


def test_a_stopped_replay_returns_what_it_has_and_counts_what_it_gave_up() -> None:
    async def run() -> Tally:
        count = itertools.count(1)
        twenty_answered = asyncio.Event()

        async def answer(path: str, writer: asyncio.StreamWriter) -> bool:
            if path == "/never":
                await asyncio.Event().wait()
            writer.write(OK)
            if next(count) == 20:
                twenty_answered.set()
            return True

        async with server(answer) as address:
            replay, _ = replay_of(Trace((100,) * 60, 1.0), address, "/", "/never")
            running = asyncio.create_task(replay.run())
            await twenty_answered.wait()
            replay.stop()
            return await running

    tally = asyncio.run(run())
    assert tally.finished >= 15
    assert tally.unfinished >= 1
    assert tally.sent == tally.finished + tally.unfinished
    assert tally.sent < 600


def peaker(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "peaker", "replay", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "100"},
    )


async def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    return await asyncio.to_thread(process.communicate, timeout=20)


def test_the_command_says_what_it_sends_and_ends_with_a_summary(tmp_path: Path) -> None:
    trace = tmp_path / "t_1min.csv"
    trace.write_text("count\n10\n-1\n20\n5\n")

    async def run() -> None:
        async with server(answer_at_once) as address:
            url = f"http://127.0.0.1:{address.port}"
            plain = peaker(str(trace), "--to", url, "--speed", "300", "--scale", "2", "--from", "0s", "--for", "3m")
            out, err = await ended(plain)
            assert plain.returncode == ("VOID" in out), err  # on a machine too busy to send in time
            assert f"60 requests to {url} in 0.6 s" in err
            assert "200 in the busiest step of 0.2 s; 1 steps were not collected" in err
            assert "60 sent, 60 answered, 0 failed" in out
            assert "server" in out
            assert "replaying" not in err  # The progress bar is for terminals.

            as_json = peaker(str(trace), "--to", url, "--speed", "600", "--json")
            out, err = await ended(as_json)
            assert as_json.returncode == json.loads(out)["void"], err
            assert json.loads(out)["answered"] == 35

    asyncio.run(run())


def test_the_command_ends_with_1_when_requests_failed_and_with_2_when_the_input_is_wrong(tmp_path: Path) -> None:
    trace = tmp_path / "t.csv"
    trace.write_text("count\n10\n")

    async def run() -> None:
        async with server(answer_at_once) as address:
            pass
        nobody = peaker(str(trace), "--to", f"http://127.0.0.1:{address.port}", "--speed", "10")
        out, err = await ended(nobody)
        assert nobody.returncode == 1
        assert "nothing answers there now: Connection refused." in err
        assert "10  the connection could not be made" in out

    asyncio.run(run())
    trace.write_text("count\n10\nten\n")
    wrong = peaker(str(trace), "--to", "http://127.0.0.1:9")
    _, err = wrong.communicate(timeout=20)
    assert wrong.returncode == 2
    assert f"{trace}:3: 'ten' is not a whole number." in err
    assert "Traceback" not in err


def test_control_c_ends_the_command_with_the_summary_so_far(tmp_path: Path) -> None:
    trace = tmp_path / "t.csv"
    trace.write_text("count\n" + "50\n" * 60)

    async def run() -> None:
        answered = asyncio.Event()
        count = itertools.count(1)

        async def answer(_path: str, writer: asyncio.StreamWriter) -> bool:
            writer.write(OK)
            if next(count) == 10:
                answered.set()
            return True

        async with server(answer) as address:
            process = peaker(str(trace), "--to", f"http://127.0.0.1:{address.port}", "--json")
            await asyncio.wait_for(answered.wait(), 15)
            process.send_signal(signal.SIGINT)
            out, err = await ended(process)
            assert process.returncode == 0, err
            summary = json.loads(out)
            assert 9 <= summary["answered"] < 500
            assert summary["failed"] == 0
            assert "Traceback" not in err

    asyncio.run(run())
