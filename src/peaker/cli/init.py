"""`peaker init`: look at a project, ask, and write its first settings file."""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from peaker.app import environment
from peaker.cli import present
from peaker.cli.options import json_option
from peaker.errors import PeakerError, SettingsError
from peaker.project.draft import Answers, all_functions, draft, sign_lines
from peaker.project.findings import Kind, Project, WebApp
from peaker.project.look import look_at
from peaker.settings import Settings, load_settings

FILE_NAME = "peaker.toml"


class NothingFound(PeakerError):  # noqa: N818 - named for what was seen
    """No web app and no handler was found."""

    exit_code = 2


@click.command("init")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".")
@click.option("--web", metavar="TARGET", help="The web app, as module:attribute; absent is the one that is found.")
@click.option("--spill/--no-spill", default=None, help="Answer the question whether requests may leave the servers.")
@click.option("--yes", "-y", is_flag=True, help="Ask nothing; take the safe answers.")
@click.option("--dry-run", is_flag=True, help="Print the file instead of writing it; asks nothing.")
@click.option("--force", is_flag=True, help="Replace a peaker.toml that is there.")
@json_option
def command(
    *, directory: Path, web: str | None, spill: bool | None, yes: bool, dry_run: bool, force: bool, as_json: bool
) -> None:
    """Look at a project, ask whether its requests may leave the servers, and write a commented peaker.toml.

    It reads the code of DIRECTORY (default: here) and runs none of it. It finds web apps (FastAPI, Starlette, Django,
    Flask and others, bare ASGI and WSGI), Lambda handlers and the functions of a SAM template; signs of state in the
    process, clients and threads made at import, WebSockets, streams, work after the response and long waits. The safe
    answer to the question is no wherever there is a sign of state, or something could not be read. A look at code is no
    proof: what is only made at run time is not seen.

    --json gives what was found and the text of the file, and writes it only together with --yes. Templates in YAML need
    `pip install 'peaker[sam]'`.

    \b
    Examples:
      peaker init
      peaker init --yes
      peaker init services/shop --dry-run
      peaker init --web shop.main:app --no-spill --yes --force
    """  # noqa: D301
    path = directory / FILE_NAME
    writes = not dry_run and (yes or not as_json)
    if writes:
        _require_writable(path, force=force)
        if not yes and not sys.stdin.isatty():
            raise SettingsError(
                "nothing can be asked, since standard input is no terminal.",
                where="peaker init",
                remedy="--yes takes the safe answers; --dry-run shows the file.",
            )
    project = look_at(directory.resolve())
    asks = writes and not yes
    if not as_json:
        _show(project)
    answers = _answers(project, directory, web, spill, asks=asks)
    text = draft(project, answers)
    _require_valid(text, directory)
    if writes:
        _write(path, text, force=force)
    if as_json:
        present.data(_found(project, answers, text, str(path) if writes else ""))
    elif dry_run:
        present.out(text.rstrip("\n"))
    else:
        said = f" spill = {str(answers.spill).lower()};" if answers.app else ""
        present.out(f"wrote {path}:{said} look it over, then `peaker check`")


def _require_writable(path: Path, *, force: bool) -> None:
    if (path.exists() or path.is_symlink()) and not force:
        raise SettingsError(
            "it is there already.", where=str(path), remedy="--force replaces it; --dry-run shows another."
        )


def _show(project: Project) -> None:
    """What was found, on standard error."""
    files = "file" if project.files == 1 else "files"
    present.say(f"peaker: read {project.files} Python {files}; nothing was run")
    for app in project.apps:
        present.say(f"  web app   {app.target}  ({app.framework}, {app.path}:{app.line})")
    for function in all_functions(project):
        present.say(f"  function  {function.name} = {function.handler}  ({function.path}:{function.line})")
    for line in sign_lines(project, Kind, "  "):
        present.say(line)
    for remark in (*project.unread, *project.remarks):
        present.say(f"  note: {remark}")


def _answers(project: Project, directory: Path, web: str | None, spill: bool | None, *, asks: bool) -> Answers:
    app = _app(project, web, asks=asks)
    if app is None and not all_functions(project):
        raise NothingFound(
            "no web app and no handler was found." + "".join(f"\n  {remark}" for remark in project.remarks),
            where=str(directory),
            remedy="Name the app with --web module:attribute, or go to the folder it is in.",
        )
    if spill is None:
        spill = app is not None and project.may_spill
        if asks and app is not None:
            spill = click.confirm(
                "May two requests of one user be answered by two processes, so that requests may leave the servers?",
                default=spill,
                err=True,
            )
    return Answers(app=app, spill=spill, env_file=_takes_dotenv(project, directory))


def _app(project: Project, web: str | None, *, asks: bool) -> WebApp | None:
    if web is not None:
        known = {app.target: app for app in project.apps}
        return known.get(web, WebApp(target=web, framework="", path="", line=0))
    if len(project.apps) < 2 or not asks:
        return project.apps[0] if project.apps else None
    targets = [app.target for app in project.apps]
    chosen = click.prompt("Which web app?", type=click.Choice(targets), default=targets[0], err=True)
    return project.apps[targets.index(chosen)]


def _takes_dotenv(project: Project, directory: Path) -> bool:
    """The code reads variables that stand in .env, and does not read that file by itself."""
    if not project.has_dotenv or project.loads_dotenv:
        return False
    settings = Settings(directory=str(directory))
    try:
        named = environment(dataclasses.replace(settings, app=dataclasses.replace(settings.app, env_file=".env")))
    except SettingsError:
        return False  # It has lines of another form; the file says that it is there.
    return bool(set(named) & set(project.variables))


def _require_valid(text: str, directory: Path) -> None:
    """Load what is about to be written; raises SettingsError where --web is no target, say."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, FILE_NAME)
        path.write_text(text, encoding="utf-8")
        try:
            load_settings(path)
        except SettingsError as error:
            raise SettingsError(error.what, where=str(directory / FILE_NAME), remedy=error.remedy) from error


def _write(path: Path, text: str, *, force: bool) -> None:
    """In one step, and never over a file that has come meanwhile."""
    try:
        descriptor, made = tempfile.mkstemp(dir=path.parent, prefix=".peaker-init-")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(made).chmod(0o644)
        try:
            if force:
                Path(made).replace(path)
            else:
                path.hardlink_to(made)
        finally:
            Path(made).unlink(missing_ok=True)
    except OSError as error:
        raise SettingsError(f"it cannot be written: {error.strerror}.", where=str(path)) from error


def _found(project: Project, answers: Answers, text: str, written: str) -> dict[str, Any]:
    return {
        "web": answers.app.target if answers.app is not None else "",
        "spill": answers.spill,
        "safe_spill": project.may_spill,
        "written": written,
        "apps": [dataclasses.asdict(app) for app in project.apps],
        "functions": [dataclasses.asdict(function) for function in all_functions(project)],
        "signs": [dataclasses.asdict(sign) for sign in project.signs],
        "variables": list(project.variables),
        "files": project.files,
        "unread": list(project.unread),
        "remarks": list(project.remarks),
        "text": text,
    }
