"""Runtimes as people have them: AWS's clients unmodified, the shell of AWS's tutorial, Node."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from launched import Launched
from provided_runtime import NODE, SHELL, needs_curl, needs_node, provided, write_bootstrap

from peaker.functions.launcher import InstanceDied
from peaker.functions.outcome import InitFailed

RIC = (sys.executable, "-m", "awslambdaric", "user_code.handler")

HANDLER = """
import os
print("imported")
def handler(event, context):
    print("called with", event)
    if event == "fail":
        raise ValueError("not this one")
    if event == "exit":
        os._exit(3)
    if event == "close":
        os.closerange(3, 256)
    if event == "odd":
        return {1, 2}
    return {"event": event, "id": context.aws_request_id, "arn": context.invoked_function_arn,
            "left_ms": context.get_remaining_time_in_millis(), "stream": context.log_stream_name,
            "client": context.client_context and context.client_context.custom}
"""


def payload(outcome: object) -> dict[str, object]:
    result: dict[str, object] = json.loads(outcome.payload)  # type: ignore[attr-defined]
    return result


def test_awslambdaric_runs_unmodified(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "user_code.py").write_text(HANDLER)
        async with provided(tmp_path, command=RIC) as bench:
            instance = await bench.fork()
            headers = {"x-amz-client-context": '{"custom": {"who": "me"}}'}
            told = payload(await bench.run({"n": 1}, instance, request_id="one", timeout_s=5, headers=headers))
            assert told.pop("left_ms") in range(2000, 5001)
            assert told == {
                "event": {"n": 1},
                "id": "one",
                "arn": "arn:aws:lambda:us-east-1:000000000000:function:tried",
                "stream": instance.name,
                "client": {"who": "me"},
            }
            failed = await bench.run("fail", instance, request_id="two")
            assert failed.function_error == "Unhandled"
            error = payload(failed)
            assert (error["errorType"], error["errorMessage"]) == ("ValueError", "not this one")
            assert payload(await bench.run("odd", instance))["errorType"] == "Runtime.MarshalError"
            assert payload(await bench.run("again", instance))["event"] == "again"
            assert bench.lines("one") == ["called with {'n': 1}"]
            assert "imported" in bench.lines("")

    asyncio.run(scenario())


def test_awslambdaric_tells_of_a_handler_that_does_not_import(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "user_code.py").write_text("import no_such_module")
        async with provided(tmp_path, command=RIC) as bench:
            with pytest.raises(InitFailed) as failed:
                await bench.fork()
            assert failed.value.error_type == "Runtime.ImportModuleError"
            error = json.loads(failed.value.body)
            assert error["errorMessage"] == "Unable to import module 'user_code': No module named 'no_such_module'"

    asyncio.run(scenario())


def test_a_handler_that_ends_its_process_is_an_exit_error(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "user_code.py").write_text(HANDLER)
        async with provided(tmp_path, command=RIC) as bench:
            with pytest.raises(InstanceDied, match="Runtime exited with error: exit status 3") as died:
                await bench.run("exit")
            assert died.value.error_type == "Runtime.ExitError"
            assert payload(await bench.run("next"))["event"] == "next"

    asyncio.run(scenario())


def test_a_handler_that_closes_its_own_connection_harms_only_itself(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "user_code.py").write_text(HANDLER)
        async with provided(tmp_path, command=RIC) as bench:
            closing, other = await asyncio.gather(bench.fork(), bench.fork())
            await _run_whatever_comes(bench, closing)
            assert payload(await bench.run("other", other))["event"] == "other"
            assert payload(await bench.run("new"))["event"] == "new"

    asyncio.run(scenario())


async def _run_whatever_comes(bench: Launched, instance: object) -> None:
    """The client may connect anew and answer, end itself, or hang until it is killed."""
    try:
        outcome = await bench.run("close", instance, timeout_s=2)  # type: ignore[arg-type]
    except InstanceDied as died:
        assert died.error_type in ("Runtime.ExitError", "Sandbox.Timedout")  # noqa: PT017 - one of three good ends
    else:
        assert payload(outcome)["event"] == "close"


@needs_curl
def test_the_shell_script_of_awss_tutorial_runs(tmp_path: Path) -> None:
    async def scenario() -> None:
        write_bootstrap(tmp_path, "", prelude=SHELL)
        async with provided(tmp_path) as bench:
            instance = await bench.fork()
            for text in ("hello", "again"):
                assert (await bench.run(text, instance)).payload == f"Echoing request: '\"{text}\"'".encode()

    asyncio.run(scenario())


NODE_HANDLER = """
exports.handler = async (event) => {
  if (event === "fail") throw new TypeError("not this one");
  return { event, node: process.version };
};
"""


@needs_node
def test_a_node_handler_runs_on_a_bootstrap_of_plain_http(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "index.js").write_text(NODE_HANDLER)
        write_bootstrap(tmp_path, "", prelude=NODE)
        async with provided(tmp_path, handler="index.handler") as bench:
            instance = await bench.fork()
            assert payload(await bench.run({"n": 1}, instance))["event"] == {"n": 1}
            failed = await bench.run("fail", instance)
            assert (failed.function_error, payload(failed)["errorType"]) == ("Unhandled", "TypeError")
            assert payload(await bench.run("again", instance))["event"] == "again"

    asyncio.run(scenario())


def node_client() -> Path | None:
    """The start script of AWS's npm package aws-lambda-ric; it compiles curl when it is installed, so few have it."""
    folder = os.environ.get("PEAKER_TEST_NODE_MODULES", "/usr/lib/node_modules")
    path = Path(folder, "aws-lambda-ric/bin/index.mjs")
    return path if path.exists() else None


@needs_node
@pytest.mark.skipif(
    node_client() is None,
    reason="aws-lambda-ric is not installed (npm install it, then set PEAKER_TEST_NODE_MODULES to node_modules)",
)
def test_a_node_handler_runs_on_awss_own_client(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "index.js").write_text(NODE_HANDLER)
        async with provided(tmp_path, command=("node", str(node_client()), "index.handler")) as bench:
            instance = await bench.fork()
            assert payload(await bench.run({"n": 1}, instance))["event"] == {"n": 1}
            failed = await bench.run("fail", instance)
            assert (failed.function_error, payload(failed)["errorType"]) == ("Unhandled", "TypeError")
            assert payload(await bench.run("again", instance))["event"] == "again"

    asyncio.run(scenario())
