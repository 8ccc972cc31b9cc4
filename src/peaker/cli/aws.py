"""`peaker aws policy`: who needs which rights, as IAM JSON."""

from __future__ import annotations

import json

import click

from peaker.app import find_settings
from peaker.build import build_hash
from peaker.cli import present
from peaker.cli.aws_manifests import manifests
from peaker.cli.options import settings_options
from peaker.extras import require_extra


@click.group("aws")
def command() -> None:
    """What Peaker needs on AWS, for those who deploy with tools of their own.

    \b
    Examples:
      peaker aws policy --for functions
    """  # noqa: D301


@command.command("policy")
@settings_options
@click.option(
    "--for",
    "whom",
    type=click.Choice(["servers", "functions", "deployer"]),
    default="servers",
    show_default=True,
    help="Role of tasks or instances, roles of functions by name, or whoever runs `peaker deploy aws`.",
)
@click.option("--account", default="*", show_default=True, help="Number of the account, in the ARNs.")
def policy(*, config: str | None, stage: str, whom: str, account: str) -> None:
    """Print the IAM policy that a role needs, and nothing more than it needs.

    The same statements are in the template of `peaker deploy aws`. What the app's own code calls on AWS is not in
    them. Needs no AWS account.

    \b
    Examples:
      peaker aws policy --account 123456789012 > servers.json
      peaker aws policy --for functions
      peaker aws policy --for deployer --stage prod
    """  # noqa: D301
    require_extra("aws", purpose="peaker aws policy")
    from peaker.engines.aws.deployment import Deployment
    from peaker.engines.aws.policies import deployer_policy, functions_policies, servers_policy
    from peaker.engines.aws.template import template_of

    settings = find_settings(config, stage)
    deployment = Deployment(settings=settings, build=build_hash(settings))
    if whom == "servers":
        found = servers_policy(deployment, account)
    elif whom == "functions":
        found = functions_policies(deployment, account)
    else:
        found = deployer_policy(deployment, template_of(deployment).to_dict(), account)
    present.out(json.dumps(found, indent=2))


command.add_command(manifests)
