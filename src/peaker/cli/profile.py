"""`peaker profile`: the AWS profile that leads boto3 and the AWS CLI to the running app's functions."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any

import click

from peaker.cli import present
from peaker.cli.options import json_option, state_here, state_option
from peaker.errors import StateError
from peaker.state import StateDirectory

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@click.command("profile")
@click.option("--config", metavar="FILE", help="Settings file beside which the state directory stands.")
@state_option
@click.option(
    "--write", is_flag=True, help="Add the profile to your own AWS files, ~/.aws unless AWS_* says otherwise."
)
@click.option("--aws", is_flag=True, help="Lead every service to what stands in for AWS (`peaker run --aws`).")
@click.option("--name", default="peaker", show_default=True, help="What --write calls the profile.")
@json_option
def command(*, config: str | None, state: Path | None, write: bool, aws: bool, name: str, as_json: bool) -> None:
    """Show the AWS profile by which boto3 and the AWS CLI call the functions of the running app.

    Only calls to Lambda go to this machine; all others of the profile go to AWS. Without --write two lines for the
    shell are shown, and your own AWS files stay untouched. With it a block is added to them; a later --write replaces
    that block and nothing else, and a profile of the same name that is yours is refused. The address in the block is
    today's: set functions.invoke_listen to a fixed port if it is to last.

    With --aws the lines lead all of the shell's calls to what stands in for AWS, as the app's own are; they are for
    that shell alone and are not written to files.

    \b
    Examples:
      eval "$(peaker profile)" && aws --profile peaker lambda list-functions
      eval "$(peaker profile --aws)" && aws s3 cp cat.jpg s3://uploads/cat.jpg
      peaker profile --write --name shop && aws --profile shop lambda invoke --function-name thumbnail out.json
    """  # noqa: D301
    running = state_here(config, state)
    if write and name == "default":
        raise click.BadParameter("the default profile is yours.", param_hint="--name")
    if not _NAME.fullmatch(name):
        raise click.BadParameter(f"{name!r} is not 1 to 64 letters, digits, _ . or -.", param_hint="--name")
    if aws:
        if write:
            raise click.UsageError("--aws is for a shell, --write for files.")
        _show_aws(running, as_json=as_json)
        return
    found = _found(running)
    if write:
        found |= _write(running, name, found)
    if as_json:
        present.data(found)
    elif write:
        present.out(f"profile {name} leads to {found['lambda_endpoint']}")
        present.out(f"  written to {found['written_config']} and {found['written_credentials']}")
    else:
        present.out("\n".join(export_lines(running)))


def export_lines(state: StateDirectory) -> list[str]:
    """What a shell needs for `aws --profile peaker`."""
    return [
        f"export AWS_CONFIG_FILE={shlex.quote(str(state.aws_config))}",
        f"export AWS_SHARED_CREDENTIALS_FILE={shlex.quote(str(state.credentials))}",
    ]


def _show_aws(state: StateDirectory, *, as_json: bool) -> None:
    from peaker.engines.local.aws_environment import stand_in_of_run
    from peaker.stand_in_variables import elsewhere

    given = stand_in_of_run(state)
    if as_json:
        present.data(given)
    else:
        exported = [f"export {name}={shlex.quote(value)}" for name, value in sorted(given.items())]
        present.out("\n".join([f"unset {' '.join(sorted(elsewhere(os.environ)))}", *exported]))


def _found(state: StateDirectory) -> dict[str, Any]:
    from peaker.engines.local.state_dir import read_run
    from peaker.functions.credentials import PROFILE

    record = read_run(state)
    if record is None or not record.lambda_endpoint:
        raise StateError(
            "no app with functions has been started here.", where=str(state.root), remedy="Start it with `peaker run`."
        )
    return {
        "aws_profile": PROFILE,
        "lambda_endpoint": record.lambda_endpoint,
        "aws_config_file": str(state.aws_config),
        "aws_shared_credentials_file": str(state.credentials),
    }


def _write(state: StateDirectory, name: str, found: dict[str, Any]) -> dict[str, Any]:
    from peaker.functions.aws_files import write_blocks
    from peaker.functions.credentials import credentials_text, load_or_create_key, profile_text

    about = f"written by `peaker profile --write`; state in {state.root}"
    config = Path(os.environ.get("AWS_CONFIG_FILE") or "~/.aws/config")
    credentials = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials")
    if {config.expanduser().resolve(), credentials.expanduser().resolve()} & {
        state.aws_config.resolve(),
        state.credentials.resolve(),
    }:
        raise StateError(
            "AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name Peaker's own files already.",
            where=str(config),
            remedy="Unset them to write to ~/.aws.",
        )
    key = load_or_create_key(state.credentials)
    profile = profile_text(name, endpoint_url=found["lambda_endpoint"], region=_region(state))
    write_blocks({config: profile, credentials: credentials_text(name, key)}, name, about=about)
    return {
        "aws_profile": name,
        "written_config": str(config.expanduser()),
        "written_credentials": str(credentials.expanduser()),
    }


def _region(state: StateDirectory) -> str:
    """That of the profile the function host has written."""
    try:
        found = re.search(r"^region = (\S+)$", state.aws_config.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError as error:
        raise StateError(f"the profile cannot be read: {error.strerror}.", where=str(state.aws_config)) from error
    return found[1] if found else "us-east-1"
