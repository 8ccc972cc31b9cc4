"""`peaker replay`: the traffic of a trace, sent to a URL."""

from __future__ import annotations

import asyncio
import gc
import random
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from peaker.cli import present
from peaker.cli.options import json_option
from peaker.clock import SystemClock
from peaker.errors import SettingsError
from peaker.http1 import Address
from peaker.traffic.arrivals import Spread, arrival_times_s
from peaker.traffic.mix import Mix, Target, parse_target, read_targets
from peaker.traffic.replay import Replay, destination
from peaker.traffic.tally import LAG_S_MAX, MEANINGS, Outcome, Tally
from peaker.traffic.trace import FACTOR_MAX, Trace, read_trace
from peaker.units import parse_duration_s

CONNECTIONS_MAX = 50_000
_FILES_BESIDE_CONNECTIONS = 64
_PROGRESS_STEP_S = 0.5
_FIRST_CONNECTION_S_MAX = 2.0


class Duration(click.ParamType[float]):
    """A duration such as 90s, 10m or 2h, as seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds of `value`; a wrong one is a usage error."""
        try:
            return value if isinstance(value, float) else parse_duration_s(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


FACTOR = click.FloatRange(0, FACTOR_MAX, min_open=True)


@click.command("replay")
@click.argument("trace", type=click.Path(path_type=Path))
@click.option("--to", "url", required=True, help="URL requests are sent to; its path stands before each --path.")
@click.option("--speed", type=FACTOR, default=1.0, show_default=True, help="Replay this many times faster.")
@click.option("--scale", type=FACTOR, default=1.0, show_default=True, help="Send this many times as many requests.")
@click.option("--from", "from_s", type=Duration(), default=0.0, help="Begin here, in the trace's own time.")
@click.option("--for", "for_s", type=Duration(), help="Replay this much of it, in the trace's own time.")
@click.option("--step", "step_s", type=Duration(), help="Length of a step of a count file whose name does not say it.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed sends the same at the same times.")
@click.option(
    "--spread",
    type=click.Choice([str(spread) for spread in Spread]),
    default=str(Spread.RANDOM),
    show_default=True,
    help="How requests are spread within a step.",
)
@click.option(
    "--path", "paths", multiple=True, metavar="[METHOD ]/PATH[:WEIGHT]", help="What is asked for; repeatable."
)
@click.option("--paths", "paths_file", type=click.Path(path_type=Path), help="File with one such path a line.")
@click.option(
    "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Sent with every request; repeatable."
)
@click.option(
    "--timeout", "timeout_s", type=Duration(), default=30.0, help="Longest wait for an answer.  [default: 30s]"
)
@click.option(
    "--connections",
    "connections_max",
    type=click.IntRange(1, CONNECTIONS_MAX),
    default=1000,
    show_default=True,
    help="Open connections at the most; a request beyond waits for one.",
)
@json_option
def command(
    *,
    trace: Path,
    url: str,
    speed: float,
    scale: float,
    from_s: float,
    for_s: float | None,
    step_s: float | None,
    seed: int,
    spread: str,
    paths: tuple[str, ...],
    paths_file: Path | None,
    headers: tuple[str, ...],
    timeout_s: float,
    connections_max: int,
    as_json: bool,
) -> int:
    """Send the traffic of TRACE to a URL, open loop: arrivals do not wait for answers.

    TRACE is a .csv or .csv.gz file with a `count` header and one number a step (-1 is a gap), or `timestamp,count`.
    Latency counts from when a request was due. Where the answer says in x-peaker-ran where it ran, latencies are shown
    by placement. Ctrl-C ends the replay with the summary so far.

    \b
    Examples:
      peaker replay traffic.csv --to http://127.0.0.1:8000
      peaker replay twitter_1s.csv.gz --to http://127.0.0.1:8000 --from 14h --for 20m --speed 10 --scale 0.5
      peaker replay counts_1min.csv --to http://127.0.0.1:8000 --path /:5 --path /search?q=a:1 --json

    Exit code: 0 when every request was answered below 400 and the generator kept its schedule; 1 when one failed or the
    run is void; 2 when the input is wrong.
    """  # noqa: D301 - \\b is click's mark for text it must not wrap
    if not timeout_s > 0:
        raise SettingsError("--timeout must be above 0.")
    to = destination(url)
    wanted = read_trace(trace, step_s=step_s).cut(from_s, for_s).scaled(scale).faster(speed)
    if not wanted.total:
        raise SettingsError("nothing is left to send after --from, --for and --scale.", where=str(trace))
    mix = Mix(_targets(paths, paths_file), host=to.host, prefix=to.prefix, headers=header_fields(headers))
    _allow_connections(connections_max)
    present.say(announcement(wanted, url))
    if nobody := _why_unreachable(to.address):
        present.say(f"peaker: {url}: nothing answers there now: {nobody}. Every request will fail unless that changes.")
    replay = Replay(
        arrival_times_s(wanted, Spread(spread), random.Random(seed)),  # noqa: S311 - repeatable traffic, no secret
        mix,
        to.address,
        clock=SystemClock(),
        chance=random.Random(f"paths {seed}"),  # noqa: S311 - likewise
        timeout_s=timeout_s,
        connections_max=connections_max,
    )
    tally = _run(replay, wanted)
    if as_json:
        present.data(tally.summary())
    else:
        present.out(report(tally.summary()))
    return 1 if tally.failed or tally.is_void else 0


def announcement(trace: Trace, url: str) -> str:
    """What will be sent, before it is."""
    gaps = f"; {trace.gap_steps:,} steps were not collected, nothing is sent in them" if trace.gap_steps else ""
    return (
        f"{trace.total:,} requests to {url} in {trace.duration_s:,.4g} s, "
        f"{trace.mean_per_s:,.4g} a second on average, {trace.peak_per_s:,.4g} in the busiest step of "
        f"{trace.step_s:g} s{gaps}"
    )


def _why_unreachable(address: Address) -> str:
    """Why no connection can be made at the moment, "" if one can."""
    try:
        socket.create_connection((address.host, address.port), timeout=_FIRST_CONNECTION_S_MAX).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _targets(paths: tuple[str, ...], paths_file: Path | None) -> list[Target]:
    targets = [parse_target(path) for path in paths]
    if paths_file is not None:
        targets += read_targets(paths_file)
        if not targets:
            raise SettingsError("there is no path in it.", where=str(paths_file))
    return targets or [Target("GET", "/")]


def header_fields(headers: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Names in lower case and values of `NAME: VALUE`; raises SettingsError for what is none, or not to be given."""
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon or not name.strip().isascii() or not name.strip() or any(c in header for c in "\r\n\0"):
            raise SettingsError(f"{header!r} is not 'NAME: VALUE'.", where="--header")
        if name.strip().lower() in ("host", "content-length", "transfer-encoding", "connection"):
            raise SettingsError(f"{name.strip()!r} is set by the replay itself.", where="--header")
        yield name.strip().lower(), value.strip()


def _allow_connections(connections_max: int) -> None:
    """Raise the limit of open files to what the connections need; raises SettingsError where the system forbids it."""
    needed = connections_max + _FILES_BESIDE_CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SettingsError(
            f"--connections {connections_max} needs {needed} open files; this system allows {hard}.",
            remedy=f"Use at most --connections {hard - _FILES_BESIDE_CONNECTIONS}.",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _run(replay: Replay, trace: Trace) -> Tally:
    import uvloop

    gc.freeze()  # The counts stay as they are; walking them would only make the generator late.
    return uvloop.run(_with_progress(replay, trace))


async def _with_progress(replay: Replay, trace: Trace) -> Tally:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, replay.stop)
    loop.add_signal_handler(signal.SIGTERM, replay.stop)
    shown = asyncio.create_task(_show_progress(replay.tally, trace)) if sys.stderr.isatty() else None
    try:
        return await replay.run()
    finally:
        if shown is not None:
            shown.cancel()
            await asyncio.wait([shown])


async def _show_progress(tally: Tally, trace: Trace) -> None:
    def so_far(_: int | None) -> str:
        return f"{tally.sent - tally.finished} on their way, {tally.failed} failed"

    with click.progressbar(length=trace.total, file=sys.stderr, label="replaying", item_show_func=so_far) as bar:
        while True:
            bar.update(tally.finished - bar.pos)
            await asyncio.sleep(_PROGRESS_STEP_S)


def report(summary: dict[str, Any]) -> str:
    """The summary for a person."""
    lines = [
        f"{summary['sent']:,} sent, {summary['answered']:,} answered, {summary['failed']:,} failed"
        + (f", {summary['unfinished']:,} given up when the replay was stopped" if summary["unfinished"] else "")
        + f", {summary['elapsed_s']:.1f} s",
        "",
        f"{'ran on':<14}{'requests':>10}{'p50 ms':>10}{'p95 ms':>10}{'p99 ms':>10}{'max ms':>10}",
    ]
    for name, placement in summary["placements"].items():
        lines.append(f"{name:<14}{placement['requests']:>10,}{_columns(placement['latency_ms'])}")
    if len(summary["placements"]) > 1 or summary["failed"]:
        lines.append(
            f"{'all':<14}{summary['answered'] + summary['failed']:>10,}{_columns(summary['all']['latency_ms'])}"
        )
    if summary["failures"]:
        lines += ["", "failures:"]
        lines += [
            f"  {count:>8,}  {MEANINGS[kind]}{_of_which(kind, summary['statuses'])}"
            for kind, count in summary["failures"].items()
        ]
    lag = summary["generator_lag_ms"]
    if lag["max"] is not None:
        lines += [
            "",
            f"requests were sent late by p50 {lag['p50']:.1f} ms, p99 {lag['p99']:.1f} ms, max {lag['max']:.1f} ms",
        ]
    if summary["void"]:
        late = f"1 % of the requests were sent more than {LAG_S_MAX * 1000:.0f} ms late"
        lines.append(f"VOID: {late}: the generator could not keep up, so the figures say nothing about the server.")
    return "\n".join(lines)


def _of_which(kind: str, statuses: dict[str, int]) -> str:
    """Which statuses the answers of this failure had: ` (3 x 404, 1 x 422)`."""
    first = {Outcome.CLIENT_ERROR: "4", Outcome.SERVER_ERROR: "5"}.get(Outcome(kind))
    if first is None:
        return ""
    seen = [f"{count:,} x {status}" for status, count in statuses.items() if status[0] == first and status != "503"]
    return f" ({', '.join(seen)})"


def _columns(figures: dict[str, float | None]) -> str:
    return "".join(
        f"{'failed' if figures[name] is None else format(figures[name], ',.1f'):>10}"
        for name in ("p50", "p95", "p99", "max")
    )
