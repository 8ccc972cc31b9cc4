"""`peaker build`: one build for servers and functions on AWS."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from peaker.app import find_settings
from peaker.cli import present
from peaker.cli.options import json_option, settings_options
from peaker.engines.aws.building import PYTHON_HERE, PYTHONS, build_package
from peaker.errors import BuildError
from peaker.settings import Settings
from peaker.units import human_bytes

if TYPE_CHECKING:
    from peaker.engines.aws.package import Package

_PARTS_TOLD = 8


@click.command("build")
@settings_options
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for what is built.  [default: dist, in the project]"
)
@click.option("--arch", type=click.Choice(["arm64", "x86_64"]), help="[default: functions.architecture]")
@click.option("--python", type=click.Choice(PYTHONS), default=PYTHON_HERE, show_default=True, help="Python on Lambda.")
@click.option(
    "--requirements",
    type=click.Path(path_type=Path),
    help="What the project needs.  [default: requirements.txt, else dependencies of pyproject.toml]",
)
@json_option
def command(
    *,
    config: str | None,
    stage: str,
    out: Path | None,
    arch: str | None,
    python: str,
    requirements: Path | None,
    as_json: bool,
) -> None:
    """Build the zip for AWS Lambda and the definition of the container image, from one code base.

    The zip holds the project's files, wheels for Lambda's platform, and the few modules of Peaker that answer events
    there (`peaker.aws.handler`). Built again from the same files it is the same, byte for byte. What begins with a dot,
    env_file, keys and tests stay at home. Nothing is sent anywhere; pip resolves what requirements.txt names.

    \b
    Examples:
      peaker build
      peaker build --arch x86_64 --python 3.13 --out /tmp/built
      docker build -f dist/Dockerfile -t shop .
    """  # noqa: D301
    settings = find_settings(config, stage)
    root = Path(settings.directory).resolve()
    built = (out or root / "dist").resolve()
    try:
        built.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BuildError(f"the folder cannot be made: {error.strerror}.", where=str(built)) from error
    package = _zip(settings, built, arch or settings.functions.architecture, python, requirements)
    image = _image(root, built, python, requirements)
    _note_if_nothing_is_installed(root, requirements)
    if as_json:
        present.data({"package": dataclasses.asdict(package), "image": [str(path) for path in image]})
    else:
        present.out(_text(package, image))


def _zip(settings: Settings, built: Path, architecture: str, python: str, named: Path | None) -> Package:
    with present.work_bar("building") as progress:
        return build_package(
            settings, built, architecture=architecture, python=python, requirements=named, progress=progress
        )


def _note_if_nothing_is_installed(root: Path, named: Path | None) -> None:
    """A forgotten file would show on Lambda alone, as an import that fails at each start."""
    from peaker.engines.aws.contents import requirements_of

    if not requirements_of(root, named).for_pip:
        present.say(
            "peaker: warning: no packages are in it: there is neither requirements.txt nor a list of dependencies in "
            "pyproject.toml. What the app imports beside its own files is named there, or by --requirements."
        )


def _image(root: Path, built: Path, python: str, named: Path | None) -> list[Path]:
    """Nothing where it is built outside of the project: an image takes its files from the project's folder alone."""
    from peaker.engines.aws.contents import Requirements, requirements_of
    from peaker.engines.aws.image import ENTRY, IGNORED, dockerfile

    found = requirements_of(root, named)
    within = found.file.resolve() if found.file else None
    if not built.is_relative_to(root) or (within and not within.is_relative_to(root)):
        return []
    entry = built / "entry.sh"
    requirements = Requirements(within.relative_to(root)) if within else found
    definition = dockerfile(python=python, requirements=requirements, entry=entry.relative_to(root))
    texts = {built / "Dockerfile": definition, built / "Dockerfile.dockerignore": IGNORED, entry: ENTRY}
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return list(texts)


def _text(package: Package, image: list[Path]) -> str:
    lines = [
        f"{package.file}: {human_bytes(package.zipped_bytes)}, {package.files:,} files",
        f"  unzipped {human_bytes(package.unzipped_bytes)} of 250 MB",
        f"  sha256 {package.sha256}",
        *(f"  {human_bytes(size):>10}  {part}" for part, size in package.parts[:_PARTS_TOLD]),
    ]
    if len(package.parts) > _PARTS_TOLD:
        rest = package.parts[_PARTS_TOLD:]
        lines.append(f"  {human_bytes(sum(size for _, size in rest)):>10}  in {len(rest)} more")
    if not package.is_uploaded_directly:
        lines.append("  more than 50 MB zipped: it is uploaded through a bucket")
    if image:
        lines.append(f"{image[0]}: a server by itself, a function on Lambda; docker build -f {image[0]} .")
    return "\n".join(lines)
