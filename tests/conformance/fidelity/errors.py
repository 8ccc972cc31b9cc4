"""What a failed invocation is answered with, and what becomes of its instance."""

from __future__ import annotations

import re

from fidelity.registry import Answer, Endpoint, behaviour, invoke, result
from fidelity.sources import BOOTSTRAP, EXCEPTIONS, EXECUTION, RUNTIME_API, TROUBLE

AREA = "Errors"


def ended(endpoint: Endpoint, function: str = "deeds", **event: object) -> Answer:
    """An invocation whose instance ended with it."""
    answer = invoke(endpoint, function, **event)
    assert (answer.status, answer.error) == (200, "Unhandled"), answer
    return answer


def is_exit(answer: Answer, reason: str) -> None:
    expected = {"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: {answer.request_id} Error: {reason}"}
    assert answer.value == expected, answer.value


@behaviour(AREA, "An exception is answered with status 200 and `X-Amz-Function-Error: Unhandled`.", source=EXCEPTIONS)
def exception_status(endpoint: Endpoint) -> None:
    answer = invoke(endpoint, do="raise", text="A1")
    assert (answer.status, answer.error) == (200, "Unhandled")


@behaviour(
    AREA, "Its body has `errorMessage`, `errorType`, `requestId` and `stackTrace`, in this order.", source=BOOTSTRAP
)
def exception_body(endpoint: Endpoint) -> None:
    answer = invoke(endpoint, do="raise", text="A1 is taken")
    assert list(answer.value) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert answer.value["errorMessage"] == "A1 is taken"
    assert answer.value["requestId"] == answer.request_id


@behaviour(AREA, "`errorType` is the name of the class, without its module.", source=BOOTSTRAP)
def exception_type(endpoint: Endpoint) -> None:
    assert invoke(endpoint, do="raise", text="").value["errorType"] == "SeatTakenError"


@behaviour(AREA, "An exception without text has an empty `errorMessage`.", source=BOOTSTRAP)
def exception_without_text(endpoint: Endpoint) -> None:
    assert invoke(endpoint, do="raise").value["errorMessage"] == ""


@behaviour(AREA, "`stackTrace` holds one text a frame, from the user's first frame on.", source=EXCEPTIONS)
def exception_stack(endpoint: Endpoint) -> None:
    stack = invoke(endpoint, do="raise", text="A1").value["stackTrace"]
    assert len(stack) == 2, stack
    assert re.match(r'  File ".*deeds\.py", line \d+, in handler\n    return DEEDS', stack[0]), stack[0]
    assert re.match(r'  File ".*deeds\.py", line \d+, in _raise\n    raise SeatTakenError', stack[1]), stack[1]


@behaviour(AREA, "Of a chain of exceptions only the last is told.", source=BOOTSTRAP)
def exception_chain(endpoint: Endpoint) -> None:
    told = invoke(endpoint, do="raise chained").value
    assert (told["errorType"], told["errorMessage"]) == ("SeatTakenError", "taken")
    assert "KeyError" not in "".join(told["stackTrace"])


@behaviour(AREA, "After an exception the instance takes the next invocation.", source=EXECUTION)
def exception_keeps_instance(endpoint: Endpoint) -> None:
    before = result(endpoint, do="who")["loaded"]
    invoke(endpoint, do="raise", text="A1")
    assert result(endpoint, do="who")["loaded"] == before


@behaviour(AREA, "An exception that raises when asked for its text ends the runtime.", source=BOOTSTRAP)
def exception_without_words(endpoint: Endpoint) -> None:
    is_exit(ended(endpoint, do="raise mute"), "Runtime exited with error: exit status 1")


@behaviour(AREA, "`sys.exit(3)` in a handler is `Runtime.ExitError` with the status.", source=TROUBLE)
def exit_with_status(endpoint: Endpoint) -> None:
    is_exit(ended(endpoint, do="leave", code=3), "Runtime exited with error: exit status 3")


@behaviour(AREA, "`sys.exit(0)` is `Runtime exited without providing a reason`.", source=TROUBLE)
def exit_without_reason(endpoint: Endpoint) -> None:
    is_exit(ended(endpoint, do="leave", code=0), "Runtime exited without providing a reason")


@behaviour(AREA, "`os._exit(7)` is the same with its status.", source=TROUBLE)
def exit_at_once(endpoint: Endpoint) -> None:
    is_exit(ended(endpoint, do="leave at once", code=7), "Runtime exited with error: exit status 7")


@behaviour(AREA, "A crash is told by its signal.", source=TROUBLE)
def crash(endpoint: Endpoint) -> None:
    is_exit(ended(endpoint, do="crash"), "Runtime exited with error: signal: segmentation fault")


@behaviour(AREA, "More memory than the function has is `Runtime.OutOfMemory`: signal: killed.", source=TROUBLE)
def out_of_memory(endpoint: Endpoint) -> None:
    answer = ended(endpoint, "small", do="eat", mb=400)
    assert answer.value == {
        "errorType": "Runtime.OutOfMemory",
        "errorMessage": f"RequestId: {answer.request_id} Error: Runtime exited with error: signal: killed",
    }, answer.value


@behaviour(AREA, "A run over its time limit is `Sandbox.Timedout`, with the limit to two places.", source=TROUBLE)
def timed_out(endpoint: Endpoint) -> None:
    answer = ended(endpoint, "brief", do="hang")
    assert answer.value == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {answer.request_id} Error: Task timed out after 1.00 seconds",
    }, answer.value


@behaviour(AREA, "After the end of an instance the next invocation has a new one.", source=EXECUTION)
def new_instance_after_an_end(endpoint: Endpoint) -> None:
    before = result(endpoint, do="who")["loaded"]
    ended(endpoint, do="leave", code=1)
    told = result(endpoint, do="who")
    assert told["loaded"] != before or told["calls"] == 1


@behaviour(AREA, "A module that is missing is `Runtime.ImportModuleError`.", source=BOOTSTRAP)
def import_fails(endpoint: Endpoint) -> None:
    answer = ended(endpoint, "lacks_module")
    assert answer.value == {
        "errorMessage": "Unable to import module 'broken/lacks_module': No module named 'no_such_module_anywhere'",
        "errorType": "Runtime.ImportModuleError",
        "requestId": answer.request_id,
        "stackTrace": [],
    }, answer.value


@behaviour(AREA, "A handler that is missing on its module is `Runtime.HandlerNotFound`.", source=BOOTSTRAP)
def handler_missing(endpoint: Endpoint) -> None:
    told = ended(endpoint, "lacks_handler").value
    assert told["errorType"] == "Runtime.HandlerNotFound"
    assert told["errorMessage"] == "Handler 'handler' missing on module 'broken/lacks_handler'", told


@behaviour(AREA, "A module that is no Python is `Runtime.UserCodeSyntaxError`, with file and line.", source=BOOTSTRAP)
def wrong_syntax(endpoint: Endpoint) -> None:
    told = ended(endpoint, "wrong_syntax").value
    assert told["errorType"] == "Runtime.UserCodeSyntaxError"
    assert told["errorMessage"].startswith("Syntax error in module 'broken/wrong_syntax': "), told
    assert re.match(r'  File ".*wrong_syntax\.py" Line 1\n', told["stackTrace"][0]), told


@behaviour(AREA, "An exception while the module is imported is told by its own type.", source=BOOTSTRAP)
def import_raises(endpoint: Endpoint) -> None:
    told = ended(endpoint, "raises").value
    assert (told["errorType"], told["errorMessage"]) == ("ValueError", "no key")
    assert "in prepare" in told["stackTrace"][-1]


@behaviour(AREA, "`sys.exit(3)` while the module is imported is `Runtime.ExitError`.", source=RUNTIME_API)
def import_exits(endpoint: Endpoint) -> None:
    is_exit(ended(endpoint, "exits"), "Runtime exited with error: exit status 3")


@behaviour(AREA, "A function that does not initialise is tried anew by every invocation.", source=EXECUTION)
def import_fails_again(endpoint: Endpoint) -> None:
    kinds = {ended(endpoint, "lacks_module").value["errorType"] for _ in range(2)}
    assert kinds == {"Runtime.ImportModuleError"}
