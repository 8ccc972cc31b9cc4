"""What `peaker status` says, and what gates tell of their routes."""

from __future__ import annotations

from typing import Any

from peaker.cli.status_text import status_text
from peaker.gate.route_report import ROUTES_TOLD_MAX, merged, route_lines
from peaker.gate.routes import Routes
from peaker.policy.estimate import with_samples
from peaker.policy.placement import Answered, with_answer
from peaker.settings import AppSection, RouteSection, Settings

SETTINGS = Settings(
    app=AppSection(spill=True),
    route=(RouteSection(path="/live/*", placement="servers"), RouteSection(path="/heavy", placement="functions")),
)
LATENCY = {"p50": 10.0, "p95": 90.0, "p99": None}


def found(**changes: Any) -> dict[str, Any]:
    """What /status answers, of an app that serves."""
    ran = {"on_server": 900, "on_sibling": 0, "on_function": 100}
    rests_on = {
        "region": "us-east-1",
        "instance_type": "c7g.large",
        "architecture": "arm64",
        "published": ["2026-09-11"],
        "functions_ran": "at Lambda's speed",
        "left_out": "tax",
    }
    return {
        "app": "shop",
        "stage": "",
        "status": "ready",
        "generation": 1,
        "app_url": "http://127.0.0.1:8000",
        "ops_url": "http://127.0.0.1:9000",
        "lambda_endpoint": "",
        "aws_profile": "",
        "aws_shared_credentials_file": "",
        "state": "/srv/shop/.peaker",
        "supervisor": {"pid": 7, "alive": True},
        "servers": {"count": 1, "count_min": 1, "count_max": 2},
        "workers": [],
        "host": None,
        "functions": [],
        "usage": {
            "requests": 1000,
            **ran,
            "refused": 3,
            "waited": 4,
            "cold_starts": 5,
            "failed": 6,
            "latency_ms": dict.fromkeys(("all", "server", "sibling", "function"), LATENCY),
        },
        "objective": {"latency_p95_ms": 100.0},
        "rates": {"on_server": 90.04, "on_sibling": 0.0, "on_function": 1234.0, "refused": 0.5},
        "routes": [],
        "events": {
            "pid": 41,
            "counts": {"waiting": 3, "running": 1, "dead": 2, "oldest_age_s": 12.4},
            "totals": {"accepted": 1200, "finished": 1190, "retried": 7},
        },
        "spend": {"today_usd": 0.5, "usd_per_day_max": 2.0},
        "cost": {
            "usd": 12.345,
            "lines": [{"item": "ec2.c7g.large", "quantity": 2.0, "unit": "hour"}],
            "usd_per_month": 1234.5,
            "servers_only": {"usd": 20.0, "servers": 3, "rests_on": ["The peak was 5.2 requests at once."]},
            "functions_only": {"usd": None, "rests_on": ["No request has been answered yet."]},
            "rests_on": rests_on,
        },
        **changes,
    }


def lines(**changes: Any) -> list[list[str]]:
    return [line.split() for line in status_text(found(**changes)).splitlines()]


def test_rates_latencies_and_the_objective_are_on_one_screen() -> None:
    text = lines()
    assert len(text) < 40
    assert ["server", "90.0/s", "900", "10", "ms", "90", "ms", "-"] in text
    assert ["function", "1,234/s", "100", "10", "ms", "90", "ms", "-"] in text
    assert "objective: p95 within 100 ms, kept" in status_text(found())
    assert "objective: p95 within 50 ms, missed" in status_text(found(objective={"latency_p95_ms": 50.0}))


def test_costs_stand_beside_what_else_it_could_have_cost() -> None:
    text = lines()
    assert ["as", "it", "ran", "$12.3450", "ec2.c7g.large", "2", "hour"] in text
    assert ["servers", "only", "$20.0000", "3", "servers", "all", "the", "time"] in text
    assert ["functions", "only", "-"] in text
    assert "functions today: $0.5000 of $2; at the present rate $1,234.50 a month" in status_text(found())


def test_events_are_one_line_and_none_without_functions() -> None:
    text = status_text(found())
    assert "events: 3 waiting, the oldest for 12 s, 1 running, 2 dead (`peaker events`); 1,200 accepted" in text
    assert "events" not in status_text(found(events=None))
    away = {"pid": 41, "counts": None, "totals": {}, "runs": 0}
    assert "events: pid 41 does not answer; what was accepted is on disk" in status_text(found(events=away))


def test_of_schedules_the_next_is_told() -> None:
    daily = {"function": "report", "schedule": "cron(0 7 * * ? *)", "next_s": 1_900_000_800.0}
    done = {"function": "once", "schedule": "at(2001-01-01T00:00:00)", "next_s": None}

    text = status_text(found(events=found()["events"] | {"schedules": [done, daily]}))
    assert "schedules: 2; next report, cron(0 7 * * ? *), at 2030-03-17 18:00 UTC" in text
    assert "schedules: 1; no moment is left" in status_text(found(events=found()["events"] | {"schedules": [done]}))
    assert "schedules" not in status_text(found())


def test_without_recent_figures_there_are_dashes_and_no_rate() -> None:
    cost = found()["cost"] | {"usd_per_month": None}
    text = status_text(found(rates=None, cost=cost, spend={"today_usd": 0.0, "usd_per_day_max": None}))
    assert "a month" not in text
    assert "no limit" in text
    assert ["server", "-", "900", "10", "ms", "90", "ms", "-"] in [line.split() for line in text.splitlines()]


def test_undeclared_routes_that_stay_are_shown_with_the_reason_and_no_more_than_eight() -> None:
    kept = {"declared": False, "seen": 12, "stays_because": "stays on servers: it streamed an answer for 0.20 s"}
    routes = [{**kept, "route": f"GET /r{number}"} for number in range(10)]
    declared = {"route": "GET /live (0)", "declared": True, "seen": 9, "stays_because": "declared"}
    text = status_text(found(routes=[*routes, declared]))
    assert "GET /r0" in text
    assert "it streamed an answer for 0.20 s" in text
    assert "and 2 more" in text
    assert "GET /live" not in text


def test_a_gate_tells_why_each_route_stays() -> None:
    routes = Routes(SETTINGS)
    streams, ready, fresh = (routes.of("GET", path) for path in ("/stream", "/ready", "/fresh"))
    declared, heavy = routes.of("GET", "/live/1"), routes.of("GET", "/heavy")
    clean = Answered(status=200, service_s=0.01, streamed_s=0.0, after_s=0.0, bytes_sent=10)
    streams.shown = with_answer(
        streams.shown, Answered(status=200, service_s=1.0, streamed_s=0.5, after_s=0.0, bytes_sent=10), 30.0
    )
    for _ in range(20):
        ready.shown = with_answer(ready.shown, clean, 30.0)
    ready.times = with_samples(ready.times, 20, 0.2, 0.002, 1.0)
    told = {line["route"]: line for line in route_lines(routes.all(), 20, can_spill=True)}
    assert next(iter(told)) == ready.key, "the one with the most answers first"
    assert "streamed an answer for 0.50 s" in told[streams.key]["stays_because"]
    assert "only 0 of 20 answers seen" in told[fresh.key]["stays_because"]
    assert told[ready.key]["stays_because"] == told[heavy.key]["stays_because"] == ""
    assert told[ready.key]["service_ms"] == 10.0
    assert told[declared.key]["stays_because"]
    without = {line["route"]: line for line in route_lines(routes.all(), 20, can_spill=False)}
    assert without[ready.key]["stays_because"] == "there are no functions"


def test_what_workers_tell_is_put_together_and_bounded() -> None:
    def line(route: str, seen: int, because: str) -> dict[str, Any]:
        return {"route": route, "seen": seen, "stays_because": because}

    told = merged([[line("GET /a", 5, ""), line("GET /b", 50, "")], [line("GET /a", 7, "not yet")]])
    assert [one["route"] for one in told] == ["GET /b", "GET /a"]
    assert told[1] == {
        "route": "GET /a",
        "seen": 12,
        "stays_because": "not yet",
        "workers": 2,
        "workers_that_keep_it": 1,
    }
    assert len(merged([[line(f"GET /{n}", n, "") for n in range(3 * ROUTES_TOLD_MAX)]])) == ROUTES_TOLD_MAX
