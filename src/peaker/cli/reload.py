"""`peaker reload`: new code and settings for a running app."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from peaker.cli import present
from peaker.cli.options import json_option, state_here, state_option


@click.command("reload")
@click.option("--config", metavar="FILE", help="Settings file beside which the state directory stands.")
@state_option
@click.option("--timeout", "timeout_s", type=float, default=300.0, show_default=True, help="Longest wait, in seconds.")
@click.option("--no-wait", is_flag=True, help="Return when the new generation serves, not when the old one is gone.")
@json_option
def command(*, config: str | None, state: Path | None, timeout_s: float, no_wait: bool, as_json: bool) -> None:
    """Give the running app its code and settings anew, without losing a request; SIGHUP to `peaker run` does the same.

    New workers and a new function host are started beside the old ones. When all of them are ready, they take over and
    the old ones finish what they have; a worker spills only to functions of its own code. If the new code does not
    import or start, the old goes on as it was, and the error is said here (exit code 1).

    Settings are read again from the file, and with the options, that `peaker run` was started with. What cannot change
    while the app runs, such as app.listen, is refused by name.

    \b
    Examples:
      git pull && peaker reload
      peaker reload --state /var/lib/shop --no-wait
    """  # noqa: D301
    reply = asyncio.run(_ask(state_here(config, state).supervisor_socket, timeout_s, wait=not no_wait))
    if as_json:
        present.data({"generation": reply["generation"], "before": reply["before"], "old_is_gone": not no_wait})
    else:
        present.out(f"generation {reply['generation']} serves, was {reply['before']}")


async def _ask(path: Path, timeout_s: float, *, wait: bool) -> dict[str, Any]:
    from peaker.cli.asking import supervisor

    async with supervisor(path) as client:
        return await client.command("reload", wait=wait, timeout_s=timeout_s)
