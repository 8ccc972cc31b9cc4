"""`[aws]`: where on AWS, and what is deployed there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from peaker.local_aws_section import ENDPOINT
from peaker.section_reader import setting
from peaker.setting_checks import Check, between, matching, one_of


def _all(pattern: str) -> Any:
    compiled = re.compile(pattern)
    return lambda values: all(isinstance(value, str) and compiled.fullmatch(value) for value in values)


_VPC = matching(r"|vpc-[0-9a-f]{8,17}", "vpc- and its digits")
_SUBNETS = Check("subnet- and digits of each", _all(r"subnet-[0-9a-f]{8,17}"))
_GROUPS = Check("sg- and digits of each", _all(r"sg-[0-9a-f]{8,17}"))
_POLICIES = Check("ARNs of managed policies", _all(r"arn:aws[a-z-]*:iam::(aws|\d{12}):policy/[\w+=,.@/-]+"))
_CERTIFICATE = matching(r"|arn:aws[a-z-]*:acm:[a-z0-9-]+:\d{12}:certificate/[0-9a-f-]+", "an ACM certificate's ARN")
_DOMAIN = matching(r"|([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}", "a domain such as shop.example.com")
_IMAGE = matching(r"|[^\s]+[:@][^\s]+", "an image in ECR, with tag or digest")
_DAYS = frozenset({1, 3, 5, 7, 14, 30, 60, 90, 180, 365})
_MAIL = matching(r"|[^@\s]+@[^@\s]+\.[^@\s]+", "a mail address")


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsSection:
    """Where on AWS, and what `peaker deploy aws` puts there."""

    region: str = setting("us-east-1", "Region that everything is priced in and deployed to.")
    endpoint: str = setting(
        "",
        "What app and functions take for AWS, and sources read from: local, or an address; `--aws` sets it.",
        ENDPOINT,
    )
    servers: str = setting(
        "fargate",
        "What servers are: Fargate tasks, ECS tasks on EC2 instances, EC2 instances in a group, or one EC2 instance.",
        one_of("fargate", "ecs", "ec2", "single"),
    )
    functions: str = setting(
        "zip", "What functions are made of: the zip of `peaker build`, or its image.", one_of("zip", "image")
    )
    front: str = setting(
        "auto",
        "What clients reach: a load balancer, CloudFront (before a single instance), a function URL or an HTTP API "
        "(functions alone); auto is the first that fits.",
        one_of("auto", "alb", "cloudfront", "url", "http-api"),
    )
    image: str = setting(
        "", "Image of servers, and of functions that are images; absent: a parameter of the stack.", _IMAGE
    )
    vpc_id: str = setting("", "Network to deploy into; absent: a new one with two public subnets.", _VPC)
    subnets: list[str] = setting([], "Subnets of servers and load balancer, in two zones at least.", _SUBNETS)
    private_subnets: list[str] = setting(
        [], "Subnets of servers, and of functions that reach into the network.", _SUBNETS
    )
    security_groups: list[str] = setting(
        [], "Groups that servers and functions join, for databases to let in.", _GROUPS
    )
    functions_in_vpc: bool = setting(
        False, "Functions reach into the network; needs private_subnets, and a NAT for the rest."
    )
    domain: str = setting("", "Name that clients use; its DNS is yours.", _DOMAIN)
    certificate_arn: str = setting(
        "", "Certificate of the load balancer; of CloudFront one in us-east-1.", _CERTIFICATE
    )
    policy_arns: list[str] = setting(
        [], "Managed policies that the app's own code needs, on servers and functions.", _POLICIES
    )
    snap_start: bool = setting(False, "Functions start from a snapshot (SnapStart).")
    provisioned: int = setting(
        0, "Instances of the web function held ready (provisioned concurrency).", between(0, 10_000)
    )
    cold_start_metrics: bool = setting(
        False, "The web function writes a line at each cold start, of which CloudWatch makes two metrics (paid for)."
    )
    log_retention_days: int = setting(
        30, "How long CloudWatch keeps logs.", Check("1, 3, 5, 7, 14, 30, 60, 90, 180, 365", lambda v: v in _DAYS)
    )
    alarm_mail: str = setting("", "Who is told of alarms; absent: they are only shown.", _MAIL)
    budget_usd_per_month: float = setting(
        0.0, "An alarm when the account is about to cost more; 0 is none.", between(0, 1e7)
    )
    idle_timeout_s: int = setting(
        60, "An idle connection of a client is closed by the load balancer.", between(1, 4000)
    )
