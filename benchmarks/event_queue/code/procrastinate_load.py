"""Sends to procrastinate and waits."""

import asyncio
import os
import sys
import time

import procrastinate_app
import psycopg
from driving import Stamps, report, report_latency, wait_until
from procrastinate_app import app

EVENT = {"name": "Ada", "note": "small"}


async def load(events: int, senders: int) -> None:
    async def send() -> None:
        for _ in range(events // senders):
            await procrastinate_app.handle.defer_async(event=EVENT)

    with psycopg.connect(os.environ["DATABASE"], autocommit=True) as looking:
        left = "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
        async with app.open_async():
            begun_s = time.time()
            await asyncio.gather(*(send() for _ in range(senders)))
            accepted_s = time.time()
        finished_s = wait_until(lambda: looking.execute(left).fetchone()[0] == 0)
        looking.execute("DELETE FROM procrastinate_jobs")
    report(begun_s, accepted_s, finished_s)


async def latency(events: int) -> None:
    stamps = Stamps()
    sent_s, accepted_s, began_s = [], [], []
    async with app.open_async():
        for _ in range(events):
            sent_s.append(time.time())
            await procrastinate_app.stamp.defer_async(event={"tell": stamps.path})
            accepted_s.append(time.time())
            began_s.append(stamps.next_s())
            await asyncio.sleep(0.02)  # idle again
    report_latency(sent_s, accepted_s, began_s)


if __name__ == "__main__":
    what, *numbers = sys.argv[1:]
    asyncio.run({"load": load, "latency": latency}[what](*map(int, numbers)))
