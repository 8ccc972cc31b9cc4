"""python -m benchmarks [NAME...] [--json] [-- OPTIONS]: run them, show them, end with one JSON line each.

What follows -- is for the benchmark itself. Exit code: 0 when no bar was missed (a figure that could not be proved is
shown as such and does not fail), 1 otherwise.
"""

import argparse
import importlib
import importlib.metadata
import os
import pathlib
import platform
import sys
import time

from benchmarks.result import Result, as_json, as_markdown

HERE = pathlib.Path(__file__).parent
SHOWN_PACKAGES = ("peaker", "uvicorn", "uvloop", "httptools", "starlette", "fastapi")


def names() -> list[str]:
    """Every folder here that is a benchmark, in the order of the alphabet."""
    return sorted(path.parent.name for path in HERE.glob("*/__init__.py"))


def machine() -> str:
    """Versions and machine, one line: a figure without them cannot be repeated."""
    versions = [f"{name} {_version(name)}" for name in SHOWN_PACKAGES]
    load = os.getloadavg()[0]
    return (
        f"{platform.python_implementation()} {platform.python_version()}, {platform.system()} {platform.release()}, "
        f"{os.cpu_count()} cores, load {load:.1f}; {', '.join(versions)}"
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _arguments(argv: list[str]) -> tuple[list[str], bool, list[str]]:
    own, options = argv, list[str]()
    if "--" in argv:
        cut = argv.index("--")
        own, options = argv[:cut], argv[cut + 1 :]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"one of {', '.join(names())}; all when left out")
    parser.add_argument("--json", action="store_true", help="only the JSON lines on stdout")
    parsed = parser.parse_args(own)
    unknown = sorted(set(parsed.name) - set(names()))
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(names())}")
    return parsed.name or names(), parsed.json, options


def main(argv: list[str]) -> int:
    chosen, only_json, options = _arguments(argv)
    talk = sys.stderr if only_json else sys.stdout
    missed = False
    lines = []
    for name in chosen:
        print(f"# {name}\n{machine()}; flags: {' '.join(options) or 'none'}\n", file=talk, flush=True)
        began_s = time.monotonic()
        results: list[Result] = importlib.import_module(f"benchmarks.{name}").run(options)
        print(f"\n{as_markdown(results)}\n\ntook {time.monotonic() - began_s:.0f} s\n", file=talk, flush=True)
        missed |= any(result.holds is False for result in results)
        lines.append(as_json(name, results))
    print("\n".join(lines))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
