"""`peaker build`: a zip that runs by itself, the same each time, without what must stay at home."""

import base64
import hashlib
import json
import os
import platform
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from peaker.engines.aws.contents import peaker_files
from peaker.engines.aws.package import write_package
from peaker.errors import BuildError

HERE = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]

APP = """
import greeting
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise RuntimeError
    body = (greeting.WORD + open("words.txt").read()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})
"""
FILES = {
    "shop.py": APP,
    "words.txt": " there",
    "peaker.toml": '[app]\nweb = "shop:app"\nenv_file = "local.env"\n',
    "requirements.txt": "greeting\n",
    "local.env": "PASSWORD=1\n",
    ".env": "PASSWORD=2\n",
    "server.key": "PASSWORD=3\n",
    "tests/test_shop.py": "PASSWORD = 4\n",
    ".git/config": "PASSWORD=5\n",
    "venv/pyvenv.cfg": "",
    "venv/lib.py": "PASSWORD = 6\n",
}


def write_wheel(folder: Path, tag: str, word: str) -> None:
    """A package `greeting` for one platform."""
    files = {
        "greeting.py": f"WORD = {word!r}\n",
        "greeting-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n",
        "greeting-1.0.dist-info/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: {tag}\n",
    }
    lines = []
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(text)}")
    files["greeting-1.0.dist-info/RECORD"] = "\n".join([*lines, "greeting-1.0.dist-info/RECORD,,", ""])
    with zipfile.ZipFile(folder / f"greeting-1.0-{tag}.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    write_wheel(wheels, "cp313-cp313-manylinux2014_x86_64", "hello")
    write_wheel(wheels, "cp313-cp313-manylinux_2_28_aarch64", "hallo")
    home = tmp_path / "shop"
    for name, text in FILES.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return home


def build(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    found = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(home.parent / "wheels")}
    command = [sys.executable, "-m", "peaker", "build", "--python", "3.13", *arguments]
    return subprocess.run(
        command, cwd=home, env={**os.environ, **found}, capture_output=True, text=True, timeout=100, check=False
    )


def built(home: Path, *arguments: str) -> Any:
    done = build(home, "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_zip_answers_by_itself_with_nothing_else_installed(project: Path, tmp_path: Path) -> None:
    package = built(project, "--arch", HERE)["package"]
    alone = tmp_path / "task"
    zipfile.ZipFile(package["file"]).extractall(alone)
    code = (
        "import sys, json; sys.path.insert(0, '.'); from peaker.aws import make_handler\n"
        "handler = make_handler({'PEAKER_WEB': 'shop:app'}, began_s=0.0)\n"
        "event = {'version': '2.0', 'rawPath': '/', 'headers': {}, 'requestContext': {'http': {'method': 'GET'}}}\n"
        "print(json.dumps(handler(event, None)))"
    )
    # -S: no site-packages; -I: nothing of the environment either.
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], cwd=alone, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["statusCode"], answer["body"]) == (200, {"x86_64": "hello", "arm64": "hallo"}[HERE] + " there")


def test_wheels_are_those_of_the_platform_asked_for(project: Path) -> None:
    words = {}
    for architecture in ("arm64", "x86_64"):
        with zipfile.ZipFile(built(project, "--arch", architecture)["package"]["file"]) as package:
            words[architecture] = package.read("greeting.py").decode()
    assert words == {"arm64": "WORD = 'hallo'\n", "x86_64": "WORD = 'hello'\n"}


def test_a_project_that_names_no_packages_is_told_so(project: Path) -> None:
    assert "no packages" not in build(project).stderr
    (project / "requirements.txt").unlink()
    assert "no packages are in it" in build(project).stderr


def test_the_same_input_is_the_same_zip_whenever_and_by_whomever_it_is_built(project: Path) -> None:
    first = built(project)["package"]["sha256"]
    for path in project.rglob("*"):
        os.utime(path, (1.5e9, 1.5e9))
    (project / "shop.py").chmod(0o600)
    assert built(project)["package"]["sha256"] == first
    (project / "words.txt").write_text(" you")
    assert built(project)["package"]["sha256"] != first


def test_secrets_tests_and_environments_stay_at_home(project: Path) -> None:
    found = built(project)
    with zipfile.ZipFile(found["package"]["file"]) as package:
        assert not [name for name in package.namelist() if b"PASSWORD" in package.read(name)]
        own = {name for name in package.namelist() if not name.startswith(("peaker/", "greeting", "a2wsgi/"))}
    assert own == {"shop.py", "words.txt", "peaker.toml", "requirements.txt"}
    assert [Path(path).name for path in found["image"]] == ["Dockerfile", "Dockerfile.dockerignore", "entry.sh"]
    definition = (project / "dist" / "Dockerfile").read_text()
    assert "COPY requirements.txt requirements.txt\n" in definition
    assert "COPY --chmod=755 dist/entry.sh /entry.sh\n" in definition


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--requirements", "none.txt"), "none.txt: there is no such file"),
        (("--python", "3.12"), "pip cannot resolve them for Python 3.12 on arm64"),
    ],
)
def test_what_cannot_be_built_is_said_with_what_to_do(project: Path, arguments: tuple[str, ...], says: str) -> None:
    done = build(project, *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert not (project / "dist" / "lambda-arm64.zip").exists()


def test_a_package_too_large_for_lambda_says_what_takes_the_space(tmp_path: Path) -> None:
    large = tmp_path / "model.bin"
    with large.open("wb") as stream:
        stream.truncate(300_000_000)
    with pytest.raises(BuildError, match=r"largest: models 286\.1 MB"):
        write_package([("packages", {"models/model.bin": large})], tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()


def test_peakers_own_weight_is_small() -> None:
    """3 MB zipped is the promise; unzipped it is a fraction of that."""
    assert sum(path.stat().st_size for path in peaker_files().values()) < 300_000


def test_the_image_is_a_function_on_lambda_and_a_server_elsewhere(project: Path, tmp_path: Path) -> None:
    """Its entry, with programs that only say how they were called."""
    built(project)
    for name in ("python", "peaker"):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\necho {name} "$@"\n')
        program.chmod(0o755)
    ways = {}
    for where, variables in (("server", {}), ("lambda", {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001"})):
        done = subprocess.run(
            ["/bin/sh", str(project / "dist" / "entry.sh"), "serve"],
            env={"PATH": f"{tmp_path}:/usr/bin:/bin", **variables},
            capture_output=True,
            text=True,
            check=True,
        )
        ways[where] = done.stdout.strip()
    assert ways == {"server": "peaker serve", "lambda": "python -m awslambdaric peaker.aws.handler"}
