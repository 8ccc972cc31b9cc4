"""Layers as folders, for Python functions and for runtimes of their own."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from launched import launched
from provided_runtime import provided, write_bootstrap

from peaker.errors import SettingsError


def write_layers(directory: Path) -> tuple[str, str]:
    """Two layers with a module and a program of the same name; the second has one of its own too."""
    for name in ("one", "two"):
        (directory / name / "python/shared").mkdir(parents=True)
        (directory / name / "python/shared/__init__.py").write_text(f"WHERE = {name!r}\n")
        (directory / name / "bin").mkdir()
        (directory / name / "bin/which-layer").write_text(f"#!/bin/sh\necho {name}\n")
        (directory / name / "bin/which-layer").chmod(0o755)
    packages = directory / f"two/python/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    packages.mkdir(parents=True)
    (packages / "only_here.py").write_text("WHERE = 'two'\n")
    return "one", "two"


LOOK = """
    import os, subprocess
    import only_here, shared
    def entry(event, context):
        program = subprocess.run(["which-layer"], capture_output=True, text=True, check=True).stdout.strip()
        return [shared.WHERE, only_here.WHERE, program, os.environ["PEAKER_LAYERS"]]
"""


def test_a_python_function_finds_its_layers_the_last_above_the_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        layers = write_layers(tmp_path)
        async with launched(tmp_path, LOOK, layers=list(layers)) as bench:
            found = json.loads((await bench.run({})).payload)
            assert found == ["two", "two", "two", f"{tmp_path}/two:{tmp_path}/one"]

    asyncio.run(scenario())


def test_the_code_itself_stands_above_all_layers(tmp_path: Path) -> None:
    async def scenario() -> None:
        layers = write_layers(tmp_path)
        (tmp_path / "shared.py").write_text("WHERE = 'the code'\n")
        async with launched(tmp_path, LOOK, layers=list(layers)) as bench:
            assert json.loads((await bench.run({})).payload)[0] == "the code"

    asyncio.run(scenario())


def test_a_provided_runtime_finds_its_layers_and_may_be_one_itself(tmp_path: Path) -> None:
    code = """
        import subprocess, shared
        request_id, _ = take()
        program = subprocess.run(["which-layer"], capture_output=True, text=True, check=True).stdout.strip()
        answer(request_id, [shared.WHERE, program, os.getcwd()])
        take()
    """

    async def scenario() -> None:
        write_layers(tmp_path)
        write_bootstrap(tmp_path / "one", code)
        async with provided(tmp_path, layers=("one", "two")) as bench:
            assert json.loads((await bench.run({})).payload) == ["two", "two", str(tmp_path)]

    asyncio.run(scenario())


def test_a_function_whose_layer_is_not_there_does_not_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(SettingsError, match=r"the layer .*/none of function tried is not there"):
            async with launched(tmp_path, "def entry(event, context): pass", layers=["none"]):
                pytest.fail("it started")

    asyncio.run(scenario())
