"""Templates deployed on two stand-ins for AWS, and asserted by what describe calls say, never by the stack's status.

What neither can prove stands in docs/explanation/what-is-proved-of-aws.md.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from aws_servers import (
    MINISTACK_REFUSES,
    MOTO_FAILS_ON,
    MOTO_PASSES_OVER,
    AwsServer,
    ministack,
    moto,
    reset_moto,
    with_image_ids,
    without,
)
from deployed import assert_stands, kinds_checked
from deployments import COMBINATIONS, IMAGE

from peaker.engines.aws.change_set import CHANGE_SET_PREFIX, Change, CloudFormationStack
from peaker.engines.aws.deployment import Deployment
from peaker.engines.aws.template import template_of
from peaker.errors import DeployError

SAMPLE = ("Fargate behind a balancer", "EC2 in a group", "functions behind a URL", "functions behind an HTTP API")
ACCOUNTS = {name: number for number, name in enumerate(COMBINATIONS, 1)}
WAIT_S_MAX = 30.0
NOT_ON_MOTO = ("a network that is there",)
"""Its subnets would have to be there."""


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsServer]:
    """ministack: it refuses types that it does not know."""
    with ministack(tmp_path_factory.mktemp("ministack")) as server:
        yield server


@pytest.fixture(scope="module")
def lenient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsServer]:
    """moto: it passes over types that it does not know."""
    with moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


class Stacked:
    """One deployment on one stand-in."""

    def __init__(self, server: AwsServer, account: int, made: Deployment, unknown: tuple[str, ...]) -> None:
        self.server = server
        self.account = account
        self.unknown = unknown
        self.stack = CloudFormationStack(
            server.client("cloudformation", account), made.name, sleep=lambda _: time.sleep(0.02)
        )

    def client(self, service: str) -> Any:
        return self.server.client(service, self.account)

    def deploy(self, made: Deployment, *, image_is_known: bool = True) -> tuple[dict[str, Any], tuple[Change, ...]]:
        template = template_of(made)
        whole = template.to_dict()
        document, _ = without(with_image_ids(whole) if image_is_known else whole, self.unknown)
        known = {**self.server.put_code(self.account, made.build), "Image": IMAGE, "CloudFrontPrefixList": "pl-123456"}
        wanted = {key: value for key, value in known.items() if key in template.parameters}
        name = f"{CHANGE_SET_PREFIX}{made.build}-{time.monotonic_ns()}"
        changes = self.stack.propose(body=json.dumps(document), parameters=wanted, tags={}, name=name)
        if changes:
            seen = self.stack.known_events()
            self.stack.execute(name)
            for _ in self.stack.follow(seen, wait_s_max=WAIT_S_MAX):
                pass
        return document, changes

    def destroy(self) -> tuple[str, ...]:
        kept = self.stack.kept()
        seen = self.stack.known_events()
        self.stack.delete()
        for _ in self.stack.follow(seen, wait_s_max=WAIT_S_MAX):
            pass
        return kept


def deploys_and_goes(
    server: AwsServer, name: str, unknown: tuple[str, ...], passed_over: tuple[str, ...] = (), *, goes: bool = True
) -> None:
    made = COMBINATIONS[name]
    stacked = Stacked(server, ACCOUNTS[name], made, unknown)
    document, changes = stacked.deploy(made)
    assert {change.resource for change in changes} == set(document["Resources"])
    assert_stands(stacked.client, document, passed_over)
    if not goes:
        return
    kept = stacked.destroy()
    functions = stacked.client("lambda").list_functions()["Functions"]
    assert [each["FunctionName"] for each in functions] == []
    if passed_over:
        return  # moto removes what is to be kept.
    holders = ("AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::SQS::Queue")
    stays = [each["Type"] for each in document["Resources"].values() if each.get("DeletionPolicy", "")[:6] == "Retain"]
    assert len(kept) == sum(kind in holders for kind in stays)
    assert len(stacked.client("dynamodb").list_tables()["TableNames"]) == stays.count("AWS::DynamoDB::Table")


@pytest.mark.parametrize("name", SAMPLE)
def test_a_template_is_deployed_whole_and_leaves_nothing_but_data(strict: AwsServer, name: str) -> None:
    deploys_and_goes(strict, name, MINISTACK_REFUSES)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in COMBINATIONS if name not in SAMPLE])
def test_every_other_combination_is_deployed_whole(strict: AwsServer, name: str) -> None:
    deploys_and_goes(strict, name, MINISTACK_REFUSES)


@pytest.mark.parametrize("name", ["functions behind a URL"])
def test_a_template_is_deployed_on_moto_but_for_what_it_cannot_make(lenient: AwsServer, name: str) -> None:
    reset_moto(lenient)
    deploys_and_goes(lenient, name, MOTO_FAILS_ON, MOTO_PASSES_OVER)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in COMBINATIONS if name not in NOT_ON_MOTO])
def test_every_combination_is_deployed_on_moto_but_for_what_it_cannot_make(lenient: AwsServer, name: str) -> None:
    """It cannot remove a network, so those with one are left to ministack for that."""
    reset_moto(lenient)
    has_network = "Network" in template_of(COMBINATIONS[name]).resources
    deploys_and_goes(lenient, name, MOTO_FAILS_ON, MOTO_PASSES_OVER, goes=not has_network)


def test_every_type_in_a_template_is_asserted_by_a_describe_call_or_named_here_as_not() -> None:
    found = {
        each["Type"] for made in COMBINATIONS.values() for each in template_of(made).to_dict()["Resources"].values()
    }
    made_by_neither = set(MINISTACK_REFUSES) | {"AWS::CloudFront::Distribution"}
    needed_by_what_is_asserted = {
        "AWS::ApiGatewayV2::Integration",
        "AWS::ApiGatewayV2::Route",
        "AWS::ApiGatewayV2::Stage",
        "AWS::EC2::Subnet",
        "AWS::EC2::VPC",
        "AWS::ECS::Cluster",
        "AWS::ECS::TaskDefinition",
        "AWS::IAM::InstanceProfile",
        "AWS::Lambda::Version",
    }
    only_said_to_stand = {
        "AWS::ApiGatewayV2::ApiMapping",
        "AWS::ApiGatewayV2::DomainName",
        "AWS::EC2::InternetGateway",
        "AWS::EC2::Route",
        "AWS::EC2::RouteTable",
        "AWS::EC2::SubnetRouteTableAssociation",
        "AWS::EC2::VPCGatewayAttachment",
        "AWS::Lambda::EventInvokeConfig",
        "AWS::Lambda::Permission",
        "AWS::SNS::Subscription",
    }
    assert found - kinds_checked() == made_by_neither | needed_by_what_is_asserted | only_said_to_stand


def new_code(made: Deployment) -> Deployment:
    return replace(made, build="b9999999999999f")


def test_new_code_leaves_what_control_has_set_as_it_was(strict: AwsServer) -> None:
    """7 servers and weights 30/70 before, and after.

    ministack keeps a service's count, as ECS does, and does not give it the new task definition. Of a listener with
    weights it keeps nothing, so for those the proof is that the change set does not touch the listener at all.
    """
    made = COMBINATIONS["a web app alone"]
    stacked = Stacked(strict, 50, made, MINISTACK_REFUSES)
    stacked.deploy(made)
    ecs, functions = stacked.client("ecs"), stacked.client("lambda")
    ecs.update_service(cluster="shop", service="shop", desiredCount=7)

    _, changes = stacked.deploy(new_code(made))

    (now,) = ecs.describe_services(cluster="shop", services=["shop"])["services"]
    assert now["desiredCount"] == 7
    touched = {change.kind for change in changes}
    assert "AWS::ECS::TaskDefinition" in touched
    assert not touched & {"AWS::ElasticLoadBalancingV2::Listener", "AWS::ElasticLoadBalancingV2::TargetGroup"}
    versions = functions.list_versions_by_function(FunctionName="shop-web")["Versions"]
    assert [each["Version"] for each in versions] == ["$LATEST", "1", "2"]
    assert functions.get_alias(FunctionName="shop-web", Name="live")["FunctionVersion"] == "2"
    stacked.destroy()


def test_a_group_of_instances_keeps_its_count_over_new_code(lenient: AwsServer) -> None:
    reset_moto(lenient)
    made = COMBINATIONS["EC2 in a group"]
    stacked = Stacked(lenient, 1, made, MOTO_FAILS_ON)
    stacked.deploy(made)
    groups = stacked.client("autoscaling")
    (group,) = groups.describe_auto_scaling_groups()["AutoScalingGroups"]
    groups.set_desired_capacity(AutoScalingGroupName=group["AutoScalingGroupName"], DesiredCapacity=7)
    stacked.deploy(new_code(made))
    (group,) = groups.describe_auto_scaling_groups()["AutoScalingGroups"]
    assert group["DesiredCapacity"] == 7


def test_the_same_again_changes_nothing(strict: AwsServer) -> None:
    made = COMBINATIONS["functions behind a URL"]
    stacked = Stacked(strict, 51, made, MINISTACK_REFUSES)
    stacked.deploy(made)
    assert stacked.deploy(made)[1] == ()


def test_what_failed_is_rolled_back_and_the_first_cause_is_told(strict: AwsServer) -> None:
    """The system's image is looked up in Systems Manager, and is not there."""
    made = COMBINATIONS["EC2 in a group"]
    stacked = Stacked(strict, 52, made, MINISTACK_REFUSES)
    stacked.deploy(made, image_is_known=False)
    assert stacked.stack.state().is_unborn
    first = stacked.stack.first_failure()
    assert first is not None
    assert first.kind == "AWS::EC2::LaunchTemplate"
    assert "al2023-ami" in first.reason
    # Also of what a stack that stood would leave behind: a second attempt would meet its name.
    assert stacked.client("dynamodb").list_tables()["TableNames"] == []
    assert stacked.client("sqs").list_queues().get("QueueUrls", []) == []
    stacked.destroy()
    assert stacked.stack.state().status == ""


def test_a_change_that_failed_leaves_what_stood_before(strict: AwsServer) -> None:
    made = COMBINATIONS["EC2 in a group"]
    stacked = Stacked(strict, 53, made, MINISTACK_REFUSES)
    stacked.deploy(made)
    functions = stacked.client("lambda")
    stacked.deploy(new_code(made), image_is_known=False)
    assert stacked.stack.state().status == "UPDATE_ROLLBACK_COMPLETE"
    first = stacked.stack.first_failure()
    assert first is not None
    assert first.kind == "AWS::EC2::LaunchTemplate"
    assert functions.get_alias(FunctionName="shop-web", Name="live")["FunctionVersion"] == "1"


def test_a_change_set_that_nobody_executed_is_dropped(strict: AwsServer) -> None:
    made = COMBINATIONS["functions behind a URL"]
    stacked = Stacked(strict, 54, made, MINISTACK_REFUSES)
    body = template_of(made).to_json()
    stacked.stack.propose(body=body, parameters=strict.put_code(54, made.build), tags={}, name="peaker-left")
    assert stacked.stack.forget_left_behind() == ("peaker-left",)
    assert stacked.stack.forget_left_behind() == ()


def test_a_change_set_that_cloudformation_refuses_is_told_in_its_words(strict: AwsServer) -> None:
    stack = CloudFormationStack(strict.client("cloudformation", 55), "shop")
    body = json.dumps({"Resources": {"Thing": {"Type": "AWS::No::Thing", "Properties": {}}}})
    with pytest.raises(DeployError, match="AWS::No::Thing"):
        stack.propose(body=body, parameters={}, tags={}, name="peaker-1")
