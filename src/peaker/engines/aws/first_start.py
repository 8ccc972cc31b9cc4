"""What an EC2 instance does when it starts for the first time: the container as a service, then the signal."""

from __future__ import annotations

import shlex
from typing import Any

from troposphere import Base64, Sub

from peaker.engines.aws.image import OPS_PORT
from peaker.engines.aws.servers_ecs import command_of, variables_of
from peaker.engines.aws.stack import Stack

SIGNAL_MARGIN_S = 60


def first_start(stack: Stack, log_group: str, signals: str) -> Any:
    """User data; `signals` is the resource that waits to hear that a server is ready.

    `${Name}` is CloudFormation's, `${!NAME}` the shell's.
    """
    deployment = stack.deployment
    command = command_of(stack)
    told = [shlex.quote(part) if isinstance(part, str) else '"${!ARN}"' for part in command]
    version = next((part for part in command if not isinstance(part, str)), "")
    run = [
        "docker run --detach --name app --restart unless-stopped",
        f"--stop-timeout {deployment.stop_s}",
        f"--publish {deployment.port}:{deployment.port} --publish {OPS_PORT}:{OPS_PORT}",
        f"--log-driver awslogs --log-opt awslogs-group={log_group} --log-opt awslogs-region=${{AWS::Region}}",
        *(f"--env {_quoted(f'{name}={value}')}" for name, value in sorted(variables_of(stack).items())),
        f'"${{!IMAGE}}" {" ".join(told)}',
    ]
    login = "aws ecr get-login-password --region ${AWS::Region}"
    ready = f"until curl -sf http://localhost:{OPS_PORT}/ready; do sleep 1; done"
    signal = f"--region ${{AWS::Region}} --stack ${{AWS::StackName}} --resource {signals}"
    lines = [
        "#!/bin/bash",
        "set -euo pipefail",
        "ARN='${Version}'",
        "IMAGE='${Image}'",
        "dnf install -y docker aws-cfn-bootstrap",
        "systemctl enable --now docker",
        f'{login} | docker login --username AWS --password-stdin "${{!IMAGE%%/*}}"',
        " \\\n  ".join(run),
        f"timeout {int(stack.settings.servers.start_s_max) + SIGNAL_MARGIN_S} bash -c '{ready}'",
        f"/opt/aws/bin/cfn-signal {signal}",
        "",
    ]
    image = stack.settings.aws.image or stack.parameter("Image", "Image in ECR, with its digest")
    return Base64(Sub("\n".join(lines), Version=version, Image=image))


def _quoted(text: str) -> str:
    """For the shell, and so that CloudFormation finds nothing of its own in it."""
    return shlex.quote(text).replace("${", "${!")
