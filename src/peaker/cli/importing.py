"""Importing an app as its workers will: in a process of its own, with the variables of its settings.

`python -P -m peaker.cli.importing` reads settings as JSON from standard input, and writes to standard output what is
wrong with the first target that does not import.
"""

from __future__ import annotations

import os
import subprocess
import sys

from peaker.app import environment, functions, load_target, load_web
from peaker.errors import AppImportError
from peaker.functions.layers import python_folders
from peaker.secret_values import read_secrets, without_secrets
from peaker.settings import Settings


def import_all(settings: Settings) -> None:
    """Import the web app and every handler.

    Raises:
        AppImportError: names the target and the import error.
        SettingsError: a secret is missing.
    """
    secrets = read_secrets(settings, os.environ)
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "peaker.cli.importing"],
            input=settings.to_json().encode(),
            stdout=subprocess.PIPE,
            env={**os.environ, **environment(settings), **secrets},
            cwd=settings.directory,
            check=False,
            timeout=settings.servers.start_s_max,
        )
    except subprocess.TimeoutExpired as error:
        raise AppImportError(
            f"the app did not import within servers.start_s_max = {settings.servers.start_s_max:g} s."
        ) from error
    if done.returncode:
        reason = without_secrets(done.stdout.decode(errors="replace").strip(), secrets)
        raise AppImportError(reason or f"the app ended the process while it was imported: status {done.returncode}.")


def main() -> int:
    """The child's side; returns 0 when everything imports."""
    settings = Settings.from_json(sys.stdin.read())
    # What the app prints while it is imported belongs to standard error, not into the result.
    result = os.dup(1)
    os.dup2(2, 1)
    try:
        if settings.app.web:
            load_web(settings)
        installed = sys.path[:]
        for spec in functions(settings):
            if not (spec.web or spec.is_provided):
                sys.path[:] = [settings.directory, *python_folders(spec.layers), *installed]
                load_target(spec.target, settings.directory)
    except AppImportError as error:
        os.write(result, str(error).encode())
        return AppImportError.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
