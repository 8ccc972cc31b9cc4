"""The environment of a function: what the user declared, what Lambda sets, and nothing else of the host's."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from peaker.app import FunctionSpec, pool_variables
from peaker.functions.command import interpreter_first
from peaker.functions.layers import layer_variables
from peaker.settings import Settings

PASSED_ON = (
    "HOME", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "PYTHONDONTWRITEBYTECODE",
    "PYTHONHASHSEED", "PYTHONHOME", "PYTHONPATH", "PYTHONWARNINGS", "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR", "TZ",
    "USER", "VIRTUAL_ENV",
)  # fmt: skip
"""Variables of the host's own environment that a function gets; all others may be the secrets of whoever started it."""

_ONE_THREAD = (
    "BLIS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip
"""Numeric libraries start a thread a core when they are imported, and a process with threads cannot be forked."""

_REGION_DEFAULT = "us-east-1"


def region_of(declared: Mapping[str, str]) -> str:
    """The region that functions with these variables say they are in."""
    return declared.get("AWS_REGION") or declared.get("AWS_DEFAULT_REGION") or _REGION_DEFAULT


def function_environment(spec: FunctionSpec, settings: Settings, declared: Mapping[str, str]) -> dict[str, str]:
    """All variables of one function's zygote; instances add the name of their log stream and invocations their trace.

    Names and values are those Lambda defines ("Defined runtime environment variables", AWS Lambda Developer Guide),
    the reserved ones above what the user declares, the others below it. A web app keeps the time zone and the language
    it has on the servers, unless functions are to be like Lambda.
    """
    declared = {**declared, **dict(spec.variables)}
    host = {name: value for name in PASSED_ON if (value := os.environ.get(name)) is not None}
    if settings.functions.like == "lambda":
        host.pop("TMPDIR", None)  # Lambda has /tmp and nothing else to write to
    usual = _unreserved() if not spec.web or settings.functions.like == "lambda" else {}
    reserved = _reserved(spec, settings, declared) | pool_variables(settings, in_instance=True)
    if spec.is_provided:
        made = host | usual | dict(declared) | _of_provided(spec, reserved)
        made["PATH"] = interpreter_first(made.get("PATH", os.defpath))
    else:
        made = host | dict.fromkeys(_ONE_THREAD, "1") | usual | dict(declared) | reserved
    return made | layer_variables(spec.layers, made)


def _of_provided(spec: FunctionSpec, reserved: Mapping[str, str]) -> dict[str, str]:
    """The reserved ones as a runtime of the user's own gets them: it is no Python of Lambda's."""
    left_out = ("AWS_EXECUTION_ENV", "LAMBDA_RUNTIME_DIR")
    return {name: value for name, value in reserved.items() if name not in left_out} | {"_HANDLER": spec.target}


def _unreserved() -> dict[str, str]:
    return {
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1:2000",
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
    }


def _reserved(spec: FunctionSpec, settings: Settings, declared: Mapping[str, str]) -> dict[str, str]:
    region = region_of(declared)
    variables = {
        "AWS_DEFAULT_REGION": region,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info[0]}.{sys.version_info[1]}",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory_mb),
        "AWS_LAMBDA_FUNCTION_NAME": spec.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_FORMAT": "JSON" if settings.functions.log_format == "json" else "Text",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{spec.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": "",
        "AWS_REGION": region,
        "LAMBDA_RUNTIME_DIR": str(Path(__file__).parent),
        "LAMBDA_TASK_ROOT": settings.directory,
        "PEAKER_INSTANCE": "1",
        "_HANDLER": spec.target.replace(":", "."),
    }
    if settings.functions.log_level:
        variables["AWS_LAMBDA_LOG_LEVEL"] = settings.functions.log_level
    return variables
