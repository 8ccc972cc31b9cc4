"""The stand-in process: AWS services for this machine, by moto. `python -m peaker.local_aws.main --help`.

What is in it is not durable: it ends with the process.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import socket
from pathlib import Path
from typing import Any

from peaker.app import environment
from peaker.aws_calls.client import AwsClient
from peaker.aws_calls.declared import make_declared
from peaker.clock import SystemClock
from peaker.control_socket import ControlServer, Status, WithSocket
from peaker.errors import PeakerError
from peaker.extras import require_extra
from peaker.functions.credentials import load_or_create_key
from peaker.settings import Settings
from peaker.stand_in_variables import region_of_stand_in
from peaker.state import StateDirectory

_logger = logging.getLogger("peaker.local_aws")


class LocalAws:
    """One stand-in process from start to drain."""

    def __init__(self, state: StateDirectory, generation: int, settings: Settings, listener: socket.socket) -> None:
        self._listener = listener
        self._state = state
        self._settings = settings
        self._draining = asyncio.Event()
        self._control = ControlServer(
            state.control_socket("aws"),
            process="aws",
            generation=generation,
            commands={"drain": self._drain_command, "listener": self._listener_command},
            orphan_s_max=settings.servers.orphan_s_max,
            on_orphaned=self._orphaned,
        )

    async def run(self) -> None:
        """Answer until told to drain.

        Raises:
            MissingExtraError: moto is not installed; those connected have been told.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._draining.set)
        try:
            require_extra("local-aws", purpose="The stand-in for AWS")
        except PeakerError as error:
            await self._control.tell_failure(str(error))
            raise
        from peaker.local_aws.server import StandIn

        try:
            stand_in = StandIn(self._listener)
            await stand_in.prepare(self._make_declared)
        except PeakerError as error:
            await self._control.tell_failure(str(error))
            raise
        stand_in.start()
        self._control.set_status(Status.READY)
        _logger.info(
            "empty but for what the settings declare; what is made here is gone when this process ends",
            extra={"action": "start"},
        )
        await self._draining.wait()
        self._control.set_status(Status.DRAINING)
        await asyncio.to_thread(stand_in.stop)
        self._control.close()

    async def _make_declared(self, url: str) -> None:
        key = load_or_create_key(self._state.credentials)
        region = region_of_stand_in(self._settings, environment(self._settings))
        client = AwsClient(url, region=region, key=key, clock=SystemClock())
        try:
            await make_declared(client, self._settings)
        finally:
            client.close()

    async def _drain_command(self, _: dict[str, Any]) -> dict[str, Any]:
        self._draining.set()
        return {}

    async def _listener_command(self, _: dict[str, Any]) -> WithSocket:
        return WithSocket(self._listener)

    def _orphaned(self) -> None:
        _logger.warning("no supervisor came; draining", extra={"action": "orphan"})
        self._draining.set()


def main(arguments: list[str] | None = None) -> None:
    """Entry point; exits 0 after a drain, else with the error's code."""
    parser = argparse.ArgumentParser(prog="python -m peaker.local_aws.main", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="state directory")
    parser.add_argument("--generation", type=int, required=True, help="which generation-G.json to read")
    parser.add_argument("--aws-fd", type=int, required=True, help="listening socket")
    given = parser.parse_args(arguments)
    logging.basicConfig(format="peaker aws: %(message)s", level=logging.INFO)
    state = StateDirectory(given.state.absolute())
    try:
        asyncio.run(_run(state, given.generation, socket.socket(fileno=given.aws_fd)))
    except PeakerError as error:
        _logger.error("%s", error)  # noqa: TRY400 - the sentence is for a person
        raise SystemExit(error.exit_code) from None


async def _run(state: StateDirectory, generation: int, listener: socket.socket) -> None:
    settings = Settings.from_json(state.settings_of(generation).read_text(encoding="utf-8"))
    await LocalAws(state, generation, settings, listener).run()


if __name__ == "__main__":
    main()
