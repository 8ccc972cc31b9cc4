"""Who takes a connection, and who takes a request: the pure rules."""

from hypothesis import given
from hypothesis import strategies as st

from peaker.policy.sharing import DECLINES_MAX, Acceptance, Neighbour, accept, most_free


def decide(
    *neighbours: Neighbour, connections: int = 0, connections_max: int = 100, is_full: bool = False, declines: int = 0
) -> Acceptance:
    return accept(
        neighbours, connections=connections, connections_max=connections_max, is_full=is_full, declines=declines
    )


def test_a_worker_that_is_alone_accepts() -> None:
    assert decide() is Acceptance.NOW
    assert decide(is_full=True) is Acceptance.NOW


def test_a_full_worker_leaves_a_connection_to_a_free_sibling() -> None:
    assert decide(Neighbour(1, 3, 0), is_full=True) is Acceptance.LATER
    assert decide(Neighbour(1, 3, 0), is_full=True, declines=DECLINES_MAX - 1) is Acceptance.LATER


def test_a_full_worker_accepts_when_all_are_full_so_that_the_gate_can_spill() -> None:
    assert decide(Neighbour(1, 0, 5), Neighbour(2, 0, 5), is_full=True) is Acceptance.NOW


def test_a_full_worker_accepts_in_the_end_when_the_free_sibling_never_does() -> None:
    assert decide(Neighbour(1, 3, 0), is_full=True, declines=DECLINES_MAX) is Acceptance.NOW


def test_a_free_sibling_at_its_connection_limit_cannot_accept_either() -> None:
    assert decide(Neighbour(1, 3, 100), is_full=True) is Acceptance.NOW


def test_holding_more_connections_than_the_emptiest_sibling_waits_once() -> None:
    assert decide(Neighbour(1, 3, 4), Neighbour(2, 3, 9), connections=5) is Acceptance.LATER
    assert decide(Neighbour(1, 3, 4), connections=5, declines=1) is Acceptance.NOW
    assert decide(Neighbour(1, 3, 5), connections=5) is Acceptance.NOW


def test_holding_many_more_waits_up_to_five_times() -> None:
    waits = [decide(Neighbour(1, 3, 0), connections=16, declines=number) is Acceptance.LATER for number in range(4)]
    assert waits == [True, True, True, False]
    assert decide(Neighbour(1, 3, 0), connections=99, declines=4) is Acceptance.LATER
    assert decide(Neighbour(1, 3, 0), connections=99, declines=5) is Acceptance.NOW


def test_the_emptiest_sibling_does_not_count_while_it_is_full_and_another_is_not() -> None:
    assert decide(Neighbour(1, 0, 1), Neighbour(2, 3, 5), connections=5) is Acceptance.NOW


def test_with_many_connections_a_small_difference_is_no_reason_to_wait() -> None:
    assert decide(Neighbour(1, 3, 960), connections=980, connections_max=9999) is Acceptance.NOW
    assert decide(Neighbour(1, 3, 960), connections=1000, connections_max=9999) is Acceptance.LATER


def test_at_the_connection_limit_siblings_with_room_go_first_and_then_clients_are_turned_away() -> None:
    assert decide(Neighbour(1, 3, 4), connections=100) is Acceptance.LATER
    assert decide(Neighbour(1, 3, 4), connections=100, declines=DECLINES_MAX) is Acceptance.TURN_AWAY
    assert decide(Neighbour(1, 3, 100), connections=100) is Acceptance.TURN_AWAY
    assert decide(connections=100) is Acceptance.TURN_AWAY


neighbours = st.lists(st.builds(Neighbour, st.integers(0, 20), st.integers(0, 9), st.integers(0, 200)), max_size=8)


@given(neighbours, st.floats(0, 1, exclude_max=True))
def test_the_chosen_sibling_is_never_less_free_than_another(siblings: list[Neighbour], draw: float) -> None:
    by_row = {sibling.row: sibling for sibling in siblings}
    chosen = most_free(list(by_row.values()), draw)
    most = max((sibling.free_slots for sibling in by_row.values()), default=0)
    if chosen is None:
        assert most == 0
    else:
        assert by_row[chosen].free_slots == most > 0


def test_equally_free_siblings_are_all_chosen_in_turn() -> None:
    siblings = [Neighbour(row, 2, 0) for row in (4, 7, 9)]
    assert {most_free(siblings, draw) for draw in (0.0, 0.4, 0.99)} == {4, 7, 9}


@given(
    siblings=neighbours, connections=st.integers(0, 200), is_full=st.booleans(), declines=st.integers(0, DECLINES_MAX)
)
def test_no_connection_waits_longer_than_the_declines_allow(
    *, siblings: list[Neighbour], connections: int, is_full: bool, declines: int
) -> None:
    decision = decide(*siblings, connections=connections, is_full=is_full, declines=declines)
    if declines == DECLINES_MAX:
        assert decision is not Acceptance.LATER
    if decision is Acceptance.TURN_AWAY:
        assert connections >= 100
