"""`peaker aws manifests`: servers for a Kubernetes cluster that is there."""

from __future__ import annotations

import click

from peaker.app import find_settings
from peaker.build import build_hash
from peaker.cli import present
from peaker.cli.options import settings_options
from peaker.extras import require_extra


@click.command("manifests")
@settings_options
@click.option("--image", help="Image of `peaker build`, with its digest.  [default: aws.image]")
@click.option("--arn", help="The function on AWS Lambda that requests spill to.  [default: functions.arn]")
@click.option("--role-arn", default="", help="Role of the pods (IAM roles for service accounts); absent: Pod Identity.")
def manifests(*, config: str | None, stage: str, image: str | None, arn: str | None, role_arn: str) -> None:
    """Print Kubernetes manifests of the servers, for EKS: ServiceAccount, Deployment, Service, PodDisruptionBudget.

    Pods are sized as servers.instance_type. How many there are is the cluster's matter; nothing here scales them.
    A secret of `env:NAME` is taken from the key NAME of the Secret that is called as the app.

    \b
    Examples:
      peaker aws manifests --image REPOSITORY@sha256:... --arn arn:aws:lambda:... --role-arn arn:aws:iam::... > app.yaml
      kubectl apply -f app.yaml
    """  # noqa: D301
    require_extra("aws", purpose="peaker aws manifests")
    require_extra("sam", purpose="peaker aws manifests")
    import yaml

    from peaker.engines.aws.deployment import Deployment
    from peaker.engines.aws.manifests import manifests_of

    settings = find_settings(config, stage)
    made = manifests_of(
        Deployment(settings=settings, build=build_hash(settings)),
        image=image or settings.aws.image,
        function_arn=settings.functions.arn if arn is None else arn,
        role_arn=role_arn,
    )
    present.out(yaml.safe_dump_all(made, sort_keys=False).rstrip())
