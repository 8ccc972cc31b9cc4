"""A function that does nothing, called again and again: Peaker beside other tools that run functions locally."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.result import Result, at_least, at_most
from benchmarks.warm_invoke.client import calls_per_s, latencies_s
from benchmarks.warm_invoke.peers import CODE, EVENT, PEERS, AbsentError, Peer, once_it_answers, post
from peaker.settings import FunctionSection, FunctionsSection, ServersSection, Settings
from peaker.testing.hosts import RunningHost
from peaker.wire.sigv4 import sign

if TYPE_CHECKING:
    from collections.abc import Iterator

    from peaker.wire.sigv4 import SigningKey

FUNCTION = "noop"
PATH = f"/2015-03-31/functions/{FUNCTION}/invocations"
REGION = "eu-central-1"
SIGNED, PRIVATE = "Peaker", "Peaker, unix socket"
CONNECTIONS = 16
SIGNED_AHEAD = 64
EMULATOR_SHARE_MAX = 0.5
OFFLINE_TIMES_MIN = 2.0


def signed(key: SigningKey, port: int, epoch_s: float) -> bytes:
    """One request as an AWS SDK signs it, at the time `epoch_s`."""
    headers = [("host", f"127.0.0.1:{port}"), ("content-type", "application/json")]
    added = sign(key, method="POST", target=PATH, headers=headers, body=EVENT, region=REGION, epoch_s=epoch_s)
    return post(PATH, tuple(added), host=headers[0][1])


@contextmanager
def peaker() -> Iterator[dict[str, Peer]]:
    """Both doors of one function host: the port for AWS's clients, and the socket the gate spills through."""
    settings = Settings(
        function=(FunctionSection(name=FUNCTION, handler="noop:handle", concurrency_max=CONNECTIONS),),
        functions=FunctionsSection(memory_mb=512),
        servers=ServersSection(drain_s_max=2.0),
        directory=str(CODE),
    )
    with RunningHost(settings) as host:
        now_s = time.time()
        # Each of another second: no two are alike, and all are within the five minutes that a signature holds.
        ahead = [signed(host.key, host.port, now_s + 60 - second) for second in range(SIGNED_AHEAD)]
        yield {
            SIGNED: once_it_answers(Peer(host.port, ahead)),
            PRIVATE: once_it_answers(Peer(host.state.invoke_socket, [post(PATH)])),
        }


def signing_us(rounds: int = 5, calls: int = 2000) -> float:
    """What one signature costs a caller, with this project's own signing."""
    from peaker.wire.sigv4 import SigningKey

    key = SigningKey("AKIDEXAMPLE", "secret")
    taken = []
    for _ in range(rounds):
        begun_s = time.process_time()
        for _ in range(calls):
            signed(key, 3001, 1_700_000_000.0)
        taken.append((time.process_time() - begun_s) / calls * 1e6)
    return statistics.median(taken)


def measure(
    peers: dict[str, Peer], rounds: int, calls: int, for_s: float
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """p50 in ms and calls a second of each, round by round: a slow phase of the machine meets all of them."""
    p50_ms: dict[str, list[float]] = {name: [] for name in peers}
    rates: dict[str, list[float]] = {name: [] for name in peers}
    for peer in peers.values():
        most = min(CONNECTIONS, peer.connections_max)
        calls_per_s(peer.address, peer.requests, connections=most, for_s=0.5)  # as many instances as it will have
    for _ in range(rounds):
        for name, peer in peers.items():
            p50_ms[name].append(statistics.median(latencies_s(peer.address, peer.requests, calls)) * 1000)
        for name, peer in peers.items():
            most = min(CONNECTIONS, peer.connections_max)
            rates[name].append(calls_per_s(peer.address, peer.requests, connections=most, for_s=for_s))
    return p50_ms, rates


def run(options: list[str]) -> list[Result]:
    """All that are there in turn; those that are not are named."""
    parser = argparse.ArgumentParser(prog="warm_invoke")
    parser.add_argument("--peers-dir", type=Path, help="where peers.sh has installed the others")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=500, help="of each round, on one connection")
    parser.add_argument("--seconds", type=float, default=1.5, help="of each round, on 16 connections")
    chosen = parser.parse_args(options)
    absent: dict[str, str] = {}
    with ExitStack() as stack:
        peers = stack.enter_context(peaker())
        for name, start in PEERS.items():
            try:
                peers[name] = stack.enter_context(start(chosen.peers_dir))
            except AbsentError as error:
                absent[name] = str(error)
        p50_ms, rates = measure(peers, chosen.rounds, chosen.calls, chosen.seconds)
    return _figures(p50_ms, rates, absent) + _bars(p50_ms, rates)


def _figures(p50_ms: dict[str, list[float]], rates: dict[str, list[float]], absent: dict[str, str]) -> list[Result]:
    results = []
    for name in (SIGNED, PRIVATE, *PEERS):
        if name in absent:
            results.append(Result(f"{name}, p50", None, "ms", detail=absent[name]))
            continue
        results.append(
            Result(f"{name}, p50", round(statistics.median(p50_ms[name]), 4), "ms", detail=_spread(p50_ms[name]))
        )
        one = " (one connection: it ends itself at a second call)" if name == "RIE" else ""
        results.append(
            Result(
                f"{name}, calls at 16", round(statistics.median(rates[name])), "/s", detail=_spread(rates[name]) + one
            )
        )
    results.append(
        Result("signing one call, at the caller", round(signing_us(), 1), "us", detail="CPU; boto3 takes more")
    )
    return results


def _spread(values: Sequence[float]) -> str:
    return f"rounds {min(values):.4g} to {max(values):.4g}"


def _bars(p50_ms: dict[str, list[float]], rates: dict[str, list[float]]) -> list[Result]:
    """Ratios of the same round."""

    def ratio(
        made: Callable[..., Result], figures: dict[str, list[float]], peer: str, limit: float, what: str
    ) -> Result:
        if peer not in figures:
            return made(f"{what} of {peer}", None, limit, "times")
        ratios = [ours / theirs for ours, theirs in zip(figures[SIGNED], figures[peer], strict=True)]
        return made(f"{what} of {peer}", round(statistics.median(ratios), 3), limit, "times", detail=_spread(ratios))

    return [
        ratio(at_most, p50_ms, "RIE", EMULATOR_SHARE_MAX, "p50 as a share"),
        ratio(at_most, p50_ms, "functions-framework", 1.0, "p50 as a share"),
        ratio(at_most, p50_ms, "serverless-offline", 1.0, "p50 as a share"),
        ratio(at_least, rates, "serverless-offline", OFFLINE_TIMES_MIN, "calls as a multiple"),
    ]
