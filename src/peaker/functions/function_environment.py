"""The environment of a function: what the user declared, what Lambda sets, and nothing else of the host's."""

from __future__ import annotations

import os
from collections.abc import Mapping

from peaker.app import FunctionSpec, pool_variables
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


def function_environment(spec: FunctionSpec, settings: Settings, declared: Mapping[str, str]) -> dict[str, str]:
    """All variables of one function's zygote; instances add the name of their log stream.

    Names are those Lambda reserves ("Defined runtime environment variables", AWS Lambda Developer Guide).
    """
    region = declared.get("AWS_REGION") or declared.get("AWS_DEFAULT_REGION") or _REGION_DEFAULT
    host = {name: value for name in PASSED_ON if (value := os.environ.get(name)) is not None}
    if settings.functions.like == "lambda":
        host["TZ"] = ":UTC"
    reserved = {
        "AWS_DEFAULT_REGION": region,
        "AWS_EXECUTION_ENV": "AWS_Lambda_python",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory_mb),
        "AWS_LAMBDA_FUNCTION_NAME": spec.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{spec.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": "",
        "AWS_REGION": region,
        "LAMBDA_TASK_ROOT": settings.directory,
        "PEAKER_INSTANCE": "1",
        "_HANDLER": spec.target.replace(":", "."),
    }
    return (
        host | dict.fromkeys(_ONE_THREAD, "1") | dict(declared) | reserved | pool_variables(settings, in_instance=True)
    )
