"""Control in the template: a function, a schedule of every minute, a table, and the right to steer this app alone."""

from __future__ import annotations

import json
from typing import Any

from troposphere import GetAtt, Ref, Sub
from troposphere.awslambda import Environment, Function, ImageConfig
from troposphere.dynamodb import AttributeDefinition, KeySchema, SSESpecification, Table, TimeToLiveSpecification
from troposphere.scheduler import FlexibleTimeWindow, RetryPolicy, Schedule, Target

from peaker.control_on_aws.task import Task
from peaker.engines.aws import iam
from peaker.engines.aws.deployment import Front, ServersOn
from peaker.engines.aws.lambda_functions import code_of
from peaker.engines.aws.mended_types import LoggingConfig
from peaker.engines.aws.preview import server_usd
from peaker.engines.aws.stack import Stack, arn
from peaker.engines.aws.task_sizes import CPU_UNITS, task_size
from peaker.meter.bill import HOURS_PER_MONTH
from peaker.meter.price import prices_of
from peaker.policy.baseline import DEFAULT
from peaker.policy.limit import SLOTS_AT_START
from peaker.policy.supervision import is_steered
from peaker.prices import load

HANDLER = "peaker.control_on_aws.handler"
MEMORY_MB = 256
TIMEOUT_S = 50
START_GUESS_S = {ServersOn.FARGATE: 60.0, ServersOn.ECS: 180.0, ServersOn.EC2: 180.0}
"""Until a server's start was seen."""


def has_control(stack: Stack) -> bool:
    """There is a number of servers to decide on, behind a load balancer that tells what comes."""
    deployment = stack.deployment
    is_behind = deployment.front is Front.ALB and deployment.servers_on in START_GUESS_S
    return is_behind and is_steered(deployment.settings)


def add_control(stack: Stack) -> None:
    """All of it, after load balancer, servers and functions."""
    name = f"{stack.deployment.name}-control"
    table = stack.add(
        Table(
            "ControlTable",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[
                AttributeDefinition(AttributeName=each, AttributeType="S") for each in ("kind", "at")
            ],
            KeySchema=[KeySchema(AttributeName="kind", KeyType="HASH"), KeySchema(AttributeName="at", KeyType="RANGE")],
            TimeToLiveSpecification=TimeToLiveSpecification(AttributeName="expires_s", Enabled=True),
            SSESpecification=SSESpecification(SSEEnabled=True),
            # What was learned is learned again within a day; nothing of the app's is in it.
            DeletionPolicy="Delete",
            UpdateReplacePolicy="Delete",
        )
    )
    logs = stack.log_group("ControlLogs", f"/aws/lambda/{name}")
    role = iam.role(
        stack,
        "Control",
        "lambda.amazonaws.com",
        [iam.may_write_logs(f"/aws/lambda/{name}"), *_statements(stack, table)],
        app_code=False,
    )
    function = stack.add(
        Function(
            "Control",
            FunctionName=name,
            Role=GetAtt(role, "Arn"),
            MemorySize=MEMORY_MB,
            Timeout=TIMEOUT_S,
            # One step at a time; steps that come twice are refused by the table as well.
            ReservedConcurrentExecutions=1,
            Architectures=[stack.settings.functions.architecture],
            Environment=Environment(Variables={"PEAKER_CONTROL": _task(stack)}),
            LoggingConfig=LoggingConfig(LogGroup=Ref(logs), LogFormat="JSON"),
            **_code(stack),
        )
    )
    caller = iam.role(
        stack,
        "ControlSchedule",
        "scheduler.amazonaws.com",
        [iam.allow("lambda:InvokeFunction", GetAtt(function, "Arn"))],
        app_code=False,
    )
    stack.add(
        Schedule(
            "ControlSchedule",
            Name=name,
            ScheduleExpression="rate(1 minute)",
            FlexibleTimeWindow=FlexibleTimeWindow(Mode="OFF"),
            Target=Target(
                Arn=GetAtt(function, "Arn"),
                RoleArn=GetAtt(caller, "Arn"),
                # A minute that was missed is not made up for: the next one sees more.
                RetryPolicy=RetryPolicy(MaximumEventAgeInSeconds=60, MaximumRetryAttempts=0),
            ),
        )
    )


def _code(stack: Stack) -> dict[str, Any]:
    """Of the same package as the functions, or of the same image with another handler."""
    found = code_of(stack)
    if "Handler" in found:
        return {**found, "Handler": HANDLER}
    # Not by the image's own entry, which starts the app.
    started_by = ImageConfig(EntryPoint=["python", "-m", "awslambdaric"], Command=[HANDLER])
    return {**found, "ImageConfig": started_by}


def _statements(stack: Stack, table: Table) -> list[iam.Statement]:
    deployment, web = stack.deployment, stack.deployment.web_function
    found = [
        # These know no resources.
        iam.allow("cloudwatch:GetMetricStatistics", "*"),
        iam.allow(["elasticloadbalancing:DescribeTargetHealth", "elasticloadbalancing:DescribeListeners"], "*"),
        iam.allow(
            ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"],
            GetAtt(table, "Arn"),
        ),
    ]
    if deployment.servers_on is ServersOn.EC2:
        group = arn("autoscaling", "autoScalingGroup:*:autoScalingGroupName/${Servers}")
        found += [
            iam.allow("autoscaling:DescribeAutoScalingGroups", "*"),
            iam.allow("autoscaling:SetDesiredCapacity", group),
        ]
    else:
        service = arn("ecs", f"service/{deployment.name}/{deployment.name}")
        found.append(iam.allow(["ecs:DescribeServices", "ecs:UpdateService"], service))
    if web is not None:
        found += [
            iam.allow("elasticloadbalancing:ModifyListener", Ref("Listener")),
            iam.allow("lambda:PutFunctionConcurrency", arn("lambda", f"function:{deployment.function_name(web)}")),
        ]
    return found


def _task(stack: Stack) -> Any:
    """The task as JSON in which CloudFormation puts in what is only known when it is made."""
    deployment, settings = stack.deployment, stack.settings
    servers, web, prices = settings.servers, deployment.web_function, prices_of(settings)
    on_group = deployment.servers_on is ServersOn.EC2
    vcpus = task_size(settings).cpu_units / CPU_UNITS if not on_group else float(prices.server.vcpus)
    slots = servers.in_flight_max if isinstance(servers.in_flight_max, int) else SLOTS_AT_START
    task = Task(
        table="${ControlTable}",
        listener_arn="${Listener}",
        balancer="${LoadBalancer.LoadBalancerFullName}",
        servers_target_arn="${ServersTarget}",
        function_target_arn="${FunctionTarget}" if web is not None else "",
        function=deployment.function_name(web) if web is not None else "",
        cluster="" if on_group else deployment.name,
        service="" if on_group else deployment.name,
        group="${Servers}" if on_group else "",
        policy=DEFAULT if servers.policy == "auto" else servers.policy,
        count_min=servers.count_min,
        count_max=servers.count_max,
        stay_s=max(60.0, servers.stay_s_min),
        start_guess_s=START_GUESS_S[deployment.servers_on],
        vcpus=vcpus,
        slots=slots * max(1, int(vcpus)),
        server_usd_per_hour=server_usd(deployment, load()) / HOURS_PER_MONTH,
        gb_second_usd=prices.gb_second[prices.architecture].usd,
        request_usd=prices.request.usd,
        memory_mb=web.memory_mb if web is not None else settings.functions.memory_mb,
        concurrency_max=web.concurrency_max if web is not None else settings.functions.concurrency_max,
        spend_usd_per_day_max=settings.objective.spend_usd_per_day_max,
    )
    return Sub(json.dumps(json.loads(task.to_json()), sort_keys=True))
