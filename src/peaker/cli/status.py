"""`peaker status`: what runs, what it is doing, and what it has cost."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any

import click

from peaker.cli import present
from peaker.cli.options import json_option, state_here, state_option
from peaker.cli.status_text import status_text
from peaker.state import StateDirectory


@click.command("status")
@click.option("--config", metavar="FILE", help="Settings file beside which the state directory stands.")
@state_option
@click.option("--watch", is_flag=True, help="Show it again and again, until Ctrl-C.")
@click.option(
    "--every", "every_s", type=click.FloatRange(0.2, 3600), default=2.0, show_default=True, help="Seconds between two."
)
@json_option
def command(*, config: str | None, state: Path | None, watch: bool, every_s: float, as_json: bool) -> None:
    """Show what runs: addresses, workers, functions, latency by where requests ran, spend, and what it all has cost.

    Counters are since the app was started; of an app that has stopped, those of its last run. It works without a
    supervisor too. Costs are list prices of [servers] instance_type and [functions] architecture in [aws] region; below
    them stand what the same traffic would have cost on servers alone and on functions alone, with what each figure
    rests on. Exit code 1 when no app was ever started here.

    \b
    Examples:
      peaker status
      peaker status --watch
      peaker status --json | python -c 'import json,sys; print(json.load(sys.stdin)["app_url"])'
      peaker status --state /var/lib/shop

    The fields of --json are those of /status on the ops port: docs/reference/ops.md. With --watch, one JSON value a
    line.
    """  # noqa: D301
    directory = state_here(config, state)
    if not watch:
        _show(directory, as_json=as_json)
        return
    with contextlib.suppress(KeyboardInterrupt):  # It is how one stops to watch.
        while True:
            _show(directory, as_json=as_json, clears=True)
            time.sleep(every_s)


def _show(directory: StateDirectory, *, as_json: bool, clears: bool = False) -> None:
    from peaker.clock import SystemClock
    from peaker.engines.local.report import report

    found: dict[str, Any] = asyncio.run(report(directory, SystemClock()))
    if as_json:
        present.data(found)
        return
    if clears:
        click.clear()
    present.out(status_text(found))
