"""Which routes may run where, and what the user is told about it."""

import pytest

from peaker.errors import PlacementError, SettingsError
from peaker.policy.placement import (
    Answered,
    Placement,
    Shown,
    explain,
    make_rules,
    rule_for,
    why_not_yet,
    with_answer,
)
from peaker.settings import (
    AppSection,
    FunctionSection,
    FunctionsSection,
    ObjectiveSection,
    RouteSection,
    ServersSection,
    Settings,
)


def settings(*routes: RouteSection, spill: bool = True, timeout_s: float = 30.0) -> Settings:
    return Settings(
        app=AppSection(spill=spill),
        objective=ObjectiveSection(latency_p95_ms=300),
        servers=ServersSection(),
        functions=FunctionsSection(timeout_s=timeout_s),
        route=routes,
    )


ROUTES = (
    RouteSection(path="/*", placement="servers"),
    RouteSection(path="/catalogue/*", placement="hybrid", latency_p95_ms=100),
    RouteSection(path="/catalogue/live", placement="servers"),
    RouteSection(path="/catalogue/live/*", placement="functions"),
)


@pytest.mark.parametrize(
    ("path", "placement"),
    [
        ("/", Placement.SERVERS),
        ("/catalogue/", Placement.HYBRID),
        ("/catalogue/7", Placement.HYBRID),
        ("/catalogue/live", Placement.SERVERS),
        ("/catalogue/live/1", Placement.FUNCTIONS),
        ("/catalogue", Placement.SERVERS),
        ("*", Placement.HYBRID),
    ],
)
def test_the_longest_path_counts(path: str, placement: Placement) -> None:
    rules = make_rules(settings(*ROUTES))
    assert rules[rule_for(rules, path)].placement is placement


def test_a_route_without_an_objective_has_the_apps() -> None:
    rules = make_rules(settings(*ROUTES))
    assert {rule.path: rule.objective_s for rule in rules} == {
        "/": 0.3,
        "/catalogue/": 0.1,
        "/catalogue/live": 0.3,
        "/catalogue/live/": 0.3,
    }


def test_nothing_leaves_the_servers_until_the_app_says_so() -> None:
    rules = make_rules(settings(RouteSection(path="/a", placement="hybrid"), spill=False))
    assert {rule.placement for rule in rules} == {Placement.SERVERS}
    assert all("[app] spill is not true" in rule.why for rule in rules)


@pytest.mark.parametrize(
    ("route", "spill", "told"),
    [
        (RouteSection(path="/a", placement="functions"), False, "[app] spill is false"),
        (RouteSection(path="/a/*/b"), True, "has a * that is not at its end"),
        (RouteSection(path="/a", placement="functions", latency_p95_ms=31_000), True, "functions.timeout_s = 30"),
        (RouteSection(path="/a", placement="hybrid", latency_p95_ms=31_000), True, "longer than a function may run"),
    ],
)
def test_a_declared_placement_that_cannot_be_kept_stops_the_start(
    route: RouteSection, *, spill: bool, told: str
) -> None:
    with pytest.raises(PlacementError) as caught:
        make_rules(settings(route, spill=spill))
    assert told in str(caught.value)
    assert f'path = "{route.path}"' in str(caught.value)
    assert isinstance(caught.value, SettingsError)


def test_a_slow_route_may_be_declared_for_the_servers() -> None:
    make_rules(settings(RouteSection(path="/export", placement="servers", latency_p95_ms=600_000)))


def test_every_route_is_explained_in_the_order_in_which_it_counts() -> None:
    found = explain(
        Settings(
            app=AppSection(spill=True),
            route=ROUTES,
            function=(FunctionSection(name="thumbnail", handler="media:thumbnail"),),
        )
    )
    assert [(line.route, line.placement) for line in found] == [
        ("WebSocket, text/event-stream", "servers"),
        ("/catalogue/live", "servers"),
        ("/catalogue/live/*", "functions"),
        ("/catalogue/*", "hybrid"),
        ("/*", "servers"),
        ("/*", "hybrid"),
        ("thumbnail", "functions"),
    ]
    assert all(line.reason for line in found)
    assert "20 answers" in found[-2].reason


CLEAN = Answered(status=200, service_s=0.05, streamed_s=0.0, after_s=0.0, bytes_sent=2000)


def answer(**changes: object) -> Answered:
    return Answered(**{field: getattr(CLEAN, field) for field in CLEAN.__slots__} | changes)  # type: ignore[arg-type]


def test_an_undeclared_route_may_spill_after_enough_clean_answers() -> None:
    shown = Shown()
    for _ in range(20):
        assert why_not_yet(shown, 20)
        shown = with_answer(shown, CLEAN, 30.0)
    assert why_not_yet(shown, 20) == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"streamed_s": 0.2}, "streamed"),
        ({"after_s": 0.1}, "after its answer"),
        ({"bytes_sent": 4_000_001}, "4,000,001 bytes"),
    ],
)
def test_what_a_function_could_not_do_keeps_the_route_on_servers_for_good(
    change: dict[str, object], reason: str
) -> None:
    shown = Shown(clean=100)
    shown = with_answer(shown, answer(**change), 30.0)
    for _ in range(100):
        shown = with_answer(shown, CLEAN, 30.0)
    assert reason in why_not_yet(shown, 20)


def test_a_slow_answer_only_starts_the_count_again() -> None:
    shown = with_answer(Shown(clean=100), answer(service_s=16.0), 30.0)
    assert shown.clean == 0
    assert with_answer(shown, CLEAN, 30.0).clean == 1


def test_errors_say_nothing_about_a_route() -> None:
    for status in (401, 404, 500, 503):
        assert with_answer(Shown(clean=5), answer(status=status, after_s=1.0), 30.0) == Shown(clean=5)


def test_a_body_in_pieces_without_pauses_is_no_stream() -> None:
    assert with_answer(Shown(), answer(streamed_s=0.02), 30.0).clean == 1
