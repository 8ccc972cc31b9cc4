"""The part of Lambda's API beside Invoke: which reading operation a request is, or what to do instead of it.

Paths and parameters: AWS Lambda API Reference; a test walks through botocore's model of the service, so that every
operation there is answered in one of the two ways.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from urllib.parse import parse_qs, unquote

from peaker.wire.function_names import Named, parse_name
from peaker.wire.lambda_errors import InvokeApiError, violated

MAX_ITEMS_DEFAULT = 50
"""As many functions or versions as one answer of the service holds, also where more are asked for."""

_MAX_ITEMS_MAX = 10_000


class Operation(Enum):
    """What is answered; the values are AWS's names."""

    LIST_FUNCTIONS = "ListFunctions"
    GET_FUNCTION = "GetFunction"
    GET_FUNCTION_CONFIGURATION = "GetFunctionConfiguration"
    GET_FUNCTION_CONCURRENCY = "GetFunctionConcurrency"
    GET_FUNCTION_RECURSION_CONFIG = "GetFunctionRecursionConfig"
    GET_EVENT_INVOKE_CONFIG = "GetFunctionEventInvokeConfig"
    LIST_EVENT_INVOKE_CONFIGS = "ListFunctionEventInvokeConfigs"
    LIST_VERSIONS = "ListVersionsByFunction"
    LIST_ALIASES = "ListAliases"
    GET_ALIAS = "GetAlias"
    GET_ACCOUNT_SETTINGS = "GetAccountSettings"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadCall:
    """One call of a reading operation; `marker` is "" for the first page, `alias` that of GetAlias."""

    operation: Operation
    named: Named = Named("")
    alias: str = ""
    all_versions: bool = False
    marker: str = ""
    max_items: int = MAX_ITEMS_DEFAULT


_NAME = r"(?P<name>[^/?]+)"
_READ: tuple[tuple[re.Pattern[str], Operation], ...] = tuple(
    (re.compile(path), operation)
    for path, operation in (
        (r"/2015-03-31/functions/?", Operation.LIST_FUNCTIONS),
        (rf"/2015-03-31/functions/{_NAME}/?", Operation.GET_FUNCTION),
        (rf"/2015-03-31/functions/{_NAME}/configuration/?", Operation.GET_FUNCTION_CONFIGURATION),
        (rf"/2019-09-30/functions/{_NAME}/concurrency/?", Operation.GET_FUNCTION_CONCURRENCY),
        (rf"/2024-08-31/functions/{_NAME}/recursion-config/?", Operation.GET_FUNCTION_RECURSION_CONFIG),
        (rf"/2019-09-25/functions/{_NAME}/event-invoke-config/?", Operation.GET_EVENT_INVOKE_CONFIG),
        (rf"/2019-09-25/functions/{_NAME}/event-invoke-config/list/?", Operation.LIST_EVENT_INVOKE_CONFIGS),
        (rf"/2015-03-31/functions/{_NAME}/versions/?", Operation.LIST_VERSIONS),
        (rf"/2015-03-31/functions/{_NAME}/aliases/?", Operation.LIST_ALIASES),
        (rf"/2015-03-31/functions/{_NAME}/aliases/(?P<alias>[^/?]+)/?", Operation.GET_ALIAS),
        (r"/2016-08-19/account-settings/?", Operation.GET_ACCOUNT_SETTINGS),
    )
)

_DECLARED = "Functions are what peaker.toml declares: edit [[function]] and run `peaker reload`."
_NO_MEANING = "It has no meaning on this machine: who holds the key of the profile may call every function."
_INSTEAD: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(path), instead)
    for path, instead in (
        (r"functions/[^/]+/invoke-async/?", "Use Invoke with InvocationType = Event."),
        (
            r"functions/[^/]+/(aliases|versions)(/.*)?",
            "A version is made of each build that is started, and its build hash is its alias: run `peaker reload`.",
        ),
        (r"functions/[^/]+/concurrency/?", "Set concurrency_max of the [[function]] in peaker.toml."),
        (r"functions/[^/]+/(provisioned-concurrency|function-scaling-config)/?", "Set buffer of the [[function]]."),
        (
            r"functions/[^/]+/event-invoke-config(/list)?/?",
            "Set retries_max, event_age_s_max, on_success and on_failure of the [[function]] in peaker.toml.",
        ),
        (r"event-source-mappings.*", "Sources of events are not set up through this API."),
        (r"layers.*", "Layers are folders: list them as layers of the [[function]]."),
        (
            r"functions/[^/]+/(policy.*|code-signing-config|url|urls|recursion-config|runtime-management-config)/?",
            _NO_MEANING,
        ),
        (
            r"(tags|code-signing-configs|resource-policy|capacity-providers)(/.*)?",
            _NO_MEANING,
        ),
        (r"(functions/[^/]+/)?durable-execution.*", "Durable executions are not there on this machine."),
        (r"functions.*", _DECLARED),
    )
)
_VERSIONED_PATH = re.compile(r"/20\d\d-\d\d-\d\d/(?P<rest>.+)")


def parse_read(method: str, target: str) -> ReadCall:
    """Read a request that is no invocation.

    Raises:
        InvokeApiError: 404, no operation of Lambda; 400, one that is not answered here, with what to do instead, or a
            parameter that its constraint forbids.
    """
    path, _, query = target.partition("?")
    if method in ("GET", "HEAD"):
        for pattern, operation in _READ:
            if found := pattern.fullmatch(path):
                return _read_call(operation, found.groupdict(), parse_qs(query))
    raise _not_answered(method, path)


def _read_call(operation: Operation, found: Mapping[str, str], query: Mapping[str, list[str]]) -> ReadCall:
    def asked(name: str) -> str:
        return query.get(name, [""])[0]

    if (version := asked("FunctionVersion")) not in ("", "ALL"):
        raise violated("functionVersion", version, "Member must satisfy enum value set: [ALL]")
    name = found.get("name", "")
    return ReadCall(
        operation=operation,
        named=parse_name(unquote(name), asked("Qualifier")) if name else Named(""),
        alias=unquote(found.get("alias", "")),
        all_versions=version == "ALL",
        marker=asked("Marker")[:300],
        max_items=_max_items(asked("MaxItems")),
    )


def _max_items(text: str) -> int:
    if not text:
        return MAX_ITEMS_DEFAULT
    if not re.fullmatch(r"\d{1,6}", text) or int(text) < 1:
        raise violated("maxItems", text, "Member must have value greater than or equal to 1")
    if int(text) > _MAX_ITEMS_MAX:
        raise violated("maxItems", text, f"Member must have value less than or equal to {_MAX_ITEMS_MAX}")
    return min(int(text), MAX_ITEMS_DEFAULT)


def _not_answered(method: str, path: str) -> InvokeApiError:
    versioned = _VERSIONED_PATH.fullmatch(path)
    rest = versioned["rest"] if versioned else ""
    for pattern, instead in _INSTEAD:
        if pattern.fullmatch(rest):
            what = f"{method} {path[:200]} is not answered by the function host of this machine. {instead}"
            return InvokeApiError(400, "UnsupportedOperationException", what, Type="User")
    return InvokeApiError(404, "UnknownOperationException", f"No operation at {path[:200]}.")
