"""The servers, the load balancer's weights and the function's concurrency: what control reads and sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from peaker.control_on_aws.task import Task

WEIGHT = 1


@dataclass(frozen=True, slots=True)
class Servers:
    """`ready` answer health checks behind the load balancer; `asked` is the number there should be."""

    ready: int
    asked: int

    @property
    def starting(self) -> int:
        """Asked for and not ready yet."""
        return max(0, self.asked - self.ready)


class AwsFleet:
    """Each method raises botocore's ClientError where AWS refuses; nothing is kept between calls.

    `clients` gives boto3's client of a service.
    """

    def __init__(self, clients: Any, task: Task) -> None:
        self._balancing = clients("elbv2")
        self._lambda = clients("lambda")
        self._ecs = clients("ecs") if task.service else None
        self._groups = clients("autoscaling") if task.group else None
        self._task = task

    def servers(self) -> Servers:
        """How many there are."""
        targets = self._balancing.describe_target_health(TargetGroupArn=self._task.servers_target_arn)
        health = [each["TargetHealth"]["State"] for each in targets["TargetHealthDescriptions"]]
        return Servers(ready=health.count("healthy"), asked=self._asked())

    def ask_for(self, count: int) -> None:
        """Set how many there should be."""
        task = self._task
        if self._ecs is not None:
            self._ecs.update_service(cluster=task.cluster, service=task.service, desiredCount=count)
        elif self._groups is not None:
            self._groups.set_desired_capacity(AutoScalingGroupName=task.group, DesiredCapacity=count)

    def is_on_function(self) -> bool:
        """Whether the load balancer sends all requests to the function."""
        return self._weights().get(self._task.servers_target_arn, 0) == 0

    def send_to_function(self, *, all_requests: bool) -> None:
        """Send all requests to the function, or all to the servers; the servers' gates spill what they cannot take."""
        task = self._task
        weights = {
            task.servers_target_arn: 0 if all_requests else WEIGHT,
            task.function_target_arn: WEIGHT if all_requests else 0,
        }
        groups = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in weights.items()]
        action = {"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}
        self._balancing.modify_listener(ListenerArn=task.listener_arn, DefaultActions=[action])

    def let_function_run(self, *, may_run: bool) -> None:
        """Without concurrency Lambda turns every call away as not started, so that requests stay on the servers."""
        limit = self._task.concurrency_max if may_run else 0
        self._lambda.put_function_concurrency(FunctionName=self._task.function, ReservedConcurrentExecutions=limit)

    def _weights(self) -> dict[str, int]:
        (listener,) = self._balancing.describe_listeners(ListenerArns=[self._task.listener_arn])["Listeners"]
        groups = listener["DefaultActions"][0].get("ForwardConfig", {}).get("TargetGroups", [])
        return {each["TargetGroupArn"]: each.get("Weight", WEIGHT) for each in groups}

    def _asked(self) -> int:
        task = self._task
        if self._ecs is not None:
            (service,) = self._ecs.describe_services(cluster=task.cluster, services=[task.service])["services"]
            return int(service["desiredCount"])
        assert self._groups is not None, "a task has a service or a group"
        answer = self._groups.describe_auto_scaling_groups(AutoScalingGroupNames=[task.group])
        (group,) = answer["AutoScalingGroups"]
        return int(group["DesiredCapacity"])
