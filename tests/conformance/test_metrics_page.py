"""The metrics page, read by Prometheus's own parsers."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from peaker.clock import VirtualClock
from peaker.control.metrics import families
from peaker.engines.local.cost import Metered, read_meter
from peaker.events.tally import Tally
from peaker.meter.bill import bill
from peaker.meter.exposition import Family, Histogram, Kind, render, wants_openmetrics
from peaker.meter.function_usage import Caller, FunctionMeter, create_function_table
from peaker.meter.route_usage import (
    UNDECLARED,
    RouteRow,
    create_route_table,
    open_route_table,
    read_routes,
)
from peaker.meter.usage import COUNTER_INDEX, Ran, UsageRow, create_usage_table
from peaker.meter.work import create_work_table
from peaker.settings import AppSection, RouteSection, Settings
from peaker.state import StateDirectory

STATUS: dict[str, Any] = {
    "app": 'shop "one"\\two',
    "version": "1.2.3",
    "generation": 4,
    "workers": [
        {"name": "worker-0", "slots": 4, "in_flight": 1, "waiting": 0, "spilling": 2, "connections": 9, "lag_ms": 2.5}
    ],
    "host": {"functions": [{"name": "shop-web", "instances": {"starting": 0, "busy": 2, "idle": 1}}]},
    "spend": {"today_usd": 0.25, "usd_per_day_max": 5.0},
    "events": {
        "counts": {
            "oldest_age_s": 12.5,
            "functions": [{"function": "thumbnail", "waiting": 3, "running": 1, "finished": 9, "dead": 2}],
        },
        "totals": asdict(Tally(accepted=15, finished=9, dead=2, retried=4)),
    },
}


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    made = StateDirectory(tmp_path)
    usage, routes = create_usage_table(made.usage, 1), create_route_table(made.route_usage, 1)
    create_function_table(made.function_usage).close()
    create_work_table(made.work).close()
    row, by_route = UsageRow(usage, 0), RouteRow(routes, 0, ["/live/*"])
    for ran, latency_s in ((Ran.SERVER, 0.012), (Ran.SERVER, 0.4), (Ran.FUNCTION, 70.0)):
        row.add(COUNTER_INDEX["requests"])
        row.add(COUNTER_INDEX[f"on_{ran.name.lower()}"])
        row.latency(ran, latency_s)
        by_route.latency("/live/*" if latency_s < 0.1 else "", ran, latency_s)
    meter = FunctionMeter(made.function_usage, "arm64")
    meter.ended("shop-web", Caller.GATE, memory_mb=512, billed_ms=1500, duration_ms=1000, init_ms=500)
    meter.ended("shop-web", Caller.DIRECT, memory_mb=512, billed_ms=500, duration_ms=499)
    usage.close()
    routes.close()
    return made


def page(state: StateDirectory, *, openmetrics: bool, declared: bool = False) -> str:
    settings = Settings(app=AppSection(name="shop"), route=(RouteSection(path="/live/*"),) if declared else ())
    metered: Metered = read_meter(state, settings, VirtualClock(), is_running=True)
    table = open_route_table(state.route_usage)
    routes = read_routes(table, ["/live/*"]) if declared else {}
    table.close()
    return render(families(metered, routes, STATUS, bill(metered.used, metered.prices)), openmetrics=openmetrics)


def samples(text: str, *, openmetrics: bool) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    parse = parse_openmetrics if openmetrics else parse_text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def value(found: dict[Any, float], name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


@pytest.mark.parametrize("openmetrics", [False, True])
def test_both_formats_are_read_and_say_the_same(state: StateDirectory, *, openmetrics: bool) -> None:
    found = samples(page(state, openmetrics=openmetrics), openmetrics=openmetrics)
    assert value(found, "peaker_requests_total", ran="server") == 2
    assert value(found, "peaker_requests_total", ran="refused") == 0
    assert value(found, "peaker_function_invocations_total", function="shop-web", caller="direct") == 1
    assert value(found, "peaker_function_billed_seconds_total", function="shop-web", caller="gate") == 1.5
    assert value(found, "peaker_function_init_seconds_total", function="shop-web", caller="gate") == 0.5
    assert value(found, "peaker_function_instances", function="shop-web", state="busy") == 2
    assert value(found, "peaker_worker_lag_seconds", worker="worker-0") == 0.0025
    assert value(found, "peaker_cost_usd_total", item="lambda.request") == pytest.approx(4e-7)
    assert value(found, "peaker_spend_max_usd") == 5.0
    about = next(labels for name, labels in found if name == "peaker_info")
    assert dict(about)["app"] == STATUS["app"], "quotes and backslashes come back as they went"


@pytest.mark.parametrize("openmetrics", [False, True])
def test_every_family_has_help_and_type_and_a_name_that_fits_its_unit(
    state: StateDirectory, *, openmetrics: bool
) -> None:
    parse = parse_openmetrics if openmetrics else parse_text
    found = list(parse(page(state, openmetrics=openmetrics)))
    assert len(found) > 30
    for family in found:
        assert family.documentation, family.name
        assert family.type in {"counter", "gauge", "histogram", "info"}, family.name
        assert family.name.startswith("peaker"), family.name
        if openmetrics and family.unit:
            assert family.name.endswith(f"_{family.unit}"), family.name
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples), family.name
    names = [family.name for family in found]
    assert len(names) == len(set(names))


def test_latency_buckets_only_grow_and_end_in_the_count(state: StateDirectory) -> None:
    found = samples(page(state, openmetrics=True, declared=True), openmetrics=True)
    for route, ran, count in (("/live/*", "server", 1), (UNDECLARED, "server", 1), (UNDECLARED, "function", 1)):
        labels = {"route": route, "ran": ran}
        buckets = sorted(
            (float(dict(key)["le"].replace("+Inf", "inf")), number)
            for (name, key), number in found.items()
            if name == "peaker_request_latency_seconds_bucket" and labels.items() <= dict(key).items()
        )
        numbers = [number for _, number in buckets]
        assert numbers == sorted(numbers)
        assert buckets[-1] == (math.inf, count)
        assert value(found, "peaker_request_latency_seconds_count", **labels) == count
    assert value(found, "peaker_request_latency_seconds_sum", route=UNDECLARED, ran="function") == 70.0


def test_where_no_route_is_declared_all_requests_are_one(state: StateDirectory) -> None:
    found = samples(page(state, openmetrics=False), openmetrics=False)
    labels = {"route": "(all)", "ran": "server"}
    assert value(found, "peaker_request_latency_seconds_count", **labels) == 2
    assert value(found, "peaker_request_latency_seconds_sum", **labels) == pytest.approx(0.412, rel=0.03)


TEXTS = st.text(st.characters(blacklist_categories=["Cs", "Cc"], whitelist_characters="\n"), max_size=20)


@given(help_text=TEXTS, label=TEXTS, number=st.floats(0, 1e18, allow_nan=False), openmetrics=st.booleans())
def test_any_text_and_number_comes_back(help_text: str, label: str, number: float, *, openmetrics: bool) -> None:
    family = Family("peaker_x", Kind.GAUGE, help_text or "-").add(number, text=label)
    found = samples(render([family], openmetrics=openmetrics), openmetrics=openmetrics)
    assert value(found, "peaker_x", text=label) == number


def test_a_histogram_has_as_many_counts_as_bounds_and_one_more() -> None:
    wrong = Family("peaker_y_seconds", Kind.HISTOGRAM, "Wrong.").add(Histogram((0.1, 0.2), (1, 2), 0.3))
    with pytest.raises(ValueError, match="shorter"):
        render([wrong])


ACCEPTS = [
    ("", False),
    ("*/*", False),
    ("text/plain", False),
    ("application/openmetrics-text", True),
    ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3", True),
    ("text/plain;q=0.9, application/openmetrics-text;q=0.1", False),
    ("application/openmetrics-text;q=0", False),
    ("application/openmetrics-text;q=x", False),
]


@pytest.mark.parametrize(("accept", "openmetrics"), ACCEPTS)
def test_openmetrics_is_given_to_those_who_prefer_it(accept: str, *, openmetrics: bool) -> None:
    assert wants_openmetrics(accept) is openmetrics
