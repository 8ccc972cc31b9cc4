"""Every item a price may be given for: what it is, and where in the AWS Price List it stands.

An item of the Price List API is a product with a usage type. That of most regions has a prefix (`EU-`, `APS1-`); in
us-east-1 it may have none. An item without usage types here is not asked for: its price stays as the table has it.
Names of services, usage types and units were taken from offer files of September and October 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from peaker.errors import PriceError

PREFIXES: Mapping[str, tuple[str, ...]] = {
    "us-east-1": ("", "USE1-"),
    "us-east-2": ("USE2-",),
    "us-west-1": ("USW1-",),
    "us-west-2": ("USW2-",),
    "ca-central-1": ("CAN1-",),
    "sa-east-1": ("SAE1-",),
    "eu-west-1": ("EU-", "EUW1-"),
    "eu-west-2": ("EUW2-",),
    "eu-west-3": ("EUW3-",),
    "eu-central-1": ("EUC1-",),
    "eu-north-1": ("EUN1-",),
    "ap-south-1": ("APS3-",),
    "ap-southeast-1": ("APS1-",),
    "ap-southeast-2": ("APS2-",),
    "ap-northeast-1": ("APN1-",),
    "ap-northeast-2": ("APN2-",),
    "ap-northeast-3": ("APN3-",),
}
"""What usage types of a region begin with, the likelier first."""

FREE_DATA_OUT_GB = 100.0
"""Of the account each month. The list has it as a product of its own, so tiers of data out begin above it here."""

_REQUESTS = ("Requests", "Request")
_HOURS = ("Hrs", "hours", "Hours", "hour")
_GB = ("GB",)
_GB_MONTH = ("GB-Mo",)
_GB_SECONDS = ("Lambda-GB-Second", "GB-Seconds", "Second")


@dataclass(frozen=True, slots=True)
class Item:
    """One item: its unit in our table, and the products it is looked for in.

    `also` are further attributes the product has. `units` are those of the list that mean ours.
    """

    name: str
    unit: str
    about: str
    service: str = ""
    usage_types: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    also: Mapping[str, str] = field(default_factory=dict[str, str])
    region_field: str = "regionCode"
    free_quantity: float = 0.0

    @property
    def asked_for(self) -> bool:
        """Whether `peaker prices --update` looks for it."""
        return bool(self.usage_types)


def _of(service: str, units: tuple[str, ...], *rows: tuple[str, str, str, str]) -> tuple[Item, ...]:
    return tuple(Item(name, unit, about, service, tuple(usage.split("|")), units) for name, unit, usage, about in rows)


_APPLICATION = {"operation": "LoadBalancing:Application"}

ITEMS: tuple[Item, ...] = (
    *_of("AWSLambda", _REQUESTS, ("lambda.request", "request", "Request", "an invocation")),
    *_of(
        "AWSLambda",
        _GB_SECONDS,
        ("lambda.gb_second.x86", "GB-s", "Lambda-GB-Second", "run time times memory, initialisation included"),
        ("lambda.gb_second.arm", "GB-s", "Lambda-GB-Second-ARM", "the same on Graviton"),
        ("lambda.provisioned_held_gb_second.x86", "GB-s", "Lambda-Provisioned-Concurrency", "provisioned, held"),
        ("lambda.provisioned_held_gb_second.arm", "GB-s", "Lambda-Provisioned-Concurrency-ARM", "the same, Graviton"),
        ("lambda.provisioned_run_gb_second.x86", "GB-s", "Lambda-Provisioned-GB-Second", "provisioned, running"),
        ("lambda.provisioned_run_gb_second.arm", "GB-s", "Lambda-Provisioned-GB-Second-ARM", "the same, Graviton"),
    ),
    Item("lambda.storage_gb_second", "GB-s", "temporary storage above 512 MB"),
    Item("lambda.snapstart_cache_gb_second", "GB-s", "SnapStart (Python), snapshot kept"),
    Item("lambda.snapstart_restore_gb", "GB", "SnapStart (Python), snapshot restored"),
    Item("lambda.streamed_gb", "GB", "streamed above the first 6 MB of a response"),
    Item("lambda.managed_instances_share", "of EC2 on-demand", "managed instances: on top of the EC2 price"),
    *_of(
        "AmazonECS",
        _HOURS,
        ("fargate.vcpu_hour.x86", "vCPU-hour", "Fargate-vCPU-Hours:perCPU", "a vCPU of a Fargate task"),
        ("fargate.gb_hour.x86", "GB-hour", "Fargate-GB-Hours", "memory of a Fargate task"),
        ("fargate.vcpu_hour.arm", "vCPU-hour", "Fargate-ARM-vCPU-Hours:perCPU", "the same on Graviton"),
        ("fargate.gb_hour.arm", "GB-hour", "Fargate-ARM-GB-Hours", "the same on Graviton"),
    ),
    *_of("AmazonEKS", _HOURS, ("eks.cluster_hour", "cluster-hour", "AmazonEKS-Hours:perCluster", "EKS control plane")),
    Item("alb.hour", "hour", "a load balancer", "AWSELB", ("LoadBalancerUsage",), _HOURS, _APPLICATION),
    Item("alb.lcu_hour", "LCU-hour", "its capacity units", "AWSELB", ("LCUUsage",), ("LCU-Hrs",), _APPLICATION),
    *_of(
        "AmazonApiGateway",
        _REQUESTS,
        ("http_api.request", "request", "ApiGatewayHttpRequest", "HTTP API, by 512 KB"),
        ("rest_api.request", "request", "ApiGatewayRequest", "REST API"),
    ),
    *_of("AmazonDynamoDB", ("ReadRequestUnits",), ("dynamodb.read_unit", "RRU", "ReadRequestUnits", "read, on demand")),
    *_of(
        "AmazonDynamoDB",
        ("WriteRequestUnits",),
        ("dynamodb.write_unit", "WRU", "WriteRequestUnits", "write, on demand"),
    ),
    Item(
        "dynamodb.gb_month",
        "GB-month",
        "stored",
        "AmazonDynamoDB",
        ("TimedStorage-ByteHrs",),
        _GB_MONTH,
        {"volumeType": "Amazon DynamoDB - Indexed DataStore"},
    ),
    *_of(
        "AWSQueueService",
        _REQUESTS,
        ("sqs.request", "request", "Requests-Tier1|Requests-RBP", "standard queue"),
        ("sqs.fifo_request", "request", "Requests-FIFO-Tier1|Requests-FIFO-RBP", "FIFO queue"),
    ),
    *_of("AmazonSNS", _REQUESTS, ("sns.request", "request", "Requests-Tier1", "published, by 64 KB")),
    *_of(
        "AWSEvents",
        ("64K-Chunks", "Events", "Event"),
        ("eventbridge.event", "event", "Event-64K-Chunks", "an event of one's own, by 64 KB"),
    ),
    Item("scheduler.invocation", "invocation", "EventBridge Scheduler"),
    Item(
        "s3.gb_month",
        "GB-month",
        "stored",
        "AmazonS3",
        ("TimedStorage-ByteHrs",),
        _GB_MONTH,
        {"volumeType": "Standard"},
    ),
    *_of(
        "AmazonS3",
        _REQUESTS,
        ("s3.put", "request", "Requests-Tier1", "PUT, COPY, POST, LIST"),
        ("s3.get", "request", "Requests-Tier2", "GET and others"),
    ),
    *_of("AmazonCloudWatch", _GB, ("cloudwatch.logs_gb", "GB", "DataProcessing-Bytes", "log lines taken in")),
    *_of(
        "AmazonCloudWatch",
        _GB_MONTH,
        ("cloudwatch.logs_gb_month", "GB-month", "TimedStorage-ByteHrs", "log lines kept"),
    ),
    *_of(
        "AmazonCloudWatch",
        ("Metrics",),
        ("cloudwatch.metric_month", "metric-month", "CW:MetricMonitorUsage", "a metric of one's own"),
    ),
    *_of(
        "AmazonCloudWatch", ("Alarms",), ("cloudwatch.alarm_month", "alarm-month", "CW:AlarmMonitorUsage", "an alarm")
    ),
    *_of("AmazonEC2", _GB_MONTH, ("ebs.gp3_gb_month", "GB-month", "EBS:VolumeUsage.gp3", "disk of an instance")),
    *_of("AmazonECR", _GB_MONTH, ("ecr.gb_month", "GB-month", "TimedStorage-ByteHrs", "images kept")),
    *_of("AmazonVPC", _HOURS, ("ipv4.hour", "address-hour", "PublicIPv4:InUseAddress", "a public address in use")),
    *_of("AmazonEC2", _HOURS, ("nat.hour", "hour", "NatGateway-Hours", "a NAT gateway")),
    *_of("AmazonEC2", _GB, ("nat.gb", "GB", "NatGateway-Bytes", "data through it")),
    *_of(
        "AmazonVPC", _HOURS, ("vpc_endpoint.hour", "hour", "VpcEndpoint-Hours", "an interface endpoint, in each zone")
    ),
    *_of("AmazonVPC", _GB, ("vpc_endpoint.gb", "GB", "VpcEndpoint-Bytes", "data through it")),
    Item(
        "cross_zone.gb",
        "GB",
        "between zones, in each direction",
        "AWSDataTransfer",
        ("DataTransfer-Regional-Bytes",),
        _GB,
        region_field="fromRegionCode",
    ),
    Item(
        "data_out.gb",
        "GB",
        "to the internet",
        "AWSDataTransfer",
        ("DataTransfer-Out-Bytes",),
        _GB,
        {"transferType": "AWS Outbound"},
        "fromRegionCode",
        FREE_DATA_OUT_GB,
    ),
)


def missing_items(priced: tuple[str, ...]) -> tuple[str, ...]:
    """Items without a price among those that have one."""
    return tuple(item.name for item in ITEMS if item.name not in priced)


def prefixes(region: str) -> tuple[str, ...]:
    """What the region's usage types begin with.

    Raises:
        PriceError: it is none of the known regions.
    """
    found = PREFIXES.get(region)
    if found is None:
        raise PriceError(f"the region {region!r} is not known; known: {', '.join(sorted(PREFIXES))}.")
    return found
