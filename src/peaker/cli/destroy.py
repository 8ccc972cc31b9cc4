"""`peaker destroy aws`: remove what was deployed, and say what stays."""

from __future__ import annotations

import sys

import click

from peaker.app import find_settings
from peaker.cli import present
from peaker.cli.options import json_option, settings_options
from peaker.errors import SettingsError
from peaker.extras import require_extra


@click.group("destroy")
def command() -> None:
    """Remove what was deployed.

    \b
    Examples:
      peaker destroy aws --stage test
    """  # noqa: D301


@command.command("aws")
@settings_options
@click.option("--confirm", metavar="NAME", help="The stack's name, instead of asking for it.")
@json_option
def aws(*, config: str | None, stage: str, confirm: str | None, as_json: bool) -> None:
    """Remove the stack on AWS, after you have typed its name; buckets, queues and tables with data stay.

    What stays is named before and after. It is taken in again when the app is deployed once more, or is yours to
    delete. So is the bucket that code went through.

    \b
    Examples:
      peaker destroy aws --stage test
      peaker destroy aws --stage test --confirm shop-test
    """  # noqa: D301
    require_extra("aws", purpose="peaker destroy aws")
    from peaker.cli.deploy_steps import failure, follow, session_of, stack_of
    from peaker.engines.aws.deployment import Deployment

    settings = find_settings(config, stage)
    stack = stack_of(session_of(settings), Deployment(settings=settings, build="").name)
    state = stack.state()
    if not state.status:
        present.say(f"there is no stack {stack.name} in {settings.aws.region}: nothing to do")
        _tell(stack.name, (), as_json=as_json)
        return
    kept = stack.kept() if not state.is_busy else ()
    if not state.status.startswith("DELETE"):
        present.say(f"{stack.name} in {settings.aws.region} is {state.status}. {_stays(kept)}")
        _agree(stack.name, confirm)
    known = stack.known_events()
    stack.delete()
    state = follow(stack, known)
    if state.status:
        raise failure(stack, state)
    _tell(stack.name, kept, as_json=as_json)


def _stays(kept: tuple[str, ...]) -> str:
    return f"Stays, as it holds data: {', '.join(kept)}." if kept else "Nothing in it is kept."


def _agree(name: str, confirm: str | None) -> None:
    """Raises SettingsError where another name was given, or nobody can be asked; Abort where another was typed."""
    if confirm is None:
        if not sys.stdin.isatty():
            raise SettingsError(
                "there is no terminal to ask at.", where="peaker destroy aws", remedy=f"--confirm {name} does not ask."
            )
        if click.prompt("Type the stack's name to remove it", err=True) != name:
            present.say("that is another name; nothing was removed")
            raise click.Abort
    elif confirm != name:
        raise SettingsError(f"--confirm {confirm!r} is not the stack's name {name!r}; nothing was removed.")


def _tell(name: str, kept: tuple[str, ...], *, as_json: bool) -> None:
    if as_json:
        present.data({"name": name, "kept": list(kept)})
    else:
        present.out(f"{name} is gone. {_stays(kept)}")
