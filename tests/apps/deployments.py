"""Deployments of every combination that templates are made for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from peaker.aws_section import AwsSection
from peaker.engines.aws.deployment import Deployment
from peaker.local_aws_section import LocalAwsSection
from peaker.settings import (
    AppSection,
    FunctionSection,
    FunctionsSection,
    ObjectiveSection,
    RouteSection,
    ServersSection,
    Settings,
)
from peaker.triggers import TriggerSection

CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/11111111-2222-3333-4444-555555555555"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/shop@sha256:" + "a" * 64
BUILD = "b0123456789abcd"

HANDLERS = (
    FunctionSection(
        name="thumbnail",
        handler="shop.media:thumbnail",
        on=(
            TriggerSection(object_created="shop-uploads/in/*.jpg"),
            TriggerSection(object_removed="shop-uploads/in/"),
        ),
    ),
    FunctionSection(
        name="mail",
        handler="shop.mail:send",
        timeout_s=20,
        on=(
            TriggerSection(queue="orders", window_s=5, maximum_concurrency=5),
            TriggerSection(topic="sign-ups"),
            TriggerSection(table="customers"),
        ),
    ),
    FunctionSection(
        name="report",
        handler="shop.report:nightly",
        on=(
            TriggerSection(schedule="cron(0 3 * * ? *)", timezone="Europe/Berlin"),
            TriggerSection(schedule="rate(5 minutes)", input='{"kind": "short"}'),
        ),
    ),
)


def deployment(servers: str = "fargate", *, web: bool = True, handlers: bool = True, **aws: Any) -> Deployment:
    """One deployment; `servers` of "none" puts all routes on functions."""
    routes = (RouteSection(path="/*", placement="functions"),) if servers == "none" else ()
    chosen: dict[str, Any] = {"certificate_arn": CERTIFICATE, **aws}
    if servers != "none":
        chosen["servers"] = servers
    settings = Settings(
        app=AppSection(name="shop", web="shop.web:app" if web else "", spill=True),
        objective=ObjectiveSection(latency_p95_ms=300),
        servers=ServersSection(
            count_min=1,
            count_max=1 if servers == "single" else 8,
            instance_type="c7g.large",
            keep_alive_s=90,
        ),
        functions=FunctionsSection(memory_mb=512),
        function=HANDLERS if handlers else (),
        route=routes,
        aws=AwsSection(**chosen),
        local_aws=LocalAwsSection(tables={"customers": "id"}),
        env={"LOG_LEVEL": "info"},
        directory="/project",
    )
    return Deployment(settings=settings, build=BUILD)


def staged(made: Deployment, stage: str) -> Deployment:
    """The same for a stage."""
    return replace(made, settings=replace(made.settings, stage=stage))


COMBINATIONS = {
    "Fargate behind a balancer": deployment("fargate"),
    "ECS on EC2": deployment("ecs", image=IMAGE),
    "EC2 in a group": deployment("ec2", image=IMAGE),
    "a single instance behind CloudFront": deployment("single", certificate_arn=""),
    "a single instance with a name": deployment("single", domain="shop.example.com"),
    "functions behind a URL": deployment("none", certificate_arn=""),
    "functions behind an HTTP API": deployment("none", front="http-api", certificate_arn=""),
    "functions behind an HTTP API with a name": deployment("none", front="http-api", domain="shop.example.com"),
    "functions behind a balancer": deployment("none", front="alb"),
    "handlers alone": deployment(web=False, certificate_arn=""),
    "a web app alone": deployment("fargate", handlers=False),
    "images, snapshots off": deployment("fargate", functions="image", image=IMAGE),
    "snapshots": deployment("fargate", snap_start=True),
    "held ready": deployment("none", provisioned=5, certificate_arn=""),
    "a network that is there": deployment(
        "fargate",
        vpc_id="vpc-0123456789abcdef0",
        subnets=["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
        private_subnets=["subnet-0123456789abcdef2", "subnet-0123456789abcdef3"],
        security_groups=["sg-0123456789abcdef0"],
        functions_in_vpc=True,
    ),
    "alarms by mail": deployment("fargate", alarm_mail="ops@example.com", budget_usd_per_month=100.0),
    "policies of its own": deployment("ec2", policy_arns=["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"]),
    "a stage": staged(deployment("fargate"), "prod"),
}
