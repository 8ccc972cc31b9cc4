"""python -m examples.streaming: the platform on servers and functions under two minutes of real bursty traffic."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.live import Live as Screen

from examples.streaming import running
from examples.streaming.observe import Moment, Observer
from examples.streaming.show import Live, Outcome, console, summary
from examples.streaming.viewers import viewers
from peaker.settings import load_settings
from peaker.traffic.trace import Trace, read_trace
from peaker.units import parse_duration_s

HERE = running.HERE
TRACE = HERE / "traffic" / "azure_llm_2023_code_20min_1s.csv"
PATHS = ("/:2", "/catalogue/3:1", "/titles/7:4", "/titles/311:4", "/play/7:1")
STORE_BY_HAND = "127.0.0.1:7400"
LOOK_EVERY_S = 1.0
LINE_EVERY = 10


def duration(text: str) -> float:
    try:
        return parse_duration_s(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.streaming", description=__doc__)
    parser.add_argument("--for", dest="for_s", type=duration, default=120.0, help="how long (default 120s)")
    parser.add_argument("--speed", type=float, default=10.0, help="times faster than it came (default 10)")
    parser.add_argument("--scale", type=float, default=2.0, help="times as many requests as came (default 2)")
    parser.add_argument("--viewers", type=int, default=20, help="people watching on WebSockets (default 20)")
    chosen = parser.parse_args()
    if not (chosen.for_s > 0 and chosen.speed > 0 and chosen.scale > 0 and 0 <= chosen.viewers <= 1000):
        parser.error("--for, --speed and --scale must be above 0, --viewers from 0 to 1000")
    return chosen


def settings_for(store: str) -> str:
    """The example's own settings, with the store where it really is."""
    text = (HERE / "peaker.toml").read_text(encoding="utf-8")
    assert text.count(STORE_BY_HAND) == 1
    return text.replace(STORE_BY_HAND, store)


def busiest_second(trace: Trace) -> int:
    """The most requests that come within any second."""
    steps = max(1, round(1 / trace.step_s))
    return max(sum(trace.counts[first : first + steps]) for first in range(max(1, len(trace.counts) - steps + 1)))


class Demonstration:
    """One run from start to summary; Ctrl-C before the traffic begins gives up, afterwards it ends the traffic."""

    def __init__(self, chosen: argparse.Namespace, folder: Path) -> None:
        self._chosen = chosen
        self._folder = folder
        self._settings = load_settings(HERE / "peaker.toml")
        self._trace = read_trace(TRACE).cut(0, chosen.for_s * chosen.speed).scaled(chosen.scale).faster(chosen.speed)
        self._live = Live(self._trace.duration_s, self._settings.objective.latency_p95_ms)
        self._out = console()
        self._replaying: asyncio.subprocess.Process | None = None
        self._stopped = self._is_cut_short = False

    def stop(self, task: asyncio.Task[int]) -> None:
        """End it in order; what was shown so far is summed up where there is anything to sum up."""
        self._stopped = True
        if self._replaying is None:
            task.cancel()
        elif self._replaying.returncode is None:
            self._is_cut_short = True
            self._replaying.send_signal(signal.SIGINT)

    async def run(self) -> int:
        """Start everything, send the traffic, show it, sum it up, stop everything."""
        self._say("Starting the store, two workers and the function host ...")
        async with contextlib.AsyncExitStack() as stack:
            store = await stack.enter_async_context(running.store())
            app = await stack.enter_async_context(running.app(settings_for(store), self._folder))
            self._say_what_comes(app["app_url"])
            seen = await stack.enter_async_context(viewers(app["app_url"], self._chosen.viewers, random.Random(1)))
            observer = Observer(running.state_of(self._folder), app["ops_url"], time.monotonic())
            stack.callback(observer.close)
            replaying = await stack.enter_async_context(running.replay(TRACE, app["app_url"], *self._options()))
            self._replaying = replaying
            result = await self._look_on(observer, replaying)
            counted = await running.ask_store(store, "STATS")
            outcome = Outcome(
                replayed=result,
                usage=observer.usage(),
                store=counted,
                seen=seen,
                instances_max=self._live.instances_max,
                objective_ms=self._settings.objective.latency_p95_ms,
                cut_short_after_s=self._live.elapsed_s if self._is_cut_short else None,
            )
            self._out.print(summary(outcome))
            self._say("Stopping ...")
        return 0 if self._stopped or not result["failed"] else 1

    def _options(self) -> list[str]:
        chosen = self._chosen
        length = ["--for", f"{chosen.for_s * chosen.speed}", "--speed", f"{chosen.speed}", "--scale", f"{chosen.scale}"]
        return length + [word for path in PATHS for word in ("--path", path)]

    def _say(self, text: str) -> None:
        self._out.print(text, soft_wrap=True)

    def _say_what_comes(self, url: str) -> None:
        trace, slots = self._trace, self._settings.servers.in_flight_max
        self._say(
            f"Serving {url}. {trace.total:,} requests will come in {trace.duration_s:.0f} s, "
            f"{trace.mean_per_s:.0f} a second on average and {busiest_second(trace):.0f} in the busiest; "
            f"two workers of {slots} slots serve about 200 a second."
        )

    async def _look_on(self, observer: Observer, replaying: asyncio.subprocess.Process) -> dict[str, Any]:
        """Show what happens until the replay ends; gives its summary."""
        ended = asyncio.create_task(replaying.communicate())
        since_line: list[Moment] = []
        is_terminal = self._out.is_terminal
        with Screen(console=self._out, auto_refresh=False) if is_terminal else contextlib.nullcontext() as screen:
            while not ended.done():
                await asyncio.wait({ended}, timeout=LOOK_EVERY_S)
                moment = await observer.look(time.monotonic())
                self._live.add(moment)
                since_line.append(moment)
                if screen is not None:
                    screen.update(self._live.picture(), refresh=True)
                elif len(since_line) == LINE_EVERY or ended.done():
                    self._say(self._live.line(since_line))
                    since_line.clear()
        replayed, talk = await ended
        if not replayed:
            raise running.NotStarted(f"the replay ended without a summary:\n{talk.decode(errors='replace')}")
        result: dict[str, Any] = json.loads(replayed)
        return result


async def main() -> int:
    chosen = arguments()
    with tempfile.TemporaryDirectory(prefix="peaker-streaming-") as folder:
        demonstration = Demonstration(chosen, Path(folder))
        running_it = asyncio.create_task(demonstration.run())
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, demonstration.stop, running_it)
        try:
            return await running_it
        except asyncio.CancelledError:
            return 130
        except running.NotStarted as error:
            print(f"It did not start: {error}", file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
