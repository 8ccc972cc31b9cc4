"""`peaker scale`: the number of servers, now."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from peaker.cli import present
from peaker.cli.options import json_option, state_here, state_option


class CountOrAuto(click.ParamType[int | None]):
    """A number, or `auto`, which is None."""

    name = "N|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        """The number; refuses what is neither."""
        if value == "auto":
            return None
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number of servers nor auto.", param, ctx)


@click.command("scale")
@click.argument("servers", type=CountOrAuto())
@click.option("--config", metavar="FILE", help="Settings file beside which the state directory stands.")
@state_option
@click.option("--timeout", "timeout_s", type=float, default=120.0, show_default=True, help="Longest wait, in seconds.")
@click.option("--no-wait", is_flag=True, help="Return when the number is set, not when it is reached.")
@json_option
def command(
    *, servers: int | None, config: str | None, state: Path | None, timeout_s: float, no_wait: bool, as_json: bool
) -> None:
    """Set the number of SERVERS now, each servers.workers worker processes; "auto" gives it back to the policy.

    A number that is set holds, over restarts too, until `peaker scale auto`. Servers that are added take requests when
    their app has started; servers that go finish what they have. No request is lost either way. The number must lie
    between servers.count_min and servers.count_max.

    \b
    Examples:
      peaker scale 3
      peaker scale 1 --no-wait
      peaker scale auto
    """  # noqa: D301
    path = state_here(config, state).supervisor_socket
    if servers is None:
        _tell_auto(asyncio.run(_ask(path, "auto", timeout_s)), as_json=as_json)
        return
    reply = asyncio.run(_ask(path, "scale", timeout_s, servers=servers, wait=not no_wait))
    if as_json:
        present.data({"servers": reply["servers"], "before": reply["before"], "reached": not no_wait})
    else:
        present.out(f"servers: {reply['servers']}, were {reply['before']}")


def _tell_auto(reply: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        present.data({"servers": reply["servers"], "held": reply["held"]})
        return
    was = "nothing was held" if reply["held"] is None else f"{reply['held']} were held by hand"
    present.out(f"servers: {reply['servers']}, as servers.policy decides from here on; {was}")


async def _ask(path: Path, command: str, timeout_s: float, **fields: Any) -> dict[str, Any]:
    from peaker.cli.asking import supervisor

    async with supervisor(path) as client:
        return await client.command(command, timeout_s=timeout_s, **fields)
