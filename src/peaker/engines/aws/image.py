"""One container image for both worlds: a server on ECS, EKS or EC2, and a function on Lambda."""

from __future__ import annotations

import shlex
from pathlib import Path

from peaker import __version__
from peaker.build import FOLDERS_NOT_CODE
from peaker.engines.aws.contents import Requirements

RUNTIME_CLIENT = "awslambdaric>=3,<5"
"""AWS's runtime interface client; an image brings its own (Lambda Developer Guide, "Using a non-AWS base image")."""

PORT, OPS_PORT = 8080, 8081

ENTRY = """\
#!/bin/sh
# On Lambda its runtime API is named in the environment; anywhere else this is a server.
if [ -n "${AWS_LAMBDA_RUNTIME_API:-}" ]; then
    exec python -m awslambdaric peaker.aws.handler
fi
exec peaker "$@"
"""

IGNORED = "\n".join(
    (
        "# What stays out of the image: as with the zip, whatever begins with a dot, and secrets with it.",
        "**/.*",
        *(f"**/{name}" for name in sorted(FOLDERS_NOT_CODE)),
        "tests",
        "docs",
        "**/*.pem",
        "**/*.key",
        "**/*.zip",
        "",
    )
)
"""For `Dockerfile.dockerignore`, which BuildKit reads beside the Dockerfile."""


def dockerfile(*, python: str, requirements: Requirements, entry: Path) -> str:
    """The definition of the image; what the project needs is installed in a layer of its own, before the code.

    `entry` and a requirements file are paths within the project.
    """
    file = shlex.quote(str(requirements.file))
    copied = f"COPY {file} {file}\n" if requirements.file else ""
    needed = shlex.join([f"peaker[aws]=={__version__}", RUNTIME_CLIENT, *requirements.for_pip])
    return f"""\
# Made by `peaker build`: one image, a server by itself and a function on Lambda.
FROM public.ecr.aws/docker/library/python:{python}-slim
WORKDIR /app
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1
{copied}RUN pip install {needed}
COPY . .
COPY --chmod=755 {shlex.quote(str(entry))} /entry.sh
RUN useradd --uid 10001 app
USER app
EXPOSE {PORT} {OPS_PORT}
ENTRYPOINT ["/entry.sh"]
CMD ["serve"]
"""
