"""Manifests for EKS: what probes ask, how long a pod may take to end, what it may do, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from deployments import IMAGE, deployment

from peaker.cli.aws import command
from peaker.engines.aws.manifests import manifests_of
from peaker.errors import SettingsError

ARN = "arn:aws:lambda:us-east-1:123456789012:function:shop-web:live"
ROLE = "arn:aws:iam::123456789012:role/shop"


def made(**settings: Any) -> dict[str, Any]:
    given = deployment("fargate")
    given = replace(given, settings=replace(given.settings, **settings))
    found = manifests_of(given, image=IMAGE, function_arn=ARN, role_arn=ROLE)
    return {each["kind"]: each for each in found}


def test_everything_selects_the_pods_and_the_service_reaches_the_port_of_the_app() -> None:
    found = made()
    assert list(found) == ["ServiceAccount", "Deployment", "Service", "PodDisruptionBudget"]
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert found["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert found["Service"]["spec"]["selector"] == labels
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    pod = found["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert ports == {"http": 8080, "ops": 8081}
    assert found["Service"]["spec"]["ports"][0]["targetPort"] in ports
    assert pod["serviceAccountName"] == found["ServiceAccount"]["metadata"]["name"]
    assert found["ServiceAccount"]["metadata"]["annotations"] == {"eks.amazonaws.com/role-arn": ROLE}
    assert container["args"] == ["serve", "--arn", ARN]
    assert container["image"] == IMAGE
    assert container["resources"]["requests"] == {"cpu": "2000m", "memory": "4096Mi"}


def test_a_pod_is_given_the_time_that_its_start_and_its_drain_take() -> None:
    servers = replace(deployment("fargate").settings.servers, drain_s_max=120.0, start_s_max=300.0)
    pod = made(servers=servers)["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    waits_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] >= 120 + waits_s
    probe = container["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 300
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "ops"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/live", "port": "ops"}


def test_secrets_are_references() -> None:
    on_aws = "arn:aws:ssm:us-east-1:123456789012:parameter/shop/key"
    (container,) = made(secrets={"DB_URL": "env:DATABASE", "KEY": on_aws})["Deployment"]["spec"]["template"]["spec"][
        "containers"
    ]
    given = {each["name"]: each for each in container["env"]}
    assert given["DATABASE"]["valueFrom"] == {"secretKeyRef": {"name": "shop", "key": "DATABASE"}}
    assert "KEY" not in given, "the pod reads it with its role"
    assert given["LOG_LEVEL"]["value"] == "info"


def test_what_could_not_run_is_refused() -> None:
    for changed, says in (
        ({"image": ""}, "there is no image"),
        ({"function_arn": ""}, "no function is named for them"),
    ):
        with pytest.raises(SettingsError, match=says):
            manifests_of(deployment("fargate"), **{"image": IMAGE, "function_arn": ARN, "role_arn": "", **changed})


def test_the_command_prints_what_kubectl_reads(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("app = None\n")
    settings = tmp_path / "peaker.toml"
    settings.write_text('[app]\nname = "shop"\nweb = "shop:app"\n')
    done = CliRunner().invoke(command, ["manifests", "--config", str(settings), "--image", IMAGE])
    assert done.exit_code == 0, done.output
    assert [each["kind"] for each in yaml.safe_load_all(done.output)] == [
        "ServiceAccount",
        "Deployment",
        "Service",
        "PodDisruptionBudget",
    ]
