"""Functions: each with its role, its log group, a version of this build, and an alias that leads to the newest."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from troposphere import GetAtt, Ref
from troposphere.awslambda import (
    Alias,
    Code,
    DestinationConfig,
    Environment,
    EventInvokeConfig,
    Function,
    OnFailure,
    ProvisionedConcurrencyConfiguration,
    SnapStart,
    Version,
    VPCConfig,
)
from troposphere.sqs import Queue

from peaker.app import FunctionSpec, pool_variables
from peaker.engines.aws import iam
from peaker.engines.aws.mended_types import LoggingConfig
from peaker.engines.aws.stack import KEPT, Stack, logical
from peaker.errors import SettingsError

ENTRY = "peaker.aws.handler"
ALIAS = "live"
VERSION_DIGITS = 15
SECONDS_OF_14_DAYS = 1_209_600
"""The longest that a queue keeps a message (Amazon SQS quotas)."""

FUNCTION_TIMEOUT_S_MAX = 900


def add_function(stack: Stack, spec: FunctionSpec, statements: list[iam.Statement]) -> Function:
    """One function; `statements` are what its sources need.

    A version is kept when the next one comes: servers of the build before still call it.

    Raises:
        SettingsError: it is of a kind that is not deployed.
    """
    deployment, settings = stack.deployment, stack.settings
    name = deployment.function_name(spec)
    if spec.is_provided:
        raise SettingsError(
            f"function.runtime = 'provided' of {spec.name!r} is not deployed to AWS yet.",
            remedy="Deploy it with your own tools; `peaker aws policy` says what it needs.",
        )
    group = stack.log_group(logical(spec.name, "Logs"), f"/aws/lambda/{name}")
    role = iam.role(
        stack,
        f"{spec.name}-function",
        "lambda.amazonaws.com",
        [
            iam.may_write_logs(f"/aws/lambda/{name}"),
            *iam.may_read_secrets(settings),
            *([iam.may_join_network()] if settings.aws.functions_in_vpc else []),
            *_may_send_dead_letters(spec),
            *statements,
        ],
    )
    function = stack.add(
        Function(
            logical(spec.name),
            FunctionName=name,
            Role=GetAtt(role, "Arn"),
            MemorySize=spec.memory_mb,
            Timeout=min(FUNCTION_TIMEOUT_S_MAX, math.ceil(spec.timeout_s)),
            ReservedConcurrentExecutions=spec.concurrency_max,
            Architectures=[settings.functions.architecture],
            Environment=Environment(Variables=variables_of(stack, spec)),
            LoggingConfig=LoggingConfig(LogGroup=Ref(group), LogFormat="JSON"),
            **code_of(stack),
            **_network(stack),
        )
    )
    if settings.aws.snap_start:
        function.SnapStart = SnapStart(ApplyOn="PublishedVersions")
    _add_version(stack, spec, function)
    if not spec.web:
        _add_events(stack, spec, function)
    return function


def version_of(stack: Stack, spec: FunctionSpec) -> Ref:
    """The ARN of the version of this code; the function is in the stack already."""
    return Ref(stack.versions[spec.name])


def alias_of(spec: FunctionSpec) -> Ref:
    """The ARN of the alias that leads to the newest version."""
    return Ref(logical(spec.name, "Alias"))


def variables_of(stack: Stack, spec: FunctionSpec) -> dict[str, Any]:
    """What a function finds in its environment; of secrets only where they stand."""
    settings = stack.settings
    found = {**settings.env, **dict(spec.variables), **pool_variables(settings, in_instance=True)}
    found |= {"PEAKER_WEB": spec.target} if spec.web else {"PEAKER_HANDLER": spec.target}
    if spec.warm_up:
        found["PEAKER_WARM_UP"] = spec.warm_up
    if spec.web and settings.aws.cold_start_metrics:
        found["PEAKER_COLD_START_METRICS"] = "1"
    if settings.secrets:
        found["PEAKER_SECRETS"] = json.dumps(settings.secrets, sort_keys=True)
    return found


def code_of(stack: Stack) -> dict[str, Any]:
    """Properties that say where the code is."""
    settings = stack.settings
    if settings.aws.functions == "image":
        image = settings.aws.image or stack.parameter("Image", "Image in ECR, with its digest")
        return {"PackageType": "Image", "Code": Code(ImageUri=image)}
    return {
        "Runtime": f"python{stack.deployment.python}",
        "Handler": ENTRY,
        "Code": Code(
            S3Bucket=stack.parameter("CodeBucket", "Bucket with the zip of peaker build"),
            S3Key=stack.parameter("CodeKey", "The zip in it, by its hash"),
        ),
    }


def _network(stack: Stack) -> dict[str, Any]:
    aws = stack.settings.aws
    if not aws.functions_in_vpc:
        return {}
    return {"VpcConfig": VPCConfig(SubnetIds=list(aws.private_subnets), SecurityGroupIds=list(aws.security_groups))}


def _add_version(stack: Stack, spec: FunctionSpec, function: Function) -> None:
    """A version named by all that it freezes.

    Lambda refuses a second version of the same code and configuration, and CloudFormation makes a new one only under a
    new name: so the name changes when, and only when, one of them does.
    """
    properties = function.to_dict()["Properties"]
    frozen = {name: value for name, value in properties.items() if name not in ("Code", "ReservedConcurrentExecutions")}
    text = json.dumps([stack.deployment.code, frozen], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:VERSION_DIGITS]
    version = stack.add(
        Version(logical(spec.name, "Version", digest), FunctionName=Ref(function), Description=f"code {digest}", **KEPT)
    )
    stack.versions[spec.name] = version.title
    alias = Alias(
        logical(spec.name, "Alias"),
        Name=ALIAS,
        FunctionName=Ref(function),
        FunctionVersion=GetAtt(version, "Version"),
    )
    held = stack.settings.aws.provisioned
    if spec.web and held:
        alias.ProvisionedConcurrencyConfig = ProvisionedConcurrencyConfiguration(ProvisionedConcurrentExecutions=held)
    stack.add(alias)


def dead_letters_of(stack: Stack, spec: FunctionSpec) -> Queue:
    """The queue of events that a function was given up on, made when it is first asked for."""
    name = logical(spec.name, "DeadLetters")
    found = stack.template.resources.get(name)
    if isinstance(found, Queue):
        return found
    return stack.add(
        Queue(
            name,
            QueueName=f"{stack.deployment.function_name(spec)}-dead-letters",
            MessageRetentionPeriod=SECONDS_OF_14_DAYS,
            SqsManagedSseEnabled=True,
            **KEPT,
        )
    )


def _may_send_dead_letters(spec: FunctionSpec) -> list[iam.Statement]:
    return [] if spec.web else [iam.allow("sqs:SendMessage", GetAtt(logical(spec.name, "DeadLetters"), "Arn"))]


def _add_events(stack: Stack, spec: FunctionSpec, function: Function) -> None:
    """Retries and age of asynchronous invocations, and where their failures go."""
    queue = dead_letters_of(stack, spec)
    stack.add(
        EventInvokeConfig(
            logical(spec.name, "Events"),
            FunctionName=Ref(function),
            Qualifier=ALIAS,
            MaximumRetryAttempts=spec.retries_max,
            MaximumEventAgeInSeconds=int(spec.event_age_s_max),
            DestinationConfig=DestinationConfig(OnFailure=OnFailure(Destination=GetAtt(queue, "Arn"))),
            DependsOn=logical(spec.name, "Alias"),
        )
    )
