"""Celery with the same handlers. REDIS names the broker. Acknowledged after the run, so at least once as the others."""

import os

import noop
from celery import Celery

app = Celery("bench", broker=os.environ["REDIS"])
app.conf.update(
    task_acks_late=True, task_ignore_result=True, broker_connection_retry_on_startup=True, broker_pool_limit=40
)


@app.task(name="handle")
def handle(event: dict) -> None:
    noop.handle(event, None)


@app.task(name="stamp")
def stamp(event: dict) -> None:
    noop.stamp(event, None)
