"""Layers as folders and the programs of provided runtimes: what is found, and what is refused with which words."""

import os
import sys
from pathlib import Path

import pytest

from peaker.app import FunctionSpec, functions
from peaker.errors import SettingsError
from peaker.functions.command import interpreter_first, resolve_command
from peaker.functions.function_environment import function_environment
from peaker.functions.layers import check_layers, layer_variables, python_folders
from peaker.settings import FunctionSection, FunctionsSection, Settings, load_settings

VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"


def spec_of(directory: Path, *, command: tuple[str, ...] = (), layers: tuple[str, ...] = ()) -> FunctionSpec:
    return functions(settings_of(directory, command=command, layers=layers))[0]


def settings_of(directory: Path, *, command: tuple[str, ...] = (), layers: tuple[str, ...] = ()) -> Settings:
    function = FunctionSection(name="resize", runtime="provided", command=list(command), handler="app.main")
    return Settings(
        functions=FunctionsSection(layers=list(layers)),
        function=(function,),
        directory=str(directory),
    )


def program(path: Path, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


def test_the_last_layer_is_searched_first_and_programs_after_those_of_the_system(tmp_path: Path) -> None:
    for name in (
        "one/python",
        f"one/python/lib/{VERSION}/site-packages",
        "one/bin",
        "two/python",
        "two/lib",
        "two/bin",
    ):
        (tmp_path / name).mkdir(parents=True)
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    variables = layer_variables([one, two], {"PATH": "/usr/bin", "PYTHONPATH": "/mine"})
    assert variables["PYTHONPATH"].split(":") == [
        f"{two}/python",
        f"{one}/python/lib/{VERSION}/site-packages",
        f"{one}/python",
        "/mine",
    ]
    assert variables["PATH"] == f"/usr/bin:{two}/bin:{one}/bin"
    assert variables["LD_LIBRARY_PATH"] == f"{two}/lib"
    assert variables["PEAKER_LAYERS"] == f"{two}:{one}"
    assert "NODE_PATH" not in variables
    assert python_folders([]) == []
    assert layer_variables([], {"PATH": "/usr/bin"}) == {}


def test_a_functions_own_layers_replace_the_common_ones(tmp_path: Path) -> None:
    settings = Settings(
        functions=FunctionsSection(layers=["common"]),
        function=(
            FunctionSection(name="a", handler="m:f"),
            FunctionSection(name="b", handler="m:f", layers=["own", "/srv/more"]),
            FunctionSection(name="c", handler="m:f", layers=[]),
        ),
        directory=str(tmp_path),
    )
    found = {spec.name: spec.layers for spec in functions(settings)}
    assert found == {"a": (f"{tmp_path}/common",), "b": (f"{tmp_path}/own", "/srv/more"), "c": ()}


def test_a_layer_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=rf"the layer {tmp_path}/none of function resize is not there"):
        check_layers(spec_of(tmp_path, layers=("none",)))
    with pytest.raises(SettingsError, match=rf"the layer {tmp_path}/file of function resize is not a folder"):
        check_layers(spec_of(tmp_path, layers=("file",)))


def test_a_command_with_a_slash_is_a_path_and_one_without_is_looked_for(tmp_path: Path) -> None:
    own = program(tmp_path / "tools/run")
    found = program(tmp_path / "elsewhere/run")
    variables = {"PATH": str(tmp_path / "elsewhere")}
    assert resolve_command(spec_of(tmp_path, command=("tools/run", "x")), str(tmp_path), variables) == [str(own), "x"]
    assert resolve_command(spec_of(tmp_path, command=("./tools/run",)), str(tmp_path), variables) == [str(own)]
    assert resolve_command(spec_of(tmp_path, command=("run", "x")), str(tmp_path), variables) == [str(found), "x"]


def test_without_a_command_bootstrap_is_run_from_the_codes_folder_or_the_last_layer_that_has_it(tmp_path: Path) -> None:
    in_layers = [program(tmp_path / name / "bootstrap") for name in ("one", "two")]
    spec = spec_of(tmp_path, layers=("one", "two"))
    assert resolve_command(spec, str(tmp_path), {}) == [str(in_layers[1])]
    own = program(tmp_path / "bootstrap")
    assert resolve_command(spec, str(tmp_path), {}) == [str(own)]


def test_a_program_that_cannot_be_run_is_refused_with_what_to_do(tmp_path: Path) -> None:
    program(tmp_path / "plain", mode=0o644)
    (tmp_path / "folder").mkdir()
    for command, told in (
        (("./none",), f"function resize cannot be run: {tmp_path}/none is not there"),
        (("none",), "function resize cannot be run: 'none' is not on PATH. PATH is /nowhere"),
        (("./plain",), f"{tmp_path}/plain may not be executed. Run: chmod +x {tmp_path}/plain"),
        (("./folder",), f"{tmp_path}/folder is not a file"),
        ((), f"there is no {tmp_path}/bootstrap"),
    ):
        with pytest.raises(SettingsError) as refused:
            resolve_command(spec_of(tmp_path, command=command), str(tmp_path), {"PATH": "/nowhere"})
        assert told in str(refused.value)


def test_python_means_the_interpreter_of_the_virtual_environment() -> None:
    folder = str(Path(sys.executable).parent)
    found = interpreter_first(f"/usr/bin:{folder}").split(os.pathsep)
    assert found == ([folder, "/usr/bin"] if sys.prefix != sys.base_prefix else ["/usr/bin", folder])


def test_a_provided_runtime_gets_its_handler_as_written_and_nothing_of_pythons_own(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, command=("x",))
    variables = function_environment(functions(settings)[0], settings, {"OMP_NUM_THREADS": "3"})
    assert variables["_HANDLER"] == "app.main"
    assert variables["AWS_LAMBDA_FUNCTION_NAME"] == "resize"
    assert variables["OMP_NUM_THREADS"] == "3"
    assert not {"AWS_EXECUTION_ENV", "LAMBDA_RUNTIME_DIR", "OPENBLAS_NUM_THREADS"} & {*variables}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            'handler = "m:f"\ncommand = ["./x"]',
            "peaker.toml:4: function.command = ['./x'] is not for runtime = 'python'",
        ),
        ('runtime = "provided"\ncommand = [""]', "peaker.toml:4: function.command = [''] begins with an empty text"),
        ('runtime = "provided"\ncommand = "./x"', "peaker.toml:4: function.command = './x' is not a list"),
        (
            'runtime = "nodejs20.x"',
            "peaker.toml:3: function.runtime = 'nodejs20.x' is not allowed; allowed: python, provided",
        ),
        ('runtime = "python"', "peaker.toml:1: [[function]] has no handler"),
        ('handler = "m:f"\nlayers = "deps"', "peaker.toml:4: function.layers = 'deps' is not a list"),
    ],
)
def test_a_wrong_runtime_is_told_by_file_line_and_name(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "peaker.toml"
    path.write_text(f'[[function]]\nname = "f"\n{text}\n')
    with pytest.raises(SettingsError) as refused:
        load_settings(path)
    assert told in str(refused.value)


def test_a_provided_function_passes_through_the_file_of_a_generation(tmp_path: Path) -> None:
    path = tmp_path / "peaker.toml"
    path.write_text('[[function]]\nname = "f"\nruntime = "provided"\nhandler = "any text"\nlayers = ["deps"]\n')
    settings = load_settings(path)
    assert Settings.from_json(settings.to_json()) == settings
