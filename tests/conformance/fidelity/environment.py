"""The environment a handler runs in: variables, files, and what lives on between invocations."""

from __future__ import annotations

import os
import re
import time
from typing import Any

from fidelity.registry import Endpoint, behaviour, forget_instance, invoke, result
from fidelity.sources import ENVIRONMENT, EXECUTION, QUOTAS, TRACING

AREA = "Environment"


def variables(endpoint: Endpoint) -> Any:
    return result(endpoint, do="environment")


@behaviour(AREA, "`AWS_REGION` and `AWS_DEFAULT_REGION` name the region.", source=ENVIRONMENT)
def variable_region(endpoint: Endpoint) -> None:
    found = variables(endpoint)
    assert re.fullmatch(r"[a-z]{2}-[a-z]+-\d", found["AWS_REGION"])
    assert found["AWS_REGION"] == found["AWS_DEFAULT_REGION"]


@behaviour(AREA, "`_HANDLER` is the handler as it was configured.", source=ENVIRONMENT)
def variable_handler(endpoint: Endpoint) -> None:
    assert variables(endpoint)["_HANDLER"] == "deeds.handler"


@behaviour(AREA, "`AWS_EXECUTION_ENV` names the runtime with its version.", source=ENVIRONMENT)
def variable_execution_env(endpoint: Endpoint) -> None:
    assert re.fullmatch(r"AWS_Lambda_python3\.\d+", variables(endpoint).get("AWS_EXECUTION_ENV", "absent"))


@behaviour(AREA, "`AWS_LAMBDA_FUNCTION_NAME`, `_VERSION` and `_MEMORY_SIZE` describe the function.", source=ENVIRONMENT)
def variables_of_the_function(endpoint: Endpoint) -> None:
    found = variables(endpoint)
    told = [found[f"AWS_LAMBDA_FUNCTION_{name}"] for name in ("NAME", "VERSION", "MEMORY_SIZE")]
    assert told == ["deeds", "$LATEST", "1769"], told


@behaviour(AREA, "`AWS_LAMBDA_INITIALIZATION_TYPE` is `on-demand`.", source=ENVIRONMENT)
def variable_initialization_type(endpoint: Endpoint) -> None:
    assert variables(endpoint)["AWS_LAMBDA_INITIALIZATION_TYPE"] == "on-demand"


@behaviour(AREA, "`AWS_LAMBDA_LOG_GROUP_NAME` and `_STREAM_NAME` are those of the context.", source=ENVIRONMENT)
def variables_of_the_log(endpoint: Endpoint) -> None:
    found = variables(endpoint)
    assert found["AWS_LAMBDA_LOG_GROUP_NAME"] == "/aws/lambda/deeds"
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", found["AWS_LAMBDA_LOG_STREAM_NAME"])


@behaviour(AREA, "`LAMBDA_TASK_ROOT` is where the code stands, and the working directory.", source=ENVIRONMENT)
def variable_task_root(endpoint: Endpoint) -> None:
    root = variables(endpoint)["LAMBDA_TASK_ROOT"]
    assert os.path.realpath(root) == os.path.realpath(result(endpoint, do="working directory"))


@behaviour(AREA, "`LAMBDA_RUNTIME_DIR` names the folder of the runtime.", source=ENVIRONMENT)
def variable_runtime_dir(endpoint: Endpoint) -> None:
    assert variables(endpoint)["LAMBDA_RUNTIME_DIR"].startswith("/")


@behaviour(AREA, "`TZ` is `:UTC`, and local time is UTC.", source=ENVIRONMENT)
def variable_time_zone(endpoint: Endpoint) -> None:
    assert variables(endpoint)["TZ"] == ":UTC"
    assert result(endpoint, do="local time") == ["UTC", 0]


@behaviour(AREA, "`LANG` is `en_US.UTF-8`.", source=ENVIRONMENT)
def variable_lang(endpoint: Endpoint) -> None:
    assert variables(endpoint).get("LANG") == "en_US.UTF-8"


@behaviour(AREA, "`PATH` leads to the system's programs.", source=ENVIRONMENT)
def variable_path(endpoint: Endpoint) -> None:
    assert "/bin" in variables(endpoint)["PATH"]


@behaviour(AREA, "Access keys are in the environment.", source=ENVIRONMENT)
def variables_of_the_role(endpoint: Endpoint) -> None:
    found = variables(endpoint)
    assert found.get("AWS_ACCESS_KEY_ID"), "no AWS_ACCESS_KEY_ID"
    assert found.get("AWS_SECRET_ACCESS_KEY"), "no AWS_SECRET_ACCESS_KEY"


@behaviour(AREA, "`AWS_XRAY_CONTEXT_MISSING` is `LOG_ERROR`.", source=ENVIRONMENT)
def variable_xray(endpoint: Endpoint) -> None:
    assert variables(endpoint).get("AWS_XRAY_CONTEXT_MISSING") == "LOG_ERROR"


@behaviour(AREA, "`_X_AMZN_TRACE_ID` has a root, a parent and whether it is sampled.", source=TRACING)
def variable_trace_id(endpoint: Endpoint) -> None:
    found = variables(endpoint).get("_X_AMZN_TRACE_ID", "absent")
    assert re.match(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=[01]", found), found


@behaviour(AREA, "`_X_AMZN_TRACE_ID` is another for each invocation.", source=TRACING)
def variable_trace_id_changes(endpoint: Endpoint) -> None:
    first, second = (variables(endpoint).get("_X_AMZN_TRACE_ID") for _ in range(2))
    assert first
    assert first != second


@behaviour(AREA, "A trace the caller sends in `X-Amzn-Trace-Id` goes on in the function.", source=TRACING)
def trace_of_the_caller(endpoint: Endpoint) -> None:
    root = "Root=1-5759e988-bd862e3fe1be46a994272793"
    headers = {"X-Amzn-Trace-Id": f"{root};Parent=53995c3f42cd8ad8;Sampled=0"}
    _, _, body = endpoint.raw("deeds", headers, b'{"do": "environment"}')
    assert root.encode() in body


@behaviour(AREA, "Module state lives on in the instance from one invocation to the next.", source=EXECUTION)
def module_state(endpoint: Endpoint) -> None:
    first, second = (result(endpoint, do="who") for _ in range(2))
    assert first["loaded"] == second["loaded"]
    assert second["calls"] == first["calls"] + 1


@behaviour(AREA, "`/tmp` can be written to, and keeps its files for the next invocation.", source=EXECUTION)
def temporary_files(endpoint: Endpoint) -> None:
    path = f"/tmp/fidelity-{time.time_ns()}"
    assert [result(endpoint, do="write", path=path) for _ in range(2)] == [1, 2]


@behaviour(AREA, "`/tmp` belongs to one instance: another one does not see its files.", source=QUOTAS)
def temporary_files_are_private(endpoint: Endpoint) -> None:
    path = f"/tmp/fidelity-private-{time.time_ns()}"
    assert result(endpoint, do="write", path=path) == 1
    forget_instance(endpoint)
    assert result(endpoint, do="write", path=path) == 1


@behaviour(AREA, "An instance can have 1,024 files open, and no more.", source=QUOTAS)
def open_files(endpoint: Endpoint) -> None:
    count, reason = result(endpoint, do="open files", most=2000)
    assert (900 < count < 1024, reason) == (True, "Too many open files"), f"{count} were opened, {reason!r}"


@behaviour(AREA, "The rest of the disk is read-only.", source=EXECUTION)
def read_only_disk(endpoint: Endpoint) -> None:
    path = f"/var/tmp/fidelity-{time.time_ns()}"
    found = result(endpoint, do="write", path=path)
    if found == 1:
        result(endpoint, do="remove", path=path)
    assert found in ("OSError", "PermissionError"), found


@behaviour(AREA, "A thread that is left running stands still until the next invocation.", source=EXECUTION)
def threads_are_frozen(endpoint: Endpoint) -> None:
    invoke(endpoint, do="thread")
    before = result(endpoint, do="who")
    time.sleep(0.4)  # nothing is waited for: this is the time in which nothing must happen
    after = result(endpoint, do="who")
    forget_instance(endpoint)
    assert before["loaded"] == after["loaded"]
    assert after["ticks"] - before["ticks"] < 40, f"it ticked {after['ticks'] - before['ticks']} times in between"


@behaviour(AREA, "A thread that is left running goes on in the next invocation.", source=EXECUTION)
def threads_go_on(endpoint: Endpoint) -> None:
    invoke(endpoint, do="thread")
    before = result(endpoint, do="who")["ticks"]
    result(endpoint, do="sleep", s=0.2)
    after = result(endpoint, do="who")["ticks"]
    forget_instance(endpoint)
    assert after > before


@behaviour(AREA, "A child process that is left running is there in the next invocation.", source=EXECUTION)
def children_stay(endpoint: Endpoint) -> None:
    invoke(endpoint, do="leave a child")
    found = result(endpoint, do="children")
    forget_instance(endpoint)
    assert found == [True]
