"""Temporary files of instances: whose they are, and that they go with them."""

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from launched import Launched, launched, until

from peaker.functions.launcher import Instance

CODE = """
    import os, pathlib, subprocess, sys, tempfile
    TOLD = tempfile.gettempdir()  # known before the fork, as many libraries know it

    def entry(event, context):
        return eval(event)
"""
TMP = Path("/tmp")


async def value(bench: Launched, code: str, instance: Instance | None = None) -> Any:
    return json.loads((await bench.run(code, instance)).payload)


def test_each_local_instance_has_a_temporary_folder_that_goes_with_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, CODE) as bench:
            one, other = await bench.fork(), await bench.fork()
            made = Path(await value(bench, "tempfile.mkstemp()[1]", one))
            folder = await value(bench, "os.environ['TMPDIR']", one)
            assert str(made.parent) == folder == await value(bench, "tempfile.gettempdir()", one)
            assert await value(bench, "tempfile.gettempdir()", other) != folder
            assert await value(bench, "subprocess.check_output(['mktemp', '-u']).decode()", one) != ""

            one.kill()
            await one.wait_ended()
            await until(lambda: not made.parent.exists())

    asyncio.run(scenario())


def test_a_local_instance_reaches_the_machines_own_tmp(tmp_path: Path) -> None:
    """A database may have its socket there."""

    async def scenario() -> None:
        path = TMP / f"peaker-test-{os.getpid()}-{time.time_ns()}"
        async with launched(tmp_path, CODE) as bench:
            path.write_text("socket")
            try:
                assert await value(bench, f"pathlib.Path('{path}').read_text()") == "socket"
            finally:
                path.unlink()

    asyncio.run(scenario())


def test_a_temporary_folder_that_the_user_declared_is_used(tmp_path: Path) -> None:
    async def scenario() -> None:
        declared = tmp_path / "declared"
        declared.mkdir()
        async with launched(tmp_path, CODE, env={"TMPDIR": str(declared)}) as bench:
            assert await value(bench, "tempfile.gettempdir()") == str(declared)

    asyncio.run(scenario())


def test_an_instance_that_is_like_lambda_has_a_tmp_that_nobody_else_sees(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, CODE, like="lambda") as bench:
            one, other = await bench.fork(), await bench.fork()
            if any("share the machine's /tmp" in warning for warning in bench.launcher.warnings):
                pytest.skip(bench.launcher.warnings[-1])
            name = f"/tmp/peaker-test-{os.getpid()}-{time.time_ns()}"
            written = f"pathlib.Path('{name}').write_text('mine')"
            assert await value(bench, written, one) == 4
            assert await value(bench, f"os.path.exists('{name}')", one) is True
            assert await value(bench, f"subprocess.check_output(['cat', '{name}']).decode()", one) == "mine"
            assert await value(bench, f"os.path.exists('{name}')", other) is False
            assert not os.path.exists(name)  # noqa: ASYNC240, PTH110 - one look
            assert await value(bench, "[TOLD, tempfile.gettempdir(), os.environ.get('TMPDIR')]", one) == [
                "/tmp",
                "/tmp",
                None,
            ]
            # The code is where it was, also where the clone or its environment lies below /tmp.
            assert await value(bench, "os.path.exists(os.environ['LAMBDA_TASK_ROOT'] + '/user_code.py')", one) is True
            assert await value(bench, "subprocess.call([sys.executable, '-c', 'import json'])", one) == 0

    asyncio.run(scenario())


def test_files_of_an_ended_instance_are_gone_and_the_code_they_were_beside_is_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, CODE, like="lambda") as bench:
            instance = await bench.fork()
            await value(bench, "pathlib.Path('/tmp/large').write_bytes(bytes(2_000_000))", instance)
            own = next((tmp_path / "scratch").iterdir())
            instance.kill()
            await instance.wait_ended()
            await until(lambda: not (own / "1" / "large").exists())
        assert (tmp_path / "user_code.py").exists()

    asyncio.run(scenario())
