"""Code that must not be forked is found out, named, and started one rung down, where it works."""

import asyncio
import json
import textwrap
from pathlib import Path

import pytest
from launched import launched

from peaker.errors import AppStartError
from peaker.functions.launcher import Rung

ANSWER = """
async def answer(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"fine"})

async def entry(scope, receive, send):
    if scope["type"] == "http":
        return await answer(scope, receive, send)
    await receive()
    await start()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})

async def start():
    pass
"""


def web(code: str) -> str:
    return ANSWER + textwrap.dedent(code)


async def find_rung(directory: Path, code: str, *, web: bool = True, canary_s: float = 10.0) -> tuple[Rung, str]:
    """The rung it ends up on, after two instances have answered there."""
    async with launched(directory, code, web=web, warm_up="/" if web else "", canary_s=canary_s) as bench:
        for _ in range(2):
            if web:
                assert (await bench.get("/"))["body"] == "fine"
            else:
                assert json.loads((await bench.run("sent")).payload) == "fine"
        return bench.launcher.rung, bench.launcher.rung_reason


def test_an_app_that_keeps_nothing_running_is_warmed(tmp_path: Path) -> None:
    assert asyncio.run(find_rung(tmp_path, ANSWER)) == (Rung.WARMED, "")


def test_a_thread_started_by_the_import_leads_to_fresh_processes(tmp_path: Path) -> None:
    code = web("""
        import threading
        threading.Thread(target=threading.Event().wait, name="ticker", daemon=True).start()
    """)
    rung, reason = asyncio.run(find_rung(tmp_path, code))
    assert rung is Rung.FRESH
    assert reason == (
        "Instances of tried-web start as fresh processes, each importing by itself: importing user_code:entry left "
        "1 thread (ticker) behind, which a forked copy cannot share."
    )


def test_a_thread_started_by_the_start_up_leads_to_an_import_only(tmp_path: Path) -> None:
    code = web("""
        import threading
        async def start():
            threading.Thread(target=threading.Event().wait, name="heartbeat", daemon=True).start()
    """)
    rung, reason = asyncio.run(find_rung(tmp_path, code))
    assert rung is Rung.IMPORTED
    assert reason == (
        "Instances of tried-web start imported but not warmed: starting, warming and stopping the app left "
        "1 thread (heartbeat) behind, which a forked copy cannot share."
    )


def test_a_thread_started_by_the_first_request_leads_to_an_import_only(tmp_path: Path) -> None:
    code = web("""
        import threading
        plain_answer = answer
        async def answer(scope, receive, send):
            threading.Thread(target=threading.Event().wait, name="pool-1", daemon=True).start()
            await plain_answer(scope, receive, send)
    """)
    rung, reason = asyncio.run(find_rung(tmp_path, code))
    assert (rung, "1 thread (pool-1)" in reason) == (Rung.IMPORTED, True)


def test_a_connection_made_by_the_import_is_named_by_its_peer(tmp_path: Path) -> None:
    code = """
        import socket
        listener = socket.create_server(("127.0.0.1", 0))
        connection = socket.create_connection(listener.getsockname())
        def entry(event, context):
            return "fine"
    """
    rung, reason = asyncio.run(find_rung(tmp_path, code, web=False))
    assert rung is Rung.FRESH
    assert "importing user_code:entry left 1 connection (127.0.0.1:" in reason


def test_an_event_loop_made_by_the_import_is_a_reason_too(tmp_path: Path) -> None:
    code = """
        import asyncio
        loop = asyncio.new_event_loop()
        async def work():
            return "fine"
        def entry(event, context):
            return loop.run_until_complete(work())
    """
    rung, reason = asyncio.run(find_rung(tmp_path, code, web=False))
    assert rung is Rung.FRESH
    assert "an event loop left open" in reason


def test_what_hangs_in_a_forked_child_is_found_by_the_trial_instance(tmp_path: Path) -> None:
    code = web("""
        import os, threading
        imported_in = os.getpid()
        async def start():
            if os.getpid() != imported_in:  # as a lock would, held by a thread that no child has
                threading.Event().wait()
    """)
    rung, reason = asyncio.run(find_rung(tmp_path, code, canary_s=0.5))
    assert rung is Rung.FRESH
    assert reason == (
        "Instances of tried-web start as fresh processes, each importing by itself: "
        "a trial instance did not answer within 0.5 s."
    )


def test_what_crashes_in_a_forked_child_is_found_by_the_trial_instance(tmp_path: Path) -> None:
    code = """
        import os, signal
        imported_in = os.getpid()
        def crash():
            os.kill(os.getpid(), signal.SIGABRT)
        os.register_at_fork(after_in_child=crash)
        def entry(event, context):
            return "fine"
    """

    async def scenario() -> tuple[Rung, str]:
        async with launched(tmp_path, code) as bench:
            assert json.loads((await bench.run("sent")).payload) == "fine"
            return bench.launcher.rung, bench.launcher.rung_reason

    rung, reason = asyncio.run(scenario())
    assert rung is Rung.FRESH
    assert reason.endswith("a trial instance was ended by SIGABRT.")


def test_a_start_up_that_only_works_once_leads_to_an_import_only(tmp_path: Path) -> None:
    code = """
        starts = []
        async def entry(scope, receive, send):
            if scope["type"] == "http":
                await send({"type": "http.response.start", "status": 200, "headers": []})
                return await send({"type": "http.response.body", "body": b"fine"})
            await receive()
            starts.append(1)
            if len(starts) > 1:
                return await send({"type": "lifespan.startup.failed", "message": "started twice"})
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
    """
    rung, reason = asyncio.run(find_rung(tmp_path, code))
    assert rung is Rung.IMPORTED
    assert reason.endswith("the app's start-up (lifespan) failed: started twice.")


def test_a_zygote_that_dies_while_it_warms_up_leads_to_an_import_only(tmp_path: Path) -> None:
    code = web("""
        import os, signal
        imported_in = os.getpid()
        async def start():
            if os.getpid() == imported_in:
                os.kill(os.getpid(), signal.SIGSEGV)
    """)
    rung, reason = asyncio.run(find_rung(tmp_path, code))
    assert rung is Rung.IMPORTED
    assert reason.endswith("its process ended by SIGSEGV while starting, warming and stopping the app.")


def test_an_import_that_does_not_end_is_given_up_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        code = "import threading; threading.Event().wait()"
        async with launched(tmp_path, code, start_s_max=1.0, canary_s=0.1):
            pytest.fail("it started")

    with pytest.raises(AppStartError, match="importing user_code:entry took longer than 1 s"):
        asyncio.run(scenario())


def test_a_warm_up_answered_with_an_error_is_a_warning(tmp_path: Path) -> None:
    code = ANSWER.replace('"status": 200', '"status": 404')

    async def scenario() -> None:
        async with launched(tmp_path, code, web=True, warm_up="/nowhere") as bench:
            assert bench.launcher.rung is Rung.WARMED
            assert "the warm-up request GET /nowhere was answered with status 404" in bench.launcher.warnings[-1]

    asyncio.run(scenario())
