"""The how-to's picture: the plan for two weeks of the World Cup site's traffic, drawn as its report draws it."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path

from peaker.plan.plan import Plan, load_plan
from peaker.plan.report_pictures import WIDE, cost_by_count, traffic

TRACE = Path(__file__).with_name("worldcup98_june_1min.csv.gz")
OPTIONS = ("--service-ms", "30,45,60,80,200", "--cpu-share", "0.4", "--latency-ms", "300")
HEIGHT = 300.0


def planned() -> Plan:
    """What `peaker plan` says of it."""
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder, "plan.json")
        command = [sys.executable, "-m", "peaker", "plan", str(TRACE), *OPTIONS, "--save", str(saved)]
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)
        return load_plan(saved)


def drawn(plan: Plan) -> str:
    """Traffic above, cost by the number of servers below, on the colours of the report's style sheet."""
    css = (resources.files("peaker.plan") / "report.css").read_text(encoding="utf-8")
    colours = css[: css.index("@media print")]
    marks = "\n".join(re.findall(r"^svg [^{]*\{[^}]*\}$", css, re.MULTILINE)).replace(
        "svg.narrow { display: none; }", ""
    )
    pictures = [traffic(plan, WIDE, "wide"), cost_by_count(plan, WIDE, "wide")]
    placed = "".join(
        picture.replace("<svg ", f'<svg y="{HEIGHT * number:g}" width="{WIDE:g}" height="{HEIGHT:g}" ', 1)
        for number, picture in enumerate(pictures)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE:g} {2 * HEIGHT:g}" font-family="sans-serif" '
        f'role="img" aria-label="Traffic with the baseline through it, and cost by number of servers">'
        f'<style>{colours}{marks}</style><rect width="100%" height="100%" fill="var(--paper)"/>{placed}</svg>\n'
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(drawn(planned()), encoding="utf-8")
