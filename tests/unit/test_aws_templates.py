"""Templates: linted in every combination, least privilege by statement, and what an update must leave alone."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from cfnlint.api import ManualArgs, lint
from deployments import BUILD, CERTIFICATE, COMBINATIONS, deployment
from policy_sentry.querying.actions import get_action_data

from peaker.control_on_aws.task import Task
from peaker.engines.aws.deployment import Deployment, problems_of
from peaker.engines.aws.template import template_of
from peaker.errors import SettingsError
from peaker.job_section import JobSection
from peaker.settings import FunctionSection

SAMPLE = ("Fargate behind a balancer", "a single instance with a name", "functions behind an HTTP API with a name")


@cache
def document(name: str) -> Any:
    return json.loads(template_of(COMBINATIONS[name]).to_json())


def of_type(template: Any, kind: str) -> dict[str, Any]:
    return {name: each["Properties"] for name, each in template["Resources"].items() if each["Type"] == kind}


def assert_lints(name: str) -> None:
    found = lint(
        template_of(COMBINATIONS[name]).to_json(), config=ManualArgs(regions=["us-east-1"], include_checks=["I"])
    )
    assert [f"{each.rule.id} {each.message} {each.path}" for each in found] == []


@pytest.mark.parametrize("name", SAMPLE)
def test_a_template_lints_without_a_word(name: str) -> None:
    assert_lints(name)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in COMBINATIONS if name not in SAMPLE])
def test_every_other_combination_lints_without_a_word(name: str) -> None:
    assert_lints(name)


def statements(template: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, role in of_type(template, "AWS::IAM::Role").items():
        for policy in role.get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                yield name, statement


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("name", COMBINATIONS)
def test_every_action_exists_and_is_about_named_resources_where_the_service_knows_any(name: str) -> None:
    for role, statement in statements(document(name)):
        is_anything = statement["Resource"] == "*"
        for action in as_list(statement["Action"]):
            service, _, verb = action.partition(":")
            known = [each for each in get_action_data(service, verb)[service] if each["action"] == action]
            assert known, f"{role}: {action} is no action"
            knows_resources = any(each["resource_arn_format"] != "*" for each in known)
            # Interfaces are named only after they were made, so Lambda must be trusted with all of them.
            assert not (is_anything and knows_resources) or service == "ec2", f"{role}: {action} on everything"
            assert "*" not in verb, f"{role}: {action}"


def test_servers_may_invoke_their_own_function_and_no_other() -> None:
    servers = [each for role, each in statements(document("Fargate behind a balancer")) if role == "ServersRole"]
    assert [each["Action"] for each in servers] == ["lambda:InvokeFunction"]
    names = [each["Fn::Sub"].rpartition("function:")[2] for each in servers[0]["Resource"]]
    assert names == ["shop-web", "shop-web:*"]


def test_what_control_steers_is_not_in_the_template() -> None:
    """CloudFormation leaves alone what a template does not say: the number of servers stays over an update."""
    for service in of_type(document("Fargate behind a balancer"), "AWS::ECS::Service").values():
        assert "DesiredCount" not in service
    for group in of_type(document("EC2 in a group"), "AWS::AutoScaling::AutoScalingGroup").values():
        assert "DesiredCapacity" not in group
        assert (group["MinSize"], group["MaxSize"]) == ("1", "8")


def test_new_code_changes_neither_listener_nor_service_but_by_version_and_task() -> None:
    """So the weights that control has set stay, too."""
    before, after = (
        json.loads(template_of(replace(COMBINATIONS["Fargate behind a balancer"], build=build)).to_json())
        for build in (BUILD, "b9999999999999f")
    )
    changed = {
        name
        for name in before["Resources"].keys() | after["Resources"].keys()
        if before["Resources"].get(name) != after["Resources"].get(name)
    }
    versions = {name for name in changed if "Version" in name}
    assert {name.partition("Version")[0] for name in versions} == {"ShopWeb", "Thumbnail", "Mail", "Report"}
    assert changed - versions == {"Task", "ShopWebAlias", "ThumbnailAlias", "MailAlias", "ReportAlias"}


def test_versions_and_what_holds_data_are_kept() -> None:
    template = document("Fargate behind a balancer")
    kinds = ("AWS::Lambda::Version", "AWS::S3::Bucket", "AWS::SQS::Queue", "AWS::DynamoDB::Table")
    found = {name: each for name, each in template["Resources"].items() if each["Type"] in kinds}
    assert found.pop("ControlTable")["DeletionPolicy"] == "Delete", "what control has learned is nothing of the app's"
    kept = list(found.values())
    assert len(kept) >= 8
    assert {each["DeletionPolicy"] for each in kept} == {"RetainExceptOnCreate"}


def test_a_server_spills_to_the_version_of_its_own_build() -> None:
    (task,) = of_type(document("Fargate behind a balancer"), "AWS::ECS::TaskDefinition").values()
    (container,) = task["ContainerDefinitions"]
    (version,) = [
        name for name in of_type(document("Fargate behind a balancer"), "AWS::Lambda::Version") if "Web" in name
    ]
    assert container["Command"] == ["serve", "--arn", {"Ref": version}]
    assert container["StopTimeout"] >= 30


def test_secrets_are_references_and_never_values() -> None:
    made = COMBINATIONS["Fargate behind a balancer"]
    where = "arn:aws:secretsmanager:us-east-1:123456789012:secret:db-AbCdEf"
    secrets = {"DB_URL": where, "USER": f"{where}:user"}
    settings = replace(made.settings, secrets=secrets)
    template = json.loads(template_of(replace(made, settings=settings)).to_json())
    (task,) = of_type(template, "AWS::ECS::TaskDefinition").values()
    assert task["ContainerDefinitions"][0]["Secrets"] == [
        {"Name": "DB_URL", "ValueFrom": where},
        {"Name": "USER", "ValueFrom": f"{where}:user::"},
    ]
    function = of_type(template, "AWS::Lambda::Function")["ShopWeb"]
    assert json.loads(function["Environment"]["Variables"]["PEAKER_SECRETS"]) == secrets
    reads = [(role, each) for role, each in statements(template) if each["Action"] == "secretsmanager:GetSecretValue"]
    assert all(each["Resource"] == [where] for _, each in reads)
    readers = {role for role, _ in reads}
    assert {"ServersStartRole", "ShopWebFunctionRole"} <= readers


def test_nothing_is_reached_in_plain_http_and_nobody_logs_in() -> None:
    for name in COMBINATIONS:
        template = document(name)
        for listener in of_type(template, "AWS::ElasticLoadBalancingV2::Listener").values():
            assert listener["Protocol"] == "HTTPS" or listener["DefaultActions"][0]["Type"] == "redirect"
        for group in of_type(template, "AWS::EC2::SecurityGroup").values():
            for rule in group["SecurityGroupIngress"]:
                assert rule["FromPort"] != 22
                assert "CidrIp" not in rule or rule["FromPort"] in (80, 443)
        for launch in of_type(template, "AWS::EC2::LaunchTemplate").values():
            assert launch["LaunchTemplateData"]["MetadataOptions"]["HttpTokens"] == "required"


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (deployment("fargate", certificate_arn=""), "never deployed without TLS"),
        (deployment("fargate", front="url"), "aws.front = 'url' does not go with fargate servers; allowed: alb"),
        (deployment("none", front="cloudfront"), "does not go with none servers"),
        (deployment("fargate", vpc_id="vpc-0123456789abcdef0"), "fewer than two"),
        (deployment("fargate", subnets=["subnet-0123456789abcdef0"]), "belong to a network"),
        (deployment("fargate", functions_in_vpc=True), "needs aws.private_subnets"),
        (deployment("fargate", idle_timeout_s=20), "gives a request up after aws.idle_timeout_s = 20 s"),
        (deployment("fargate", idle_timeout_s=90), "servers.keep_alive_s = 90 is not above"),
        (deployment("single", domain="shop.example.com", certificate_arn=""), "aws.domain needs aws.certificate_arn"),
    ],
)
def test_what_would_not_work_is_said_before_anything_is_made(made: Deployment, says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        template_of(made)
    assert says in str(refused.value)
    assert len(problems_of(made)) == 1


def test_a_secret_of_this_machine_is_refused_before_it_is_missing_there() -> None:
    made = deployment("fargate")
    here = replace(made, settings=replace(made.settings, secrets={"DB_URL": "env:DB_URL"}))
    assert "secrets.DB_URL stands in env:..., which is not there on AWS" in str(problems_of(here)[0])


def test_a_job_is_refused_as_long_as_nothing_runs_it_there() -> None:
    made = deployment("fargate")
    with_job = replace(made, settings=replace(made.settings, job=(JobSection(name="encode", handler="films:encode"),)))
    assert "[[job]] 'encode' is not deployed to AWS yet" in str(problems_of(with_job)[0])


def test_the_certificate_is_the_only_thing_a_name_needs() -> None:
    assert problems_of(deployment("fargate", domain="shop.example.com", certificate_arn=CERTIFICATE)) == []


def test_control_steers_this_app_alone_and_is_told_what_and_only_where_there_is_something_to_decide() -> None:
    template = document("Fargate behind a balancer")
    control = template["Resources"]["Control"]["Properties"]
    assert control["Handler"] == "peaker.control_on_aws.handler"
    text = control["Environment"]["Variables"]["PEAKER_CONTROL"]["Fn::Sub"]
    task = Task.from_json(text)
    assert (task.service, task.group, task.function, task.count_max) == ("shop", "", "shop-web", 8)
    assert {name.partition(".")[0] for name in re.findall(r"\$\{([\w.]+)\}", text)} <= template["Resources"].keys()
    assert 0.01 < task.server_usd_per_hour < 1
    allowed = {
        action for role, each in statements(template) if role == "ControlRole" for action in as_list(each["Action"])
    }
    assert {"ecs:UpdateService", "elasticloadbalancing:ModifyListener", "lambda:PutFunctionConcurrency"} <= allowed
    assert "lambda:InvokeFunction" not in allowed
    schedule = template["Resources"]["ControlSchedule"]["Properties"]
    assert schedule["ScheduleExpression"] == "rate(1 minute)"
    group = Task.from_json(
        document("EC2 in a group")["Resources"]["Control"]["Properties"]["Environment"]["Variables"]["PEAKER_CONTROL"][
            "Fn::Sub"
        ]
    )
    assert (group.group, group.service) == ("${Servers}", "")
    image = document("images, snapshots off")["Resources"]["Control"]["Properties"]
    assert image["ImageConfig"]["Command"] == ["peaker.control_on_aws.handler"]
    made = COMBINATIONS["Fargate behind a balancer"]
    fixed = replace(made, settings=replace(made.settings, servers=replace(made.settings.servers, policy="fixed")))
    assert "Control" not in json.loads(template_of(fixed).to_json())["Resources"]
    assert "Control" not in document("a single instance behind CloudFront")["Resources"]
    assert "Control" not in document("functions behind a URL")["Resources"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"secrets": {"KEY": "env:KEY"}}, "secrets.KEY stands in env:..., which is not there on AWS"),
        ({"env": {"A": "1"}}, "env 'A' is no name of a variable on Lambda"),
        ({"env": {"AWS_REGION": "x"}}, "env 'AWS_REGION' is no name"),
        (
            {"function": (FunctionSection(name="mail", handler="m:send", on_failure="queue:lost"),)},
            "function.on_failure = 'queue:lost' of 'mail' is not deployed to AWS yet",
        ),
    ],
)
def test_settings_that_are_not_deployed_are_named_and_not_passed_over(change: dict[str, Any], says: str) -> None:
    made = COMBINATIONS["Fargate behind a balancer"]
    with pytest.raises(SettingsError) as refused:
        template_of(replace(made, settings=replace(made.settings, **change)))
    assert says in str(refused.value)


def test_a_group_that_may_not_grow_lets_one_go_before_its_successor_comes() -> None:
    made = COMBINATIONS["EC2 in a group"]
    for least, most, kept in ((3, 3, "2"), (1, 1, "0"), (2, 8, "2"), (0, 4, "1")):
        servers = replace(made.settings.servers, count_min=least, count_max=most)
        template = json.loads(template_of(replace(made, settings=replace(made.settings, servers=servers))).to_json())
        policy = template["Resources"]["Servers"]["UpdatePolicy"]["AutoScalingRollingUpdate"]
        assert policy["MinInstancesInService"] == kept
