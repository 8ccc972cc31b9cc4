"""`peaker plan --write`: the answer goes into the settings file; the user's other lines and comments stay."""

from __future__ import annotations

import difflib
import re
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from peaker.app import settings_file_here
from peaker.cli import present
from peaker.errors import SettingsError
from peaker.plan.plan import Architecture, Candidate, Kind, Plan
from peaker.plan.telling import dollars
from peaker.settings import load_settings

if TYPE_CHECKING:
    from peaker.plan.case import Case

MARK = "# peaker plan: "
"""Begins the comment lines that are ours: those of an earlier plan are replaced."""

_TASKS = (Kind.TASKS_FIXED, Kind.TASKS_SCALED)


def write_plan(plan: Plan, case: Case, path: Path | None, *, ask: bool) -> None:
    """Show the change and make it; asks before, where a person is there to answer.

    Raises:
        SettingsError: the file cannot be read or written, or would not be right afterwards.
    """
    path = (path or settings_file_here() or Path("peaker.toml")).resolve()
    before = _text(path)
    after = changed_text(before, plan, case, datetime.now(UTC).date().isoformat(), is_pyproject=_is_pyproject(path))
    if after == before:
        present.say(f"{path} says it already.")
        return
    shown = difflib.unified_diff(before.splitlines(), after.splitlines(), str(path), str(path), lineterm="", n=2)
    present.say("\n".join(shown))
    if ask and sys.stdin.isatty() and not click.confirm(f"Write {path}?", default=True, err=True):
        present.say("Nothing is written.")
        return
    _replace(path, after)
    present.say(f"{path} is written.")
    settings = load_settings(path)
    if not settings.app.web and not settings.function:
        present.say('It does not say yet what to run: add web = "module:app" in [app], or [[function]] sections.')


def changed_text(text: str, plan: Plan, case: Case, date: str, *, is_pyproject: bool = False) -> str:
    """The settings file with the answer of the plan in it."""
    import tomlkit
    from tomlkit.exceptions import ParseError

    kept = "".join(line for line in text.splitlines(keepends=True) if not line.startswith(MARK))
    try:
        document: Any = tomlkit.parse(kept)
    except ParseError as error:
        raise SettingsError(f"not valid TOML: {error}.", where="settings file") from error
    root = document
    for name in ("tool", "peaker") if is_pyproject else ():
        root = root.setdefault(name, tomlkit.table())
    for (section, key), value in settings_of(plan, case).items():
        table = root.setdefault(section, tomlkit.table())
        if table.get(key) != value:
            table[key] = value
    prefix = "tool.peaker." if is_pyproject else ""
    return _with_comment(tomlkit.dumps(document), comment_of(plan, date), prefix)


def settings_of(plan: Plan, case: Case) -> dict[tuple[str, str], str | int | float]:
    """Section, key and value of what the answer decides."""
    chosen = plan.answer
    assert chosen is not None
    found: dict[tuple[str, str], str | int | float] = {}
    if chosen.servers is not None and chosen.architecture is not Architecture.FUNCTIONS:
        if chosen.kind not in _TASKS:
            found["servers", "instance_type"] = chosen.servers.size
        found["servers", "count_min"] = chosen.servers.least
        found["servers", "count_max"] = max(1, chosen.servers.most)
    elif chosen.architecture is Architecture.FUNCTIONS:
        found["servers", "count_min"] = 0
    if chosen.memory_mb:
        found["functions", "memory_mb"] = chosen.memory_mb
        found["functions", "architecture"] = case.choices.architecture
    found["aws", "region"] = plan.region
    if plan.percentile == 0.95:
        ms = round(plan.objective_ms, 3)
        found["objective", "latency_p95_ms"] = int(ms) if ms == int(ms) else ms
    return found


def comment_of(plan: Plan, date: str) -> tuple[str, ...]:
    """Date and source, the answer, and what a person still has to decide."""
    chosen = plan.answer
    assert chosen is not None
    return tuple(
        MARK + "".join(letter if letter.isprintable() else "?" for letter in line)
        for line in (
            f"{date}, from {Path(plan.name).name} ({plan.requests:,} requests)",
            f"{chosen.kind.value}: {chosen.title}, {dollars(chosen.usd_per_month)} a month",
            *_notes(chosen),
        )
    )


def _notes(chosen: Candidate) -> tuple[str, ...]:
    notes = []
    if chosen.architecture is Architecture.HYBRID:
        notes.append("requests spill once [app] spill = true, for an app that keeps no state in the process")
    if chosen.architecture is Architecture.FUNCTIONS:
        notes.append('all requests run on functions: [[route]] path = "/*", placement = "functions"')
    notes += [
        f'on functions always: [[route]] path = "{route}", placement = "functions"' for route in chosen.function_routes
    ]
    if chosen.kind in _TASKS:
        notes.append("servers are Fargate tasks, which instance_type does not name")
    return tuple(notes)


def _with_comment(text: str, comment: tuple[str, ...], prefix: str) -> str:
    """The comment above [servers], or [functions] where there is none."""
    lines = text.splitlines()
    for name in ("servers", "functions"):
        header = re.compile(rf"\s*\[\s*{re.escape(prefix + name)}\s*\]")
        at = next((number for number, line in enumerate(lines) if header.match(line)), None)
        if at is not None:
            return "\n".join([*lines[:at], *comment, *lines[at:]]) + "\n"
    return "\n".join([*comment, *lines]) + "\n"


def _is_pyproject(path: Path) -> bool:
    return path.name == "pyproject.toml"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the settings file cannot be read: {error}.", where=str(path)) from error


def _replace(path: Path, text: str) -> None:
    """Check the new text as settings, then put it in the place of the old at once."""
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".peaker-plan-") as directory:
            new = Path(directory, path.name)
            new.write_text(text, encoding="utf-8")
            load_settings(new)
            if path.exists():
                shutil.copymode(path, new)
            new.replace(path)
    except OSError as error:
        raise SettingsError(f"it cannot be written: {error.strerror}.", where=str(path)) from error
