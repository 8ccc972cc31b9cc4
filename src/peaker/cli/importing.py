"""Importing an app as its workers will: in a process of its own, with the variables of its settings.

`python -P -m peaker.cli.importing [--start]` reads settings as JSON from standard input, and writes to standard output
what is wrong with the first target that does not import, or with the lifespan of the web app.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from peaker.app import environment, functions, load_web
from peaker.asgi import ASGIApp, load_callable, load_target
from peaker.engines.local.starting_secrets import starting_secrets
from peaker.errors import AppImportError, AppStartError
from peaker.functions.layers import python_folders
from peaker.secret_values import without_secrets
from peaker.settings import Settings
from peaker.stand_in_variables import above, endpoint_before_start, region_of_stand_in, variables, without_aws

START_FAILED = 3
"""Exit code of the child whose web app imports and does not start."""


def import_all(settings: Settings, *, start: bool = False) -> None:
    """Import the web app and every handler, of jobs too; with `start`, also run the web app's lifespan to its end.

    Raises:
        AppImportError: names the target and the import error.
        AppStartError: the lifespan start-up failed, or all together took longer than servers.start_s_max.
        SettingsError: a secret is missing.
    """
    secrets = starting_secrets(settings)
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "peaker.cli.importing", *(["--start"] if start else [])],
            input=settings.to_json().encode(),
            stdout=subprocess.PIPE,
            # A breakpoint() at import is for the worker, which has the terminal.
            env={**_variables(settings, secrets), "PYTHONBREAKPOINT": "0"},
            cwd=settings.directory,
            check=False,
            timeout=settings.servers.start_s_max,
        )
    except subprocess.TimeoutExpired as error:
        doing, kind = ("import and start", AppStartError) if start else ("import", AppImportError)
        limit_s = settings.servers.start_s_max
        late = kind(f"the app did not {doing} within servers.start_s_max = {limit_s:g} s.")
        late.exit_code = AppImportError.exit_code
        raise late from error
    if done.returncode:
        reason = without_secrets(done.stdout.decode(errors="replace").strip(), secrets)
        if done.returncode == START_FAILED:
            failed = AppStartError(reason)
            failed.exit_code = AppImportError.exit_code
            raise failed
        raise AppImportError(reason or f"the app ended the process while it was imported: status {done.returncode}.")


def _variables(settings: Settings, secrets: Mapping[str, str]) -> dict[str, str]:
    declared = {**environment(settings), **secrets}
    if not settings.aws.endpoint:
        return {**os.environ, **declared}
    given = variables(
        endpoint_url=endpoint_before_start(settings),
        lambda_endpoint="",
        region=region_of_stand_in(settings, declared),
        key=("PEAKERIMPORTS", "nothing"),
        config=Path(os.devnull),
        credentials=Path(os.devnull),
    )
    return {**without_aws(os.environ), **above(settings, declared, given), **given}


def main() -> int:
    """The child's side; returns 0 when everything imports."""
    settings = Settings.from_json(sys.stdin.read())
    # What the app prints while it is imported belongs to standard error, not into the result.
    result = os.dup(1)
    os.dup2(2, 1)
    try:
        web = load_web(settings) if settings.app.web else None
        installed = sys.path[:]
        for spec in functions(settings):
            if not (spec.web or spec.is_provided):
                sys.path[:] = [settings.directory, *python_folders(spec.layers), *installed]
                load_target(spec.target, settings.directory)
        sys.path[:] = [settings.directory, *installed]
        for job in settings.job:
            load_callable(job.handler, settings.directory)
        if web is not None and "--start" in sys.argv[1:]:
            asyncio.run(_start_and_stop(web, settings))
    except (AppImportError, AppStartError) as error:
        os.write(result, str(error).encode())
        return START_FAILED if isinstance(error, AppStartError) else AppImportError.exit_code
    return 0


async def _start_and_stop(web: ASGIApp, settings: Settings) -> None:
    from peaker.servers.lifespan import Lifespan
    from peaker.servers.serving import uvicorn_config

    lifespan = Lifespan(uvicorn_config(web, settings))
    await lifespan.start()
    if not await lifespan.stop(settings.servers.drain_s_max):
        raise AppStartError("the app's lifespan shutdown failed, or took longer than servers.drain_s_max.")


if __name__ == "__main__":
    sys.exit(main())
