"""The steps of a deploy with an account: read, build, send, propose, ask, execute, follow."""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import click

from peaker.build import build_hash
from peaker.cli import present
from peaker.cli.deploy import Asked, described, require_image
from peaker.cli.deploy_text import changes_text, event_text, outputs_text, preview_text
from peaker.engines.aws.account import Account, asking, check_concurrency, prefix_list_id
from peaker.engines.aws.artifacts import TEMPLATE_BYTES_MAX, Artifacts
from peaker.engines.aws.building import build_package
from peaker.engines.aws.change_set import CHANGE_SET_PREFIX, Change, CloudFormationStack, StackState
from peaker.engines.aws.deployment import Deployment, problems_of
from peaker.engines.aws.preview import Preview, costs_of
from peaker.engines.aws.servers_ec2 import FROM_CLOUDFRONT
from peaker.errors import DeployError, SettingsError
from peaker.settings import Settings


def deploy(asked: Asked, settings: Settings) -> None:
    """All of them; what is shown goes to standard error, the result to standard output.

    Raises:
        SettingsError: it cannot be deployed so, or nobody can be asked.
        DeployError: AWS refuses, or the stack could not be made or changed.
    """
    _require_someone_to_ask(asked)
    for problem in problems_of(Deployment(settings=settings, build="")):
        raise problem
    session = session_of(settings)
    account = Account.read(session)
    stack = stack_of(session, Deployment(settings=settings, build="").name)
    present.say(f"account {account.number} in {settings.aws.region}, as {account.asks_as}")
    _clear_the_way(stack, yes=asked.yes)
    with _built(asked, settings) as package:
        deployment = Deployment(
            settings=settings, build=build_hash(settings), package_sha256=package[1], python=asked.python
        )
        template, shown = described(deployment)
        require_image(template, settings)
        before = stack.template()
        check_concurrency(account, before, template.to_dict())
        present.say(preview_text(shown, costs_of(before)))
        artifacts = _bucket(asked, session, account, settings)
        parameters = _parameters(session, template, artifacts, stack.name, package)
    # Of its own name each time: a change set that failed may still stand there.
    name = f"{CHANGE_SET_PREFIX}{deployment.build}-{secrets.token_hex(4)}"
    changes = _propose(
        stack, name, template.to_json(indent=None), parameters=parameters, artifacts=artifacts, tags=_tags(settings)
    )
    if not changes:
        _finish(asked, stack, shown, ())
        return
    present.say(changes_text(changes))
    if not asked.yes and not click.confirm("Do it?", err=True):
        stack.forget(name)
        raise click.Abort
    known = stack.known_events()
    stack.execute(name)
    state = follow(stack, known)
    if not state.stands:
        raise failure(stack, state)
    _finish(asked, stack, shown, changes)


def session_of(settings: Settings) -> Any:
    """Of the person who deploys, in the region of the settings; raises CredentialsError for an unknown profile."""
    with asking("credentials"):
        return boto3.Session(region_name=settings.aws.region)


def stack_of(session: Any, name: str) -> CloudFormationStack:
    """CloudFormation's stack of this name."""
    return CloudFormationStack(session.client("cloudformation"), name)


def _require_someone_to_ask(asked: Asked) -> None:
    if not asked.yes and not sys.stdin.isatty():
        raise SettingsError(
            "there is no terminal to ask at.",
            where="peaker deploy aws",
            remedy="--yes does not ask; --preview only shows.",
        )


def _clear_the_way(stack: CloudFormationStack, *, yes: bool) -> None:
    """Follow what is under way, drop what an interrupted deploy left, remove what was never made.

    Raises:
        DeployError: a person has to do something first.
    """
    state = stack.state()
    if state.is_busy:
        present.say(f"{stack.name} is being changed ({state.status}); following that first")
        state = follow(stack, stack.known_events())
    if left := stack.forget_left_behind():
        present.say(f"dropped a change set that nobody executed: {', '.join(left)}")
    if state.is_stuck:
        raise DeployError(
            f"it is {state.status}: going back failed. {state.reason}",
            where=stack.name,
            remedy=f"Mend what it names, then: aws cloudformation continue-update-rollback --stack-name {stack.name}",
        )
    if state.is_unborn:
        present.say(f"{stack.name} is {state.status}: it was never made, and has to be removed before it can be")
        if not yes and not click.confirm("Remove what is left of it?", err=True):
            raise click.Abort
        known = stack.known_events()
        stack.delete()
        follow(stack, known)


@contextmanager
def _built(asked: Asked, settings: Settings) -> Iterator[tuple[Path | None, str]]:
    """The zip and its hash; nothing where functions are images."""
    if settings.aws.functions == "image":
        yield None, ""
        return
    if asked.package is not None:
        yield asked.package, hashlib.sha256(asked.package.read_bytes()).hexdigest()
        return
    with tempfile.TemporaryDirectory(prefix="peaker-deploy-") as folder:
        with present.work_bar("building") as progress:
            package = build_package(
                settings,
                Path(folder),
                architecture=settings.functions.architecture,
                python=asked.python,
                requirements=asked.requirements,
                progress=progress,
            )
        yield Path(package.file), package.sha256


def _bucket(asked: Asked, session: Any, account: Account, settings: Settings) -> Artifacts:
    """The bucket, made where it is Peaker's own and absent."""
    name = asked.bucket or Artifacts.own_bucket(account.number, settings.aws.region)
    found = Artifacts(session.client("s3"), name, account=account.number, region=settings.aws.region)
    if found.exists():
        return found
    if asked.bucket:
        raise DeployError("there is no such bucket.", where=name, remedy="Make it, or leave --bucket out.")
    present.say(f"making the bucket {name} for code")
    found.create()
    return found


def _parameters(
    session: Any, template: Any, artifacts: Artifacts, name: str, package: tuple[Path | None, str]
) -> dict[str, str]:
    """What is known only now, by the names that the template has for it."""
    wanted = set(template.parameters)
    found: dict[str, str] = {}
    if "CodeKey" in wanted:
        file, digest = package
        assert file is not None
        key, is_sent = artifacts.put_file(name, file, digest)
        present.say(f"{'sent' if is_sent else 'already there:'} s3://{artifacts.bucket}/{key}")
        found |= {"CodeBucket": artifacts.bucket, "CodeKey": key}
    if "CloudFrontPrefixList" in wanted:
        found["CloudFrontPrefixList"] = prefix_list_id(session, FROM_CLOUDFRONT)
    return found


def _tags(settings: Settings) -> dict[str, str]:
    stage = {"peaker:stage": settings.stage} if settings.stage else {}
    return {"peaker:app": settings.app.name, **stage}


def _propose(
    stack: CloudFormationStack,
    name: str,
    body: str,
    *,
    parameters: dict[str, str],
    tags: dict[str, str],
    artifacts: Artifacts,
) -> tuple[Change, ...]:
    """In the request itself, or by way of the bucket where it is too large for that."""
    if len(body.encode()) <= TEMPLATE_BYTES_MAX:
        return stack.propose(body=body, parameters=parameters, tags=tags, name=name)
    url = artifacts.put_template(stack.name, body)
    return stack.propose(template_url=url, parameters=parameters, tags=tags, name=name)


def follow(stack: CloudFormationStack, known: set[str]) -> StackState:
    """Show what happens until the stack is at rest; Ctrl-C ends the showing alone."""
    try:
        for event in stack.follow(known):
            present.say(event_text(event))
    except KeyboardInterrupt:
        present.say(
            f"\nCloudFormation goes on by itself. The same command follows it again; or: "
            f"aws cloudformation describe-stack-events --stack-name {stack.name}"
        )
        raise
    return stack.state()


def failure(stack: CloudFormationStack, state: StackState) -> DeployError:
    """What went wrong first, in AWS's words."""
    first = stack.first_failure()
    why = f"{first.kind} {first.resource}: {first.reason}" if first else state.reason
    if "DescribeEvents" in why:
        why = "; ".join(stack.refusals()) or why
    return DeployError(f"it is {state.status or 'gone'}. First that failed: {why}", where=stack.name)


def _finish(asked: Asked, stack: CloudFormationStack, shown: Preview, changes: tuple[Change, ...]) -> None:
    state = stack.state()
    if asked.as_json:
        present.data(
            {
                "name": stack.name,
                "status": state.status,
                "changes": [dataclasses.asdict(each) for each in changes],
                "outputs": state.outputs,
                "preview": dataclasses.asdict(shown),
            }
        )
        return
    if not changes:
        present.say("nothing to change: it is deployed already")
    present.out(outputs_text(stack.name, state.outputs))
