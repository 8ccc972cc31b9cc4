"""Runs the fidelity table's checks on another tool and keeps what it finds: see README.md.

python benchmarks/fidelity/run.py RIE --version 1.28 --tool aws-lambda-rie --python venv/bin/python
"""

import argparse
import datetime as dt
import json
import pathlib
import sys
import tempfile
import traceback
from concurrent.futures import Future, ThreadPoolExecutor

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests" / "conformance"))

from fidelity.page import MEASURED, measured
from fidelity.registry import Behaviour, Endpoint, all_behaviours
from peers import TOOLS, NotRunError, end_all

from peaker.functions import kernel

SEEN_MAX = 160
NO_ANSWER = "no answer"


def tried(behaviour: Behaviour, endpoint: Endpoint, limit_s: float) -> str:
    """What was seen: yes, or something else in words."""
    threads = ThreadPoolExecutor(1)
    running: Future[None] = threads.submit(behaviour.check, endpoint)
    try:
        running.result(limit_s)
    except TimeoutError:
        return f"{NO_ANSWER} within {limit_s:g} s"
    except NotRunError as error:
        return f"not run: {error}"
    except Exception as error:  # noqa: BLE001 - whatever a check stumbles over is its finding
        return seen(error)
    finally:
        threads.shutdown(wait=False)
    return "yes"


def seen(error: BaseException) -> str:
    """One line; of a bare assertion, the line that failed."""
    text = " ".join(str(error).split())
    if not text:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        text = f"not so: {frame.line}"
    return f"{'' if isinstance(error, AssertionError) else type(error).__name__ + ': '}{text}"[:SEEN_MAX]


def checked(arguments: argparse.Namespace, behaviours: list[Behaviour], directory: pathlib.Path) -> dict[str, str]:
    """What was seen of each. A tool that gave no answer is started anew, so that it shows what it can at the next."""
    results: dict[str, str] = {}
    left = iter(behaviours)
    while len(results) < len(behaviours):
        folder = directory / str(len(results))
        folder.mkdir()
        try:
            with TOOLS[arguments.name](folder, tool=arguments.tool, python=arguments.python) as endpoint:
                for behaviour in left:
                    results[behaviour.id] = tried(behaviour, endpoint, arguments.check_s_max)
                    print(f"{behaviour.id}: {results[behaviour.id]}", flush=True)
                    if results[behaviour.id].startswith(NO_ANSWER):
                        break
        finally:
            end_all()
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(TOOLS))
    parser.add_argument("--version", required=True, help="of the tool, for the page")
    parser.add_argument("--tool", required=True, help="the tool's program")
    parser.add_argument("--python", required=True, help="the Python its functions run on")
    parser.add_argument("--note", default="", help="a sentence for the page")
    parser.add_argument("--check-s-max", type=float, default=60.0, help="a check that takes longer has failed")
    parser.add_argument("--only", nargs="*", help="ids of the checks to run; what is known of the others is kept")
    arguments = parser.parse_args()
    kernel.become_subreaper()
    wanted = [one for one in all_behaviours() if not arguments.only or one.id in arguments.only]
    with tempfile.TemporaryDirectory() as directory:
        results = checked(arguments, wanted, pathlib.Path(directory))
    found = measured()
    if arguments.only:
        results = found[arguments.name]["results"] | results
    found[arguments.name] = {
        "version": arguments.version,
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "note": arguments.note,
        "results": {name: text.replace(directory, "...") for name, text in results.items()},
    }
    MEASURED.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
