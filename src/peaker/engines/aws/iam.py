"""Who may do what: roles with the least that works, as policy documents.

Each statement names the resources it is about; `*` stands only where the service knows no resource for an action.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from troposphere.iam import Policy, Role

from peaker.engines.aws.stack import Stack, arn, logical
from peaker.secrets_on_aws import arn_of
from peaker.settings import Settings

Statement = dict[str, Any]
Resource = Any
"""An ARN: text, or what CloudFormation makes one of."""


def allow(actions: str | Sequence[str], resources: Resource | Sequence[Resource], **conditions: Any) -> Statement:
    """One statement that allows."""
    statement: Statement = {"Effect": "Allow", "Action": actions, "Resource": resources}
    return statement | ({"Condition": conditions} if conditions else {})


def document(statements: Sequence[Statement]) -> dict[str, Any]:
    """A policy document."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def assumed_by(service: str) -> dict[str, Any]:
    """Who may take a role on."""
    trusted = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return document([trusted])


def role(stack: Stack, name: str, service: str, statements: Sequence[Statement], *, app_code: bool = True) -> Role:
    """A role for a service; `app_code` says whether the app's own code runs in it, with the policies it was given."""
    managed = list(stack.settings.aws.policy_arns) if app_code else []
    made = Role(logical(name, "Role"), AssumeRolePolicyDocument=assumed_by(service))
    if statements:
        made.Policies = [Policy(PolicyName="peaker", PolicyDocument=document(statements))]
    if managed:
        made.ManagedPolicyArns = managed
    return stack.add(made)


def may_invoke(function_name: str) -> Statement:
    """The app's own function and its versions, and no other."""
    names = [arn("lambda", f"function:{function_name}"), arn("lambda", f"function:{function_name}:*")]
    return allow("lambda:InvokeFunction", names)


def may_write_logs(group: str) -> Statement:
    """Lines into one log group that is there already."""
    return allow(["logs:CreateLogStream", "logs:PutLogEvents"], arn("logs", f"log-group:{group}:*"))


def may_read_secrets(settings: Settings) -> list[Statement]:
    """The secrets that `[secrets]` names, and no others."""
    found = []
    # Several may be keys of the same one.
    secrets = sorted({arn_of(each) for each in settings.secrets.values() if ":secretsmanager:" in each})
    parameters = sorted({arn_of(each) for each in settings.secrets.values() if ":ssm:" in each})
    if secrets:
        found.append(allow("secretsmanager:GetSecretValue", secrets))
    if parameters:
        found.append(allow("ssm:GetParameters", parameters))
    return found


def may_join_network() -> Statement:
    """What Lambda needs to put a function into a network; these actions know no resource."""
    return allow(
        ["ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DeleteNetworkInterface"],
        "*",
    )
