"""One CloudFormation template while it is made: what all its parts share."""

from __future__ import annotations

from typing import TypeVar

from troposphere import Output, Parameter, Ref, Sub, Template
from troposphere.logs import LogGroup

from peaker.engines.aws.deployment import Deployment

_Resource = TypeVar("_Resource")
"""One of troposphere's resources; it is not typed, so nothing narrower can be said."""


KEPT = {"DeletionPolicy": "RetainExceptOnCreate", "UpdateReplacePolicy": "Retain"}
"""Of what holds data, and of versions: it stays when the stack goes, but not when making it failed, since a second
attempt would meet its name."""


class Stack:
    """A template and what it is made for."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.settings = deployment.settings
        self.versions: dict[str, str] = {}
        """Logical ids of functions' versions, by the function's name."""
        self.template = Template(Description=f"{deployment.name}, made by peaker deploy aws")
        self.template.set_version("2010-09-09")

    def add(self, resource: _Resource) -> _Resource:
        """Put a resource in. CloudFormation gives the tags of the stack to all that can have some."""
        added: _Resource = self.template.add_resource(resource)
        return added

    def parameter(self, name: str, description: str, **more: object) -> Ref:
        """A parameter, made when it is first asked for."""
        if name not in self.template.parameters:
            self.template.add_parameter(Parameter(name, Type="String", Description=description, **more))
        return Ref(name)

    def log_group(self, name: str, group: str) -> LogGroup:
        """A log group of its own, kept for as long as the settings say, and gone with the stack."""
        days = self.settings.aws.log_retention_days
        gone = {"DeletionPolicy": "Delete", "UpdateReplacePolicy": "Delete"}
        return self.add(LogGroup(name, LogGroupName=group, RetentionInDays=days, **gone))

    def output(self, name: str, value: object, description: str) -> None:
        """What the stack tells about itself."""
        self.template.add_output(Output(name, Value=value, Description=description))


def arn(service: str, resource: str, *, region: str = "${AWS::Region}", account: str = "${AWS::AccountId}") -> Sub:
    """An ARN in the partition, region and account of the stack."""
    return Sub(f"arn:${{AWS::Partition}}:{service}:{region}:{account}:{resource}")


def logical(*parts: str) -> str:
    """A logical id: letters and digits, each part with a capital first."""
    words = "".join(letter if letter.isalnum() else " " for part in parts for letter in f"{part} ").split()
    return "".join(word[:1].upper() + word[1:] for word in words)
