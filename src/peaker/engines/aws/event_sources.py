"""What starts functions: queues, topics, buckets, tables and schedules, each with what it may do and no more.

Buckets, queues, topics and tables that are named are made by the stack; what holds data is kept when the stack goes.
"""

from __future__ import annotations

import math
from itertools import groupby
from typing import Any

from troposphere import GetAtt, Ref
from troposphere.awslambda import (
    DestinationConfig,
    EventSourceMapping,
    OnFailure,
    Permission,
)
from troposphere.dynamodb import (
    AttributeDefinition,
    KeySchema,
    PointInTimeRecoverySpecification,
    SSESpecification,
    StreamSpecification,
    Table,
)
from troposphere.s3 import (
    Bucket,
    BucketEncryption,
    Filter,
    LambdaConfigurations,
    NotificationConfiguration,
    PublicAccessBlockConfiguration,
    Rules,
    S3Key,
    ServerSideEncryptionByDefault,
    ServerSideEncryptionRule,
)
from troposphere.scheduler import DeadLetterConfig as ScheduleDeadLetters
from troposphere.scheduler import FlexibleTimeWindow, RetryPolicy, Schedule, Target
from troposphere.sns import SubscriptionResource, Topic
from troposphere.sqs import Queue, RedrivePolicy

from peaker.app import FunctionSpec
from peaker.engines.aws import iam
from peaker.engines.aws.lambda_functions import SECONDS_OF_14_DAYS, alias_of, dead_letters_of
from peaker.engines.aws.mended_types import ScalingConfig
from peaker.engines.aws.stack import KEPT, Stack, arn, logical
from peaker.errors import SettingsError
from peaker.local_aws_section import table_keys
from peaker.object_pattern import ObjectPattern
from peaker.settings import FunctionSection
from peaker.triggers import Kind, TriggerSection

VISIBILITY_TIMES = 6
"""A queue's visibility time-out over the function's (AWS Lambda Developer Guide, "Configuring a queue for Lambda")."""

KEPT_S = 345_600
"""How long a queue keeps a message that nobody takes: four days, as is usual (Amazon SQS quotas)."""

_OBJECT_EVENTS = {Kind.OBJECT_CREATED: "s3:ObjectCreated:*", Kind.OBJECT_REMOVED: "s3:ObjectRemoved:*"}


def source_statements(stack: Stack, spec: FunctionSpec) -> list[iam.Statement]:
    """What a function may do because of what starts it: read and delete messages, read a stream."""
    statements = []
    for on in _declared(stack, spec):
        if on.kind is Kind.QUEUE:
            actions = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
            statements.append(iam.allow(actions, GetAtt(_queue_id(on.queue), "Arn")))
        elif on.kind is Kind.TABLE:
            actions = ["dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:DescribeStream"]
            statements.append(iam.allow(actions, GetAtt(_table_id(on.table), "StreamArn")))
            statements.append(iam.allow("dynamodb:ListStreams", "*"))
    return statements


def add_sources(stack: Stack) -> None:
    """All of them.

    Raises:
        SettingsError: a table is not described, or a pattern is one that S3 does not know.
    """
    started = [(spec, on) for spec in stack.deployment.functions for on in _declared(stack, spec)]
    for spec, on in started:
        if on.kind is Kind.QUEUE:
            _add_queue_source(stack, spec, on)
        elif on.kind is Kind.TOPIC:
            _add_topic_source(stack, spec, on)
        elif on.kind is Kind.TABLE:
            _add_table_source(stack, spec, on)
        elif on.kind is Kind.HTTP:
            raise SettingsError(
                f"function.on.http = {on.http!r} is not deployed to AWS yet.",
                remedy="Make it a route of the web app there, or give the function a URL with your own tools.",
            )
    _add_buckets(stack, started)
    _add_schedules(stack, started)


def _declared(stack: Stack, spec: FunctionSpec) -> tuple[TriggerSection, ...]:
    sections: dict[str, FunctionSection] = {each.name: each for each in stack.settings.function}
    return () if spec.web else sections[spec.name].on


def _queue_id(name: str) -> str:
    return logical(name, "Queue")


def _table_id(name: str) -> str:
    return logical(name, "Table")


def _add_queue_source(stack: Stack, spec: FunctionSpec, on: TriggerSection) -> None:
    queue = stack.template.resources.get(_queue_id(on.queue)) or _add_queue(stack, spec, on)
    mapping = EventSourceMapping(
        logical(spec.name, on.queue, "Source"),
        FunctionName=alias_of(spec),
        EventSourceArn=GetAtt(queue, "Arn"),
        BatchSize=on.records_max,
        MaximumBatchingWindowInSeconds=math.ceil(on.window_s),
    )
    if on.report_batch_item_failures:
        mapping.FunctionResponseTypes = ["ReportBatchItemFailures"]
    if on.maximum_concurrency:
        mapping.ScalingConfig = ScalingConfig(MaximumConcurrency=on.maximum_concurrency)
    stack.add(mapping)


def _add_queue(stack: Stack, spec: FunctionSpec, on: TriggerSection) -> Queue:
    fifo = {"FifoQueue": True} if on.is_fifo else {}
    ending = ".fifo" if on.is_fifo else ""
    dead_name = on.dead_letter_queue or f"{on.queue.removesuffix('.fifo')}-dead{ending}"
    dead = stack.template.resources.get(_queue_id(dead_name)) or stack.add(
        Queue(
            _queue_id(dead_name),
            QueueName=_named(stack, dead_name),
            MessageRetentionPeriod=SECONDS_OF_14_DAYS,
            SqsManagedSseEnabled=True,
            **fifo,
            **KEPT,
        )
    )
    return stack.add(
        Queue(
            _queue_id(on.queue),
            QueueName=_named(stack, on.queue),
            MessageRetentionPeriod=KEPT_S,
            VisibilityTimeout=on.visibility_timeout_s or math.ceil(spec.timeout_s) * VISIBILITY_TIMES,
            RedrivePolicy=RedrivePolicy(deadLetterTargetArn=GetAtt(dead, "Arn"), maxReceiveCount=on.receives_max),
            SqsManagedSseEnabled=True,
            **fifo,
            **KEPT,
        )
    )


def _named(stack: Stack, name: str) -> str:
    """With the stage in front, so that two stages may stand in one account."""
    return f"{stack.settings.stage}-{name}" if stack.settings.stage else name


def _add_topic_source(stack: Stack, spec: FunctionSpec, on: TriggerSection) -> None:
    name = logical(on.topic, "Topic")
    topic = stack.template.resources.get(name) or stack.add(
        Topic(name, TopicName=_named(stack, on.topic), KmsMasterKeyId="alias/aws/sns")
    )
    permission = stack.add(
        Permission(
            logical(spec.name, on.topic, "MayInvoke"),
            FunctionName=alias_of(spec),
            Action="lambda:InvokeFunction",
            Principal="sns.amazonaws.com",
            SourceArn=Ref(topic),
        )
    )
    stack.add(
        SubscriptionResource(
            logical(spec.name, on.topic, "Source"),
            TopicArn=Ref(topic),
            Protocol="lambda",
            Endpoint=alias_of(spec),
            DependsOn=permission.title,
        )
    )


def _add_table_source(stack: Stack, spec: FunctionSpec, on: TriggerSection) -> None:
    name = _table_id(on.table)
    table = stack.template.resources.get(name) or stack.add(_table(stack, name, on.table))
    mapping = EventSourceMapping(
        logical(spec.name, on.table, "Source"),
        FunctionName=alias_of(spec),
        EventSourceArn=GetAtt(table, "StreamArn"),
        StartingPosition=on.starting_position,
        BatchSize=on.records_max,
        MaximumBatchingWindowInSeconds=math.ceil(on.window_s),
        MaximumRetryAttempts=spec.retries_max,
        BisectBatchOnFunctionError=True,
        DestinationConfig=DestinationConfig(
            OnFailure=OnFailure(Destination=GetAtt(dead_letters_of(stack, spec), "Arn"))
        ),
    )
    if on.report_batch_item_failures:
        mapping.FunctionResponseTypes = ["ReportBatchItemFailures"]
    stack.add(mapping)


def _table(stack: Stack, logical_name: str, name: str) -> Table:
    described = stack.settings.local_aws.tables.get(name)
    if not described:
        raise SettingsError(
            f"function.on.table = {name!r}, and nothing says what its key is.",
            remedy=f'Write it in [local_aws.tables]: {name} = "id", or "id, at:N" with a sort key.',
        )
    keys = table_keys(described)
    return Table(
        logical_name,
        TableName=_named(stack, name),
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[AttributeDefinition(AttributeName=key.name, AttributeType=key.kind) for key in keys],
        KeySchema=[
            KeySchema(AttributeName=key.name, KeyType=kind) for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)
        ],
        StreamSpecification=StreamSpecification(StreamViewType="NEW_AND_OLD_IMAGES"),
        SSESpecification=SSESpecification(SSEEnabled=True),
        PointInTimeRecoverySpecification=PointInTimeRecoverySpecification(PointInTimeRecoveryEnabled=True),
        **KEPT,
    )


def _add_buckets(stack: Stack, started: list[tuple[FunctionSpec, TriggerSection]]) -> None:
    """One bucket for all functions that it starts: S3 has one notification configuration for each."""
    found: list[tuple[str, FunctionSpec, TriggerSection, ObjectPattern]] = []
    for spec, on in started:
        if on.kind in _OBJECT_EVENTS:
            pattern = ObjectPattern.parse(getattr(on, on.kind.value))
            found.append((pattern.bucket, spec, on, pattern))
    for bucket, of_bucket in groupby(sorted(found, key=lambda each: each[0]), key=lambda each: each[0]):
        calls, permissions = [], {}
        for _, spec, on, pattern in of_bucket:
            name = logical(spec.name, bucket, "MayInvoke")
            permissions[name] = Permission(
                name,
                FunctionName=alias_of(spec),
                Action="lambda:InvokeFunction",
                Principal="s3.amazonaws.com",
                SourceAccount=Ref("AWS::AccountId"),
                # By its name: the bucket itself would wait for this permission, and this for the bucket.
                SourceArn=arn("s3", _bucket_name(stack, bucket), region="", account=""),
            )
            call = LambdaConfigurations(Event=_OBJECT_EVENTS[on.kind], Function=alias_of(spec))
            if rules := _rules(pattern):
                call.Filter = Filter(S3Key=S3Key(Rules=rules))
            calls.append(call)
        for permission in permissions.values():
            stack.add(permission)
        stack.add(_bucket(stack, bucket, calls, sorted(permissions)))


def _bucket_name(stack: Stack, bucket: str) -> str:
    """Names of buckets are the world's: with the account's number they meet nobody else's."""
    return f"{_named(stack, bucket)}-${{AWS::AccountId}}"


def _bucket(stack: Stack, name: str, calls: list[LambdaConfigurations], depends_on: list[str]) -> Bucket:
    from troposphere import Sub

    return Bucket(
        logical(name, "Bucket"),
        BucketName=Sub(_bucket_name(stack, name)),
        BucketEncryption=BucketEncryption(
            ServerSideEncryptionConfiguration=[
                ServerSideEncryptionRule(
                    ServerSideEncryptionByDefault=ServerSideEncryptionByDefault(SSEAlgorithm="AES256")
                )
            ]
        ),
        PublicAccessBlockConfiguration=PublicAccessBlockConfiguration(
            BlockPublicAcls=True, BlockPublicPolicy=True, IgnorePublicAcls=True, RestrictPublicBuckets=True
        ),
        NotificationConfiguration=NotificationConfiguration(LambdaConfigurations=calls),
        DependsOn=depends_on,
        **KEPT,
    )


def _rules(pattern: ObjectPattern) -> list[Rules]:
    named = (("prefix", pattern.prefix), ("suffix", pattern.suffix))
    return [Rules(Name=name, Value=value) for name, value in named if value]


def _add_schedules(stack: Stack, started: list[tuple[FunctionSpec, TriggerSection]]) -> None:
    """EventBridge Scheduler, with a role that may start these functions and leave what failed in their queues."""
    scheduled = [(spec, on) for spec, on in started if on.kind is Kind.SCHEDULE]
    if not scheduled:
        return
    specs = {spec.name: spec for spec, _ in scheduled}
    role = iam.role(
        stack,
        "Scheduler",
        "scheduler.amazonaws.com",
        [
            iam.allow("lambda:InvokeFunction", [alias_of(spec) for spec in specs.values()]),
            iam.allow("sqs:SendMessage", [GetAtt(dead_letters_of(stack, spec), "Arn") for spec in specs.values()]),
        ],
        app_code=False,
    )
    for number, (spec, on) in enumerate(scheduled):
        target: dict[str, Any] = {"Input": on.input} if on.input else {}
        stack.add(
            Schedule(
                logical(spec.name, "Schedule", str(number)),
                Name=f"{stack.deployment.function_name(spec)}-{number}"[-64:],
                ScheduleExpression=on.schedule,
                ScheduleExpressionTimezone=on.timezone,
                FlexibleTimeWindow=FlexibleTimeWindow(Mode="OFF"),
                Target=Target(
                    Arn=alias_of(spec),
                    RoleArn=GetAtt(role, "Arn"),
                    RetryPolicy=RetryPolicy(
                        MaximumEventAgeInSeconds=max(60, min(86_400, int(on.missed_s_max))),
                        MaximumRetryAttempts=185,
                    ),
                    DeadLetterConfig=ScheduleDeadLetters(Arn=GetAtt(dead_letters_of(stack, spec), "Arn")),
                    **target,
                ),
            )
        )
