"""One minute of the app as CloudWatch tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from peaker.control_on_aws.task import STEP_S, Task
from peaker.policy.server_capacity import Load

LATE_S = 60.0
"""A minute is read so long after its end: the load balancer sends a minute's figures within the next."""


CPU_SHARE_MIN = 0.05
"""Below this the CPU of servers is that of being there, and tells nothing of what a request takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """Sums of the minute that began at `began_s`, in seconds since 1970.

    Attributes:
        to_servers, to_function: requests that the load balancer sent to each target; spilled ones are among the first.
        invocations, duration_s: runs of the web function, and how long they took together.
        response_s: mean time of answers of the servers' target.
        cpu_share: mean of the servers' CPU that was busy.
    """

    began_s: float
    to_servers: int
    to_function: int
    invocations: int
    duration_s: float
    response_s: float
    cpu_share: float

    @property
    def spilled(self) -> int:
        """Requests that came to a server and ran on the function."""
        return max(0, min(self.to_servers, self.invocations - self.to_function))

    def load(self, task: Task, servers: int | None) -> Load:
        """As the policy has it; `servers` is None where their number changed within the minute."""
        served = self.to_servers - self.spilled
        spilled_s = self.duration_s * self.spilled / self.invocations if self.invocations else 0.0
        return Load(
            span_s=STEP_S,
            servers=servers,
            served=served,
            elsewhere=self.spilled + self.to_function,
            busy_s=max(0.0, self.to_servers * self.response_s - spilled_s),
            cpu_s=self.cpu_share * task.vcpus * STEP_S * (servers or 0) if self.cpu_share >= CPU_SHARE_MIN else 0.0,
            slots=task.slots,
            workers=max(1, int(task.vcpus)),
        )

    def functions_usd(self, task: Task) -> float:
        """What the runs of the web function cost."""
        return self.invocations * task.request_usd + self.duration_s * task.memory_mb / 1024 * task.gb_second_usd


def newest_whole(now_s: float) -> float:
    """When the newest minute began of which all figures are there."""
    return (now_s - LATE_S) // STEP_S * STEP_S - STEP_S


def read_minute(cloudwatch: Any, task: Task, began_s: float) -> Minute | None:
    """The figures of one minute; None where they are late.

    The load balancer sends no figure for what did not happen, but its capacity units always: without them the minute
    is not there yet, and with them a missing figure is zero. GetMetricStatistics is among CloudWatch's million free
    calls a month, where GetMetricData is not.

    Raises:
        botocore.exceptions.ClientError: CloudWatch refused.
    """

    def figure(namespace: str, metric: str, statistic: str, dimensions: Mapping[str, str]) -> float | None:
        answer = cloudwatch.get_metric_statistics(
            Namespace=namespace,
            MetricName=metric,
            Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
            StartTime=datetime.fromtimestamp(began_s, UTC),
            EndTime=datetime.fromtimestamp(began_s + STEP_S, UTC),
            Period=int(STEP_S),
            Statistics=[statistic],
        )
        return next((float(point[statistic]) for point in answer["Datapoints"]), None)

    balancer = {"LoadBalancer": task.balancer}
    if figure("AWS/ApplicationELB", "ConsumedLCUs", "Sum", balancer) is None:
        return None
    servers = {"TargetGroup": _target_name(task.servers_target_arn), **balancer}
    found: dict[str, float | None] = {
        "to_servers": figure("AWS/ApplicationELB", "RequestCount", "Sum", servers),
        "response_s": figure("AWS/ApplicationELB", "TargetResponseTime", "Average", servers),
        "cpu": figure(*_cpu_of(task)),
    }
    if task.function:
        to_function = {"TargetGroup": _target_name(task.function_target_arn), **balancer}
        runs = {"FunctionName": task.function}
        found["to_function"] = figure("AWS/ApplicationELB", "RequestCount", "Sum", to_function)
        found["invocations"] = figure("AWS/Lambda", "Invocations", "Sum", runs)
        found["duration_ms"] = figure("AWS/Lambda", "Duration", "Sum", runs)
    known = {name: value or 0.0 for name, value in found.items()}
    return Minute(
        began_s=began_s,
        to_servers=int(known["to_servers"]),
        to_function=int(known.get("to_function", 0)),
        invocations=int(known.get("invocations", 0)),
        duration_s=known.get("duration_ms", 0.0) / 1000,
        response_s=known["response_s"],
        cpu_share=known["cpu"] / 100,
    )


def _cpu_of(task: Task) -> tuple[str, str, str, dict[str, str]]:
    if task.group:
        return "AWS/EC2", "CPUUtilization", "Average", {"AutoScalingGroupName": task.group}
    return "AWS/ECS", "CPUUtilization", "Average", {"ClusterName": task.cluster, "ServiceName": task.service}


def _target_name(arn: str) -> str:
    """As metrics name a target group: targetgroup/NAME/ID."""
    return arn.rpartition(":")[2]
