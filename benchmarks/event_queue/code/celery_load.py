"""Sends to Celery and waits."""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import celery_app
import redis
from driving import Stamps, report, report_latency, wait_until

EVENT = {"name": "Ada", "note": "small"}


def load(events: int, senders: int) -> None:
    def send() -> None:
        for _ in range(events // senders):
            celery_app.handle.delay(EVENT)

    looking = redis.Redis.from_url(os.environ["REDIS"])
    with ThreadPoolExecutor(senders) as threads:
        begun_s = time.time()
        for sent in [threads.submit(send) for _ in range(senders)]:
            sent.result()
    accepted_s = time.time()
    finished_s = wait_until(lambda: not looking.llen("celery") and not looking.hlen("unacked"))
    report(begun_s, accepted_s, finished_s)


def latency(events: int) -> None:
    stamps = Stamps()
    sent_s, accepted_s, began_s = [], [], []
    for _ in range(events):
        sent_s.append(time.time())
        celery_app.stamp.delay({"tell": stamps.path})
        accepted_s.append(time.time())
        began_s.append(stamps.next_s())
        time.sleep(0.02)
    report_latency(sent_s, accepted_s, began_s)


if __name__ == "__main__":
    what, *numbers = sys.argv[1:]
    {"load": load, "latency": latency}[what](*map(int, numbers))
