"""procrastinate with the same handlers. DATABASE names the PostgreSQL."""

import os

import noop
import procrastinate

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=os.environ["DATABASE"], max_size=40))


@app.task
async def handle(event: dict) -> None:
    noop.handle(event, None)


@app.task
async def stamp(event: dict) -> None:
    noop.stamp(event, None)
