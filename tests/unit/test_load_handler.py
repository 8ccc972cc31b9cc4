"""Importing a handler, and what Lambda says of one that does not import; each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from peaker.functions.load_handler import HandlerImportError

PROGRAM = """
import json, sys
from peaker.functions.load_handler import HandlerImportError, load_handler
try:
    found = load_handler(sys.argv[1], sys.argv[2])
except HandlerImportError as error:
    print(json.dumps(error.to_json()))
else:
    print(json.dumps({"result": found({"a": 1}, None)}))
"""


def loaded(directory: Path, target: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, target, str(directory)], stdout=subprocess.PIPE, check=True, timeout=30
    )
    return json.loads(done.stdout.decode().splitlines()[-1])


CODE = """
class Callable:
    def __call__(self, event, context):
        return ["instance", event]

    def method(self, event, context):
        return ["method", event]

    @staticmethod
    def static(event, context):
        return ["static", event]

    @classmethod
    def of_class(cls, event, context):
        return ["class", event]

callable_instance = Callable()
bound = callable_instance.method

def function(event, context):
    return ["function", event]

def make():
    return function

number = 7
"""


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("pkg/mod.function", "function"),
        ("pkg.mod.function", "function"),
        ("pkg.mod:function", "function"),
        ("pkg/mod.callable_instance", "instance"),
        ("pkg/mod.bound", "method"),
        ("pkg.mod:callable_instance.method", "method"),
        ("pkg.mod:Callable.static", "static"),
        ("pkg.mod:Callable.of_class", "class"),
        ("pkg.mod:make()", "function"),
    ],
)
def test_a_handler_is_whatever_can_be_called(tmp_path: Path, target: str, kind: str) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "mod.py").write_text(CODE)
    assert loaded(tmp_path, target) == {"result": [kind, {"a": 1}]}


@pytest.mark.parametrize(
    ("code", "target", "error_type", "message"),
    [
        ("", "absent.f", "Runtime.ImportModuleError", "Unable to import module 'absent': No module named 'absent'"),
        (
            "import nowhere",
            "mod.f",
            "Runtime.ImportModuleError",
            "Unable to import module 'mod': No module named 'nowhere'",
        ),
        ("x = 1", "mod.f", "Runtime.HandlerNotFound", "Handler 'f' missing on module 'mod'"),
        ("def f(:", "mod.f", "Runtime.UserCodeSyntaxError", "Syntax error in module 'mod': "),
        ("raise ValueError('no key')", "mod.f", "ValueError", "no key"),
        ("import os; os.no_such_thing", "mod.f", "AttributeError", "module 'os' has no attribute 'no_such_thing'"),
        ("import sys; sys.exit(3)", "mod.f", "Runtime.ExitError", "Runtime exited with error: exit status 3"),
        ("import sys; sys.exit()", "mod.f", "Runtime.ExitError", "Runtime exited without providing a reason"),
        ("f = 7", "mod.f", "TypeError", "'mod.f' is int, which cannot be called."),
        ("", "sys.f", "Runtime.BuiltInModuleConflict", "Cannot use built-in module sys as a handler module"),
    ],
)
def test_what_does_not_import_is_told_in_lambdas_words(
    tmp_path: Path, code: str, target: str, error_type: str, message: str
) -> None:
    (tmp_path / "mod.py").write_text(code)
    error = HandlerImportError.from_json(loaded(tmp_path, target))
    assert error.fault.error_type == error_type
    assert error.fault.message.startswith(message)
    document = error.fault.document("r-1")
    assert list(document) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert document["requestId"] == "r-1"


def test_an_exception_at_import_tells_its_stack(tmp_path: Path) -> None:
    (tmp_path / "mod.py").write_text("def fail():\n    raise ValueError\nfail()\n")
    stack = HandlerImportError.from_json(loaded(tmp_path, "mod.f")).fault.stack
    assert "in import_module" in stack[0]  # as on Lambda, whose stacks begin there too
    assert stack[-1].startswith(f'  File "{tmp_path}/mod.py", line 2, in fail')


def test_a_fault_stays_small_enough_to_travel(tmp_path: Path) -> None:
    (tmp_path / "mod.py").write_text(f"def fail(n):\n    fail(n + 1)  # {'x' * 5000}\nfail(0)\n")
    told = loaded(tmp_path, "mod.f")
    assert told["fault"]["error_type"] == "RecursionError"
    assert len(json.dumps(told)) < 60_000
