"""A deployment in plain words and dollars, before anything is made: no network, no credentials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from troposphere import Template

from peaker.engines.aws.deployment import Deployment, Front, ServersOn
from peaker.engines.aws.servers_ec2 import DISK_GB
from peaker.engines.aws.task_sizes import CPU_UNITS, task_size
from peaker.errors import PriceError
from peaker.meter.bill import HOURS_PER_MONTH
from peaker.plan.cost import ALB_ADDRESSES
from peaker.prices import PriceTable
from peaker.triggers import TriggerSection

DASHBOARD_USD = 3.0
DASHBOARDS_FREE = 3
ALARMS_FREE = 10
"""CloudWatch's free tier, and what a dashboard above it costs (Amazon CloudWatch pricing page, 2026-09)."""

RUN_S = 0.1
"""An example: how long an invocation takes."""

CONTROL_S, CONTROL_WRITES = 1.0, 2
"""Of one step of control, about; an assumption. What CloudWatch is asked lies within its million free requests."""

METADATA = "Peaker"

_SERVER_WORDS = {
    ServersOn.FARGATE: "Fargate task of {vcpus:g} vCPU and {memory:g} GB",
    ServersOn.ECS: "ECS task of {vcpus:g} vCPU and {memory:g} GB, each on a {type} instance",
    ServersOn.EC2: "{type} instance, in a group",
    ServersOn.SINGLE: "{type} instance",
}
_FRONT_WORDS = {
    Front.ALB: "a load balancer with TLS",
    Front.CLOUDFRONT: "CloudFront with TLS, which alone reaches the instance",
    Front.URL: "a function URL, TLS by AWS",
    Front.HTTP_API: "an HTTP API, TLS by AWS",
}
HOLDS_DATA = {
    "AWS::S3::Bucket": "bucket",
    "AWS::SQS::Queue": "queue",
    "AWS::DynamoDB::Table": "table",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Dollars a month of one thing: with the fewest servers, and with the most."""

    name: str
    least_usd: float
    most_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What would be made.

    `prices_of` is the day the prices were published, the oldest of them. `per_million` is what invocations add.
    `worst_usd_per_month` is what functions could cost if all the instances that their reserved concurrency allows ran
    without a pause. `keeps` is what stays when the stack is destroyed, because it holds data. `notes` says what is not
    in the sums.
    """

    name: str
    region: str
    build: str
    resources: int
    says: tuple[str, ...]
    costs: tuple[Cost, ...]
    prices_of: str
    per_million: tuple[str, ...]
    worst_usd_per_month: float
    spend_usd_per_month_max: float | None
    keeps: tuple[str, ...]
    parameters: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def least_usd(self) -> float:
        """Dollars a month with the fewest servers and no invocation."""
        return sum(cost.least_usd for cost in self.costs)

    @property
    def most_usd(self) -> float:
        """Dollars a month with the most servers and no invocation."""
        return sum(cost.most_usd for cost in self.costs)


def preview_of(deployment: Deployment, template: Template, table: PriceTable) -> Preview:
    """Words and sums.

    Raises:
        PriceError: something that is always paid for has no price in the region.
    """
    resources: dict[str, Any] = template.to_dict()["Resources"]
    spend = deployment.settings.objective.spend_usd_per_day_max
    return Preview(
        name=deployment.name,
        region=deployment.settings.aws.region,
        build=deployment.build,
        resources=len(resources),
        says=tuple(_sentences(deployment, has_control="Control" in resources)),
        costs=tuple(_costs(deployment, resources, table)),
        prices_of=_oldest(deployment, table),
        per_million=tuple(_per_million(deployment, table)),
        worst_usd_per_month=worst_usd_per_month(deployment, table),
        spend_usd_per_month_max=None if spend is None else spend * HOURS_PER_MONTH / 24,
        keeps=tuple(
            f"{HOLDS_DATA[each['Type']]} {name}"
            for name, each in resources.items()
            if each["Type"] in HOLDS_DATA and each.get("DeletionPolicy", "").startswith("Retain")
        ),
        parameters=tuple(template.to_dict().get("Parameters", {})),
        notes=_notes(deployment),
    )


def _arch(deployment: Deployment) -> str:
    return "arm" if deployment.settings.functions.architecture == "arm64" else "x86"


def _oldest(deployment: Deployment, table: PriceTable) -> str:
    settings, region = deployment.settings, deployment.settings.aws.region
    days = [table.price(region, f"lambda.gb_second.{_arch(deployment)}").published]
    if deployment.servers_on in (ServersOn.EC2, ServersOn.ECS, ServersOn.SINGLE):
        days.append(table.instance(region, settings.servers.instance_type).published)
    elif deployment.servers_on is ServersOn.FARGATE:
        days.append(table.price(region, f"fargate.vcpu_hour.{_arch(deployment)}").published)
    return min(days)


def _per_million(deployment: Deployment, table: PriceTable) -> Iterator[str]:
    """Of each size of function, since nobody knows here how long it will run."""
    region = deployment.settings.aws.region
    request = table.price(region, "lambda.request").usd
    second = table.price(region, f"lambda.gb_second.{_arch(deployment)}").usd
    for memory_mb in sorted({spec.memory_mb for spec in deployment.functions}):
        usd = 1e6 * (request + RUN_S * memory_mb / 1024 * second)
        yield f"a million invocations of {RUN_S * 1000:g} ms with {memory_mb:,} MB: ${usd:,.2f}"
    if deployment.front is Front.HTTP_API:
        yield f"a million requests of the HTTP API: ${1e6 * table.price(region, 'http_api.request').usd:,.2f}"
    if deployment.front is Front.ALB:
        usd = table.price(region, "alb.lcu_hour").usd * HOURS_PER_MONTH
        yield f"each capacity unit of the load balancer (25 new connections a second, or 1 GB an hour): ${usd:,.2f}"


def worst_usd_per_month(deployment: Deployment, table: PriceTable) -> float:
    """All instances of all functions, running all month; raises PriceError where function time has no price."""
    settings, arch = deployment.settings, _arch(deployment)
    gb = sum(spec.concurrency_max * spec.memory_mb / 1024 for spec in deployment.functions)
    return table.amount_usd(settings.aws.region, f"lambda.gb_second.{arch}", gb * HOURS_PER_MONTH * 3600) if gb else 0.0


def _sentences(deployment: Deployment, *, has_control: bool) -> Iterator[str]:
    settings, servers = deployment.settings, deployment.servers_on
    if deployment.front is not Front.NONE:
        named = f" for {settings.aws.domain}" if settings.aws.domain else ""
        yield f"clients reach {_FRONT_WORDS[deployment.front]}{named}"
    if servers is not ServersOn.NONE:
        count = _count(settings.servers.count_min, settings.servers.count_max)
        steered = ", as many as control decides once a minute" if has_control else ""
        yield f"baseline: {count} x {_server_words(deployment)}{steered}"
    for spec in deployment.functions:
        role = ""
        if spec.web:
            role = " for all requests" if servers is ServersOn.NONE else " for what servers do not take in time"
        on = [] if spec.web else [_trigger(each) for each in _on(deployment, spec.name)]
        started = f", started by {' and by '.join(on)}" if on else ""
        yield (
            f"function {deployment.function_name(spec)}{role}: {spec.memory_mb:,} MB, {spec.timeout_s:g} s, "
            f"at most {spec.concurrency_max:,} instances{started}"
        )
    yield f"alarms {'by mail to ' + settings.aws.alarm_mail if settings.aws.alarm_mail else 'that are only shown'}"


def _on(deployment: Deployment, name: str) -> tuple[TriggerSection, ...]:
    return next((each.on for each in deployment.settings.function if each.name == name), ())


def _trigger(on: TriggerSection) -> str:
    return f"{on.kind.value.replace('_', ' ')} {getattr(on, on.kind.value)}"


def _count(least: int, most: int) -> str:
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _server_words(deployment: Deployment) -> str:
    settings = deployment.settings
    size = task_size(settings)
    return _SERVER_WORDS[deployment.servers_on].format(
        vcpus=size.cpu_units / CPU_UNITS, memory=size.memory_mb / 1024, type=settings.servers.instance_type
    )


def _costs(deployment: Deployment, resources: dict[str, Any], table: PriceTable) -> Iterator[Cost]:
    settings, region = deployment.settings, deployment.settings.aws.region
    least, most = settings.servers.count_min, settings.servers.count_max
    if deployment.servers_on is not ServersOn.NONE:
        each = server_usd(deployment, table)
        yield Cost(name="servers", least_usd=least * each, most_usd=most * each)
    if deployment.front is Front.ALB:
        hourly = table.price(region, "alb.hour").usd + ALB_ADDRESSES * table.price(region, "ipv4.hour").usd
        usd = hourly * HOURS_PER_MONTH
        yield Cost(name="load balancer and its addresses, without its capacity units", least_usd=usd, most_usd=usd)
    kinds = Counter(each["Type"] for each in resources.values())
    alarms = max(0, kinds["AWS::CloudWatch::Alarm"] - ALARMS_FREE)
    watching = alarms * table.price(region, "cloudwatch.alarm_month").usd
    yield Cost(name=f"alarms above the {ALARMS_FREE} that are free", least_usd=watching, most_usd=watching)
    dashboards = kinds["AWS::CloudWatch::Dashboard"] * DASHBOARD_USD
    yield Cost(name=f"dashboard, if the account has {DASHBOARDS_FREE} already", least_usd=0, most_usd=dashboards)
    if "Control" in resources:
        steps = HOURS_PER_MONTH * 60
        gb = resources["Control"]["Properties"]["MemorySize"] / 1024
        second = table.price(region, f"lambda.gb_second.{_arch(deployment)}").usd
        ran = steps * (table.price(region, "lambda.request").usd + gb * CONTROL_S * second)
        written = steps * CONTROL_WRITES * table.price(region, "dynamodb.write_unit").usd
        yield Cost(name="control, once a minute", least_usd=0, most_usd=ran + written)
    if settings.aws.provisioned and (web := deployment.web_function):
        arch = _arch(deployment)
        gb_s = settings.aws.provisioned * web.memory_mb / 1024 * HOURS_PER_MONTH * 3600
        held = table.amount_usd(region, f"lambda.provisioned_held_gb_second.{arch}", gb_s)
        yield Cost(name="instances held ready", least_usd=held, most_usd=held)


def server_usd(deployment: Deployment, table: PriceTable) -> float:
    """Of one server for a month, with its disk and its public address."""
    settings, region = deployment.settings, deployment.settings.aws.region
    address = 0.0 if settings.aws.private_subnets else table.price(region, "ipv4.hour").usd
    if deployment.servers_on is ServersOn.FARGATE:
        size = task_size(settings)
        arch = _arch(deployment)
        hourly = (
            size.cpu_units / CPU_UNITS * table.price(region, f"fargate.vcpu_hour.{arch}").usd
            + size.memory_mb / 1024 * table.price(region, f"fargate.gb_hour.{arch}").usd
        )
        return (hourly + address) * HOURS_PER_MONTH
    hourly = table.instance(region, settings.servers.instance_type).usd_per_hour
    return (hourly + address) * HOURS_PER_MONTH + DISK_GB * table.price(region, "ebs.gp3_gb_month").usd


def _notes(deployment: Deployment) -> tuple[str, ...]:
    settings = deployment.settings
    notes = ["data out, logs, queues, tables and what the app itself calls are in none of these sums"]
    if deployment.functions and settings.objective.spend_usd_per_day_max is None:
        notes.append("objective.spend_usd_per_day_max is not set: the worst case is what concurrency_max allows")
    if settings.aws.snap_start:
        notes.append(
            "SnapStart keeps a snapshot of every version for as long as it is kept, and each start is paid for"
        )
    if not settings.aws.budget_usd_per_month:
        notes.append("aws.budget_usd_per_month is not set: nobody is told when the account costs more than you meant")
    return tuple(notes)


def with_costs(template: Template, preview: Preview) -> None:
    """Write into the template what it was reckoned at, so that the next deployment can be put beside it."""
    template.set_metadata(
        {METADATA: {"build": preview.build, "least_usd": preview.least_usd, "most_usd": preview.most_usd}}
    )


def costs_of(template: Mapping[str, Any]) -> dict[str, float]:
    """Dollars a month that stand in a template, least and most; empty where none do."""
    found = template.get("Metadata", {}).get(METADATA, {})
    return {key: float(found[key]) for key in ("least_usd", "most_usd") if key in found}


def check_prices(deployment: Deployment, table: PriceTable) -> None:
    """Raises PriceError where the region has no prices at all, which would make every sum a guess."""
    if deployment.settings.aws.region not in table.regions:
        raise PriceError(
            f"there are no prices for the region {deployment.settings.aws.region!r}.",
            remedy="`peaker prices --update --region NAME` fetches them.",
        )
