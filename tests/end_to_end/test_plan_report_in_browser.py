"""The report of a plan in a real browser: Chromium, headless, on a machine without network; skipped without it."""

import dataclasses
import http.server
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from peaker.plan.report import report_html

sys.path.insert(0, str(Path(__file__).parents[1] / "apps"))

from made_plan import HYBRID, PLAN, SCALED, with_plan

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--enable-logging=stderr", "--v=0",
)  # fmt: skip

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


class Site:
    """Serves one page on loopback and remembers what was asked for."""

    def __init__(self) -> None:
        self.page = b""
        self.asked: list[str] = []
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.path)
                self.send_response(200 if self.path == "/plan.html" else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(site.page if self.path == "/plan.html" else b"")

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    thread = threading.Thread(target=site.server.serve_forever, args=(0.02,))
    thread.start()
    yield site
    site.server.shutdown()
    thread.join()
    site.server.server_close()


def browse(site: Site, page: str, profile: Path) -> tuple[str, list[str]]:
    """The page as the browser has it after it was loaded, and what its console and policy said."""
    site.page = page.encode()
    assert CHROMIUM is not None
    done = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", f"{site.address}/plan.html"],
        capture_output=True,
        timeout=90,
        check=True,
        text=True,
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_the_page_asks_for_nothing_and_its_console_stays_silent(site: Site, tmp_path: Path) -> None:
    found, console = browse(site, report_html(PLAN), tmp_path)
    assert console == []
    # A browser asks for an icon by itself; the page's policy keeps it from doing even that.
    assert set(site.asked) <= {"/plan.html", "/favicon.ico"}
    assert found.count("<svg") == report_html(PLAN).count("<svg")


def test_a_hostile_log_name_runs_and_loads_nothing(site: Site, tmp_path: Path) -> None:
    hostile = (
        f"\"><script>document.title='taken'</script><img src={site.address}/taken.png "
        "onerror=\"document.title='taken'\"><svg onload=\"document.title='taken'\">"
    )
    first = dataclasses.replace(HYBRID, title=hostile)
    second = dataclasses.replace(SCALED, title=hostile, breaks=(hostile,))
    plan = with_plan(name=hostile, candidates=(second, first), recommended=1, reasons=(hostile,), region=hostile)
    found, console = browse(site, report_html(plan), tmp_path)
    assert console == []
    assert "/taken.png" not in site.asked
    assert "<title>taken" not in found
    assert not re.search(r"<(?:script|img)\b", found)


def test_the_test_itself_sees_what_a_page_says_and_asks_for(site: Site, tmp_path: Path) -> None:
    loud = "<!doctype html><img src=/asked.png><script>console.log('said')</script>"
    _, console = browse(site, loud, tmp_path)
    assert "/asked.png" in site.asked
    assert any("said" in line for line in console)
