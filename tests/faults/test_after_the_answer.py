"""What a handler leaves running behind its answer goes on with `like = "local"`, and ends with its instance."""

import asyncio
import json
import os
import signal
import time
from pathlib import Path

from launched import is_running, launched, until

CODE = """
    import subprocess, sys, threading, time
    ticks = 0

    def tick():
        global ticks
        while True:
            ticks += 1
            time.sleep(0.002)

    def leave_thread():
        threading.Thread(target=tick).start()  # no daemon: Python by itself would wait for it

    def print_later():
        def work():
            time.sleep(0.05)
            print("written behind the answer", flush=True)
        threading.Thread(target=work).start()

    def leave_child():
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid

    def entry(event, context):
        return eval(event)
"""


def test_a_thread_goes_on_at_once_and_does_not_hold_up_the_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, CODE) as bench:
            instance = await bench.fork()
            await bench.run("leave_thread()", instance)
            seen = [json.loads((await bench.run("ticks", instance)).payload)]
            async with asyncio.timeout(10):
                while seen[-1] < seen[0] + 20:
                    seen.append(json.loads((await bench.run("ticks", instance)).payload))
            begun_s = time.monotonic()
            instance.close()
            await instance.wait_ended()
            assert time.monotonic() - begun_s < 1.5, "it was not asked to end, but killed after two seconds"

    asyncio.run(scenario())


def test_what_a_thread_prints_behind_the_answer_stands_in_the_log_of_its_invocation(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, CODE) as bench:
            await bench.run("print_later()", request_id="r-late")
            await until(lambda: "written behind the answer" in bench.lines("r-late"))

    asyncio.run(scenario())


def test_a_child_goes_on_from_one_invocation_to_the_next_and_ends_with_the_instance(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, CODE) as bench:
            instance = await bench.fork()
            child = json.loads((await bench.run("leave_child()", instance)).payload)
            await bench.run("1", instance)
            assert is_running(child)
            # It holds the log pipe open, which must not keep the instance from ending.
            instance.close()
            await instance.wait_ended()
            await until(lambda: not is_running(child))

    asyncio.run(scenario())


def test_a_child_does_not_hold_up_an_instance_that_is_killed_from_outside(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with launched(tmp_path, CODE) as bench:
            instance = await bench.fork()
            child = json.loads((await bench.run("leave_child()", instance)).payload)
            os.kill(instance.pid, signal.SIGKILL)
            await instance.wait_ended()
            await until(lambda: not is_running(child))

    asyncio.run(scenario())
