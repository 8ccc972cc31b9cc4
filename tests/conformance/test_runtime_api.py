"""Lambda's Runtime API spoken by a runtime of its own, on real processes."""

import asyncio
import json
import time
from pathlib import Path

import pytest
from launched import is_running, until
from provided_runtime import PRELUDE, provided, write_bootstrap

from peaker.errors import AppStartError
from peaker.functions.launcher import InstanceDied
from peaker.functions.outcome import InitFailed
from peaker.functions.provided import ProvidedInstance

ECHO = """
    while True:
        request_id, event = take()
        answer(request_id, {"event": event, "pid": os.getpid()})
"""


async def free(instance: ProvidedInstance) -> None:
    done = asyncio.get_running_loop().create_future()
    instance.when_free(lambda: done.set_result(None))
    async with asyncio.timeout(10):
        await done


def test_one_process_answers_again_and_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        write_bootstrap(tmp_path, ECHO)
        async with provided(tmp_path) as bench:
            instance = await bench.fork()
            results = [json.loads((await bench.run({"n": n}, instance)).payload) for n in range(3)]
            assert [result["event"]["n"] for result in results] == [0, 1, 2]
            assert {result["pid"] for result in results} == {instance.pid}
            assert instance.init_ms > 0

    asyncio.run(scenario())


def test_the_next_event_comes_with_lambdas_headers(tmp_path: Path) -> None:
    code = """
        status, headers, event = ask("GET", "/invocation/next")
        answer(headers["lambda-runtime-aws-request-id"], {"status": status, "headers": headers})
        take()
    """

    async def scenario() -> None:
        write_bootstrap(tmp_path, code)
        async with provided(tmp_path, env={"AWS_REGION": "eu-west-1"}) as bench:
            qualified = "arn:aws:lambda:eu-west-1:000000000000:function:tried:b1"
            sent = {
                "lambda-runtime-invoked-function-arn": qualified,
                "x-amzn-trace-id": "Root=1-2-3",
                "x-amz-client-context": '{"custom": {"who": "\\u00e9\\u0142"}}',
            }
            before_ms = time.time() * 1000
            told = json.loads((await bench.run({}, request_id="abc", timeout_s=5, headers=sent)).payload)
            headers = told["headers"]
            assert told["status"] == 200
            assert headers["lambda-runtime-aws-request-id"] == "abc"
            assert headers["lambda-runtime-trace-id"] == "Root=1-2-3"
            assert headers["lambda-runtime-invoked-function-arn"] == qualified
            assert json.loads(headers["lambda-runtime-client-context"]) == {"custom": {"who": "é\u0142"}}
            assert headers["content-type"] == "application/json"
            assert before_ms < int(headers["lambda-runtime-deadline-ms"]) <= time.time() * 1000 + 5000

    asyncio.run(scenario())


def test_headers_that_have_nothing_to_say_are_left_out(tmp_path: Path) -> None:
    code = """
        _, headers, _ = ask("GET", "/invocation/next")
        answer(headers["lambda-runtime-aws-request-id"], headers)
        take()
    """

    async def scenario() -> None:
        write_bootstrap(tmp_path, code)
        async with provided(tmp_path) as bench:
            names = json.loads((await bench.run({})).payload)
            assert names["lambda-runtime-invoked-function-arn"].endswith(":us-east-1:000000000000:function:tried")
            lambdas = [name for name in sorted(names) if name.startswith("lambda-runtime-")]
            assert [name.removeprefix("lambda-runtime-") for name in lambdas] == [
                "aws-request-id",
                "deadline-ms",
                "invoked-function-arn",
            ]

    asyncio.run(scenario())


WRONG_CALLS = """
    seen = {}
    def note(name, answered):
        status, _, body = answered
        seen[name] = [status, body.decode()]
    note("response before an event", ask("POST", "/invocation/x/response", "1"))
    note("unknown path", ask("GET", "/invocation/previous"))
    note("wrong method", ask("POST", "/invocation/next", ""))
    request_id, event = take()
    note("foreign id", answer("somebody-elses", 1))
    note("foreign id of an error", ask("POST", "/invocation/somebody-elses/error", "{}"))
    note("late init error", ask("POST", "/init/error", "{}"))
    note("asked again", ask("GET", "/invocation/next"))
    note("answer", answer(request_id, "first"))
    note("second answer", answer(request_id, "second"))
    note("error after the answer", ask("POST", "/invocation/" + request_id + "/error", "{}"))
    old, (request_id, event) = request_id, take()
    note("id of the last", answer(old, "third"))
    answer(request_id, seen)
    take()
"""


def test_what_may_not_be_said_now_is_refused_as_lambda_does_and_changes_nothing(tmp_path: Path) -> None:
    forbidden = "State transition from {} to {} failed for runtime. Error: State transition is not allowed"

    def told(kind: str, message: str) -> str:
        return json.dumps({"errorMessage": message, "errorType": kind}, separators=(",", ":")) + "\n"

    wrong_id = [400, told("InvalidRequestID", "Invalid request ID")]

    async def scenario() -> None:
        write_bootstrap(tmp_path, WRONG_CALLS)
        async with provided(tmp_path) as bench:
            instance = await bench.fork()
            assert (await bench.run("a", instance, request_id="one")).payload == b'"first"'
            assert json.loads((await bench.run("b", instance, request_id="two")).payload) == {
                "response before an event": wrong_id,
                "unknown path": [404, "404 page not found\n"],
                "wrong method": [405, ""],
                "foreign id": wrong_id,
                "foreign id of an error": wrong_id,
                "late init error": [403, told("InvalidStateTransition", forbidden.format("Running", "InitError"))],
                "asked again": [200, '"a"'],
                "answer": [202, '{"status":"OK"}\n'],
                "second answer": [
                    403,
                    told("InvalidStateTransition", forbidden.format("ResponseSent", "InvocationResponse")),
                ],
                "error after the answer": [
                    403,
                    told("InvalidStateTransition", forbidden.format("ResponseSent", "InvocationErrorResponse")),
                ],
                "id of the last": wrong_id,
            }

    asyncio.run(scenario())


def test_an_error_is_the_callers_as_the_runtime_wrote_it(tmp_path: Path) -> None:
    code = """
        plain = {"errorType": "Bad", "errorMessage": "no", "stackTrace": ["here"]}
        request_id, _ = take()
        ask("POST", "/invocation/" + request_id + "/error", json.dumps(plain))
        request_id, _ = take()
        kind = {"content-type": "application/vnd.aws.lambda.error.cause+json"}
        with_cause = {**plain, "xRayErrorCause": {"paths": []}}
        ask("POST", "/invocation/" + request_id + "/error", json.dumps(with_cause), kind)
        request_id, _ = take()
        ask("POST", "/invocation/" + request_id + "/error", "no JSON", kind)
        take()
    """

    async def scenario() -> None:
        write_bootstrap(tmp_path, code)
        async with provided(tmp_path) as bench:
            instance = await bench.fork()
            outcomes = [await bench.run({}, instance) for _ in range(3)]
            assert {outcome.function_error for outcome in outcomes} == {"Unhandled"}
            plain = {"errorType": "Bad", "errorMessage": "no", "stackTrace": ["here"]}
            assert [json.loads(outcome.payload) for outcome in outcomes] == [plain, plain, "Invalid error body"]

    asyncio.run(scenario())


def test_a_response_over_the_limit_is_an_error_of_the_function(tmp_path: Path) -> None:
    code = """
        def too_much():
            for _ in range(7): yield b"x" * 1048576
        request_id, _ = take()
        first = ask("POST", "/invocation/" + request_id + "/response", b"x" * (6 * 1048576 + 101))
        request_id, _ = take()
        second = ask("POST", "/invocation/" + request_id + "/response", too_much())
        request_id, _ = take()
        third = ask("POST", "/invocation/" + request_id + "/response", b"x" * (6 * 1048576 + 100))
        request_id, _ = take()
        answer(request_id, [first[0], json.loads(first[2]), second[0], third[0]])
        take()
    """

    async def scenario() -> None:
        write_bootstrap(tmp_path, code)
        async with provided(tmp_path) as bench:
            instance = await bench.fork()
            for _ in range(2):
                outcome = await bench.run({}, instance)
                assert outcome.function_error == "Unhandled"
                assert json.loads(outcome.payload) == {
                    "errorType": "Function.ResponseSizeTooLarge",
                    "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
                }
            largest = await bench.run({}, instance)
            assert (len(largest.payload), largest.function_error) == (6_291_556, "")
            assert json.loads((await bench.run({}, instance)).payload) == [
                413,
                {
                    "errorMessage": "Exceeded maximum allowed payload size (6291556 bytes).",
                    "errorType": "RequestEntityTooLarge",
                },
                413,
                202,
            ]

    asyncio.run(scenario())


def test_a_streamed_response_is_taken_whole_and_its_trailers_tell_of_an_error(tmp_path: Path) -> None:
    code = """
        import base64, socket
        def stream(request_id, trailers, mode="streaming"):
            host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
            with socket.create_connection((host, int(port))) as connection:
                head = f"POST /2018-06-01/runtime/invocation/{request_id}/response HTTP/1.1\\r\\nhost: x\\r\\n"
                head += f"lambda-runtime-function-response-mode: {mode}\\r\\ntransfer-encoding: chunked\\r\\n"
                head += "trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\\r\\n\\r\\n"
                body = b"5\\r\\nhello\\r\\n6\\r\\n world\\r\\n0\\r\\n"
                connection.sendall(head.encode() + body + trailers + b"\\r\\n")
                return connection.recv(1000).decode().splitlines()[0]
        request_id, _ = take()
        good = stream(request_id, b"")
        request_id, _ = take()
        body = base64.b64encode(b'{"errorType": "Late", "errorMessage": "in the middle"}')
        error = b"Lambda-Runtime-Function-Error-Type: Late\\r\\nLambda-Runtime-Function-Error-Body: " + body + b"\\r\\n"
        failed = stream(request_id, error)
        request_id, _ = take()
        wrong = stream(request_id, b"", "whole")
        request_id, _ = take()
        answer(request_id, [good, failed, wrong])
        take()
    """

    async def scenario() -> None:
        write_bootstrap(tmp_path, code)
        async with provided(tmp_path) as bench:
            instance = await bench.fork()
            whole = await bench.run({}, instance)
            assert (whole.payload, whole.function_error) == (b"hello world", "")
            late = await bench.run({}, instance)
            assert late.function_error == "Unhandled"
            assert json.loads(late.payload) == {"errorType": "Late", "errorMessage": "in the middle"}
            wrong = await bench.run({}, instance)
            assert json.loads(wrong.payload)["errorType"] == "Runtime.InvalidResponseModeHeader"
            told = json.loads((await bench.run({}, instance)).payload)
            assert told == ["HTTP/1.1 202 Accepted", "HTTP/1.1 202 Accepted", "HTTP/1.1 400 Bad Request"]

    asyncio.run(scenario())


def test_an_instance_is_busy_until_its_runtime_asks_again(tmp_path: Path) -> None:
    code = """
        request_id, event = take()
        answer(request_id, "answered")
        while not os.path.exists(event): time.sleep(0.01)
        print("worked on", flush=True)
        take()
    """

    async def scenario() -> None:
        write_bootstrap(tmp_path, code)
        async with provided(tmp_path) as bench:
            instance = await bench.fork()
            assert isinstance(instance, ProvidedInstance)
            outcome = await bench.run(str(tmp_path / "go on"), instance)
            assert outcome.payload == b'"answered"'
            freed: list[bool] = []
            instance.when_free(lambda: freed.append(True))
            assert not freed
            (tmp_path / "go on").touch()
            await until(lambda: bool(freed))
            await until(lambda: "worked on" in bench.lines("r-1"))

    asyncio.run(scenario())


def test_work_after_the_answer_ends_with_the_time_of_its_invocation(tmp_path: Path) -> None:
    async def scenario() -> None:
        write_bootstrap(tmp_path, 'request_id, event = take(); answer(request_id, "answered"); time.sleep(60)')
        async with provided(tmp_path) as bench:
            instance = await bench.fork()
            outcome = await bench.run({}, instance, timeout_s=1.0)
            assert outcome.payload == b'"answered"'
            await until(lambda: not is_running(instance.pid))
            assert not instance.alive
            assert any("went on over its time" in line for line in bench.lines("r-1"))

    asyncio.run(scenario())


def test_like_lambda_it_stands_still_between_invocations_but_not_before_it_asks(tmp_path: Path) -> None:
    code = """
        import threading
        def tick():
            with open("ticks", "ab", buffering=0) as file:
                while True:
                    file.write(b".")
                    time.sleep(0.002)
        threading.Thread(target=tick, daemon=True).start()
        while True:
            request_id, event = take()
            answer(request_id, "answered")
            print("rested", flush=True)
    """

    async def scenario() -> None:
        write_bootstrap(tmp_path, code)
        async with provided(tmp_path, like="lambda") as bench:
            instance = await bench.fork()
            assert isinstance(instance, ProvidedInstance)
            ticks = tmp_path / "ticks"
            await bench.run({}, instance)
            instance.freeze()  # As the pool does, though it has not asked again yet.
            await free(instance)
            await until(lambda: bench.lines() == ["rested"])
            stood_at = ticks.stat().st_size
            await asyncio.sleep(0.05)  # Not to wait for anything: this is the time in which nothing may happen.
            assert ticks.stat().st_size - stood_at <= 1
            instance.thaw()
            await until(lambda: ticks.stat().st_size > stood_at + 1)
            assert (await bench.run({}, instance)).payload == b'"answered"'

    asyncio.run(scenario())


def test_a_runtime_that_cannot_start_says_why(tmp_path: Path) -> None:
    code = """
        error = {"errorType": "Runtime.NoSuchHandler", "errorMessage": "there is none"}
        status, _, body = ask("POST", "/init/error", json.dumps(error), {"lambda-runtime-function-error-type": "Mine"})
        again = ask("GET", "/invocation/next")[0]
        print(status, body.decode().strip(), again, flush=True)
        sys.exit(1)
    """

    async def scenario() -> None:
        write_bootstrap(tmp_path, code)
        async with provided(tmp_path) as bench:
            with pytest.raises(InitFailed) as failed:
                await bench.fork()
            assert failed.value.error_type == "Mine"
            assert json.loads(failed.value.body)["errorMessage"] == "there is none"

    asyncio.run(scenario())


def test_a_runtime_that_never_asks_is_ended(tmp_path: Path) -> None:
    async def scenario() -> None:
        write_bootstrap(tmp_path, "time.sleep(60)")
        async with provided(tmp_path, start_s_max=1.0) as bench:
            with pytest.raises(AppStartError, match=r"not ready within 1 s"):
                await bench.fork()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (PRELUDE + "sys.exit(7)", r"Runtime exited with error: exit status 7"),
        ("#!/bin/sh\nexit 0\n", r"Runtime exited without providing a reason"),
        ("#!/no/such/interpreter\n", r"bootstrap cannot be executed: No such file or directory"),
        ("neither a program nor a script", r"bootstrap cannot be executed: Exec format error"),
    ],
    ids=["status", "no reason", "no interpreter", "no program"],
)
def test_a_program_that_does_not_run_is_named_with_its_reason(tmp_path: Path, text: str, told: str) -> None:
    async def scenario() -> None:
        write_bootstrap(tmp_path, "", prelude=text)
        async with provided(tmp_path) as bench:
            with pytest.raises(AppStartError, match=told):
                await bench.fork()

    asyncio.run(scenario())


def test_the_program_finds_lambdas_variables_and_an_empty_standard_input(tmp_path: Path) -> None:
    code = """
        variables = dict(os.environ)
        request_id, event = take()
        told = {"variables": variables, "input": sys.stdin.read(), "cwd": os.getcwd()}
        answer(request_id, {**told, "fds": sorted(map(int, os.listdir("/proc/self/fd")))})
        take()
    """

    async def scenario() -> None:
        write_bootstrap(tmp_path, code)
        async with provided(tmp_path, handler="function.main", memory_mb=256, env={"MINE": "yes"}) as bench:
            instance = await bench.fork()
            assert isinstance(instance, ProvidedInstance)
            told = json.loads((await bench.run({}, instance)).payload)
            variables = told["variables"]
            assert variables["AWS_LAMBDA_RUNTIME_API"] == instance.address
            assert variables["AWS_LAMBDA_LOG_STREAM_NAME"] == instance.name
            assert variables["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
            assert variables["LAMBDA_TASK_ROOT"] == told["cwd"] == str(tmp_path)
            assert (variables["_HANDLER"], variables["MINE"]) == ("function.main", "yes")
            assert not {"AWS_EXECUTION_ENV", "OMP_NUM_THREADS"} & {*variables}
            assert told["input"] == ""
            assert len(told["fds"]) <= 4, "only the three standard descriptors, and the listing's own"

    asyncio.run(scenario())


def test_at_its_time_limit_it_is_killed_and_its_caller_told_in_lambdas_words(tmp_path: Path) -> None:
    async def scenario() -> None:
        write_bootstrap(tmp_path, "take(); time.sleep(60)")
        async with provided(tmp_path) as bench:
            instance = await bench.fork()
            with pytest.raises(InstanceDied) as died:
                await bench.run({}, instance, timeout_s=0.5)
            assert died.value.timed_out
            assert died.value.message.startswith("Task timed out after 0.5")
            await until(lambda: not is_running(instance.pid))

    asyncio.run(scenario())
