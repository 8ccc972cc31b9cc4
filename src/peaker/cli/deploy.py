"""`peaker deploy aws`: one reviewed change set."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from peaker.app import find_settings
from peaker.build import build_hash
from peaker.cli import present
from peaker.cli.options import json_option, settings_options
from peaker.engines.aws.building import PYTHON_HERE, PYTHONS
from peaker.errors import SettingsError
from peaker.extras import require_extra
from peaker.settings import Settings, replaced

if TYPE_CHECKING:
    from troposphere import Template

    from peaker.engines.aws.deployment import Deployment
    from peaker.engines.aws.preview import Preview


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options of one `peaker deploy aws`."""

    config: str | None
    stage: str
    image: str | None
    package: Path | None
    python: str
    requirements: Path | None
    bucket: str | None
    yes: bool
    as_json: bool

    def settings(self) -> Settings:
        """With the image that was named."""
        settings = find_settings(self.config, self.stage)
        return replaced(settings, "aws.image", self.image, where="--image") if self.image else settings


@click.group("deploy")
def command() -> None:
    """Deploy the app: servers, functions and all they need, as one change that is shown first.

    \b
    Examples:
      peaker deploy aws --preview
      peaker deploy aws --stage prod
    """  # noqa: D301


@command.command("aws")
@settings_options
@click.option("--preview", is_flag=True, help="Show in words and dollars what would be made; needs no AWS account.")
@click.option("--template", is_flag=True, help="Print the CloudFormation template; needs no AWS account.")
@click.option("--image", metavar="URI", help="Image in ECR that servers run.  [default: aws.image]")
@click.option(
    "--package",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="ZIP",
    help="A zip of `peaker build`, instead of building one.",
)
@click.option("--python", type=click.Choice(PYTHONS), default=PYTHON_HERE, show_default=True, help="Python on Lambda.")
@click.option("--requirements", type=click.Path(path_type=Path), help="What the project needs, as for `peaker build`.")
@click.option("--bucket", metavar="NAME", help="Bucket for the code.  [default: peaker-ACCOUNT-REGION, made if absent]")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def aws(*, preview: bool, template: bool, **options: object) -> None:
    """Deploy to AWS with CloudFormation: build, show what would change and what it costs, ask, do it, follow it.

    Nothing is made before you agree but the bucket that the code is sent to. Done again without a change it says so.
    Interrupted, it is taken up by the same command: CloudFormation goes on by itself, and rolls back what fails.

    \b
    Examples:
      peaker deploy aws --preview
      peaker deploy aws --template > template.json
      peaker deploy aws --stage prod --image 123456789012.dkr.ecr.eu-west-1.amazonaws.com/shop@sha256:...
    """  # noqa: D301
    asked = Asked(**options)  # type: ignore[arg-type]  # click gives what the options above say
    require_extra("aws", purpose="peaker deploy aws")
    settings = asked.settings()
    if not (preview or template):
        from peaker.cli.deploy_steps import deploy

        deploy(asked, settings)
        return
    deployment = offline_deployment(asked, settings)
    made, shown = described(deployment)
    if template:
        present.out(made.to_json(indent=1))
    elif asked.as_json:
        present.data(dataclasses.asdict(shown) | {"least_usd": shown.least_usd, "most_usd": shown.most_usd})
    else:
        from peaker.cli.deploy_text import preview_text

        present.out(preview_text(shown))


def offline_deployment(asked: Asked, settings: Settings) -> Deployment:
    """What would be deployed, without building it: its code is told by the zip that was named, or by its hash."""
    from peaker.engines.aws.deployment import Deployment

    digest = hashlib.sha256(asked.package.read_bytes()).hexdigest() if asked.package else ""
    return Deployment(settings=settings, build=build_hash(settings), package_sha256=digest, python=asked.python)


def described(deployment: Deployment) -> tuple[Template, Preview]:
    """The template with its costs, and its preview.

    Raises:
        SettingsError: something stands against deploying it.
        PriceError: the region or the instance type has no price.
    """
    from peaker.engines.aws.preview import check_prices, preview_of, with_costs
    from peaker.engines.aws.template import template_of
    from peaker.prices import load

    table = load()
    check_prices(deployment, table)
    made = template_of(deployment)
    shown = preview_of(deployment, made, table)
    with_costs(made, shown)
    return made, shown


def require_image(template: Template, settings: Settings) -> None:
    """Raises SettingsError where servers are to be deployed and no image was named."""
    if "Image" not in template.parameters:
        return
    name = settings.app.name
    raise SettingsError(
        "servers run an image, and none is named.",
        where="aws.image",
        remedy=f"Make one: peaker build; docker build -f dist/Dockerfile -t REPOSITORY/{name} .; docker push; "
        "then name it by its digest: --image REPOSITORY/NAME@sha256:...",
    )
