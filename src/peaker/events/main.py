"""The events process: keeps events until a function has finished with them. `python -m peaker.events.main --help`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from pathlib import Path
from typing import Any

from peaker.clock import Clock, SystemClock
from peaker.control_socket import ControlServer, Status
from peaker.errors import PeakerError
from peaker.settings import Settings
from peaker.state import StateDirectory

_logger = logging.getLogger("peaker.events")


class Events:
    """One events process from start to drain."""

    def __init__(self, state: StateDirectory, generation: int, settings: Settings, clock: Clock) -> None:
        self._state = state
        self._settings = settings
        self._clock = clock
        self._draining = asyncio.Event()
        self._control = ControlServer(
            state.control_socket("events"),
            process="events",
            generation=generation,
            commands={"drain": self._drain_command},
            orphan_s_max=settings.servers.orphan_s_max,
            on_orphaned=self._orphaned,
        )

    async def run(self) -> None:
        """Serve until told to drain."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._draining.set)
        self._control.set_status(Status.READY)
        await self._draining.wait()
        self._control.set_status(Status.DRAINING)
        self._control.close()

    async def _drain_command(self, _: dict[str, Any]) -> dict[str, Any]:
        self._draining.set()
        return {}

    def _orphaned(self) -> None:
        _logger.warning("no supervisor came; draining", extra={"action": "orphan"})
        self._draining.set()


def main(arguments: list[str] | None = None) -> None:
    """Entry point; exits 0 after a drain, else with the error's code."""
    parser = argparse.ArgumentParser(prog="python -m peaker.events.main", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="state directory")
    parser.add_argument("--generation", type=int, required=True, help="which generation-G.json to read")
    given = parser.parse_args(arguments)
    logging.basicConfig(format="peaker events: %(message)s", level=logging.INFO)
    state = StateDirectory(given.state.absolute())
    try:
        asyncio.run(_run(state, given.generation))
    except PeakerError as error:
        _logger.error("%s", error)  # noqa: TRY400 - the sentence is for a person
        raise SystemExit(error.exit_code) from None


async def _run(state: StateDirectory, generation: int) -> None:
    settings = Settings.from_json(state.settings_of(generation).read_text(encoding="utf-8"))
    await Events(state, generation, settings, SystemClock()).run()


if __name__ == "__main__":
    main()
