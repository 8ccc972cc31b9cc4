"""What an instance gives the user's code and its caller, on real processes."""

import asyncio
import json
import os
import time
from pathlib import Path

import pytest
import uvloop
from launched import is_running, launched, until

from peaker.errors import AppImportError, AppStartError
from peaker.functions.launcher import InstanceDied, Rung

HANDLER = """
    import json, os, sys, time
    calls = 0
    def entry(event, context):
        global calls
        calls += 1
        return {"event": event, "pid": os.getpid(), "calls": calls}
"""


def test_a_handler_answers_again_and_again_in_one_process(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, HANDLER) as bench:
            instance = await bench.fork()
            results = [json.loads((await bench.run({"n": n}, instance)).payload) for n in range(3)]
            assert [result["event"] for result in results] == [{"n": 0}, {"n": 1}, {"n": 2}]
            assert [result["calls"] for result in results] == [1, 2, 3]
            assert {result["pid"] for result in results} == {instance.pid}
            assert instance.invocations == 3
            assert bench.launcher.rung is Rung.IMPORTED
            assert bench.launcher.rung_reason == ""

    asyncio.run(scenario())


def test_instances_share_nothing_they_write(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, HANDLER) as bench:
            first, second = await asyncio.gather(bench.fork(), bench.fork())
            await bench.run(None, first)
            assert json.loads((await bench.run(None, second)).payload)["calls"] == 1
            assert first.name != second.name

    asyncio.run(scenario())


def test_a_handler_gets_lambdas_context(tmp_path: Path) -> None:
    code = """
        def entry(event, context):
            return {
                "id": context.aws_request_id, "arn": context.invoked_function_arn, "memory": context.memory_limit_in_mb,
                "name": context.function_name, "version": context.function_version, "group": context.log_group_name,
                "stream": context.log_stream_name, "left_ms": context.get_remaining_time_in_millis(),
                "client": context.client_context.custom, "identity": context.identity.cognito_identity_id,
            }
    """

    async def scenario() -> None:
        async with launched(tmp_path, code, memory_mb=256) as bench:
            instance = await bench.fork()
            headers = {"x-amz-client-context": json.dumps({"custom": {"who": "me"}})}
            outcome = await bench.run({}, instance, request_id="abc", timeout_s=5, headers=headers)
            told = json.loads(outcome.payload)
            assert told.pop("left_ms") in range(3000, 5001)
            assert told == {
                "id": "abc",
                "arn": "arn:aws:lambda:us-east-1:000000000000:function:tried",
                "memory": "256",
                "name": "tried",
                "version": "$LATEST",
                "group": "/aws/lambda/tried",
                "stream": instance.name,
                "client": {"who": "me"},
                "identity": None,
            }

    asyncio.run(scenario())


def test_a_function_sees_its_own_environment_and_none_of_the_hosts(tmp_path: Path) -> None:
    code = """
        import os
        at_import = dict(os.environ)
        def entry(event, context):
            return {"at_import": at_import, "now": dict(os.environ)}
    """
    os.environ["SECRET_OF_THE_HOST"] = "hidden"

    async def scenario() -> None:
        async with launched(tmp_path, code, env={"LOG_LEVEL": "info", "AWS_REGION": "eu-west-1"}) as bench:
            instance = await bench.fork()
            headers = {"x-amzn-trace-id": "Root=1-2-3"}
            told = json.loads((await bench.run({}, instance, headers=headers)).payload)
            assert "SECRET_OF_THE_HOST" not in told["now"]
            assert told["at_import"]["LOG_LEVEL"] == "info"
            assert told["now"]["AWS_REGION"] == "eu-west-1"
            assert told["now"]["PEAKER_INSTANCE"] == "1"
            assert told["now"]["OPENBLAS_NUM_THREADS"] == "1"
            assert told["now"]["AWS_LAMBDA_LOG_STREAM_NAME"] == instance.name
            assert told["now"]["_X_AMZN_TRACE_ID"] == "Root=1-2-3"
            assert told["now"]["LAMBDA_TASK_ROOT"] == str(tmp_path)

    try:
        asyncio.run(scenario())
    finally:
        del os.environ["SECRET_OF_THE_HOST"]


def test_what_is_printed_is_in_the_log_of_its_own_invocation_before_the_answer(tmp_path: Path) -> None:
    code = """
        import logging, os, sys
        print("importing")
        def entry(event, context):
            print("printed", event)
            sys.stderr.write("to stderr\\n")
            os.write(1, b"unbuffered\\n")
            logging.getLogger().setLevel(logging.INFO)
            logging.info("logged")
    """

    async def scenario() -> None:
        async with launched(tmp_path, code) as bench:
            instance = await bench.fork()
            for n in (1, 2):
                await bench.run(n, instance, request_id=f"r-{n}")
                lines = bench.lines(f"r-{n}")
                assert lines[:3] == [f"printed {n}", "to stderr", "unbuffered"]
                assert lines[3].startswith("[INFO]\t20")
                assert lines[3].endswith(f"Z\tr-{n}\tlogged")
            assert bench.lines("") == ["importing"]

    asyncio.run(scenario())


WEB = """
    import contextlib, os
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route
    lifespans, seen = [], []

    @contextlib.asynccontextmanager
    async def lifespan(app):
        lifespans.append(os.getpid())
        yield {"pool": "ready"}
        print("stopped")

    async def where(request):
        seen.append(request.url.path)
        return JSONResponse({"pid": os.getpid(), "lifespans": lifespans, "seen": len(seen), "pool": request.state.pool})

    def sync(request):
        return JSONResponse({"pid": os.getpid()})

    async def fail(request):
        raise ValueError("on purpose")

    entry = Starlette(
        routes=[Route("/where", where), Route("/sync", sync), Route("/fail", fail)], lifespan=lifespan
    )
"""


def test_a_web_app_runs_one_lifespan_in_each_instance(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, WEB, web=True, warm_up="/where") as bench:
            assert (bench.launcher.rung, bench.launcher.rung_reason) == (Rung.WARMED, "")
            instance = await bench.fork()
            answers = [json.loads((await bench.get("/where", instance))["body"]) for _ in range(2)]
            # One lifespan in the zygote, whose warm-up request it is that was seen first, and one here.
            assert answers[1]["lifespans"] == [bench.launcher.zygote_pid, instance.pid]
            assert answers[1]["seen"] == 3
            assert answers[0]["pool"] == "ready"
            instance.close()
            await instance.wait_ended()
            assert "stopped" in bench.lines()

    asyncio.run(scenario())


def test_a_web_answer_tells_of_its_run(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, WEB, web=True) as bench:
            instance = await bench.fork()
            cold, warm = await bench.get("/where", instance, cold=True), await bench.get("/where", instance)
            assert cold["peaker"]["cold"]
            assert cold["peaker"]["init_ms"] == pytest.approx(instance.init_ms, abs=0.01)
            assert not warm["peaker"]["cold"]
            assert warm["peaker"]["duration_ms"] > 0

    asyncio.run(scenario())


def test_sync_endpoints_and_errors_of_a_web_app_answer_as_on_a_server(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, WEB, web=True, warm_up="/sync") as bench:
            assert bench.launcher.rung is Rung.WARMED
            instance = await bench.fork()
            assert json.loads((await bench.get("/sync", instance))["body"]) == {"pid": instance.pid}
            failed = await bench.get("/fail", instance)
            assert (failed["statusCode"], failed["body"]) == (500, "Internal Server Error")
            assert "ValueError: on purpose" in "\n".join(bench.lines("r-1"))
            assert (await bench.get("/sync", instance))["statusCode"] == 200

    asyncio.run(scenario())


def test_a_wsgi_app_is_warmed_and_answers_in_its_instances(tmp_path: Path) -> None:
    code = """
        import flask, os, threading
        entry = flask.Flask(__name__)
        @entry.get("/where")
        def where():
            return {"pid": os.getpid(), "thread": threading.current_thread().name}
    """

    async def scenario() -> None:
        async with launched(tmp_path, code, web=True, warm_up="/where") as bench:
            assert (bench.launcher.rung, bench.launcher.rung_reason) == (Rung.WARMED, "")
            instance = await bench.fork()
            told = json.loads((await bench.get("/where", instance))["body"])
            assert told["pid"] == instance.pid
            assert told["thread"].startswith("WSGI")

    asyncio.run(scenario())


def test_each_instance_has_chance_of_its_own(tmp_path: Path) -> None:
    code = """
        import random, numpy
        def entry(event, context):
            return [random.random(), float(numpy.random.rand())]
    """

    async def scenario() -> None:
        async with launched(tmp_path, code) as bench:
            assert bench.launcher.rung is Rung.IMPORTED
            drawn = [json.loads((await bench.run()).payload) for _ in range(3)]
            assert len({number for pair in drawn for number in pair}) == 6

    asyncio.run(scenario())


def test_the_hooks_of_snapshot_restore_run_before_and_after_the_fork(tmp_path: Path) -> None:
    (tmp_path / "snapshot_restore_py.py").write_text(
        "before, after = [], []\n"
        "def register_before_snapshot(f, *a, **k): before.append((f, a, k))\n"
        "def register_after_restore(f, *a, **k): after.append((f, a, k))\n"
        "def get_before_snapshot(): return before\n"
        "def get_after_restore(): return after\n"
    )
    code = """
        import os, snapshot_restore_py as hooks
        ran = []
        for name in ("first", "second"):
            hooks.register_before_snapshot(lambda name: ran.append(["before", name, os.getpid()]), name)
            hooks.register_after_restore(lambda name: ran.append(["after", name, os.getpid()]), name=name)
        def entry(event, context):
            return ran
    """

    async def scenario() -> None:
        async with launched(tmp_path, code) as bench:
            instance = await bench.fork()
            zygote, own = bench.launcher.zygote_pid, instance.pid
            assert json.loads((await bench.run({}, instance)).payload) == [
                ["before", "second", zygote],
                ["before", "first", zygote],
                ["after", "first", own],
                ["after", "second", own],
            ]

    asyncio.run(scenario())


def test_a_closed_instance_ends_and_tells_its_owner_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, HANDLER) as bench:
            ended = []
            instance = await bench.fork()
            instance.on_exit = ended.append
            instance.close()
            assert not instance.alive
            await instance.wait_ended()
            instance.kill()
            assert ended == [instance]
            assert not is_running(instance.pid)
            with pytest.raises(InstanceDied):
                await bench.run({}, instance)

    asyncio.run(scenario())


def cpu_ns_of_threads(pid: int) -> list[int]:
    tasks = sorted(Path(f"/proc/{pid}/task").iterdir())
    return [int((task / "schedstat").read_text().split()[0]) for task in tasks]


async def cpu_ns_once_it_stands_still(pid: int) -> list[int]:
    """Freezing takes a moment; after it, nothing runs in fifty times the pause of the code that is frozen."""
    async with asyncio.timeout(10):
        while True:
            before = cpu_ns_of_threads(pid)
            await asyncio.sleep(0.05)
            if cpu_ns_of_threads(pid) == before:
                return before


def test_a_frozen_instance_stands_still_and_goes_on_where_it_was(tmp_path: Path) -> None:
    code = """
        import os, threading, time
        ticks = []
        def tick():
            while True:
                ticks.append(1)
                time.sleep(0.001)
        def entry(event, context):
            if event == "start":
                threading.Thread(target=tick, daemon=True).start()
            return len(ticks)
    """

    async def scenario(*, cgroups: bool, like: str) -> None:
        async with launched(tmp_path, code, cgroups=cgroups, like=like) as bench:
            instance = await bench.fork()
            await bench.run("start", instance)
            instance.freeze()
            before = await cpu_ns_once_it_stands_still(instance.pid)
            instance.thaw()
            ticks = json.loads((await bench.run("count", instance)).payload)
            await until(lambda: cpu_ns_of_threads(instance.pid) != before)
            assert json.loads((await bench.run("count", instance)).payload) >= ticks
            instance.freeze()
            instance.kill()
            await instance.wait_ended()

    asyncio.run(scenario(cgroups=True, like="lambda"))
    asyncio.run(scenario(cgroups=False, like="local"))


def test_like_lambda_gives_a_share_of_the_cpu_and_a_read_only_disk(tmp_path: Path) -> None:
    code = """
        import os, time
        def entry(event, context):
            if event == "write":
                open("/tmp/peaker-test-writable", "w").close()
                os.unlink("/tmp/peaker-test-writable")
                print("null", file=open("/dev/null", "w"))
                open("/var/tmp/peaker-test-not-writable", "w")
            wall, cpu = time.perf_counter(), time.process_time()
            while time.process_time() - cpu < 0.05:
                pass
            return 0.05 / (time.perf_counter() - wall)
    """

    async def scenario() -> None:
        async with launched(tmp_path, code, like="lambda", memory_mb=177) as bench:
            instance = await bench.fork()
            share = json.loads((await bench.run("spin", instance)).payload)
            if not any("cpu" in notice for notice in bench.launcher.warnings):
                assert share < 0.2  # a tenth of a core, and what one period may run over
            if not any("Landlock" in notice for notice in bench.launcher.warnings):
                refused = await bench.run("write", instance)
                assert json.loads(refused.payload)["errorType"] == "PermissionError"

    asyncio.run(scenario())


def test_a_hundred_instances_start_at_once_and_answer(tmp_path: Path) -> None:
    async def scenario(*, joins_are_slow: bool) -> None:
        async with launched(tmp_path, HANDLER, joins_are_slow=joins_are_slow) as bench:
            instances = await asyncio.gather(*(bench.fork() for _ in range(100)))
            outcomes = await asyncio.gather(*(bench.run(n, one) for n, one in enumerate(instances)))
            results = [json.loads(outcome.payload) for outcome in outcomes]
            assert [result["event"] for result in results] == list(range(100))
            assert {result["pid"] for result in results} == {one.pid for one in instances}
            assert len({one.pid for one in instances}) == 100

    asyncio.run(scenario(joins_are_slow=False))
    # As on machines where the zygote moves into the cgroup of the next instance ahead of the fork.
    asyncio.run(scenario(joins_are_slow=True))


def test_an_instance_reports_the_memory_it_held(tmp_path: Path) -> None:
    code = """
        def entry(event, context):
            return len(bytearray(event * 1024 * 1024))
    """

    async def scenario() -> None:
        async with launched(tmp_path, code) as bench:
            instance = await bench.fork()
            small, large = await bench.run(0, instance), await bench.run(60, instance)
            assert small.max_memory_mb >= bench.launcher.zygote_rss_bytes // 2**20
            assert large.max_memory_mb - small.max_memory_mb in range(55, 70)

    asyncio.run(scenario())


def test_a_target_that_does_not_import_is_named_with_its_error(tmp_path: Path) -> None:
    async def scenario(code: str) -> None:
        async with launched(tmp_path, code):
            pytest.fail("it started")

    with pytest.raises(AppImportError, match=r"(?s)'user_code:entry'.*No module named 'nowhere'.*user_code.py:1"):
        asyncio.run(scenario("import nowhere"))
    with pytest.raises(AppImportError, match="'user_code:entry' does not import: AttributeError"):
        asyncio.run(scenario("nothing = 1"))
    with pytest.raises(AppImportError, match="is int, which cannot be called"):
        asyncio.run(scenario("entry = 1"))


def test_a_start_up_that_fails_is_told_in_the_apps_own_words(tmp_path: Path) -> None:
    code = """
        import contextlib
        from starlette.applications import Starlette
        @contextlib.asynccontextmanager
        async def lifespan(app):
            raise RuntimeError("no database")
            yield
        entry = Starlette(lifespan=lifespan)
    """

    async def scenario() -> None:
        async with launched(tmp_path, code, web=True):
            pytest.fail("it started")

    with pytest.raises(AppStartError, match="no database"):
        asyncio.run(scenario())


def test_a_function_that_does_not_fit_says_how_much_it_needs(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, "ballast = bytearray(130 * 2**20)\ndef entry(e, c): pass", memory_mb=128):
            pytest.fail("it started")

    with pytest.raises(AppStartError, match=r"memory_mb = 128 is too little. Set memory_mb to 1\d\d at least"):
        asyncio.run(scenario())


def test_a_new_zygote_takes_the_place_of_one_that_was_stopped(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, HANDLER) as bench:
            first = await bench.fork()
            started_s = time.monotonic()
            (tmp_path / "user_code.py").write_text("def entry(event, context): return 'new'")
            await bench.launcher.start()
            assert json.loads((await bench.run({}, first)).payload)["event"] == {}
            assert json.loads((await bench.run()).payload) == "new"
            assert first.started_at_s < started_s

    asyncio.run(scenario())


def test_a_host_on_uvloop_is_served_the_same(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, HANDLER) as bench:
            instances = await asyncio.gather(*(bench.fork() for _ in range(8)))
            results = [json.loads((await bench.run(n, one)).payload) for n, one in enumerate(instances)]
            assert [result["event"] for result in results] == list(range(8))
            ended = []
            for one in instances:
                one.on_exit = ended.append
                one.close()
            await until(lambda: len(ended) == 8)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())
