"""CloudFormation as the engine: one change set, shown, executed, and followed event by event.

Nothing is diffed here: what a change set would do is CloudFormation's word. A deploy that was interrupted is taken up
again by doing the same once more.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from peaker.errors import DeployError

POLL_S = 2.0
WAIT_S_MAX = 3600.0
CAPABILITIES = ["CAPABILITY_NAMED_IAM"]

_BUSY = "_IN_PROGRESS"
_NO_CHANGE = ("didn't contain changes", "No updates are to be performed")

Sleep = Callable[[float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of a change set, in CloudFormation's words: Add, Modify or Remove; `replaces` if it is made anew."""

    action: str
    resource: str
    kind: str
    replaces: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to a resource of the stack."""

    identity: str
    resource: str
    kind: str
    status: str
    reason: str

    @property
    def is_failure(self) -> bool:
        """It could not be made, changed or removed."""
        return self.status.endswith("_FAILED")


class CloudFormationStack:
    """One stack by its name; `client` is boto3's.

    Every method raises DeployError with AWS's own words where AWS refuses or cannot be reached.
    """

    def __init__(self, client: Any, name: str, *, sleep: Sleep = time.sleep) -> None:
        self._client = client
        self._sleep = sleep
        self.name = name

    def status(self) -> str:
        """CloudFormation's status; "" where there is no such stack, or only one that was never made."""
        try:
            found = self._call("describe_stacks", StackName=self.name)["Stacks"]
        except DeployError as error:
            if "does not exist" in error.what:
                return ""
            raise
        status: str = found[0]["StackStatus"]
        return "" if status in ("REVIEW_IN_PROGRESS", "DELETE_COMPLETE") else status

    def outputs(self) -> dict[str, str]:
        """What the stack tells of itself."""
        (found,) = self._call("describe_stacks", StackName=self.name)["Stacks"]
        return {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])}

    def template(self) -> dict[str, Any]:
        """The template it was deployed with; empty where there is none."""
        if not self.status():
            return {}
        body = self._call("get_template", StackName=self.name)["TemplateBody"]
        return dict(body) if isinstance(body, dict) else dict(json.loads(body))

    def propose(
        self, *, template_url: str = "", body: str = "", parameters: dict[str, str], tags: dict[str, str], name: str
    ) -> tuple[Change, ...]:
        """Make a change set of this name and return what it would do; nothing where the stack is so already."""
        where = {"TemplateURL": template_url} if template_url else {"TemplateBody": body}
        self._call(
            "create_change_set",
            StackName=self.name,
            ChangeSetName=name,
            ChangeSetType="UPDATE" if self.status() else "CREATE",
            Capabilities=CAPABILITIES,
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
            **where,
        )
        found = self._wait_for_change_set(name)
        if found["Status"] == "FAILED":
            reason = found.get("StatusReason", "")
            self._call("delete_change_set", StackName=self.name, ChangeSetName=name)
            if any(words in reason for words in _NO_CHANGE):
                return ()
            raise DeployError(f"CloudFormation refuses the change set: {reason}", where=self.name)
        return tuple(_change(each["ResourceChange"]) for each in self._all_changes(name, found))

    def execute(self, name: str) -> None:
        """Begin what a change set would do."""
        self._call("execute_change_set", StackName=self.name, ChangeSetName=name)

    def forget(self, name: str) -> None:
        """Drop a change set that was not wanted."""
        self._call("delete_change_set", StackName=self.name, ChangeSetName=name)

    def delete(self) -> None:
        """Begin to remove the stack; what is to be retained stays."""
        self._call("delete_stack", StackName=self.name)

    def known_events(self) -> set[str]:
        """Ids of what has happened so far, for `follow`."""
        return {event.identity for event in self._events()} if self.status() else set()

    def follow(self, known: set[str], *, wait_s_max: float = WAIT_S_MAX) -> Iterator[Event]:
        """What happens from now on, as it happens, until the stack is at rest.

        Raises:
            DeployError: it is not at rest after `wait_s_max`.
        """
        waited_s = 0.0
        while True:
            status = self.status()
            yield from self._events_since(known, is_gone=not status)
            if not status.endswith(_BUSY):
                return
            if waited_s >= wait_s_max:
                raise DeployError(f"it is still {status} after {waited_s:g} s.", where=self.name)
            self._sleep(POLL_S)
            waited_s += POLL_S

    def _events_since(self, known: set[str], *, is_gone: bool) -> list[Event]:
        if is_gone:
            return []
        fresh = [event for event in self._events() if event.identity not in known]
        known.update(event.identity for event in fresh)
        return fresh[::-1]

    def _events(self) -> Sequence[Event]:
        found = self._call("describe_stack_events", StackName=self.name)["StackEvents"]
        return [
            Event(
                identity=each["EventId"],
                resource=each.get("LogicalResourceId", ""),
                kind=each.get("ResourceType", ""),
                status=each.get("ResourceStatus", ""),
                reason=each.get("ResourceStatusReason", ""),
            )
            for each in found
        ]

    def _wait_for_change_set(self, name: str) -> dict[str, Any]:
        waited_s = 0.0
        while True:
            found: dict[str, Any] = self._call("describe_change_set", StackName=self.name, ChangeSetName=name)
            if found["Status"] in ("CREATE_COMPLETE", "FAILED"):
                return found
            if waited_s >= WAIT_S_MAX:
                raise DeployError(f"the change set is still {found['Status']} after {waited_s:g} s.", where=self.name)
            self._sleep(POLL_S)
            waited_s += POLL_S

    def _all_changes(self, name: str, first: dict[str, Any]) -> Iterator[dict[str, Any]]:
        page = first
        while True:
            yield from page.get("Changes", [])
            if not page.get("NextToken"):
                return
            page = self._call(
                "describe_change_set", StackName=self.name, ChangeSetName=name, NextToken=page["NextToken"]
            )

    def _call(self, operation: str, **arguments: Any) -> Any:
        try:
            return getattr(self._client, operation)(**arguments)
        except ClientError as error:
            told = error.response.get("Error", {})
            raise DeployError(f"{told.get('Code', '')}: {told.get('Message', error)}", where=self.name) from error
        except BotoCoreError as error:
            raise DeployError(f"AWS cannot be asked: {error}", where=self.name) from error


def _change(each: dict[str, Any]) -> Change:
    return Change(
        action=each["Action"],
        resource=each["LogicalResourceId"],
        kind=each["ResourceType"],
        replaces=each.get("Replacement") in ("True", "Conditional"),
    )
