"""An app on moto whose load balancer, servers and function behave by a few rules, minute after minute."""

import functools
import io
import json
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import boto3

from peaker.control_on_aws.fleet import AwsFleet
from peaker.control_on_aws.memory import Memory
from peaker.control_on_aws.step import take_step
from peaker.control_on_aws.task import Task

REGION = "us-east-1"
MIDNIGHT_S = 1_900_022_400.0
SERVER_PER_S = 100.0
RUN_S = 0.2


@functools.cache
def client(service: str) -> Any:
    return boto3.client(service, region_name=REGION, aws_access_key_id="testing", aws_secret_access_key="testing")


class SteeredApp:
    """Servers are ready START_MINUTES after they were asked for and hold SERVER_PER_S each; the rest spills."""

    START_MINUTES = 2

    def __init__(self, *, servers: int = 1, on_instances: bool = False, **task: Any) -> None:
        self.now_s = MIDNIGHT_S + 6 * 3600
        balancing = client("elbv2")
        subnets = [each["SubnetId"] for each in client("ec2").describe_subnets()["Subnets"]][:2]
        vpc = client("ec2").describe_vpcs()["Vpcs"][0]["VpcId"]
        balancer = balancing.create_load_balancer(Name="shop", Subnets=subnets)["LoadBalancers"][0]["LoadBalancerArn"]
        kinds: dict[str, dict[str, Any]] = {
            "servers": {"Protocol": "HTTP", "Port": 8080, "VpcId": vpc, "TargetType": "ip"},
            "function": {"TargetType": "lambda"},
        }
        targets = {
            name: balancing.create_target_group(Name=name, **kind)["TargetGroups"][0]["TargetGroupArn"]
            for name, kind in kinds.items()
        }
        groups = [
            {"TargetGroupArn": targets["servers"], "Weight": 1},
            {"TargetGroupArn": targets["function"], "Weight": 0},
        ]
        listener = balancing.create_listener(
            LoadBalancerArn=balancer,
            Port=80,
            Protocol="HTTP",
            DefaultActions=[{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}],
        )["Listeners"][0]["ListenerArn"]
        _make_function()
        where: dict[str, Any] = _make_group(servers, subnets) if on_instances else _make_service(servers)
        client("dynamodb").create_table(
            TableName="shop-control",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("kind", "at")],
            KeySchema=[{"AttributeName": "kind", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}],
        )
        settings = Task(
            table="shop-control",
            listener_arn=listener,
            balancer=balancer.partition("loadbalancer/")[2],
            servers_target_arn=targets["servers"],
            function_target_arn=targets["function"],
            function="shop-web",
            server_usd_per_hour=0.05,
            gb_second_usd=0.0000133334,
            request_usd=0.0000002,
            count_min=1,
            count_max=10,
            start_guess_s=120,
            **where,
        )
        self.task = replace(settings, **task)
        self.fleet = AwsFleet(client, self.task)
        self.memory = Memory(client("dynamodb"), self.task.table)
        self._asked = [servers] * (self.START_MINUTES + 1)
        self._ready = 0
        self._register(servers)

    def minute(self, per_s: float, *, is_late: bool = False) -> dict[str, Any] | None:
        """A minute of so many requests a second, and then control's step."""
        requests = per_s * 60
        weights = self.weights()
        to_servers = requests if weights["servers"] else 0.0
        to_function = requests - to_servers
        spilled = max(0.0, to_servers - self._ready * SERVER_PER_S * 60)
        if not is_late:
            self._put(to_servers, to_function, spilled)
        self.now_s += 60
        entry = self.step()
        self._asked = [*self._asked, self.fleet.servers().asked][1:]
        # A server that is taken away is gone at once, a new one comes later.
        self._register(min(self._asked[0], self._asked[-1]))
        return entry

    def step(self) -> dict[str, Any] | None:
        return take_step(
            self.task, cloudwatch=client("cloudwatch"), fleet=self.fleet, memory=self.memory, now_s=self.now_s + 65
        )

    def weights(self) -> dict[str, int]:
        (listener,) = client("elbv2").describe_listeners(ListenerArns=[self.task.listener_arn])["Listeners"]
        groups = listener["DefaultActions"][0]["ForwardConfig"]["TargetGroups"]
        found = {each["TargetGroupArn"]: int(each["Weight"]) for each in groups}
        return {"servers": found[self.task.servers_target_arn], "function": found[self.task.function_target_arn]}

    def _register(self, ready: int) -> None:
        balancing = client("elbv2")
        for number in range(min(ready, self._ready), max(ready, self._ready)):
            change = balancing.register_targets if ready > self._ready else balancing.deregister_targets
            change(
                TargetGroupArn=self.task.servers_target_arn, Targets=[{"Id": f"172.31.0.{number + 10}", "Port": 8080}]
            )
        self._ready = ready

    def _put(self, to_servers: float, to_function: float, spilled: float) -> None:
        balancer = {"LoadBalancer": self.task.balancer}
        group = {"TargetGroup": self.task.servers_target_arn.rpartition(":")[2], **balancer}
        away = {"TargetGroup": self.task.function_target_arn.rpartition(":")[2], **balancer}
        runs = {"FunctionName": "shop-web"}
        invocations = spilled + to_function
        self._figure("AWS/ApplicationELB", "ConsumedLCUs", 0.1, balancer)
        # As AWS does: what did not happen has no figure.
        if to_servers:
            self._figure("AWS/ApplicationELB", "RequestCount", to_servers, group)
            self._figure("AWS/ApplicationELB", "TargetResponseTime", 0.05, group)
        if self._ready:
            carried = (to_servers - spilled) / 60 / SERVER_PER_S / self._ready
            namespace, of = "AWS/ECS", {"ClusterName": "shop", "ServiceName": "shop"}
            if self.task.group:
                namespace, of = "AWS/EC2", {"AutoScalingGroupName": "shop"}
            self._figure(namespace, "CPUUtilization", max(0.3, 75 * carried), of)
        if to_function:
            self._figure("AWS/ApplicationELB", "RequestCount", to_function, away)
        if invocations:
            self._figure("AWS/Lambda", "Invocations", invocations, runs)
            self._figure("AWS/Lambda", "Duration", invocations * RUN_S * 1000, runs)

    def _figure(self, namespace: str, name: str, value: float, dimensions: dict[str, str]) -> None:
        client("cloudwatch").put_metric_data(
            Namespace=namespace,
            MetricData=[
                {
                    "MetricName": name,
                    "Value": value,
                    "Timestamp": datetime.fromtimestamp(self.now_s, UTC),
                    "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
                }
            ],
        )


def concurrency() -> int | None:
    found = client("lambda").get_function_concurrency(FunctionName="shop-web").get("ReservedConcurrentExecutions")
    return None if found is None else int(found)


def _make_function() -> None:
    trust = {"Version": "2012-10-17", "Statement": []}
    role = client("iam").create_role(RoleName="web", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("a.py", "")
    code = {"ZipFile": packed.getvalue()}
    client("lambda").create_function(FunctionName="shop-web", Role=role, Runtime="python3.13", Handler="a.b", Code=code)


def _make_service(servers: int) -> dict[str, str]:
    ecs = client("ecs")
    ecs.create_cluster(clusterName="shop")
    ecs.register_task_definition(family="shop", containerDefinitions=[{"name": "app", "image": "a", "memory": 512}])
    ecs.create_service(cluster="shop", serviceName="shop", taskDefinition="shop", desiredCount=servers)
    return {"cluster": "shop", "service": "shop"}


def _make_group(servers: int, subnets: list[str]) -> dict[str, str]:
    image = client("ec2").describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    made = client("ec2").create_launch_template(
        LaunchTemplateName="shop", LaunchTemplateData={"ImageId": image, "InstanceType": "c7g.large"}
    )
    client("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName="shop",
        MinSize=0,
        MaxSize=10,
        DesiredCapacity=servers,
        VPCZoneIdentifier=",".join(subnets),
        LaunchTemplate={"LaunchTemplateId": made["LaunchTemplate"]["LaunchTemplateId"]},
    )
    return {"group": "shop"}
