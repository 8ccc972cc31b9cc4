"""`peaker serve`: one server of a service that somebody else scales."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import gettempdir

import click

from peaker.app import may_leave_servers
from peaker.cli import present
from peaker.cli.options import settings_options, state_option
from peaker.cli.run import Chosen, run_until_stopped
from peaker.errors import SettingsError
from peaker.settings import Settings, replaced


@dataclass(frozen=True, slots=True)
class Served(Chosen):
    """The options of one `peaker serve`."""

    ops_listen: str = ""
    arn: str | None = None

    def changed(self, settings: Settings) -> Settings:
        """As one server among others: raises SettingsError where requests could spill to nowhere."""
        given = {
            "app.listen": (self.listen, "--listen"),
            "app.ops_listen": (self.ops_listen, "--ops-listen"),
            "functions.arn": (settings.functions.arn if self.arn is None else self.arn, "--arn"),
            "servers.count_min": (1, "peaker serve"),
            "servers.count_max": (1, "peaker serve"),
            "servers.policy": ("fixed", "peaker serve"),
        }
        for name, (value, where) in given.items():
            settings = replaced(settings, name, value, where=where)
        if not settings.app.web:
            raise SettingsError(
                "app.web is not set: there is nothing to serve.", remedy="Functions alone run on Lambda."
            )
        if may_leave_servers(settings) and not settings.functions.arn:
            raise SettingsError(
                "requests may leave the servers, and no function is named for them.",
                remedy="Name it: --arn or [functions] arn; or set app.spill = false.",
            )
        return replace(settings, function=(), job=())


@click.command("serve")
@settings_options
@state_option
@click.option("--listen", default="0.0.0.0:8080", show_default=True, help="Where the load balancer reaches the app.")
@click.option(
    "--ops-listen", default="0.0.0.0:8081", show_default=True, help="Where /live, /ready and /metrics are answered."
)
@click.option("--arn", help="The function on AWS Lambda that requests spill to.  [default: functions.arn]")
def command(
    *, config: str | None, stage: str, state: Path | None, listen: str, ops_listen: str, arn: str | None
) -> None:
    """Serve the app as one server of a service: the command of a container on ECS or EKS, or of an EC2 instance.

    Workers take requests, one for each vCPU of the container; what they cannot take in time spills to the function on
    AWS Lambda that --arn names, with the role of the task or instance. How many such servers there are is the
    service's own matter. Handlers ([[function]]) do not run here: they are functions on Lambda. Jobs do not, either.

    Health checks go to /ready on the ops port: a saturated server is ready, a draining one is not. SIGTERM drains.

    \b
    Examples:
      peaker serve --arn arn:aws:lambda:eu-west-1:123456789012:function:shop-web:live
      peaker serve --stage prod --listen 0.0.0.0:80
    """  # noqa: D301
    chosen = Served(
        config=config,
        stage=stage,
        state=state,
        listen=listen,
        dev=False,
        spill=False,
        aws=None,
        ops_listen=ops_listen,
        arn=arn,
    )
    settings = chosen.settings()
    present.log_to_stderr()
    # The file system of a container is often read-only, and its state ends with it.
    root = (state or Path(gettempdir(), f"peaker-serve-{settings.app.name}")).absolute()
    asyncio.run(run_until_stopped(chosen, settings, root))
