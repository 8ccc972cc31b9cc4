"""The functions the checks call: name, handler, memory, time limit, and what else is said of them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

CODE = Path(__file__).parents[2] / "apps" / "fidelity_functions"


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """One function. `memory_mb` of 1,769 is one vCPU."""

    name: str
    handler: str = "deeds.handler"
    memory_mb: int = 1769
    timeout_s: int = 20
    concurrency: int = 10
    log_format: str = "text"


FUNCTIONS = (
    Deployed(name="deeds"),
    Deployed(name="brief", timeout_s=1),
    Deployed(name="small", memory_mb=128),
    Deployed(name="single", concurrency=1),
    Deployed(name="object", handler="deeds.counter"),
    Deployed(name="lacks_module", handler="broken/lacks_module.handler"),
    Deployed(name="lacks_handler", handler="broken/lacks_handler.handler"),
    Deployed(name="wrong_syntax", handler="broken/wrong_syntax.handler"),
    Deployed(name="raises", handler="broken/raises.handler"),
    Deployed(name="exits", handler="broken/exits.handler"),
    Deployed(name="json_deeds", log_format="json"),
)


def lay_out(directory: Path) -> Path:
    """A copy of the code, with the one file that is no Python and so cannot stand in a checked tree."""
    code = Path(shutil.copytree(CODE, directory / "functions", ignore=shutil.ignore_patterns("__pycache__")))
    (code / "broken" / "wrong_syntax.txt").rename(code / "broken" / "wrong_syntax.py")
    return code
