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
from peers import TOOLS, NotRunError

CHECK_S_MAX = 60.0
SEEN_MAX = 160


def tried(behaviour: Behaviour, endpoint: Endpoint) -> str:
    """What was seen: yes, or something else in words."""
    threads = ThreadPoolExecutor(1)
    running: Future[None] = threads.submit(behaviour.check, endpoint)
    try:
        running.result(CHECK_S_MAX)
    except TimeoutError:
        return f"no answer within {CHECK_S_MAX:g} s"
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(TOOLS))
    parser.add_argument("--version", required=True, help="of the tool, for the page")
    parser.add_argument("--tool", required=True, help="the tool's program")
    parser.add_argument("--python", required=True, help="the Python its functions run on")
    parser.add_argument("--note", default="", help="a sentence for the page")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as directory,
        TOOLS[arguments.name](pathlib.Path(directory), tool=arguments.tool, python=arguments.python) as endpoint,
    ):
        results = {}
        for behaviour in all_behaviours():
            results[behaviour.id] = tried(behaviour, endpoint)
            print(f"{behaviour.id}: {results[behaviour.id]}", flush=True)
    found = measured()
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
