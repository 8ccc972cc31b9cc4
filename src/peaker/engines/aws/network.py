"""The network that servers stand in: the one that is named, or a small one of its own.

The small one has two public subnets in two zones and no NAT gateway, which would cost more than most servers; servers
have public addresses, and security groups that let nobody in but the load balancer, or CloudFront.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from troposphere import GetAZs, Ref, Select
from troposphere.ec2 import (
    VPC,
    InternetGateway,
    Route,
    RouteTable,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    SubnetRouteTableAssociation,
    VPCGatewayAttachment,
)

from peaker.engines.aws.stack import Stack, logical

RANGE = "10.80.0.0/16"
SUBNET_RANGES = ("10.80.0.0/20", "10.80.16.0/20")
ANYWHERE = "0.0.0.0/0"


@dataclass(frozen=True, slots=True)
class Network:
    """Where things are put; `joined` are groups that databases know."""

    vpc: Any
    public: list[Any]
    servers: list[Any]
    has_public_address: bool
    joined: list[str] = field(default_factory=list)
    depends_on: tuple[str, ...] = ()


def network_of(stack: Stack) -> Network:
    """The named network, or a new one."""
    aws = stack.settings.aws
    if aws.vpc_id:
        servers = list(aws.private_subnets or aws.subnets)
        return Network(aws.vpc_id, list(aws.subnets), servers, not aws.private_subnets, list(aws.security_groups))
    vpc = stack.add(VPC("Network", CidrBlock=RANGE, EnableDnsHostnames=True, EnableDnsSupport=True))
    gateway = stack.add(InternetGateway("Gateway"))
    attached = stack.add(VPCGatewayAttachment("GatewayAttached", VpcId=Ref(vpc), InternetGatewayId=Ref(gateway)))
    table = stack.add(RouteTable("Routes", VpcId=Ref(vpc)))
    out = stack.add(
        Route(
            "RouteOut",
            RouteTableId=Ref(table),
            DestinationCidrBlock=ANYWHERE,
            GatewayId=Ref(gateway),
            DependsOn=attached.title,
        )
    )
    subnets = []
    for number, addresses in enumerate(SUBNET_RANGES):
        subnet = stack.add(
            Subnet(
                f"Subnet{number + 1}",
                VpcId=Ref(vpc),
                CidrBlock=addresses,
                AvailabilityZone=Select(number, GetAZs("")),
            )
        )
        stack.add(
            SubnetRouteTableAssociation(f"Subnet{number + 1}Routes", SubnetId=Ref(subnet), RouteTableId=Ref(table))
        )
        subnets.append(Ref(subnet))
    return Network(Ref(vpc), subnets, subnets, has_public_address=True, depends_on=(out.title,))


def group(stack: Stack, network: Network, name: str, about: str, rules: list[SecurityGroupRule]) -> SecurityGroup:
    """A security group that lets in what the rules say, and everything out."""
    return stack.add(
        SecurityGroup(
            logical(name, "Group"),
            GroupDescription=f"{stack.deployment.name}: {about}",
            VpcId=network.vpc,
            SecurityGroupIngress=rules,
        )
    )


def lets_in(port: int, **source: Any) -> SecurityGroupRule:
    """A rule for one TCP port; `source` is CidrIp, SourceSecurityGroupId or SourcePrefixListId."""
    return SecurityGroupRule(IpProtocol="tcp", FromPort=port, ToPort=port, **source)
