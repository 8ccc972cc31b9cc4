"""What the functions of this host are, in the shapes of Lambda's API: read-only, for boto3, the AWS CLI and tools.

Shapes: AWS Lambda API Reference, "FunctionConfiguration" and the responses of the operations named in
`wire/functions_api.py`. Values that stand for something this machine has not (an execution role, an account) are
placeholders. The variables of functions are not shown, for some may be secrets: in their place stands what Lambda
answers to callers that may not read them.
"""

from __future__ import annotations

import base64
import hashlib
import math
import platform
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from peaker.app import FunctionSpec
from peaker.functions.context import ACCOUNT_ID
from peaker.functions.published import Published
from peaker.wire.function_names import LATEST
from peaker.wire.functions_api import Operation, ReadCall
from peaker.wire.lambda_errors import alias_not_found, function_not_found

_CODE_BYTES_MAX = 80_530_636_800
"""TotalCodeSize of an account: 75 GB (Lambda quotas); the next two are of one function's code."""
_CODE_BYTES_UNZIPPED_MAX = 262_144_000
_CODE_BYTES_ZIPPED_MAX = 52_428_800
_EPHEMERAL_STORAGE_MB = 512

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What is the same for all functions: since when they are there, where their code is, how it is built."""

    modified_epoch_s: float
    directory: str
    has_variables: bool
    instances_max: int
    machine: str = platform.machine()
    python: tuple[int, int] = sys.version_info[:2]


class Catalogue:
    """Answers reading operations."""

    def __init__(self, specs: Sequence[FunctionSpec], published: Published, surroundings: Surroundings) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._published = published
        self._surroundings = surroundings

    def answer(self, call: ReadCall) -> Document:
        """The JSON document of the answer.

        Raises:
            InvokeApiError: 404, no such function, version or alias.
        """
        if call.operation is Operation.LIST_FUNCTIONS:
            return self._functions(call)
        if call.operation is Operation.GET_ACCOUNT_SETTINGS:
            return self._account()
        spec = self._specs.get(call.named.function)
        if spec is None:
            raise function_not_found(self._published.arn(call.named.function, call.named.qualifier))
        return self._of_function(call, spec)

    def _of_function(self, call: ReadCall, spec: FunctionSpec) -> Document:
        concurrency: Document = {"ReservedConcurrentExecutions": spec.concurrency_max}
        found: Document
        match call.operation:
            case Operation.GET_FUNCTION_CONCURRENCY:
                found = concurrency
            case Operation.GET_FUNCTION_RECURSION_CONFIG:
                found = {"RecursiveLoop": "Terminate"}
            case Operation.GET_EVENT_INVOKE_CONFIG:
                found = self._events(spec)
            case Operation.LIST_EVENT_INVOKE_CONFIGS:
                found = {"FunctionEventInvokeConfigs": [] if call.marker else [self._events(spec)]}
            case Operation.LIST_VERSIONS:
                found = self._versions(call, spec)
            case Operation.LIST_ALIASES:
                found = {"Aliases": [] if call.marker else [self._alias(spec)]}
            case Operation.GET_ALIAS:
                found = self._alias_named(spec, call.alias)
            case _:
                version = self._published.version_of(spec.name, call.named.qualifier)
                found = self._configuration(spec, version, call.named.qualifier)
        if call.operation is not Operation.GET_FUNCTION:
            return found
        code = {"RepositoryType": "local", "Location": f"file://{self._surroundings.directory}"}
        return {"Configuration": found, "Code": code, "Tags": {}, "Concurrency": concurrency}

    def _events(self, spec: FunctionSpec) -> Document:
        """What becomes of its events; Lambda answers where something was set, here something always is."""
        targets = {"OnSuccess": spec.on_success, "OnFailure": spec.on_failure}
        return {
            "LastModified": self._surroundings.modified_epoch_s,
            "FunctionArn": self._published.arn(spec.name, LATEST),
            "MaximumRetryAttempts": spec.retries_max,
            "MaximumEventAgeInSeconds": int(spec.event_age_s_max),
            "DestinationConfig": {
                name: {"Destination": self._destination_arn(target)} if target else {}
                for name, target in targets.items()
            },
        }

    def _destination_arn(self, target: str) -> str:
        kind, _, name = target.partition(":")
        if kind == "function":
            return self._published.arn(name)
        return f"arn:aws:{'sqs' if kind == 'queue' else 'sns'}:{self._published.region}:{ACCOUNT_ID}:{name}"

    def _functions(self, call: ReadCall) -> Document:
        versions = (LATEST, self._number) if call.all_versions else (LATEST,)
        found = [(spec, version) for spec in self._specs.values() for version in versions]
        page, next_marker = self._page(found, call, in_list=call.all_versions)
        return {"Functions": page, **next_marker}

    def _versions(self, call: ReadCall, spec: FunctionSpec) -> Document:
        page, next_marker = self._page([(spec, LATEST), (spec, self._number)], call, in_list=True)
        return {"Versions": page, **next_marker}

    def _page(
        self, found: list[tuple[FunctionSpec, str]], call: ReadCall, *, in_list: bool
    ) -> tuple[list[Document], dict[str, str]]:
        """Those after the marker, which is the name and version of the last that was given."""
        in_order = sorted(found, key=lambda one: _marker(*one))
        after = [one for one in in_order if _marker(*one) > call.marker]
        page = after[: call.max_items]
        documents = [self._configuration(spec, version, version if in_list else "") for spec, version in page]
        return documents, {"NextMarker": _marker(*page[-1])} if len(after) > len(page) else {}

    @property
    def _number(self) -> str:
        return str(self._published.number)

    def _configuration(self, spec: FunctionSpec, version: str, qualifier: str) -> Document:
        around = self._surroundings
        modified = datetime.fromtimestamp(around.modified_epoch_s, UTC)
        major, minor = around.python
        document: Document = {
            "FunctionName": spec.name,
            "FunctionArn": self._published.arn(spec.name, qualifier),
            "Runtime": "provided.al2023" if spec.is_provided else f"python{major}.{minor}",
            "Role": f"arn:aws:iam::{ACCOUNT_ID}:role/peaker",
            "Handler": spec.target.replace(":", "."),
            "Description": "The web app, behind HTTP API payload 2.0." if spec.web else "",
            "Timeout": math.ceil(spec.timeout_s),
            "MemorySize": spec.memory_mb,
            "LastModified": f"{modified:%Y-%m-%dT%H:%M:%S}.000+0000",
            "CodeSha256": base64.b64encode(hashlib.sha256(self._published.build.encode()).digest()).decode(),
            "Version": version,
            "TracingConfig": {"Mode": "PassThrough"},
            "RevisionId": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self._published.build}:{spec.name}:{version}")),
            "State": "Active",
            "LastUpdateStatus": "Successful",
            "PackageType": "Zip",
            "Architectures": ["arm64" if around.machine in ("aarch64", "arm64") else "x86_64"],
            "EphemeralStorage": {"Size": _EPHEMERAL_STORAGE_MB},
            "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
            "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{spec.name}"},
        }
        if around.has_variables or spec.variables:
            error = {
                "ErrorCode": "AccessDeniedException",
                "Message": "Variables are not shown, for they may be secret.",
            }
            document["Environment"] = {"Error": error}
        return document

    def _alias_named(self, spec: FunctionSpec, name: str) -> Document:
        if name != self._published.build:
            raise alias_not_found(self._published.arn(spec.name, name))
        return self._alias(spec)

    def _alias(self, spec: FunctionSpec) -> Document:
        build = self._published.build
        return {
            "AliasArn": self._published.arn(spec.name, build),
            "Name": build,
            "FunctionVersion": self._number,
            "Description": "The hash of the build that runs.",
            "RevisionId": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{build}:{spec.name}:alias")),
        }

    def _account(self) -> Document:
        reserved = sum(spec.concurrency_max for spec in self._specs.values())
        instances_max = self._surroundings.instances_max
        return {
            "AccountLimit": {
                "TotalCodeSize": _CODE_BYTES_MAX,
                "CodeSizeUnzipped": _CODE_BYTES_UNZIPPED_MAX,
                "CodeSizeZipped": _CODE_BYTES_ZIPPED_MAX,
                "ConcurrentExecutions": instances_max,
                "UnreservedConcurrentExecutions": max(0, instances_max - reserved),
            },
            "AccountUsage": {"TotalCodeSize": 0, "FunctionCount": len(self._specs)},
        }


def _marker(spec: FunctionSpec, version: str) -> str:
    """Pages are in the order of this text: names together, and `$LATEST` before a number."""
    return f"{spec.name}:{version}"
