"""`peaker scale`: the number of servers, now."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from peaker.cli import present
from peaker.cli.options import json_option, state_here, state_option


@click.command("scale")
@click.argument("servers", type=int)
@click.option("--config", metavar="FILE", help="Settings file beside which the state directory stands.")
@state_option
@click.option("--timeout", "timeout_s", type=float, default=120.0, show_default=True, help="Longest wait, in seconds.")
@click.option("--no-wait", is_flag=True, help="Return when the number is set, not when it is reached.")
@json_option
def command(
    *, servers: int, config: str | None, state: Path | None, timeout_s: float, no_wait: bool, as_json: bool
) -> None:
    """Set the number of SERVERS now; each is servers.workers worker processes.

    Servers that are added take requests when their app has started; servers that go finish what they have. No request
    is lost either way. The number must lie between servers.count_min and servers.count_max.

    \b
    Examples:
      peaker scale 3
      peaker scale 1 --no-wait
    """  # noqa: D301
    reply = asyncio.run(_ask(state_here(config, state).supervisor_socket, servers, timeout_s, wait=not no_wait))
    if as_json:
        present.data({"servers": reply["servers"], "before": reply["before"], "reached": not no_wait})
    else:
        present.out(f"servers: {reply['servers']}, were {reply['before']}")


async def _ask(path: Path, servers: int, timeout_s: float, *, wait: bool) -> dict[str, Any]:
    from peaker.cli.asking import supervisor

    async with supervisor(path) as client:
        return await client.command("scale", servers=servers, wait=wait, timeout_s=timeout_s)
