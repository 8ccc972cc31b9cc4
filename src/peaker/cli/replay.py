"""`peaker replay`: the traffic of a trace, sent to a URL."""

from __future__ import annotations

import asyncio
import contextlib
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
from peaker.cli.options import json_option, require_writable, state_here, state_option
from peaker.cli.traffic_options import PLAN_SUFFIX, Chosen, Duration, chosen_traffic, traffic_options
from peaker.clock import Clock, SystemClock
from peaker.engines.local.state_dir import read_run
from peaker.errors import SettingsError
from peaker.http1 import Address
from peaker.simulate.measurement import Measurement
from peaker.simulate.saved import to_json
from peaker.state import StateDirectory
from peaker.traffic.mix import Mix
from peaker.traffic.replay import Replay, destination
from peaker.traffic.sent import Sent
from peaker.traffic.tally import LAG_S_MAX, MEANINGS, Outcome, Tally
from peaker.traffic.trace import Trace

CONNECTIONS_MAX = 50_000
_FILES_BESIDE_CONNECTIONS = 64
_PROGRESS_STEP_S = 0.5
_FIRST_CONNECTION_S_MAX = 2.0


@click.command("replay")
@click.argument("trace", type=click.Path(path_type=Path))
@click.option("--to", "url", help="URL requests are sent to.  [default: the app that runs here]")
@traffic_options
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
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Also write what was measured, for `peaker compare`."
)
@click.option("--config", metavar="FILE", help="Settings file beside which the app's state directory stands.")
@state_option
@json_option
def command(
    *,
    trace: Path,
    url: str | None,
    headers: tuple[str, ...],
    timeout_s: float,
    connections_max: int,
    out: Path | None,
    config: str | None,
    state: Path | None,
    as_json: bool,
    **given: Any,
) -> int:
    """Send the traffic of TRACE to a URL, open loop: arrivals do not wait for answers.

    TRACE is a .csv or .csv.gz file with a `count` header and one number a step (-1 is a gap), or `timestamp,count`; or
    a plan that `peaker plan --save` wrote (.json): its traffic, which --speed and --scale bring to what this machine
    can do. Latency counts from when a request was due. Where the answer says in x-peaker-ran where it ran, latencies
    are shown by placement. Ctrl-C ends the replay with the summary so far.

    --out measures with the app's own meter too: server seconds, GB-seconds, dollars, spilled share and cold starts.
    For that the app must run on this machine; --state or --config says where. `peaker simulate` predicts the same for
    the same options, and `peaker compare` puts both side by side.

    \b
    Examples:
      peaker replay traffic.csv --to http://127.0.0.1:8000
      peaker replay twitter_1s.csv.gz --to http://127.0.0.1:8000 --from 14h --for 20m --speed 10 --scale 0.5
      peaker replay counts_1min.csv --to http://127.0.0.1:8000 --path /:5 --path /search?q=a:1 --json
      peaker replay plan.json --speed 600 --scale 0.01 --out measured-1.json

    Exit code: 0 when every request was answered below 400 and the generator kept its schedule; 1 when one failed or the
    run is void; 2 when the input is wrong.
    """  # noqa: D301 - \\b is click's mark for text it must not wrap
    if not timeout_s > 0:
        raise SettingsError("--timeout must be above 0.")
    chosen = chosen_traffic(trace, given)
    if out is not None:
        require_writable(out)
    directory = state_here(config, state) if out is not None or url is None else None
    url = url or _url_here(directory)
    to = destination(url)
    mix = Mix(chosen.targets, host=to.host, prefix=to.prefix, headers=header_fields(headers))
    _allow_connections(connections_max)
    if trace.suffix == PLAN_SUFFIX:
        present.say(f"the traffic of the plan {trace}, {changed(chosen.sent)}:")
    present.say(announcement(chosen.trace, url))
    if nobody := _why_unreachable(to.address):
        present.say(f"peaker: {url}: nothing answers there now: {nobody}. Every request will fail unless that changes.")
    clock = SystemClock()
    replay = Replay(
        chosen.arrivals_s(),
        mix,
        to.address,
        clock=clock,
        chance=random.Random(f"paths {chosen.seed}"),  # noqa: S311 - repeatable traffic, no secret
        timeout_s=timeout_s,
        connections_max=connections_max,
    )
    tally = _run(replay, chosen, out, directory, clock)
    if as_json:
        present.data(tally.summary())
    else:
        present.out(report(tally.summary()))
    return 1 if tally.failed or tally.is_void else 0


def _url_here(directory: StateDirectory | None) -> str:
    """Where the app of this state directory serves.

    Raises:
        SettingsError: none runs there, or it has no web app.
    """
    record = None if directory is None else read_run(directory)
    if record is None or not record.app_url:
        where = "" if directory is None else str(directory.root)
        raise SettingsError("no web app runs here.", where=where, remedy="Start it with `peaker run`, or name a --to.")
    return record.app_url


def changed(traffic: Sent) -> str:
    """How the traffic differs from that of its file."""
    if traffic.speed == traffic.scale == 1:
        return "as it was"
    return f"{traffic.speed:g} times as fast and with {traffic.scale:g} times as many requests"


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


def _run(replay: Replay, chosen: Chosen, out: Path | None, directory: StateDirectory | None, clock: Clock) -> Tally:
    import uvloop

    gc.freeze()  # The counts stay as they are; walking them would only make the generator late.
    if out is None or directory is None:
        return uvloop.run(_with_progress(replay, chosen.trace, asyncio.Event()))
    tally, measured = uvloop.run(_measured(replay, chosen, directory, clock))
    out.write_text(to_json(measured), encoding="utf-8")
    present.say(f"peaker: what was measured is in {out}; `peaker compare PREDICTION {out}` compares it.")
    for note in measured.notes:
        present.say(f"peaker: {note}")
    return tally


async def _measured(
    replay: Replay, chosen: Chosen, directory: StateDirectory, clock: Clock
) -> tuple[Tally, Measurement]:
    """The replay between two readings of the app's meter."""
    from peaker.cli.replay_measure import measurement_of
    from peaker.engines.local.metered_span import MeterSpan

    span, began_epoch_s, began_s = await MeterSpan.begin(directory, clock), clock.epoch_s(), clock.now_s()
    stopped = asyncio.Event()
    tally = await _with_progress(replay, chosen.trace, stopped)
    # Steps without requests at the end are traffic as well: servers are paid for while they last.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, began_s + chosen.trace.duration_s - clock.now_s())):
            await stopped.wait()
    used = await span.end(tally.sent)
    summary = tally.summary()
    measured = measurement_of(span.settings.app.name, chosen.sent, began_epoch_s, summary, used)
    return tally, measured


async def _with_progress(replay: Replay, trace: Trace, stopped: asyncio.Event) -> Tally:
    """Run it; the first signal sets `stopped` and ends it with what was counted so far."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        stopped.set()
        replay.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
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
