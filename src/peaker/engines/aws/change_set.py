"""CloudFormation as the engine: one change set, shown, executed, and followed event by event.

Nothing is diffed here: what a change set would do is CloudFormation's word. A deploy that was interrupted is taken up
again by doing the same once more.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from peaker.engines.aws.account import asking
from peaker.engines.aws.preview import HOLDS_DATA
from peaker.errors import DeployError

POLLS_S = (0.25, 0.5, 1.0, 2.0)
WAIT_S_MAX = 3600.0
CHANGE_SET_PREFIX = "peaker-"
CAPABILITIES = ["CAPABILITY_NAMED_IAM"]

STACK = "AWS::CloudFormation::Stack"

_BUSY = "_IN_PROGRESS"
_BEGINNINGS = ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS", "REVIEW_IN_PROGRESS")
_NO_CHANGE = ("didn't contain changes", "No updates are to be performed")

Sleep = Callable[[float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of a change set, in CloudFormation's words: Add, Modify, Import or Remove.

    `replaces` says whether it is made anew: "yes", "maybe" or "no".
    """

    action: str
    resource: str
    kind: str
    replaces: str


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


@dataclass(frozen=True, slots=True, kw_only=True)
class StackState:
    """How a stack stands: CloudFormation's status ("" where there is none), its reason, and its outputs."""

    status: str
    reason: str
    outputs: dict[str, str]

    @property
    def is_busy(self) -> bool:
        """Something is being done to it."""
        return self.status.endswith(_BUSY)

    @property
    def is_unborn(self) -> bool:
        """Making it failed, and it can only be removed."""
        return self.status in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED")

    @property
    def is_stuck(self) -> bool:
        """Going back failed: a person has to say what may be left as it is."""
        return self.status == "UPDATE_ROLLBACK_FAILED"

    @property
    def stands(self) -> bool:
        """The last thing done to it was done to its end."""
        return self.status in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE")


class CloudFormationStack:
    """One stack by its name; `client` is boto3's.

    Every method raises DeployError with AWS's own words where AWS refuses or cannot be reached.
    """

    def __init__(self, client: Any, name: str, *, sleep: Sleep = time.sleep) -> None:
        self._client = client
        self._sleep = sleep
        self.name = name
        self._reference = name

    def state(self) -> StackState:
        """As CloudFormation describes it."""
        try:
            (found,) = self._call("describe_stacks", StackName=self._reference)["Stacks"]
        except DeployError as error:
            if "does not exist" in error.what:
                return StackState(status="", reason="", outputs={})
            raise
        status: str = found["StackStatus"]
        return StackState(
            status="" if status in ("REVIEW_IN_PROGRESS", "DELETE_COMPLETE") else status,
            reason=found.get("StackStatusReason", ""),
            outputs={each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])},
        )

    def status(self) -> str:
        """CloudFormation's status; "" where there is no such stack, or only one that was never made."""
        return self.state().status

    def template(self) -> dict[str, Any]:
        """The template it was deployed with; empty where there is none."""
        if not self.status():
            return {}
        body = self._call("get_template", StackName=self.name)["TemplateBody"]
        return dict(body) if isinstance(body, dict) else dict(json.loads(body))

    def kept(self) -> tuple[str, ...]:
        """What would stay if the stack were deleted, since it holds data: kind and name of each."""
        declared = self.template().get("Resources", {})
        found = self._call("list_stack_resources", StackName=self.name)["StackResourceSummaries"]
        return tuple(
            f"{HOLDS_DATA[each['ResourceType']]} {each.get('PhysicalResourceId', each['LogicalResourceId'])}"
            for each in found
            if each["ResourceType"] in HOLDS_DATA
            and declared.get(each["LogicalResourceId"], {}).get("DeletionPolicy", "").startswith("Retain")
        )

    def propose(
        self, *, template_url: str = "", body: str = "", parameters: dict[str, str], tags: dict[str, str], name: str
    ) -> tuple[Change, ...]:
        """Make a change set of this name and return what it would do; nothing where the stack is so already."""
        # One of the same name that was removed before is no longer meant.
        self._reference = self.name
        where = {"TemplateURL": template_url} if template_url else {"TemplateBody": body}
        self._call(
            "create_change_set",
            StackName=self.name,
            ChangeSetName=name,
            ChangeSetType="UPDATE" if self.status() else "CREATE",
            Capabilities=CAPABILITIES,
            # Queues, buckets and tables that a stack before this one left behind are taken in again, not met by name.
            ImportExistingResources=True,
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

    def forget_left_behind(self) -> tuple[str, ...]:
        """Drop change sets of Peaker's that nobody executed: of a deploy that was interrupted."""
        found = self._call("list_change_sets", StackName=self.name)["Summaries"] if self._is_there() else []
        left = [
            each["ChangeSetName"]
            for each in found
            if each["ChangeSetName"].startswith(CHANGE_SET_PREFIX)
            and not each.get("ExecutionStatus", "").startswith("EXECUTE")
        ]
        for name in left:
            self.forget(name)
        return tuple(left)

    def _is_there(self) -> bool:
        """In any state, that of a stack which has only a change set included."""
        try:
            self._call("describe_stacks", StackName=self.name)
        except DeployError as error:
            if "does not exist" in error.what:
                return False
            raise
        return True

    def forget(self, name: str) -> None:
        """Drop a change set that was not wanted."""
        self._call("delete_change_set", StackName=self.name, ChangeSetName=name)

    def first_failure(self) -> Event | None:
        """What went wrong first when it was last changed, which is the cause of all that failed after it."""
        failed = None
        for event in self._events():
            if event.kind == STACK and event.status in _BEGINNINGS:
                break
            if event.is_failure and "cancelled" not in event.reason.lower():
                failed = event
        return failed

    def refusals(self) -> tuple[str, ...]:
        """What CloudFormation found wrong before it began, as where a name is taken: resource and reason of each."""
        found = self._call("describe_events", StackName=self._reference, Filters={"FailedEvents": True})
        return tuple(
            f"{each.get('ResourceType', '')} {each.get('LogicalResourceId', '')}: {each['ValidationStatusReason']}"
            for each in found.get("OperationEvents", [])
            if each.get("ValidationStatusReason")
        )

    def delete(self) -> None:
        """Begin to remove the stack; what is to be retained stays."""
        # A stack that is gone is known by its id alone, and with it what happened last.
        (found,) = self._call("describe_stacks", StackName=self.name)["Stacks"]
        self._reference = found["StackId"]
        self._call("delete_stack", StackName=self.name)

    def known_events(self) -> set[str]:
        """The id of what happened last, for `follow`; empty where nothing has."""
        newest = next(self._events(), None) if self._is_there() else None
        return {newest.identity} if newest else set()

    def follow(self, known: set[str], *, wait_s_max: float = WAIT_S_MAX) -> Iterator[Event]:
        """What happens from now on, as it happens, until the stack is at rest.

        Raises:
            DeployError: it is not at rest after `wait_s_max`.
        """
        waited_s = 0.0
        while True:
            state = self.state()
            yield from self._events_since(known)
            if not state.is_busy:
                return
            if waited_s >= wait_s_max:
                raise DeployError(
                    f"it is still {state.status} after {waited_s:g} s.",
                    where=self.name,
                    remedy="CloudFormation goes on; the same command follows it again.",
                )
            waited_s += self._pause(waited_s)

    def _events_since(self, known: set[str]) -> list[Event]:
        fresh: list[Event] = []
        for event in self._events():
            if event.identity in known:
                break
            fresh.append(event)
        known.update(event.identity for event in fresh)
        return fresh[::-1]

    def _events(self) -> Iterator[Event]:
        """The newest first, page by page as they are asked for."""
        more: dict[str, str] = {}
        while True:
            page = self._call("describe_stack_events", StackName=self._reference, **more)
            yield from (_event(each) for each in page["StackEvents"])
            if not page.get("NextToken"):
                return
            more = {"NextToken": page["NextToken"]}

    def _wait_for_change_set(self, name: str) -> dict[str, Any]:
        waited_s = 0.0
        while True:
            found: dict[str, Any] = self._call("describe_change_set", StackName=self.name, ChangeSetName=name)
            if found["Status"] in ("CREATE_COMPLETE", "FAILED"):
                return found
            if waited_s >= WAIT_S_MAX:
                raise DeployError(f"the change set is still {found['Status']} after {waited_s:g} s.", where=self.name)
            waited_s += self._pause(waited_s)

    def _pause(self, waited_s: float) -> float:
        """Short at first, since much is done at once, then as long as AWS likes it."""
        pause_s = next((each for each in POLLS_S if each > waited_s), POLLS_S[-1])
        self._sleep(pause_s)
        return pause_s

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
        with asking(self.name):
            return getattr(self._client, operation)(**arguments)


def _event(each: dict[str, Any]) -> Event:
    return Event(
        identity=each["EventId"],
        resource=each.get("LogicalResourceId", ""),
        kind=each.get("ResourceType", ""),
        status=each.get("ResourceStatus", ""),
        reason=each.get("ResourceStatusReason", ""),
    )


def _change(each: dict[str, Any]) -> Change:
    return Change(
        action=each["Action"],
        resource=each["LogicalResourceId"],
        kind=each["ResourceType"],
        replaces={"True": "yes", "Conditional": "maybe"}.get(each.get("Replacement", ""), "no"),
    )
