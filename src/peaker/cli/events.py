"""`peaker events`: what waits, runs and is dead, and what is done about it."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import click

from peaker.cli import present
from peaker.cli.event_files import documents_of, wanted_of
from peaker.cli.events_text import event_text, events_text
from peaker.cli.options import json_option, state_here, state_option
from peaker.state import StateDirectory

ANSWER_S_MAX = 10.0
LOG_LINES_MAX = 200
SHOWN_STATES = ("dead", "running", "waiting")
STATES = click.Choice(["waiting", "running", "finished", "dead"])

_config_option = click.option("--config", metavar="FILE", help="Settings file beside which the state directory stands.")


@click.group("events", invoke_without_command=True)
@_config_option
@state_option
@click.option("--function", metavar="NAME", help="Only those of this function.")
@click.option("--only", "in_state", type=STATES, help="Only those in this state.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Events listed of each state."
)
@json_option
@click.pass_context
def command(
    context: click.Context,
    *,
    config: str | None,
    state: Path | None,
    function: str | None,
    in_state: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Show which events wait, run and are dead, by function; `peaker events COMMAND --help` has more.

    An event is kept until a function has finished with it. One that is given up on is a dead letter: it stays, with its
    payload and errors, until it is sent again (redrive) or discarded. Without a running app the file is only read.

    \b
    Examples:
      peaker events
      peaker events --function thumbnail --only dead --json
      peaker events show 7c9e6679-7425-40de-944b-e07fc1f90ae7
      peaker events redrive --function thumbnail
      peaker events discard --all
      peaker events replay failed.jsonl
    """  # noqa: D301
    context.obj = (config, state)
    if context.invoked_subcommand is not None:
        return
    asked = [{"state": one, "function": function, "limit": limit} for one in ([in_state] if in_state else SHOWN_STATES)]
    counts, *pages = ask_events(state_here(config, state), [("counts", {}), *(("list", line) for line in asked)])
    found = {**counts, "events": [event for page in pages for event in page["events"]]}
    more = any(page["after"] for page in pages)
    if function:
        found["functions"] = [one for one in found["functions"] if one["function"] == function]
    if as_json:
        present.data(found)
    else:
        present.out(events_text(found, is_cut=more))


@command.command("show")
@click.argument("event_id", metavar="ID")
@json_option
@click.pass_obj
def show(where: tuple[str | None, Path | None], *, event_id: str, as_json: bool) -> int:
    """Show everything known of one event: payload, attempts, errors, and the lines of the function log about it.

    Exit code 1 where the event is not known (any more).
    """
    directory = state_here(*where)
    (found,) = ask_events(directory, [("show", {"event_id": event_id})])
    if not found:
        present.say(f"peaker: there is no event {event_id!r} here; of finished ones the newest 1,000 are known.")
        return 1
    ids = {found["id"], *(attempt["request_id"] for attempt in found["attempts_made"])}
    found["log"] = _log_lines(directory, ids)
    if as_json:
        present.data(found)
    else:
        present.out(event_text(found))
    return 0


@command.command("redrive")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--function", metavar="NAME", help="All dead letters of this function.")
@click.option("--all", "everything", is_flag=True, help="All dead letters.")
@json_option
@click.pass_obj
def redrive(
    where: tuple[str | None, Path | None],
    *,
    ids: tuple[str, ...],
    function: str | None,
    everything: bool,
    as_json: bool,
) -> int:
    """Run dead letters again: they wait as if they had just come, with no attempts against them."""
    line = _chosen(ids, function, everything)
    (done,) = ask_events(state_here(*where), [("redrive", line)], changes=True)
    return _told(done, "redriven", ids, as_json=as_json)


@command.command("discard")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--function", metavar="NAME", help="All dead letters of this function.")
@click.option("--all", "everything", is_flag=True, help="All dead letters.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def discard(
    where: tuple[str | None, Path | None],
    *,
    ids: tuple[str, ...],
    function: str | None,
    everything: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Forget dead letters, or events that wait where they are named: for good. Asks first."""
    line = _chosen(ids, function, everything)
    directory = state_here(*where)
    if not yes:
        what = " ".join(ids) if ids else f"all dead letters of {function}" if function else "all dead letters"
        click.confirm(f"Discard {what}? They cannot be brought back.", abort=True, err=True)
    (done,) = ask_events(directory, [("discard", line)], changes=True)
    return _told(done, "discarded", ids, as_json=as_json)


@command.command("replay")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--function", metavar="NAME", help="Every document in FILE is a payload for this function.")
@json_option
@click.pass_obj
def replay(where: tuple[str | None, Path | None], *, file: Path, function: str | None, as_json: bool) -> int:
    """Put events again: those in FILE (JSON, or one JSON a line; - is standard input) as new ones.

    Without --function each document says what it is for: {"function": NAME, "payload": ...}, what `peaker events show
    --json` writes, or a record that a destination got. All of FILE is read and checked before the first is put.
    """
    directory = state_here(*where)
    wanted = [wanted_of(document, function) for document in documents_of(file)]
    _require_known({name for name, _ in wanted}, directory)
    kept = asyncio.run(_put_all(directory, wanted))
    if as_json:
        present.data({"put": len(kept), "ids": kept})
    else:
        present.out(f"put {len(kept)} event{'' if len(kept) == 1 else 's'}")
    return 0


def _chosen(ids: tuple[str, ...], function: str | None, everything: bool) -> dict[str, Any]:
    if sum((bool(ids), bool(function), everything)) != 1:
        raise click.UsageError("Name events, or --function NAME, or --all.")
    return {"ids": list(ids), "function": function, "all": everything}


def _told(done: dict[str, Any], verb: str, ids: tuple[str, ...], *, as_json: bool) -> int:
    """Exit code 1 where something was named that was not there to be done with."""
    missing = [known for known in ids if known not in done["ids"]]
    if as_json:
        present.data({verb: done[verb], "not_found": missing})
    else:
        present.out(f"{verb} {done[verb]} event{'' if done[verb] == 1 else 's'}")
        for known in missing:
            present.say(f"peaker: {known}: there is no such event in a state for that.")
    return 1 if missing else 0


def ask_events(
    state: StateDirectory, questions: list[tuple[str, dict[str, Any]]], *, changes: bool = False
) -> list[dict[str, Any]]:
    """Ask the events process; where none runs, look at its file, unless something is to be changed."""
    from peaker.clock import SystemClock
    from peaker.errors import QueueUnavailable
    from peaker.events.at_rest import look_at_rest
    from peaker.unix_socket import is_listened_on

    if is_listened_on(state.intake_socket):
        return asyncio.run(_ask_process(state, questions))
    if changes:
        raise QueueUnavailable(
            "no events process runs here.",
            where=str(state.intake_socket),
            remedy="Start the app with `peaker run`; what is kept on disk can be seen without.",
        )
    found = [look_at_rest(state.events, what, line, SystemClock()) for what, line in questions]
    present.say("peaker: nothing runs here; this is what the file holds")
    return found


async def _ask_process(state: StateDirectory, questions: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    from peaker.event_socket import EventClient

    client = EventClient(state.intake_socket, wait_s=ANSWER_S_MAX)
    try:
        return [json.loads((await client.ask(what, **line))[1]) for what, line in questions]
    finally:
        client.close()


async def _put_all(state: StateDirectory, wanted: list[tuple[str, bytes]]) -> list[str]:
    from peaker.event_socket import EventClient
    from peaker.messages import Event

    client = EventClient(state.intake_socket, wait_s=ANSWER_S_MAX)
    try:
        return [
            await client.put(Event(id=str(uuid.uuid4()), function=name, payload=payload, source="replay"))
            for name, payload in wanted
        ]
    finally:
        client.close()


def _require_known(names: set[str], state: StateDirectory) -> None:
    """Refuse what would only become dead letters."""
    from peaker.app import functions
    from peaker.engines.local.state_dir import read_run
    from peaker.errors import StateError
    from peaker.settings import Settings

    record = read_run(state)
    if record is None:
        raise StateError("no app has been started here.", where=str(state.root), remedy="Start it with `peaker run`.")
    settings = Settings.from_json(state.settings_of(record.generation).read_text(encoding="utf-8"))
    known = {spec.name for spec in functions(settings)}
    if unknown := names - known:
        raise click.BadParameter(
            f"there is no function {min(unknown)!r}; there are: {', '.join(sorted(known)) or 'none'}.",
            param_hint="FILE",
        )


def _log_lines(state: StateDirectory, ids: set[str]) -> list[str]:
    """What the function log still has of these request ids, the newest lines where there are many."""
    lines: list[str] = []
    for name in ("functions.log.1", "functions.log"):
        try:
            text = (state.logs / name).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            continue
        # Time, function, request id, and then the line itself.
        lines += [line for line in text.splitlines() if len(words := line.split(" ", 3)) > 2 and words[2] in ids]
    return lines[-LOG_LINES_MAX:]
