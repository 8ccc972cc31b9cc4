"""The log of an invocation, as `X-Amz-Log-Type: Tail` shows its end."""

from __future__ import annotations

import json
import math
import re

from fidelity.registry import Answer, Endpoint, behaviour, forget_instance, invoke
from fidelity.sources import (
    BILLING,
    BOOTSTRAP,
    EXCEPTIONS,
    EXECUTION,
    INVOKE,
    LOG_CODE,
    LOG_EVENTS,
    LOG_FORMATS,
    LOGGING,
    TROUBLE,
)

AREA = "Logs"
REPORT = (
    r"REPORT RequestId: (?P<id>\S+)\tDuration: (?P<duration>\d+\.\d\d) ms\tBilled Duration: (?P<billed>\d+) ms"
    r"\tMemory Size: (?P<memory>\d+) MB\tMax Memory Used: (?P<used>\d+) MB(?:\tInit Duration: (?P<init>\d+\.\d\d) ms)?"
    r"(?P<status>(?:\tStatus: \w+)?(?:\tError Type: \S+)?)\s*"
)


def report(answer: Answer) -> re.Match[str]:
    lines = [line for line in answer.log if line.startswith("REPORT ")]
    found = re.fullmatch(REPORT, lines[-1]) if lines else None
    assert found is not None, answer.log
    return found


def lines_of(answer: Answer, start: str) -> list[str]:
    return [line for line in answer.log if line.startswith(start)]


@behaviour(AREA, "The log begins with `START RequestId: ... Version: $LATEST`.", source=LOGGING)
def log_start(endpoint: Endpoint) -> None:
    answer = invoke(endpoint, do="echo")
    assert f"START RequestId: {answer.request_id} Version: $LATEST" in answer.log


@behaviour(AREA, "It ends with `END` and `REPORT` lines.", source=LOGGING)
def log_end(endpoint: Endpoint) -> None:
    answer = invoke(endpoint, do="echo")
    assert answer.log[-2] == f"END RequestId: {answer.request_id}", answer.log
    assert report(answer)["id"] == answer.request_id


@behaviour(AREA, "`REPORT` has duration, billed duration, memory size and memory used, between tabs.", source=LOGGING)
def log_report(endpoint: Endpoint) -> None:
    found = report(invoke(endpoint, do="echo"))
    assert found["memory"] == "1769"
    assert 5 < int(found["used"]) < 1769


@behaviour(AREA, "`Init Duration` stands in the first report of an instance and in no other.", source=EXECUTION)
def log_init_duration(endpoint: Endpoint) -> None:
    forget_instance(endpoint)
    first, second = (report(invoke(endpoint, do="echo")) for _ in range(2))
    assert first["init"], first[0]
    assert second["init"] is None


@behaviour(AREA, "Billed duration is duration and init duration, rounded up to a millisecond.", source=BILLING)
def log_billed_duration(endpoint: Endpoint) -> None:
    forget_instance(endpoint)
    for found in (report(invoke(endpoint, do="echo")) for _ in range(2)):
        whole_ms = float(found["duration"]) + float(found["init"] or 0)
        # Both are rounded to two places before they are printed.
        assert int(found["billed"]) in {math.ceil(whole_ms - 0.01), math.ceil(whole_ms + 0.01)}, found[0]


@behaviour(AREA, "Standard output and standard error are in the log, in order.", source=LOGGING)
def log_output(endpoint: Endpoint) -> None:
    log = invoke(endpoint, do="say", text="grüße").log
    assert log.index("grüße") + 1 == log.index("to stderr")


@behaviour(AREA, "Lines of `logging` have level, time in UTC and request id, between tabs.", source=LOGGING)
def log_record(endpoint: Endpoint) -> None:
    answer = invoke(endpoint, do="log", level=40, text="sold out", logger="shop")
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    form = rf"\[ERROR\]\t{stamp}\t{answer.request_id}\tsold out"
    assert any(re.fullmatch(form, line) for line in answer.log), answer.log


@behaviour(AREA, "The root logger's level is WARNING.", source=LOGGING)
def log_level(endpoint: Endpoint) -> None:
    assert not any("below" in line for line in invoke(endpoint, do="log", level=20, text="below").log)
    assert any("above" in line for line in invoke(endpoint, do="log", level=30, text="above").log)


@behaviour(AREA, "An exception is logged as `[ERROR] Type: text` with its traceback.", source=BOOTSTRAP)
def log_exception(endpoint: Endpoint) -> None:
    log = invoke(endpoint, do="raise", text="A1").log
    text = "\n".join(log)
    assert "[ERROR] SeatTakenError: A1" in text, log
    assert "Traceback (most recent call last):" in text
    assert re.search('\u00a0\u00a0File ".*deeds\\.py", line \\d+, in handler', text), log


@behaviour(AREA, "The tail is the last 4 KB.", source=INVOKE)
def log_tail_is_4_kb(endpoint: Endpoint) -> None:
    log = invoke(endpoint, do="print much", lines=200).log
    size = len("\n".join(log).encode()) + 1
    assert 4000 < size <= 4096, size
    assert log[-1].startswith("REPORT ")


@behaviour(AREA, "Without `LogType: Tail` there is no log in the answer.", source=INVOKE)
def no_tail_unasked(endpoint: Endpoint) -> None:
    assert "LogResult" not in endpoint.call("deeds", Payload=b"{}")


@behaviour(AREA, "A time-out is logged with time and request; its report says `Status: timeout`.", source=TROUBLE)
def log_timed_out(endpoint: Endpoint) -> None:
    answer = invoke(endpoint, "brief", do="hang")
    form = rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z {answer.request_id} Task timed out after 1\.00 seconds"
    assert any(re.fullmatch(form, line) for line in answer.log), answer.log
    assert report(answer)["status"] == "\tStatus: timeout"
    assert float(report(answer)["duration"]) == 1000.0, report(answer)[0]


@behaviour(AREA, "The report of a handler's own exception has no status: the runtime goes on.", source=EXCEPTIONS)
def log_exception_report(endpoint: Endpoint) -> None:
    assert report(invoke(endpoint, do="raise", text="A1"))["status"] == ""


@behaviour(AREA, "The end of a runtime is logged, and its report has `Status: error` and the type.", source=LOG_EVENTS)
def log_exit(endpoint: Endpoint) -> None:
    answer = invoke(endpoint, do="leave", code=3)
    line = f"RequestId: {answer.request_id} Error: Runtime exited with error: exit status 3"
    assert answer.log[answer.log.index(line) + 1] == "Runtime.ExitError"
    assert report(answer)["status"] == "\tStatus: error\tError Type: Runtime.ExitError"


@behaviour(AREA, "A failed initialisation is logged as `INIT_REPORT` with its status and type.", source=EXECUTION)
def log_init_failed(endpoint: Endpoint) -> None:
    answer = invoke(endpoint, "lacks_module")
    found = lines_of(answer, "INIT_REPORT ")
    assert found, answer.log
    form = (
        r"INIT_REPORT Init Duration: \d+\.\d\d ms\tPhase: invoke\tStatus: error\tError Type: Runtime.ImportModuleError"
    )
    assert re.fullmatch(form, found[-1].rstrip()), found


@behaviour(AREA, "In the JSON format a record is an object: time, level, message, logger, request.", source=LOG_FORMATS)
def log_json_record(endpoint: Endpoint) -> None:
    answer = invoke(endpoint, "json_deeds", do="log", level=40, text="sold out", logger="shop")
    found = [json.loads(line) for line in answer.log if '"sold out"' in line]
    assert found, answer.log
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found[0].pop("timestamp"))
    expected = {"level": "ERROR", "message": "sold out", "logger": "shop", "requestId": answer.request_id}
    assert found[0] == expected, found


@behaviour(AREA, "In the JSON format a logged exception has its type, text, place and stack.", source=LOG_CODE)
def log_json_exception(endpoint: Endpoint) -> None:
    answer = invoke(endpoint, "json_deeds", do="log exception")
    (found,) = [json.loads(line) for line in answer.log if '"sold out"' in line]
    assert (found["errorType"], found["errorMessage"]) == ("ZeroDivisionError", "division by zero")
    assert "_log_exception" in found["location"]
    assert found["stackTrace"]


@behaviour(AREA, "In the JSON format start and report are `platform.start` and `platform.report`.", source=LOG_EVENTS)
def log_json_platform(endpoint: Endpoint) -> None:
    answer = invoke(endpoint, "json_deeds", do="echo")
    found = {one["type"]: one["record"] for one in map(json.loads, answer.log)}
    assert found["platform.start"] == {"requestId": answer.request_id, "version": "$LATEST"}
    assert found["platform.report"]["status"] == "success"
    assert {"durationMs", "billedDurationMs", "memorySizeMB", "maxMemoryUsedMB"} <= set(
        found["platform.report"]["metrics"]
    )
