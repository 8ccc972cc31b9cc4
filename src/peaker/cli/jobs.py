"""`peaker jobs`: what runs without a time limit, how far it is, and what is done about it."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from pathlib import Path
from typing import Any

import click

from peaker.cli import present
from peaker.cli.events import ANSWER_S_MAX, ask_events
from peaker.cli.jobs_text import job_text, jobs_text
from peaker.cli.options import json_option, state_here, state_option
from peaker.state import StateDirectory

FOLLOW_S = 0.3
ENDED_SHOWN = 10
LOG_LINES_SHOWN = 20

_config_option = click.option("--config", metavar="FILE", help="Settings file beside which the state directory stands.")


@click.group("jobs", invoke_without_command=True)
@_config_option
@state_option
@click.option("--name", metavar="NAME", help="Only those of this [[job]].")
@click.option("--all", "everything", is_flag=True, help=f"All that have ended, too, not just the newest {ENDED_SHOWN}.")
@json_option
@click.pass_context
def command(
    context: click.Context, *, config: str | None, state: Path | None, name: str | None, everything: bool, as_json: bool
) -> None:
    """Show jobs: their state, age, how far they say they are, attempt and pid.

    A job has no time limit. Its process may be killed, or the machine: it goes on at the last checkpoint it wrote.
    Without a running app the files are only read.

    \b
    Examples:
      peaker jobs
      peaker jobs start transcode --event '{"film": "dune", "parts": 30}'
      peaker jobs show 7c9e6679-7425-40de-944b-e07fc1f90ae7
      peaker jobs logs 7c9e6679-7425-40de-944b-e07fc1f90ae7 -f
      peaker jobs cancel 7c9e6679-7425-40de-944b-e07fc1f90ae7
    """  # noqa: D301
    context.obj = (config, state)
    if context.invoked_subcommand is not None:
        return
    found = _found(state_here(config, state), name)
    ended = [job for job in found if job["ended_at_s"]]
    hidden = {job["id"] for job in ended[:-ENDED_SHOWN]} if not everything else set()
    shown = [job for job in found if job["id"] not in hidden]
    if as_json:
        present.data({"jobs": shown, "not_shown": len(hidden)})
    else:
        present.out(jobs_text(shown, len(hidden), time.time()))


@command.command("show")
@click.argument("job_id", metavar="ID")
@json_option
@click.pass_obj
def show(where: tuple[str | None, Path | None], *, job_id: str, as_json: bool) -> int:
    """Show everything known of one job: its event, newest checkpoint, history, and the last lines it printed.

    Exit code 1 where the job is not known (any more). ID may be the beginning of one.
    """
    from peaker.jobs.shown import job_whole

    directory = state_here(*where)
    found = job_whole(_folder(directory, job_id), LOG_LINES_SHOWN)
    found = found or next((job for job in _waiting(directory, None) if job["id"].startswith(job_id)), None)
    if found is None:
        return _unknown(job_id)
    if as_json:
        present.data(found)
    else:
        present.out(job_text(found, time.time()))
    return 0


@command.command("start")
@click.argument("name", metavar="NAME")
@click.option("--event", default="{}", metavar="JSON", help="What the handler gets; @FILE reads it from a file.")
@json_option
@click.pass_obj
def start(where: tuple[str | None, Path | None], *, name: str, event: str, as_json: bool) -> int:
    """Start the job NAME; its id is shown once it is on disk."""
    directory = state_here(*where)
    text = Path(event[1:]).read_text(encoding="utf-8") if event.startswith("@") else event
    try:
        json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"it is not JSON: {error}.", param_hint="--event") from error
    known = _job_names(directory)
    if name not in known:
        raise click.BadParameter(
            f"there is no [[job]] {name!r}; there are: {', '.join(sorted(known)) or 'none'}.", param_hint="NAME"
        )
    job_id = asyncio.run(_put(directory, name, text.encode()))
    if as_json:
        present.data({"id": job_id, "name": name})
    else:
        present.out(job_id)
    return 0


@command.command("cancel")
@click.argument("job_id", metavar="ID")
@json_option
@click.pass_obj
def cancel(where: tuple[str | None, Path | None], *, job_id: str, as_json: bool) -> int:
    """End a job for good: it is told to stop, and killed after job.stop_s_max.

    It becomes a dead letter with the reason Cancelled; `peaker events redrive ID` lets it go on at its checkpoint.
    Exit code 1 where there is none that could be ended.
    """
    directory = state_here(*where)
    whole = _whole_id(directory, job_id)
    (done,) = ask_events(directory, [("cancel_job", {"job_id": whole})], changes=True)
    if as_json:
        present.data({"id": whole, "was": done["was"]})
    elif done["was"]:
        present.out(
            f"{whole} was {done['was']} and is cancelled" if done["was"] == "waiting" else f"{whole} is told to stop"
        )
    else:
        present.say(f"peaker: {whole}: there is no such job that waits or runs.")
    return 0 if done["was"] else 1


@command.command("logs")
@click.argument("job_id", metavar="ID")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
@click.option("-n", "--lines", type=click.IntRange(0, 10_000), default=200, show_default=True, help="From before.")
@click.pass_obj
def logs(where: tuple[str | None, Path | None], *, job_id: str, follow: bool, lines: int) -> int:
    """Show what a job printed. Exit code 1 where the job is not known."""
    from peaker.jobs.shown import log_lines

    folder = _folder(state_here(*where), job_id)
    if folder.record() is None:
        return _unknown(job_id)
    place = folder.log.stat().st_size if folder.log.exists() else 0
    for line in log_lines(folder, lines):
        present.out(line)
    while follow:
        record = folder.record()
        has_ended = record is None or record.has_ended
        place = _more(folder.log, place)
        if has_ended:
            break
        time.sleep(FOLLOW_S)
    return 0


def _more(log: Path, place: int) -> int:
    """Show whole lines from `place` on; returns how far that came. A log that was cut begins anew."""
    if not log.exists():
        return 0
    with log.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(place if place <= size else 0)
        place = file.tell()
        text = file.read()
    whole = text[: text.rfind(b"\n") + 1]
    for line in whole.decode("utf-8", "replace").splitlines():
        present.out(line)
    return place + len(whole)


def _found(state: StateDirectory, name: str | None) -> list[dict[str, Any]]:
    from peaker.jobs.shown import jobs_shown

    waiting = _waiting(state, name)
    redriven = {job["id"] for job in waiting}
    begun = [job for job in jobs_shown(state.jobs) if not (job["ended_at_s"] and job["id"] in redriven)]
    known = {job["id"] for job in begun}
    waiting = [job for job in waiting if job["id"] not in known]
    return [job for job in [*begun, *waiting] if name in (None, job["name"])]


def _waiting(state: StateDirectory, name: str | None) -> list[dict[str, Any]]:
    """Those in the queue that have not been begun."""
    names = [name] if name else sorted(_job_names(state))
    if not names or not (state.events.exists()):
        return []
    pages = ask_events(state, [("list", {"state": "waiting", "function": one, "limit": 1000}) for one in names])
    return [
        {
            "id": event["id"],
            "name": event["function"],
            "state": "waiting",
            "source": event["source"],
            "accepted_at_s": event["accepted_at_s"],
            "began_at_s": 0.0,
            "ended_at_s": 0.0,
            "attempt": 0,
            "pid": None,
            "fraction": None,
            "text": "",
            "last_sign_s": 0.0,
            "checkpoints": 0,
            "checkpoint_at_s": 0.0,
            "error": "",
        }
        for page in pages
        for event in page["events"]
        if not event["attempts"]
    ]


def _job_names(state: StateDirectory) -> set[str]:
    from peaker.engines.local.state_dir import read_run
    from peaker.errors import StateError
    from peaker.settings import Settings

    record = read_run(state)
    if record is None:
        raise StateError("no app has been started here.", where=str(state.root), remedy="Start it with `peaker run`.")
    settings = Settings.from_json(state.settings_of(record.generation).read_text(encoding="utf-8"))
    return {job.name for job in settings.job}


def _whole_id(state: StateDirectory, beginning: str) -> str:
    """The id that begins so, where there is just one among those that were begun or wait; else what was given."""
    found = {job["id"] for job in _found(state, None) if job["id"].startswith(beginning)}
    return found.pop() if len(found) == 1 else beginning


def _folder(state: StateDirectory, beginning: str) -> Any:
    from peaker.jobs.folder import JobFolder
    from peaker.jobs.shown import jobs_shown

    exact = JobFolder.of(state.jobs, beginning)
    if exact.path.exists():
        return exact
    found = [job["id"] for job in jobs_shown(state.jobs) if job["id"].startswith(beginning)]
    return JobFolder.of(state.jobs, found[0]) if len(found) == 1 else exact


def _unknown(job_id: str) -> int:
    present.say(f"peaker: there is no job {job_id!r} here; of those that have ended the newest 200 are known.")
    return 1


async def _put(state: StateDirectory, name: str, payload: bytes) -> str:
    from peaker.event_socket import EventClient
    from peaker.messages import Event

    client = EventClient(state.intake_socket, wait_s=ANSWER_S_MAX)
    try:
        return await client.put(Event(id=str(uuid.uuid4()), function=name, payload=payload, source="command"))
    finally:
        client.close()
