"""Servers on EKS: plain manifests for a cluster that is there, with the same gate and the same spill as elsewhere.

How many pods there are is the cluster's own matter, so none of these scales; functions take what pods cannot.
"""

from __future__ import annotations

from typing import Any

from peaker.app import may_leave_servers, pool_variables
from peaker.engines.aws.deployment import Deployment
from peaker.engines.aws.image import OPS_PORT
from peaker.engines.aws.task_sizes import CPU_UNITS, task_size
from peaker.errors import SettingsError

UNROUTED_S = 5
"""A pod that ends goes on serving so long: its address is taken out of the service at the same time, not before."""

PROBE_EVERY_S = 5
Manifest = dict[str, Any]


def manifests_of(deployment: Deployment, *, image: str, function_arn: str, role_arn: str) -> list[Manifest]:
    """ServiceAccount, Deployment, Service and PodDisruptionBudget.

    Args:
        deployment: whose servers they are.
        image: what `peaker build` made, with its digest.
        function_arn: that pods spill to; "" where nothing may leave the servers.
        role_arn: that pods take on (IAM roles for service accounts); "" where they have it by EKS Pod Identity.

    Raises:
        SettingsError: there is no web app or image, or requests may leave the servers and have nowhere to go.
        PriceError: the instance type, whose size a pod asks for, is unknown.
    """
    settings = deployment.settings
    if not settings.app.web:
        raise SettingsError("app.web is not set: there is nothing to serve.", remedy="Functions alone run on Lambda.")
    if not image:
        raise SettingsError("there is no image.", remedy="Name it: --image or [aws] image.")
    if may_leave_servers(settings) and not function_arn:
        raise SettingsError(
            "requests may leave the servers, and no function is named for them.",
            remedy="Name it: --arn or [functions] arn; or set app.spill = false.",
        )
    name = deployment.name
    account: Manifest = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(name)}
    if role_arn:
        account["metadata"]["annotations"] = {"eks.amazonaws.com/role-arn": role_arn}
    return [
        account,
        _deployment(deployment, image, function_arn),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _metadata(name),
            "spec": {"selector": _labels(name), "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
        },
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": _metadata(name),
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": _labels(name)}},
        },
    ]


def _labels(name: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": name}


def _metadata(name: str) -> dict[str, Any]:
    return {"name": name, "labels": {**_labels(name), "app.kubernetes.io/managed-by": "peaker"}}


def _deployment(deployment: Deployment, image: str, function_arn: str) -> Manifest:
    name, settings = deployment.name, deployment.settings
    pod = {
        "serviceAccountName": name,
        "terminationGracePeriodSeconds": UNROUTED_S + deployment.stop_s,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": _labels(name)},
            }
        ],
        "nodeSelector": {
            "kubernetes.io/arch": "arm64" if settings.functions.architecture == "arm64" else "amd64",
            "kubernetes.io/os": "linux",
        },
        "containers": [_container(deployment, image, function_arn)],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(name),
        "spec": {
            "replicas": max(1, settings.servers.count_min),
            "selector": {"matchLabels": _labels(name)},
            # A pod that is ready comes before one goes.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {"metadata": {"labels": _labels(name)}, "spec": pod},
        },
    }


def _container(deployment: Deployment, image: str, function_arn: str) -> Manifest:
    settings, size = deployment.settings, task_size(deployment.settings)
    memory = f"{size.memory_mb}Mi"
    starts_in = max(1, round(settings.servers.start_s_max / PROBE_EVERY_S))
    return {
        "name": "app",
        "image": image,
        "args": [
            "serve",
            *(["--stage", settings.stage] if settings.stage else []),
            *(["--arn", function_arn] if function_arn else []),
        ],
        "env": _environment(deployment),
        "ports": [
            {"name": "http", "containerPort": deployment.port},
            {"name": "ops", "containerPort": OPS_PORT},
        ],
        "resources": {
            # Without a limit of CPU: a pod may use what its node has left.
            "requests": {"cpu": f"{size.cpu_units * 1000 // CPU_UNITS}m", "memory": memory},
            "limits": {"memory": memory},
        },
        "startupProbe": _probe("/live", failures=starts_in + 1),
        "livenessProbe": _probe("/live", failures=6),
        # A saturated server is ready, a draining one is not.
        "readinessProbe": _probe("/ready", failures=2),
        "lifecycle": {"preStop": {"sleep": {"seconds": UNROUTED_S}}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }


def _probe(path: str, *, failures: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": "ops"},
        "periodSeconds": PROBE_EVERY_S,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    }


def _environment(deployment: Deployment) -> list[Manifest]:
    """Variables as text; secrets of `env:NAME` from the Secret of the app's name; those on AWS are read by the pod."""
    settings = deployment.settings
    plain = {**settings.env, **pool_variables(settings, in_instance=False), "AWS_REGION": settings.aws.region}
    kept = sorted(reference[4:] for reference in settings.secrets.values() if reference.startswith("env:"))
    return [
        *({"name": name, "value": value} for name, value in sorted(plain.items())),
        *(
            {"name": name, "valueFrom": {"secretKeyRef": {"name": deployment.name, "key": name}}}
            for name in dict.fromkeys(kept)
        ),
    ]
