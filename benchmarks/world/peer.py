"""An M/M/c queue in SimPy: one JSON line. Run by an interpreter that has simpy."""

import json
import random
import sys
import time
from collections.abc import Iterator
from typing import Any

import simpy  # type: ignore[import-not-found,unused-ignore]

SLOTS, RATE, SERVICE_S = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
REQUESTS, SEED = int(sys.argv[4]), int(sys.argv[5])

chance = random.Random(SEED)
waited_s: list[float] = []


def request(world: simpy.Environment, slots: simpy.Resource) -> Iterator[Any]:
    """Wait for a slot, hold it."""
    came_s = world.now
    with slots.request() as slot:
        yield slot
        waited_s.append(world.now - came_s)
        yield world.timeout(chance.expovariate(1 / SERVICE_S))


def arrivals(world: simpy.Environment, slots: simpy.Resource) -> Iterator[Any]:
    """All of them, at moments independent of each other."""
    for _ in range(REQUESTS):
        yield world.timeout(chance.expovariate(RATE))
        world.process(request(world, slots))


environment = simpy.Environment()
began_s = time.process_time()
environment.process(arrivals(environment, simpy.Resource(environment, capacity=SLOTS)))
environment.run()
took_s = time.process_time() - began_s
print(json.dumps({"requests": REQUESTS, "took_s": took_s, "wait_s": sum(waited_s) / REQUESTS}))
