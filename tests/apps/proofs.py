"""Predictions and measurements made by hand, for what compares them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from peaker.simulate.measurement import Measurement
from peaker.simulate.measures import Measures
from peaker.simulate.prediction import Input, Model, Prediction
from peaker.traffic.arrivals import Spread
from peaker.traffic.mix import Target
from peaker.traffic.sent import Sent, sent_of
from peaker.traffic.trace import Trace

TRACE = Trace((100, 300, 50), 1.0, None, "three.csv")
ROOT = Target("GET", "/")

MEASURES = Measures(
    latency_p50_ms=50.0,
    latency_p95_ms=80.0,
    latency_p99_ms=100.0,
    spilled_share=0.20,
    refused_share=0.0,
    cold_starts=10.0,
    server_s=20.0,
    gb_s=4.0,
    usd=0.0005,
)

MODEL = Model(
    service_s=(0.04,),
    cpu_share=0.0,
    function_factor=1.0,
    function_overhead_s=0.001,
    cold_start_s=(0.002, 0.003),
    memory_mb=512,
    spillable_share=1.0,
    servers=(1,),
    workers=2,
    slots=4,
    lag_s_max=0.025,
    queue_max=1000,
    queue_wait_s_max=1.0,
    objective_s=0.15,
    placement="hybrid",
    concurrency_max=60,
    keep_alive_s=5.0,
    starts_per_s=1e6,
    starts_burst=1_000_000,
    like="local",
    learns_keep_alive=False,
    client_s=0.0,
    server_usd_per_hour=0.0725,
    request_usd=2e-7,
    gb_second_usd=1.33334e-5,
)


def sent(trace: Trace = TRACE, *, seed: int = 1, targets: tuple[Target, ...] = (ROOT,)) -> Sent:
    return sent_of(trace, Spread.RANDOM, seed, targets)


def prediction(traffic: Sent | None = None, *, changes: Mapping[str, float | None] | None = None) -> Prediction:
    expected = dataclasses.replace(MEASURES, **(changes or {}))
    return Prediction(
        of="shop",
        made_by="peaker 0",
        made_at="2026-11-24T00:00:00+00:00",
        traffic=traffic or sent(),
        model=MODEL,
        inputs=(Input(name="time on a server", value="40 ms", origin="measured"),),
        simulator="plan/quick.py",
        seed=1,
        runs=3,
        expected=expected,
        low=expected,
        high=expected,
    )


def measurement(
    traffic: Sent | None = None, *, is_void: bool = False, changes: Mapping[str, float | None] | None = None
) -> Measurement:
    return Measurement(
        app="shop",
        made_by="peaker 0",
        began_at="2026-11-24T00:01:00+00:00",
        machine="two cores",
        traffic=traffic or sent(),
        measures=dataclasses.replace(MEASURES, **(changes or {})),
        answered=450,
        failed=0,
        is_void=is_void,
    )
