"""The same IAM that the templates hold, as documents for those who deploy with tools of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from peaker.engines.aws import iam
from peaker.engines.aws.deployer_actions import ACTIONS, ANY, OF_THE_COMMAND, OWN
from peaker.engines.aws.deployment import Deployment
from peaker.engines.aws.event_sources import add_sources, source_statements
from peaker.engines.aws.lambda_functions import add_function
from peaker.engines.aws.stack import Stack, logical
from peaker.errors import SettingsError

_INVOKED = re.compile(r"(arn:[^:]+:lambda:[^:]+:\d+:function:[^:]+)(:.+)?")


_NAMED_BY = {
    "AWS::DynamoDB::Table": ("TableName", "dynamodb:${AWS::Region}:${AWS::AccountId}:table/"),
    "AWS::SNS::Topic": ("TopicName", "sns:${AWS::Region}:${AWS::AccountId}:"),
}
"""The property with its name, and how the ARN begins where CloudFormation makes one up."""


class Places:
    """What CloudFormation would fill in: partition, region, account, and ARNs of what the stack makes."""

    def __init__(self, deployment: Deployment, resources: Mapping[str, Any], account: str) -> None:
        region = deployment.settings.aws.region
        partition = "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"
        self._resources = resources
        self._named = {
            "AWS::Partition": partition,
            "AWS::Region": region,
            "AWS::AccountId": account,
            "AWS::StackName": deployment.name,
        }

    def filled(self, value: Any) -> Any:
        """The value with all references put in words.

        Raises:
            SettingsError: it refers to something that has no name before it is made.
        """
        if isinstance(value, list):
            return [self.filled(each) for each in value]
        if not isinstance(value, dict):
            return value
        if "Fn::Sub" in value:
            return self._substituted(value["Fn::Sub"])
        if "Ref" in value:
            return self._arn(value["Ref"])
        if "Fn::GetAtt" in value:
            return self._arn(value["Fn::GetAtt"][0], value["Fn::GetAtt"][1])
        return {key: self.filled(each) for key, each in value.items()}

    def own(self, name: str) -> str:
        """The ARN of a resource that has a name in the template, or that will have the stack's as its beginning."""
        resource = self._resources[name]
        if resource["Type"] == "AWS::S3::Bucket":
            bucket = self.filled(resource["Properties"]["BucketName"])
            return f"arn:{self._named['AWS::Partition']}:s3:::{bucket}"
        own_name, unnamed = _NAMED_BY.get(resource["Type"], ("", ""))
        if own_name and own_name not in resource["Properties"]:
            return self._substituted(f"arn:${{AWS::Partition}}:{unnamed}${{AWS::StackName}}-*")
        return self._arn(name)

    def _substituted(self, text: str) -> str:
        return re.sub(r"\$\{([^}]+)\}", lambda found: self._named.get(found[1], "*"), text)

    def _arn(self, name: str, attribute: str = "Arn") -> str:
        resource = self._resources.get(name, {"Type": "", "Properties": {}})
        own = resource["Properties"]
        known = {
            "AWS::SQS::Queue": ("sqs", own.get("QueueName")),
            "AWS::SNS::Topic": ("sns", own.get("TopicName")),
            "AWS::DynamoDB::Table": ("dynamodb", f"table/{own.get('TableName')}"),
            "AWS::Lambda::Function": ("lambda", f"function:{own.get('FunctionName')}"),
            "AWS::Lambda::Alias": ("lambda", f"function:{self._function_of(own)}:{own.get('Name')}"),
        }
        if resource["Type"] not in known:
            raise SettingsError(f"{name} has no name before it is made, so no policy can be printed for it.")
        service, path = known[resource["Type"]]
        ending = "/stream/*" if attribute == "StreamArn" else ""
        return self._substituted(
            f"arn:${{AWS::Partition}}:{service}:${{AWS::Region}}:${{AWS::AccountId}}:{path}{ending}"
        )

    def _function_of(self, alias: Mapping[str, Any]) -> str:
        function = alias.get("FunctionName", {})
        named = self._resources.get(function.get("Ref", ""), {}) if isinstance(function, dict) else {}
        return str(named.get("Properties", {}).get("FunctionName", "*"))


def servers_policy(deployment: Deployment, account: str) -> dict[str, Any]:
    """What the role of a task or an instance needs to run `peaker serve`: spill to one function, read its secrets."""
    settings = deployment.settings
    statements = []
    if settings.functions.arn:
        found = _INVOKED.fullmatch(settings.functions.arn)
        function = found[1] if found else settings.functions.arn
        statements.append(iam.allow("lambda:InvokeFunction", [function, f"{function}:*"]))
    elif (web := deployment.web_function) is not None:
        statements.append(iam.may_invoke(deployment.function_name(web)))
    return _printed(deployment, {}, [*statements, *iam.may_read_secrets(settings)], account)


def functions_policies(deployment: Deployment, account: str) -> dict[str, dict[str, Any]]:
    """What each function's role needs, by the function's name; what the app's own code calls is yours to add."""
    stack = Stack(deployment)
    for spec in deployment.functions:
        add_function(stack, spec, source_statements(stack, spec))
    add_sources(stack)
    resources = stack.template.to_dict()["Resources"]
    found = {}
    for spec in deployment.functions:
        role = resources[logical(f"{spec.name}-function", "Role")]["Properties"]
        statements = [each for policy in role.get("Policies", []) for each in policy["PolicyDocument"]["Statement"]]
        found[deployment.function_name(spec)] = _printed(deployment, resources, statements, account)
    return found


def deployer_policy(deployment: Deployment, template: Mapping[str, Any], account: str) -> dict[str, Any]:
    """What the person or pipeline that runs `peaker deploy aws` and `peaker destroy aws` needs, for this template.

    CloudFormation makes the resources with the rights of whoever asks it. Each kind of resource has its actions in
    deployer_actions.py, on the stack's own names where a service has names that are known before.
    """
    kinds = sorted({each["Type"] for each in template["Resources"].values()})
    missing = [kind for kind in kinds if kind not in ACTIONS]
    if missing:
        raise SettingsError(f"nobody wrote down yet what making {', '.join(missing)} needs.")
    places = Places(deployment, template["Resources"], account)
    of_kind: dict[str, list[str]] = {kind: [] for kind in kinds}
    for name, each in template["Resources"].items():
        of_kind[each["Type"]].append(name)
    by_resources: dict[tuple[str, ...], set[str]] = {}
    for kind in kinds:
        for actions, resources in ACTIONS[kind]:
            where = tuple(places.own(name) for name in of_kind[kind]) if resources == (OWN,) else resources
            by_resources.setdefault(where, set()).update(actions)
    for actions, resources in OF_THE_COMMAND:
        by_resources.setdefault(resources, set()).update(actions)
    return iam.document(
        [
            iam.allow(
                sorted(actions), "*" if where == (ANY,) else sorted(places.filled({"Fn::Sub": at}) for at in where)
            )
            for where, actions in sorted(by_resources.items())
        ]
    )


def _printed(
    deployment: Deployment, resources: Mapping[str, Any], statements: Sequence[iam.Statement], account: str
) -> dict[str, Any]:
    as_data = [_plain(each) for each in statements]
    return iam.document(Places(deployment, resources, account).filled(as_data))


def _plain(value: Any) -> Any:
    """Of troposphere's objects what CloudFormation would be sent."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value
