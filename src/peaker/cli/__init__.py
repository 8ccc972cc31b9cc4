"""The `peaker` command; one file a subcommand, imported when it is asked for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import click

from peaker import __version__
from peaker.cli import present
from peaker.errors import PeakerError

COMMANDS = {
    "init": "Look at a project and write its first settings file.",
    "check": "Check the settings; show where each route may run, and why.",
    "run": "Run the app: servers for the baseline, functions for the peaks.",
    "build": "Build the zip for Lambda and the image for servers.",
    "serve": "Serve as one server of a service on ECS, EKS or EC2.",
    "deploy": "Deploy to AWS: one change, shown before it is made.",
    "destroy": "Remove what was deployed; say what stays.",
    "aws": "Print the IAM policies that each side needs on AWS.",
    "status": "Show what runs: addresses, workers, functions, latency, spend.",
    "scale": "Set the number of servers now, or give it back to the policy.",
    "why": "Explain the last decisions on the number of servers.",
    "reload": "Give the running app its code and settings anew.",
    "stop": "Drain and stop the app.",
    "invoke": "Run a function once and show its result.",
    "events": "Show events that wait, run or are dead; run them again.",
    "jobs": "Show jobs and how far they are; start and cancel them.",
    "profile": "Show the AWS profile that leads to the functions.",
    "simulate": "Predict latency, spilled share and dollars before it happens.",
    "replay": "Send the traffic of a trace to a URL.",
    "compare": "Put a prediction beside what replays measured.",
    "measure": "Measure what the app needs: time, CPU, memory, capacity.",
    "traffic": "Show the traffic in a log or metric export, and its shape.",
    "plan": "Say which architecture suits a log's traffic, and what it costs.",
    "prices": "Show the prices sums are made with, or fetch those of today.",
}
"""By the module of this package that holds it as `command`; the order is that of --help."""


class _Commands(click.Group):
    """Imports a subcommand when it is used, so that one never pays for another's imports."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import `peaker.cli.NAME` and take its `command`."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"peaker.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table itself: listing needs no import."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the commands there are where an unknown one is given."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"there is no command {args[0]!r}; there are: {', '.join(COMMANDS)}.")
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="peaker %(version)s")
def peaker() -> None:
    """Run the baseline of a Python web app on servers and its peaks on functions, from one code base.

    \b
    A first start, in the directory of the app:
      $ peaker init          # looks at the code, asks one question, writes peaker.toml
      $ peaker check
      $ peaker run

    Exit codes: 0 done, 1 it could not be done, 2 the settings or the command line are wrong.
    """  # noqa: D301 - \b is click's mark for text it must not wrap


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the `peaker` command: errors become one sentence on standard error and an exit code."""
    try:
        result: Any = peaker.main(arguments, prog_name="peaker", standalone_mode=False)
    except PeakerError as error:
        present.error(error)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        present.lose_output()
        sys.exit(0)
    sys.exit(result if isinstance(result, int) else 0)
