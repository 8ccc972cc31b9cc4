"""A launcher over a provided runtime written for one test, and what such runtimes are written with."""

import shutil
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from launched import Launched, groups_left

from peaker.functions.limits import Limits
from peaker.settings import AppSection, FunctionSection, FunctionsSection, ServersSection, Settings

PRELUDE = f"""#!{sys.executable}
import http.client, json, os, sys, time
def ask(method, path, body=None, headers={{}}):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request(method, "/2018-06-01/runtime" + path, body, headers)
    answer = connection.getresponse()
    return answer.status, {{name.lower(): value for name, value in answer.getheaders()}}, answer.read()
def take():
    _, headers, event = ask("GET", "/invocation/next")
    return headers["lambda-runtime-aws-request-id"], json.loads(event)
def answer(request_id, result, **more):
    return ask("POST", "/invocation/" + request_id + "/response", json.dumps(result), **more)
"""
"""Beginning of a bootstrap in plain Python."""

SHELL = """#!/bin/sh
set -eu
while true
do
  HEADERS="$(mktemp)"
  EVENT_DATA=$(curl -sS -LD "$HEADERS" "http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation/next")
  REQUEST_ID=$(grep -Fi Lambda-Runtime-Aws-Request-Id "$HEADERS" | tr -d '[:space:]' | cut -d: -f2)
  rm "$HEADERS"
  RESPONSE="Echoing request: '$EVENT_DATA'"
  curl -sS "http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation/$REQUEST_ID/response" -d "$RESPONSE" >&2
done
"""
"""After the bootstrap of AWS's tutorial, "Building a custom runtime"."""

NODE = """#!/usr/bin/env node
const http = require("http");
const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
function ask(method, path, body) {
  return new Promise((resolve, reject) => {
    const request = http.request({ host, port, method, path: "/2018-06-01/runtime" + path }, (answer) => {
      const parts = [];
      answer.on("data", (part) => parts.push(part));
      answer.on("end", () => resolve({ headers: answer.headers, body: Buffer.concat(parts).toString() }));
    });
    request.on("error", reject);
    request.end(body);
  });
}
(async () => {
  const { handler } = require(process.cwd() + "/" + process.env._HANDLER.split(".")[0]);
  while (true) {
    const next = await ask("GET", "/invocation/next");
    const path = "/invocation/" + next.headers["lambda-runtime-aws-request-id"];
    try {
      await ask("POST", path + "/response", JSON.stringify(await handler(JSON.parse(next.body))));
    } catch (error) {
      await ask("POST", path + "/error", JSON.stringify({ errorType: error.name, errorMessage: error.message }));
    }
  }
})();
"""

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def write_bootstrap(directory: Path, code: str, *, prelude: str = PRELUDE) -> None:
    path = directory / "bootstrap"
    path.write_text(prelude + textwrap.dedent(code))
    path.chmod(0o755)


@asynccontextmanager
async def provided(
    directory: Path,
    *,
    command: tuple[str, ...] = (),
    handler: str = "",
    cgroups: bool = True,
    start_s_max: float = 30.0,
    layers: tuple[str, ...] = (),
    env: dict[str, str] | None = None,
    **functions_section: Any,
) -> AsyncIterator[Launched]:
    """Start a launcher; at the end nothing of it runs and no cgroup is left."""
    settings = Settings(
        app=AppSection(name="tried"),
        functions=FunctionsSection(layers=list(layers), **functions_section),
        servers=ServersSection(start_s_max=start_s_max),
        function=(FunctionSection(name="tried", runtime="provided", command=list(command), handler=handler),),
        env=env or {},
        directory=str(directory),
    )
    nothing = None if cgroups else ""
    name = "".join(letter for letter in directory.name if letter.isalnum())[-30:]
    scratch = directory / "scratch"
    limits = Limits.find(
        f"t{name}", like=settings.functions.like, scratch=scratch, mountinfo=nothing, membership=nothing
    )
    bench = Launched(directory, settings, limits, 10.0)
    hierarchies = list(limits.hierarchies)
    try:
        await bench.launcher.start()
        yield bench
    finally:
        await bench.launcher.stop()
        limits.close()
        assert groups_left(hierarchies, f"t{name}") == []
        assert list(scratch.iterdir()) == []
