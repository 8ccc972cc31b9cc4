"""What a template says beside what AWS's describe calls say, type by type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Client = Callable[[str], Any]
Resources = dict[str, dict[str, Any]]


def assert_stands(client: Client, document: dict[str, Any], passed_over: Sequence[str] = ()) -> None:
    """Every resource of a type below is there, with what is said of it; but for types that are `passed_over`."""
    resources: Resources = document["Resources"]
    for kind, check in _CHECKS.items():
        if kind in passed_over:
            continue
        of_kind = {name: each["Properties"] for name, each in resources.items() if each["Type"] == kind}
        if of_kind:
            check(client, of_kind)


def kinds_checked() -> set[str]:
    return set(_CHECKS)


def _functions(client: Client, declared: Resources) -> None:
    functions = client("lambda")
    for own in declared.values():
        found = functions.get_function_configuration(FunctionName=own["FunctionName"])
        assert (found["MemorySize"], found["Timeout"]) == (own["MemorySize"], own["Timeout"])
        variables, wanted = found["Environment"]["Variables"], own["Environment"]["Variables"]
        assert variables.keys() == wanted.keys()
        for name, value in wanted.items():
            # What CloudFormation puts in is put in; the rest is as it was declared.
            assert variables[name] == value if isinstance(value, str) else "${" not in variables[name]


def _log_groups(client: Client, declared: Resources) -> None:
    found = {each["logGroupName"]: each for each in client("logs").describe_log_groups()["logGroups"]}
    for own in declared.values():
        assert found[own["LogGroupName"]]["retentionInDays"] == own["RetentionInDays"]


def _queues(client: Client, declared: Resources) -> None:
    queues = client("sqs")
    for own in declared.values():
        url = queues.get_queue_url(QueueName=own["QueueName"])["QueueUrl"]
        found = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        assert int(found["MessageRetentionPeriod"]) == own["MessageRetentionPeriod"]
        assert ("RedrivePolicy" in found) == ("RedrivePolicy" in own)


def _tables(client: Client, declared: Resources) -> None:
    tables = client("dynamodb")
    names = tables.list_tables()["TableNames"]
    assert len(names) == len(declared)
    for name, own in declared.items():
        (called,) = [each for each in names if each == own.get("TableName") or f"-{name}-" in each]
        found = tables.describe_table(TableName=called)["Table"]
        assert found.get("StreamSpecification", {}).get("StreamEnabled", False) == ("StreamSpecification" in own)
        assert found["KeySchema"] == own["KeySchema"]


def _buckets(client: Client, declared: Resources) -> None:
    names = [each["Name"] for each in client("s3").list_buckets()["Buckets"]]
    assert len([name for name in names if not name.startswith("code-")]) == len(declared)


def _roles(client: Client, declared: Resources) -> None:
    iam = client("iam")
    found = [each["RoleName"] for each in iam.list_roles()["Roles"]]
    for name, own in declared.items():
        (role,) = [each for each in found if f"-{name}-" in each]
        written = iam.list_role_policies(RoleName=role)["PolicyNames"]
        assert written == [each["PolicyName"] for each in own.get("Policies", [])]


def _services(client: Client, declared: Resources) -> None:
    for own in declared.values():
        name = own["ServiceName"]
        (found,) = client("ecs").describe_services(cluster=name, services=[name])["services"]
        task = client("ecs").describe_task_definition(taskDefinition=found["taskDefinition"])["taskDefinition"]
        (container,) = task["containerDefinitions"]
        assert container["command"][0] == "serve"
        # moto leaves them out; ministack has them.
        assert [each["containerPort"] for each in found["loadBalancers"]] in ([], [8080])


def _balancers(client: Client, declared: Resources) -> None:
    assert len(client("elbv2").describe_load_balancers()["LoadBalancers"]) == len(declared)


def _target_groups(client: Client, declared: Resources) -> None:
    balancing = client("elbv2")
    found = balancing.describe_target_groups()["TargetGroups"]
    assert sorted(each.get("TargetType", "instance") for each in found) == sorted(
        own["TargetType"] for own in declared.values()
    )
    for each in found:
        if each.get("HealthCheckPath") == "/ready":
            given = balancing.describe_target_group_attributes(TargetGroupArn=each["TargetGroupArn"])["Attributes"]
            assert {"Key": "load_balancing.algorithm.type", "Value": "least_outstanding_requests"} in given


def _listeners(client: Client, declared: Resources) -> None:
    (balancer,) = client("elbv2").describe_load_balancers()["LoadBalancers"]
    found = client("elbv2").describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    assert {each["Port"]: each["Protocol"] for each in found} == {
        own["Port"]: own["Protocol"] for own in declared.values()
    }


def _groups_of_instances(client: Client, declared: Resources) -> None:
    found = client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    assert [(str(each["MinSize"]), str(each["MaxSize"])) for each in found] == [
        (own["MinSize"], own["MaxSize"]) for own in declared.values()
    ]


def _launch_templates(client: Client, declared: Resources) -> None:
    found = client("ec2").describe_launch_template_versions(Versions=["$Latest"], LaunchTemplateId=_template_id(client))
    (version,) = found["LaunchTemplateVersions"]
    (own,) = declared.values()
    assert version["LaunchTemplateData"]["InstanceType"] == own["LaunchTemplateData"]["InstanceType"]
    assert version["LaunchTemplateData"]["MetadataOptions"]["HttpTokens"] == "required"


def _template_id(client: Client) -> str:
    (found,) = client("ec2").describe_launch_templates()["LaunchTemplates"]
    return str(found["LaunchTemplateId"])


def _security_groups(client: Client, declared: Resources) -> None:
    found = client("ec2").describe_security_groups()["SecurityGroups"]
    about = {each["Description"]: each for each in found}
    for own in declared.values():
        rules = about[own["GroupDescription"]]["IpPermissions"]
        assert {each["FromPort"] for each in rules} == {each["FromPort"] for each in own["SecurityGroupIngress"]}


def _schedules(client: Client, declared: Resources) -> None:
    found = {each["Name"] for each in client("scheduler").list_schedules()["Schedules"]}
    assert found == {own["Name"] for own in declared.values()}


def _sources(client: Client, declared: Resources) -> None:
    found = client("lambda").list_event_source_mappings()["EventSourceMappings"]
    assert sorted(each["BatchSize"] for each in found) == sorted(own["BatchSize"] for own in declared.values())


def _aliases(client: Client, declared: Resources) -> None:
    functions = client("lambda")
    found = [each["FunctionName"] for each in functions.list_functions()["Functions"]]
    leading = [name for name in found if functions.list_aliases(FunctionName=name)["Aliases"]]
    assert len(leading) == len(declared)
    for name in leading:
        assert functions.get_alias(FunctionName=name, Name="live")["FunctionVersion"] == "1"


def _urls(client: Client, declared: Resources) -> None:
    for own in declared.values():
        found = client("lambda").get_function_url_config(FunctionName="shop-web", Qualifier=own["Qualifier"])
        assert found["AuthType"] == "NONE"


def _apis(client: Client, declared: Resources) -> None:
    (api,) = client("apigatewayv2").get_apis()["Items"]
    (route,) = client("apigatewayv2").get_routes(ApiId=api["ApiId"])["Items"]
    (integration,) = client("apigatewayv2").get_integrations(ApiId=api["ApiId"])["Items"]
    (stage,) = client("apigatewayv2").get_stages(ApiId=api["ApiId"])["Items"]
    assert (route["RouteKey"], integration["PayloadFormatVersion"], stage["AutoDeploy"]) == ("$default", "2.0", True)
    assert len(declared) == 1


def _alarms(client: Client, declared: Resources) -> None:
    found = client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert sorted(each["MetricName"] for each in found) == sorted(own["MetricName"] for own in declared.values())


def _dashboards(client: Client, declared: Resources) -> None:
    found = client("cloudwatch").list_dashboards()["DashboardEntries"]
    assert [each["DashboardName"] for each in found] == [own["DashboardName"] for own in declared.values()]


def _topics(client: Client, declared: Resources) -> None:
    assert len(client("sns").list_topics()["Topics"]) == len(declared)


_CHECKS: dict[str, Callable[[Client, Resources], None]] = {
    "AWS::Lambda::Function": _functions,
    "AWS::Logs::LogGroup": _log_groups,
    "AWS::SQS::Queue": _queues,
    "AWS::DynamoDB::Table": _tables,
    "AWS::S3::Bucket": _buckets,
    "AWS::IAM::Role": _roles,
    "AWS::ECS::Service": _services,
    "AWS::ElasticLoadBalancingV2::LoadBalancer": _balancers,
    "AWS::ElasticLoadBalancingV2::TargetGroup": _target_groups,
    "AWS::ElasticLoadBalancingV2::Listener": _listeners,
    "AWS::AutoScaling::AutoScalingGroup": _groups_of_instances,
    "AWS::EC2::LaunchTemplate": _launch_templates,
    "AWS::EC2::SecurityGroup": _security_groups,
    "AWS::Scheduler::Schedule": _schedules,
    "AWS::Lambda::EventSourceMapping": _sources,
    "AWS::Lambda::Alias": _aliases,
    "AWS::Lambda::Url": _urls,
    "AWS::ApiGatewayV2::Api": _apis,
    "AWS::CloudWatch::Alarm": _alarms,
    "AWS::CloudWatch::Dashboard": _dashboards,
    "AWS::SNS::Topic": _topics,
}
