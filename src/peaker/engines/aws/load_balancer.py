"""The load balancer: TLS in, least outstanding requests out, and a second target for when there are no servers.

Both targets stand in one action with weights. The template gives the first start's; from then on control moves them
(all to the function while the baseline is zero), and an update of the stack leaves them as they are, because
CloudFormation touches a listener only where its own text has changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from troposphere import GetAtt, Ref
from troposphere.awslambda import Permission
from troposphere.elasticloadbalancingv2 import (
    Action,
    Certificate,
    ForwardConfig,
    Listener,
    LoadBalancer,
    LoadBalancerAttributes,
    Matcher,
    RedirectConfig,
    TargetDescription,
    TargetGroup,
    TargetGroupAttribute,
    TargetGroupTuple,
)

from peaker.engines.aws.image import OPS_PORT
from peaker.engines.aws.lambda_functions import alias_of
from peaker.engines.aws.network import ANYWHERE, Network, group, lets_in
from peaker.engines.aws.stack import Stack

TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"
HEALTH_INTERVAL_S = 10


@dataclass(frozen=True, slots=True)
class Balanced:
    """What servers need to know of it; `servers` is None where there are none."""

    group: Any
    servers: TargetGroup | None
    listener: Listener


def add_load_balancer(stack: Stack, network: Network, *, has_servers: bool, is_instance_target: bool) -> Balanced:
    """A balancer with its targets; `is_instance_target` for EC2 instances, whose addresses it finds by their ids."""
    aws, web = stack.settings.aws, stack.deployment.web_function
    entry = group(
        stack,
        network,
        "LoadBalancer",
        "clients",
        [lets_in(443, CidrIp=ANYWHERE), lets_in(80, CidrIp=ANYWHERE)],
    )
    balancer = stack.add(
        LoadBalancer(
            "LoadBalancer",
            Scheme="internet-facing",
            Subnets=network.public,
            SecurityGroups=[GetAtt(entry, "GroupId")],
            LoadBalancerAttributes=[
                LoadBalancerAttributes(Key="idle_timeout.timeout_seconds", Value=str(aws.idle_timeout_s)),
                LoadBalancerAttributes(Key="routing.http.drop_invalid_header_fields.enabled", Value="true"),
                LoadBalancerAttributes(Key="routing.http.desync_mitigation_mode", Value="defensive"),
            ],
            **({"DependsOn": list(network.depends_on)} if network.depends_on else {}),
        )
    )
    servers = _servers_target(stack, network, is_instance_target=is_instance_target) if has_servers else None
    targets = [TargetGroupTuple(TargetGroupArn=Ref(servers), Weight=1)] if servers is not None else []
    if web is not None:
        function = _function_target(stack)
        targets.append(TargetGroupTuple(TargetGroupArn=Ref(function), Weight=0 if servers is not None else 1))
    listener = stack.add(
        Listener(
            "Listener",
            LoadBalancerArn=Ref(balancer),
            Port=443,
            Protocol="HTTPS",
            SslPolicy=TLS_POLICY,
            Certificates=[Certificate(CertificateArn=aws.certificate_arn)],
            DefaultActions=[Action(Type="forward", ForwardConfig=ForwardConfig(TargetGroups=targets))],
        )
    )
    stack.add(
        Listener(
            "ListenerPlain",
            LoadBalancerArn=Ref(balancer),
            Port=80,
            Protocol="HTTP",
            DefaultActions=[
                Action(
                    Type="redirect",
                    RedirectConfig=RedirectConfig(Protocol="HTTPS", Port="443", StatusCode="HTTP_301"),
                )
            ],
        )
    )
    stack.output("Address", GetAtt(balancer, "DNSName"), "Where the domain's DNS record points to")
    return Balanced(GetAtt(entry, "GroupId"), servers, listener)


def _servers_target(stack: Stack, network: Network, *, is_instance_target: bool) -> TargetGroup:
    """A saturated server is ready, a draining one is not: /ready on the ops port says so."""
    return stack.add(
        TargetGroup(
            "ServersTarget",
            VpcId=network.vpc,
            Port=stack.deployment.port,
            Protocol="HTTP",
            TargetType="instance" if is_instance_target else "ip",
            HealthCheckPath="/ready",
            HealthCheckPort=str(OPS_PORT),
            HealthCheckIntervalSeconds=HEALTH_INTERVAL_S,
            HealthCheckTimeoutSeconds=5,
            HealthyThresholdCount=2,
            UnhealthyThresholdCount=2,
            Matcher=Matcher(HttpCode="200"),
            TargetGroupAttributes=[
                TargetGroupAttribute(Key="load_balancing.algorithm.type", Value="least_outstanding_requests"),
                TargetGroupAttribute(Key="deregistration_delay.timeout_seconds", Value=str(stack.deployment.stop_s)),
            ],
        )
    )


def _function_target(stack: Stack) -> TargetGroup:
    web = stack.deployment.web_function
    assert web is not None
    permission = stack.add(
        Permission(
            "LoadBalancerMayInvoke",
            FunctionName=alias_of(web),
            Action="lambda:InvokeFunction",
            Principal="elasticloadbalancing.amazonaws.com",
        )
    )
    return stack.add(
        TargetGroup(
            "FunctionTarget",
            TargetType="lambda",
            Targets=[TargetDescription(Id=alias_of(web))],
            TargetGroupAttributes=[TargetGroupAttribute(Key="lambda.multi_value_headers.enabled", Value="true")],
            DependsOn=permission.title,
        )
    )
