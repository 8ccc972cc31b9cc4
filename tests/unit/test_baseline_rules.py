"""Each rule for the number of servers by itself, with steps of 30 s, a start of 90 s and round prices."""

import itertools
import math

import pytest

from peaker.errors import SettingsError, StateError
from peaker.policy.baseline import DEFAULT, NAMES, Bounds, Decision, Economics, Seen, make_baseline
from peaker.policy.provision import Baseline

STEP_S = 30.0


def economics_of(price_ratio: float = 5.0, start_s: float = 90.0, step_s: float = STEP_S) -> Economics:
    return Economics(
        server_usd_per_hour=1.0, function_usd_per_server_hour=price_ratio, server_start_s=start_s, step_s=step_s
    )


class Acting:
    """A rule whose decisions are acted on: servers start for `start_steps` steps."""

    def __init__(self, baseline: Baseline, start_steps: int = 3, step_s: float = STEP_S) -> None:
        self.baseline, self.start_steps, self.step_s = baseline, start_steps, step_s
        self.ready, self.coming, self.now_s = 0, list[int](), 1e9
        self.last: float | None = None

    def step(self, demand: float | None) -> Decision:
        """Decide, then have a step with this demand."""
        seen = Seen(
            now_s=self.now_s,
            demand_servers=self.last,
            servers_ready=self.ready,
            servers_starting=sum(1 for _ in self.coming),
        )
        decision = self.baseline.decide(seen)
        more = decision.servers - seen.servers
        self.coming += [self.start_steps] * more
        while more < 0:
            if self.coming:
                self.coming.pop()
            else:
                self.ready -= 1
            more += 1
        self.coming = [left - 1 for left in self.coming]
        self.ready += self.coming.count(0)
        self.coming = [left for left in self.coming if left]
        self.last, self.now_s = demand, self.now_s + self.step_s
        return decision

    def servers(self, demand: list[float | None]) -> list[int]:
        return [self.step(each).servers for each in demand]


def test_break_even_starts_a_server_when_functions_have_cost_what_a_start_costs() -> None:
    # A full level costs 4 above a server in each step; a start costs 3.
    assert Acting(make_baseline("break-even", economics_of(5.0))).servers([1.0] * 3) == [0, 1, 1]
    # At 1.5 it costs 0.5 a step: six of them make a start.
    assert Acting(make_baseline("break-even", economics_of(1.5))).servers([1.0] * 8) == [0, 0, 0, 0, 0, 0, 1, 1]


def test_break_even_counts_nothing_while_a_server_starts_and_stops_it_after_a_start_of_idling() -> None:
    # Decided at step 1, ready from step 4 on; idle from then on it has lost three after step 6.
    assert Acting(make_baseline("break-even", economics_of())).servers([1.0] + [0.0] * 8) == [0, 1, 1, 1, 1, 1, 1, 0, 0]


def test_break_even_never_starts_a_server_where_functions_are_cheaper() -> None:
    assert Acting(make_baseline("break-even", economics_of(0.9))).servers([20.0] * 50) == [0] * 50


def test_break_even_decides_each_level_by_itself() -> None:
    # The fourth level is a tenth in use, which costs functions less than a server.
    assert Acting(make_baseline("break-even", economics_of())).servers([3.1] * 12)[-1] == 3


def test_target_tracking_adds_after_three_minutes_and_takes_away_after_fifteen() -> None:
    rule = Acting(make_baseline("target-tracking", economics_of()))
    servers = rule.servers([0.5] * 6 + [1.2] * 8)
    assert servers[:12] == [1] * 12
    assert servers[-1] == 2  # 1.2 / 1 ends at 1 in the metric: 1 / 0.6, rounded up
    falling = rule.servers([0.1] * 40)
    assert falling[:28] == [2] * 28
    assert falling[-1] == 1


def test_knative_panics_at_twice_the_load_and_keeps_what_it_added() -> None:
    rule = Acting(make_baseline("knative", economics_of()))
    rule.servers([0.7] * 6)
    jumped = rule.servers([7.0, 7.0, 0.0, 0.0])
    assert jumped[1] == 10
    assert jumped[2] == 10
    # Half of the ready ones at most go at once, once the panic is over.
    assert rule.servers([0.0] * 3) == [5, 2, 1]


def test_ray_serve_waits_half_a_minute_to_add_and_ten_minutes_to_take_away() -> None:
    rule = Acting(make_baseline("ray-serve", economics_of(step_s=10.0)), start_steps=9, step_s=10.0)
    rising = rule.servers([0.4] * 5 + [4.0] * 6)
    assert rising[5:8] == [1, 1, 1]
    assert rising[-1] == 10
    falling = rule.servers([0.4] * 75)
    assert falling[55] == 10
    assert falling[-1] == 1


def test_a_moving_average_has_what_the_last_ten_minutes_needed() -> None:
    rule = Acting(make_baseline("moving-average", economics_of()))
    assert rule.servers([4.0] * 21 + [0.0] * 10)[-1] == 3  # ten of twenty steps of 4 are left, and one more step seen
    assert rule.servers([0.0] * 20)[-1] == 0


def test_fixed_stays_whatever_comes() -> None:
    assert Acting(make_baseline("fixed", economics_of(), servers=4)).servers([0.0, 9.0, None, 3.0]) == [4] * 4


def test_bounds_hold_and_are_named_as_the_reason() -> None:
    rule = Acting(make_baseline("break-even", economics_of(), Bounds(servers_min=1, servers_max=2)))
    assert rule.step(9.0).reason.held_by == "bounds"
    rule.step(9.0)
    assert max(rule.servers([9.0] * 5)) == 2


@pytest.mark.parametrize("name", [each for each in NAMES if each != "fixed"])
def test_a_missing_observation_counts_as_the_one_before(name: str) -> None:
    load = [3.0] * 40
    missing: list[float | None] = [3.0 if step % 3 else None for step in range(40)]
    missing[0] = 3.0
    assert Acting(make_baseline(name, economics_of())).servers(missing) == (
        Acting(make_baseline(name, economics_of())).servers(list(load))
    )


@pytest.mark.parametrize("name", [each for each in NAMES if each != "fixed"])
@pytest.mark.parametrize("jump_s", [-86_400.0, 7200.0, 86_400.0 * 400])
def test_a_clock_that_is_set_moves_no_server(name: str, jump_s: float) -> None:
    rule = Acting(make_baseline(name, economics_of()))
    before = rule.servers([3.0] * 60)[-1]
    rule.now_s += jump_s
    assert set(rule.servers([3.0] * 60)) == {before}


def test_a_reason_has_the_sums_of_the_last_ten_minutes_for_the_level_it_is_about() -> None:
    rule = Acting(make_baseline("break-even", economics_of(5.0)))
    rule.step(0.0)
    rule.servers([0.0] * 19)
    rule.step(1.0)
    reason = rule.step(1.0).reason
    assert (reason.rule, reason.level) == ("break-even", 1)
    assert reason.window_s == 600
    assert reason.functions_usd == pytest.approx(5.0 * STEP_S / 3600)
    assert reason.server_usd == pytest.approx(600 / 3600)


def test_the_default_policy_names_the_simple_policy_that_leads_and_its_forecast() -> None:
    rule = Acting(make_baseline(DEFAULT, economics_of(8.0)))
    first = [rule.step(2.0) for _ in range(3)][-1]
    assert first.reason.rule == "break-even"
    wave = [2.0 + (4.0 if step % 40 < 12 else 0.0) for step in range(1500)]
    last = [rule.step(each) for each in wave][-1]
    assert last.reason.rule != ""
    assert last.reason.quantile == pytest.approx(1 - 1 / 8)
    assert last.reason.forecast_servers is not None
    assert math.isfinite(last.reason.forecast_servers)


def test_the_default_policy_learns_what_break_even_repeats() -> None:
    """Bursts of five minutes every twenty, where a server had better stay: break-even starts anew each time."""
    wave = [5.0 if step % 40 < 10 else 0.0 for step in range(1400)]
    starts = {}
    for name in (DEFAULT, "break-even"):
        servers = Acting(make_baseline(name, economics_of(33.0))).servers(list(wave))[1000:]
        starts[name] = sum(max(0, after - before) for before, after in itertools.pairwise(servers))
    assert starts["break-even"] == 50
    assert starts[DEFAULT] < 10


def test_another_start_up_time_makes_windows_anew_and_keeps_the_days() -> None:
    rule = Acting(make_baseline(DEFAULT, economics_of(8.0)))
    rule.servers([2.0] * 100)
    rule.baseline.reprice(economics_of(8.0, start_s=300.0))
    state = rule.baseline.state()
    assert any(value == 2.0 for row in state["policies"]["cycle"]["rows"] for value in row)
    assert rule.servers([2.0] * 20)[-1] in {2, 3}


def test_a_state_of_another_start_up_time_gives_its_days_alone() -> None:
    rule = Acting(make_baseline(DEFAULT, economics_of(8.0)))
    rule.servers([2.0] * 100)
    found = make_baseline(DEFAULT, economics_of(8.0, start_s=600.0), state=rule.baseline.state()).state()
    assert any(value == 2.0 for row in found["policies"]["cycle"]["rows"] for value in row)
    assert found["leader"]["clock_s"] == 0


def test_unknown_rules_and_missing_numbers_are_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="no policy 'best'; there are: default, break-even"):
        make_baseline("best", economics_of())
    with pytest.raises(SettingsError, match="fixed"):
        make_baseline("fixed", economics_of())
    with pytest.raises(SettingsError, match="server_start_s = -1 is not allowed"):
        economics_of(start_s=-1)
    with pytest.raises(SettingsError, match="servers_min = 3 is not allowed"):
        Bounds(servers_min=3, servers_max=2)


@pytest.mark.parametrize("name", [each for each in NAMES if each != "fixed"])
def test_a_damaged_state_is_refused(name: str) -> None:
    rule = Acting(make_baseline(name, economics_of()))
    rule.servers([3.0] * 20)
    whole = rule.baseline.state()
    for key in whole:
        with pytest.raises(StateError, match="saved baseline"):
            make_baseline(name, economics_of(), state={**whole, key: "damaged"})
    with pytest.raises(StateError, match="saved baseline"):
        make_baseline(name, economics_of(), state={})
