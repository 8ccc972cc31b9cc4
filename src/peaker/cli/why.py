"""`peaker why`: the last decisions on the number of servers, in a sentence each."""

from __future__ import annotations

import time
from pathlib import Path

import click

from peaker.cli import present
from peaker.cli.options import json_option, state_here, state_option
from peaker.errors import SettingsError


@click.command("why")
@click.option("--last", type=click.IntRange(1, 10_000), default=10, show_default=True, help="How many, at the most.")
@click.option("--since", metavar="TIME", help="Only those of the last 10m, 2h, 1d; without --last, all of them.")
@click.option("--config", metavar="FILE", help="Settings file beside which the state directory stands.")
@state_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, *, last: int, since: str | None, config: str | None, state: Path | None, as_json: bool
) -> None:
    """Explain the last decisions on the number of servers: what was seen, what was done, and what it has cost.

    The control loop writes a journal, logs/decisions.jsonl in the state directory; this reads it, so it also works when
    nothing runs. Ten minutes after a change, or at the next one, it says what the change has cost beside what leaving
    the number would have. Times are of this machine's time zone.

    \b
    Examples:
      peaker why
      peaker why --since 2h
      peaker why --last 50 --json
    """  # noqa: D301
    from peaker.cli.why_text import now_line, sentences
    from peaker.engines.local.journal_file import read_journal

    directory = state_here(config, state)
    entries = read_journal(directory.decisions)
    if since is not None:
        from_s = time.time() - _seconds(since)
        entries = [entry for entry in entries if isinstance(at := entry.get("at"), int | float) and at >= from_s]
    by_default = ctx.get_parameter_source("last") is click.core.ParameterSource.DEFAULT
    shown = entries if since is not None and by_default else entries[-last:]
    if as_json:
        present.data(shown)
        return
    for line in sentences(shown):
        present.out(line)
    if not shown:
        present.out("nothing has been decided" + (f" in the last {since}." if since else " yet."))
    if line := now_line(directory):
        present.out(line)


def _seconds(text: str) -> float:
    from peaker.units import parse_duration_s

    try:
        return parse_duration_s(text)
    except ValueError as error:
        raise SettingsError(f"{error}.", where="--since") from error
