"""Importing a handler, and what Lambda says of one that does not import.

Types and wording follow AWS's runtime interface client (awslambdaric 4.2, `bootstrap.py`: `_get_handler`).
"""

from __future__ import annotations

import dataclasses
import json
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from peaker.asgi import load_callable, split_target
from peaker.errors import AppImportError, PeakerError
from peaker.functions import runtime_log
from peaker.functions.handler import Handler, error_document
from peaker.functions.outcome import InitFailed
from peaker.wire.invoke_api import start_failed

STACK_MAX = 20
_TEXT_MAX = 400
"""Of one frame; all of it travels in one message of 64 KB."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What Lambda answers to every invocation of a function that does not initialise."""

    error_type: str
    message: str
    stack: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Fault:
        """The reverse of `dataclasses.asdict`."""
        return cls(document["error_type"], document["message"], tuple(document["stack"]))

    def document(self, request_id: str) -> dict[str, Any]:
        """The body of the answer."""
        return error_document(self.error_type, self.message, request_id, list(self.stack))


class HandlerImportError(AppImportError):
    """A handler could not be imported; `fault` is what Lambda would answer."""

    def __init__(self, what: str, *, remedy: str = "", fault: Fault) -> None:
        super().__init__(what, remedy=remedy)
        self.fault = fault

    def to_json(self) -> dict[str, Any]:
        """What another process needs to raise it again."""
        return {"text": self.what, "remedy": self.remedy, "fault": dataclasses.asdict(self.fault)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> HandlerImportError:
        """The reverse of `to_json`."""
        return cls(document["text"], remedy=document["remedy"], fault=Fault.from_json(document["fault"]))


def load_handler(target: str, directory: str) -> Handler:
    """Import `module:attribute` or Lambda's `folder/module.function`; what fails goes to the function's log as well.

    Raises:
        HandlerImportError: it does not import or cannot be called.
    """
    module, attribute = split_target(target)
    written = module if ":" in target else target.rpartition(".")[0]  # errors name it as it was configured
    if module.split(".")[0] in sys.builtin_module_names:
        what = f"Cannot use built-in module {module} as a handler module"
        raise HandlerImportError(f"{target!r}: {what}.", fault=Fault("Runtime.BuiltInModuleConflict", what))
    try:
        return load_callable(target, directory)
    except AppImportError as error:
        fault = _fault_of(error.__cause__, written, attribute) or Fault("TypeError", error.what)
        runtime_log.log_error(fault.document(""))
        raise HandlerImportError(error.what[: 10 * _TEXT_MAX], remedy=error.remedy, fault=fault) from error


def _fault_of(error: BaseException | None, module: str, attribute: str) -> Fault | None:
    """Lambda's words for what an import raised; None where it raised nothing."""
    if error is None:
        return None
    trace = error.__traceback__
    if isinstance(error, ImportError):
        return Fault("Runtime.ImportModuleError", f"Unable to import module '{module}': {_text(error)}")
    if isinstance(error, SyntaxError):
        place = f'  File "{error.filename}" Line {error.lineno}\n    {error.text}'
        return Fault("Runtime.UserCodeSyntaxError", f"Syntax error in module '{module}': {error}", (place[:_TEXT_MAX],))
    if isinstance(error, SystemExit):
        return Fault("Runtime.ExitError", f"Runtime exited {_how(error.code)}")
    if isinstance(error, AttributeError) and (trace is None or trace.tb_next is None):
        # Raised by our own look for the attribute, so the module itself did import.
        return Fault("Runtime.HandlerNotFound", f"Handler '{attribute}' missing on module '{module}'")
    frames = traceback.format_list(traceback.extract_tb(trace.tb_next if trace else None))
    stack = tuple(frame[:_TEXT_MAX] for frame in frames[-STACK_MAX:])
    return Fault(type(error).__name__, _text(error), stack)


def _how(code: object) -> str:
    if code is None or code == 0:
        return "without providing a reason"
    return f"with error: exit status {code if isinstance(code, int) else 1}"


def _text(error: BaseException) -> str:
    return str(error)[: 10 * _TEXT_MAX]


def start_failure(error: PeakerError, request_id: str) -> tuple[str, bytes]:
    """Error type and body of an invocation for which no instance could be made."""
    if isinstance(error, InitFailed):
        return error.error_type, error.body
    if isinstance(error, HandlerImportError):
        if error.fault.error_type != "Runtime.ExitError":
            body = json.dumps(error.fault.document(request_id), ensure_ascii=False)
            return error.fault.error_type, body.encode("utf-8", "backslashreplace")
        return error.fault.error_type, start_failed(request_id, error.fault.error_type, error.fault.message)
    kind = "Runtime.ImportModuleError" if isinstance(error, AppImportError) else "Runtime.ExitError"
    return kind, start_failed(request_id, kind, str(error))
