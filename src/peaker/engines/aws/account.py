"""The account that is deployed to: who asks, what its quotas leave, and what is looked up by name there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from peaker.errors import CredentialsError, DeployError

UNRESERVED_MIN = 100
"""Instances that Lambda keeps for functions without a reservation (AWS Lambda Developer Guide, "Configuring reserved
concurrency")."""

CONCURRENCY_QUOTA = "L-B99A9384"
"""Service Quotas' code of Lambda's "Concurrent executions"."""


@contextmanager
def asking(where: str) -> Iterator[None]:
    """AWS's refusals in its own words.

    Raises:
        CredentialsError: there are none, or they have ended.
        DeployError: AWS refuses, or cannot be reached.
    """
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        ProfileNotFound,
        SSOError,
        TokenRetrievalError,
    )

    try:
        yield
    except (NoCredentialsError, ProfileNotFound, SSOError, TokenRetrievalError) as error:
        raise CredentialsError(
            f"{error}.", where=where, remedy="Log in as for the AWS CLI: `aws configure`, `aws sso login`, AWS_PROFILE."
        ) from error
    except ClientError as error:
        told = error.response.get("Error", {})
        raise DeployError(f"{told.get('Code', '')}: {told.get('Message', error)}", where=where) from error
    except BotoCoreError as error:
        raise DeployError(f"AWS cannot be asked: {error}", where=where) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who asks, and how many instances of functions the account may run in the region, and has not reserved."""

    number: str
    asks_as: str
    concurrency: int
    unreserved: int

    @classmethod
    def read(cls, session: Any) -> Account:
        """By two calls; raises CredentialsError or DeployError."""
        with asking("sts:GetCallerIdentity"):
            caller = session.client("sts").get_caller_identity()
        with asking("lambda:GetAccountSettings"):
            limit = session.client("lambda").get_account_settings()["AccountLimit"]
        return cls(
            number=caller["Account"],
            asks_as=caller["Arn"],
            concurrency=limit["ConcurrentExecutions"],
            unreserved=limit["UnreservedConcurrentExecutions"],
        )


def reserved_by(template: Mapping[str, Any]) -> dict[str, int]:
    """Reserved concurrency in a template, by the function's name."""
    functions = [
        each["Properties"] for each in template.get("Resources", {}).values() if each["Type"] == "AWS::Lambda::Function"
    ]
    return {each["FunctionName"]: each.get("ReservedConcurrentExecutions", 0) for each in functions}


def check_concurrency(account: Account, now: Mapping[str, Any], then: Mapping[str, Any]) -> None:
    """`now` and `then` are templates: of the stack as it stands, and as it is to be.

    Raises:
        DeployError: the account has not that many instances to reserve, which CloudFormation would find out late.
    """
    wanted = reserved_by(then)
    asked = sum(wanted.values())
    free = account.unreserved - UNRESERVED_MIN + sum(reserved_by(now).values())
    if asked <= free:
        return
    told = ", ".join(f"{name} {count:,}" for name, count in sorted(wanted.items(), key=lambda each: -each[1])[:5])
    raise DeployError(
        f"functions reserve {asked:,} instances ({told}), and the account has {max(0, free):,} to reserve: its quota "
        f"is {account.concurrency:,}, and Lambda keeps {UNRESERVED_MIN} unreserved.",
        where=f"account {account.number}",
        remedy="Lower functions.concurrency_max, or ask for more (new accounts begin with 10): aws service-quotas "
        f"request-service-quota-increase --service-code lambda --quota-code {CONCURRENCY_QUOTA} "
        f"--desired-value {account.concurrency - free + asked}",
    )


def prefix_list_id(session: Any, name: str) -> str:
    """The id of one of AWS's own prefix lists in the region; raises DeployError where it is unknown."""
    with asking("ec2:DescribeManagedPrefixLists"):
        found = session.client("ec2").describe_managed_prefix_lists(
            Filters=[{"Name": "prefix-list-name", "Values": [name]}]
        )["PrefixLists"]
    if not found:
        raise DeployError("there is no such prefix list in the region.", where=name)
    return str(found[0]["PrefixListId"])
