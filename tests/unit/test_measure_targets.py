"""Which requests are sent, and which are not."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from peaker.cli.measure_targets import (
    TARGETS_MAX,
    allowed_methods,
    read_body,
    targets_given,
    weighted_by_log,
)
from peaker.errors import SettingsError
from peaker.traffic.mix import Mix, Target
from peaker.traffic.reading import read_traffic
from peaker.traffic.requests import Traffic

LINE = '10.0.0.1 - - [01/May/2024:10:{:02d}:{:02d} +0000] "{} HTTP/1.1" 200 512 "-" "Mozilla/5.0"\n'
SAFE = allowed_methods(())


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Traffic:
    """Of ten requests five ask for /, three for a user, one for /about, one is a POST."""
    asked = ["GET /"] * 5 + ["GET /users/{}"] * 3 + ["GET /about", "POST /orders"]
    path = tmp_path_factory.mktemp("log") / "access.log"
    lines = [LINE.format(second // 60, second % 60, asked[second % 10].format(second)) for second in range(600)]
    path.write_text("".join(lines))
    return read_traffic([path])[0]


def test_get_and_head_are_sent_without_more_ado() -> None:
    assert targets_given(["/a", "HEAD /b:2"], SAFE) == [Target("GET", "/a"), Target("HEAD", "/b", 2.0)]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods_are_sent_only_when_allowed(method: str) -> None:
    with pytest.raises(SettingsError, match=f"{method} /a may change what your app keeps") as refused:
        targets_given([f"{method} /a"], SAFE)
    assert f"--method {method}" in refused.value.remedy
    assert targets_given([f"{method} /a"], allowed_methods([method.lower()])) == [Target(method, "/a")]


@pytest.mark.parametrize(
    ("paths", "says"),
    [
        (["nothing"], "is not"),
        (["/a:0"], "not above 0"),
        (["/a", "/a:2"], "GET /a stands twice"),
        ([f"/{number}" for number in range(TARGETS_MAX + 1)], f"allowed: 1 to {TARGETS_MAX}"),
    ],
)
def test_wrong_paths_are_refused(paths: list[str], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        targets_given(paths, SAFE)


def test_an_unknown_method_is_refused_with_those_there_are() -> None:
    with pytest.raises(SettingsError, match="'BREW' is not allowed; allowed: GET, HEAD"):
        allowed_methods(["BREW"])


def test_a_log_gives_its_plain_get_routes_with_their_weights(traffic: Traffic) -> None:
    chosen = weighted_by_log([], traffic, "access.log")
    assert [(target.method, target.path) for target in chosen.targets] == [("GET", "/"), ("GET", "/about")]
    assert chosen.targets[0].weight == pytest.approx(5 * chosen.targets[1].weight)
    assert len(chosen.notes) == 1
    assert "60%" in chosen.notes[0]
    assert "/users/{} (30%)" in chosen.notes[0]
    assert "/orders (10%)" in chosen.notes[0]


def test_a_path_given_beside_a_log_stands_for_its_route(traffic: Traffic) -> None:
    given = targets_given(["/users/7?full=1", "POST /orders"], allowed_methods(["POST"]))
    chosen = weighted_by_log(given, traffic, "access.log")
    weights = {f"{target.method} {target.path}": target.weight for target in chosen.targets}
    assert weights == pytest.approx({"GET /": 0.5, "GET /users/7?full=1": 0.3, "GET /about": 0.1, "POST /orders": 0.1})
    assert chosen.notes == ()


def test_a_path_that_the_log_does_not_know_is_refused(traffic: Traffic) -> None:
    with pytest.raises(SettingsError, match=r"/nowhere belongs to no route of access\.log"):
        weighted_by_log([Target("GET", "/nowhere")], traffic, "access.log")


def test_a_body_goes_with_the_methods_that_have_one(tmp_path: Path) -> None:
    file = tmp_path / "quote.json"
    file.write_bytes(b'{"n": 1}')
    body = read_body(file)
    mix = Mix([Target("POST", "/quote")], host="here", body=body)
    sent, _ = mix.draw(random.Random(1))
    head, _, after = sent.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /quote HTTP/1.1\r\n")
    assert b"content-length: 8" in head
    assert after == body
    plain, _ = Mix([Target("GET", "/quote")], host="here", body=body).draw(random.Random(1))
    assert plain.endswith(b"\r\n\r\n")
    assert b"content-length" not in plain


def test_a_body_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    assert read_body(None) == b""
    with pytest.raises(SettingsError, match="cannot be read"):
        read_body(tmp_path / "none")
