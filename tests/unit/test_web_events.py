"""Events and results in the shapes AWS sends them, and the limits of what fits in one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from peaker.errors import MalformedEvent, PayloadTooLarge
from peaker.messages import Request, Response, RunNotes
from peaker.wire import alb, http_api

EVENTS = Path(__file__).parents[1] / "golden" / "events"


def golden(name: str) -> Any:
    return json.loads((EVENTS / name).read_text(encoding="utf-8"))


def test_an_api_gateway_event_becomes_the_request_its_client_made() -> None:
    """The gateway decoded the path, joined the cookies and put its stage in front."""
    request = http_api.event_to_request(golden("http_api_get.json"))
    scope = http_api.request_to_scope(request)

    assert (scope["method"], scope["path"], scope["root_path"]) == ("GET", "/live/shows/café noir", "/live")
    assert request.raw_path == b"/live/shows/caf%C3%A9%20noir"
    assert request.query_string == b"season=1&season=2&dub="
    assert (b"cookie", b"session=abc; theme=dark") in request.headers
    assert (request.client, request.scheme, request.http_version) == (("203.0.113.9", 0), "https", "1.1")
    assert request.server == ("abcde12345.execute-api.eu-west-1.amazonaws.com", 443)
    assert dict(request.headers)[b"accept"] == b"*/*"


def test_a_function_url_event_keeps_its_encoded_path_its_binary_body_and_one_cookie_header() -> None:
    request = http_api.event_to_request(golden("function_url_post.json"))

    assert (request.raw_path, request.body) == (b"/upload%2Fnow", b"\xff\x00\x80\x40")
    assert [value for name, value in request.headers if name == b"cookie"] == [b"session=abc; theme=dark"]


def test_an_alb_event_with_single_values_is_taken_by_either_reader() -> None:
    event = golden("alb_single_value.json")

    request = http_api.event_to_request(event)

    assert request == alb.event_to_request(event)
    assert (request.method, request.raw_path, request.query_string) == ("POST", b"/shows%2Fnew", b"tag=b%26c&empty=")
    assert request.body == b"name=caf%C3%A9"
    assert (request.client, request.scheme) == (("203.0.113.9", 0), "http")
    assert request.server == ("shows-1.eu-west-1.elb.amazonaws.com", 8080)


def test_an_alb_event_with_multiple_values_keeps_repeated_headers_and_query_keys() -> None:
    request = alb.event_to_request(golden("alb_multi_value.json"))

    assert request.query_string == b"tag=a&tag=b%26c&empty="
    assert [value for name, value in request.headers if name == b"via"] == [b"1.1 a", b"1.1 b"]
    assert request.body == b""


def test_a_hand_written_result_is_read_as_api_gateway_reads_it() -> None:
    response, notes = http_api.result_to_response((EVENTS / "lambda_result.json").read_bytes())

    assert response.status == 201
    assert response.headers == (
        (b"content-type", b"application/json"),
        (b"x-count", b"3"),
        (b"x-flag", b"true"),
        (b"vary", b"accept"),
        (b"vary", b"cookie"),
        (b"set-cookie", b"a=1; Expires=Tue, 21 Oct 2025 07:48:00 GMT"),
        (b"set-cookie", b"b=2; Max-Age=60"),
    )
    assert (response.body, notes) == (b'{"saved": true}', RunNotes())


@pytest.mark.parametrize(
    ("result", "body"),
    [(b'"Hello"', b"Hello"), (b'{"message": "Hello"}', b'{"message":"Hello"}'), (b"[1]", b"[1]"), (b"null", b"null")],
)
def test_a_result_without_a_status_code_is_the_body_itself(result: bytes, body: bytes) -> None:
    response, _ = http_api.result_to_response(result)

    assert (response.status, response.body) == (200, body)
    assert (b"content-type", b"application/json") in response.headers


def test_a_balancer_prefers_multi_value_headers_and_refuses_a_result_without_status() -> None:
    response, _ = alb.result_to_response((EVENTS / "alb_result.json").read_bytes())

    assert [value for name, value in response.headers if name == b"set-cookie"] == [
        b"a=1;Secure",
        b"b=2;Expires=Tue, 21 Oct 2025 07:48:00 GMT",
    ]
    with pytest.raises(MalformedEvent, match="statusCode"):
        alb.result_to_response(b'{"body": "Hello"}')


def test_several_cookies_survive_the_single_value_mode_of_a_balancer() -> None:
    cookies = tuple((b"set-cookie", b"c%d=1" % number) for number in range(512))
    response = Response(status=200, headers=((b"vary", b"a"), (b"vary", b"b"), *cookies))

    result = json.loads(alb.response_to_result(response, multi_value=False))

    assert result["headers"].pop("vary") == "a,b"
    assert {name.lower() for name in result["headers"]} == {"set-cookie"}
    assert sorted(result["headers"].values()) == sorted(value.decode() for _, value in cookies)
    assert "peaker" not in result
    one_more = Response(status=200, headers=(*cookies, (b"set-cookie", b"x=1")))
    with pytest.raises(PayloadTooLarge, match="512"):
        alb.response_to_result(one_more, multi_value=False)


@pytest.mark.parametrize(
    ("event", "keys"),
    [
        ("http_api_get.json", {"headers", "cookies", "peaker"}),
        ("alb_single_value.json", {"headers", "statusDescription"}),
        ("alb_multi_value.json", {"multiValueHeaders", "statusDescription"}),
    ],
)
def test_a_result_has_the_format_of_the_event_it_answers(event: str, keys: set[str]) -> None:
    response = Response(status=200, headers=((b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")))

    result = json.loads(http_api.result_for(golden(event), response, RunNotes()))

    assert set(result) == {"statusCode", "isBase64Encoded", "body"} | keys
    assert "a=1" in str(result)
    assert "b=2" in str(result)


def test_a_spilled_request_reads_as_an_ordinary_event_to_code_that_knows_payload_2_0() -> None:
    request = Request(
        method="GET",
        raw_path=b"/a%2Fb",
        query_string=b"x=1&x=2&y=%26",
        headers=((b"host", b"shop.example.com"), (b"cookie", b"a=1; b=2"), (b"accept", b"p"), (b"accept", b"q")),
        client=("192.0.2.1", 4711),
        server=("127.0.0.1", 8000),
    )

    event = json.loads(http_api.request_to_event(request, request_id="r-1", epoch_s=1_736_673_262.5))

    assert event["rawPath"] == "/a%2Fb"
    assert event["queryStringParameters"] == {"x": "1,2", "y": "&"}
    assert event["cookies"] == ["a=1", "b=2"]
    assert event["headers"] == {"host": "shop.example.com", "accept": "p,q"}
    context = event["requestContext"]
    assert (context["requestId"], context["timeEpoch"]) == ("r-1", 1_736_673_262_500)
    assert context["time"] == "12/Jan/2025:09:14:22 +0000"
    assert context["http"]["sourceIp"] == "192.0.2.1"
    golden_event = golden("http_api_get.json")
    assert set(event) - {"body"} <= set(golden_event)
    assert set(context) - {"peaker"} <= set(golden_event["requestContext"])
    assert set(context["http"]) == set(golden_event["requestContext"]["http"])


@pytest.mark.parametrize(
    ("broken", "key"),
    [
        ({"version": "1.0"}, "version"),
        ({"rawPath": None}, "rawPath"),
        ({"rawPath": 7}, "rawPath"),
        ({"headers": {"accept": 3}}, "headers.accept"),
        ({"cookies": "a=1"}, "cookies"),
        ({"requestContext": {}}, "requestContext.http"),
        ({"requestContext": {"http": {"path": "/"}}}, "requestContext.http.method"),
        ({"requestContext": {"elb": {}}}, "path"),
        ({"isBase64Encoded": True, "body": "not base64"}, "body"),
        ({"isBase64Encoded": "yes"}, "isBase64Encoded"),
    ],
)
def test_a_malformed_event_is_refused_by_the_name_of_its_key(broken: dict[str, Any], key: str) -> None:
    event = golden("http_api_get.json") | broken
    if broken.get("rawPath", "") is None:
        del event["rawPath"]

    with pytest.raises(MalformedEvent) as refusal:
        http_api.event_to_request(event)

    assert str(refusal.value).startswith(f"{key} is ")


def test_text_goes_as_it_is_binary_as_base64_and_text_that_escapes_badly_too() -> None:
    def sent(body: bytes) -> Any:
        request = Request(method="POST", raw_path=b"/", body=body)
        return json.loads(http_api.request_to_event(request, request_id="r", epoch_s=0.0))

    assert (sent("é".encode())["body"], sent("é".encode())["isBase64Encoded"]) == ("é", False)
    assert (sent(b"\xff")["body"], sent(b"\xff")["isBase64Encoded"]) == ("/w==", True)
    # Control characters are six bytes each in JSON: 2 MB of them fit as base64 only.
    assert sent(b"\x01" * 2_000_000)["isBase64Encoded"]


def test_a_request_or_response_over_the_limit_is_refused_with_its_size() -> None:
    over = b"\xff" * 4_800_000
    with pytest.raises(PayloadTooLarge, match="request is 6,400,"):
        http_api.request_to_event(Request(method="POST", raw_path=b"/", body=over), request_id="r", epoch_s=0.0)
    with pytest.raises(PayloadTooLarge, match="response is 6,400,"):
        http_api.response_to_result(Response(status=200, body=over), RunNotes())
    request = Request(method="POST", raw_path=b"/", body=b"x" * 1_048_577)
    with pytest.raises(PayloadTooLarge, match="ALB"):
        alb.request_to_event(request, request_id="r", epoch_s=0.0)
    with pytest.raises(PayloadTooLarge, match="1,048,576"):
        alb.response_to_result(Response(status=200, body=b"x" * 1_048_576))


def test_the_largest_body_a_setting_allows_fits_in_an_event_with_full_headers() -> None:
    headers = tuple((b"x-%d" % number, b"v" * 1000) for number in range(64))
    request = Request(method="POST", raw_path=b"/", headers=headers, body=b"\xff" * http_api.BODY_BYTES_MAX)

    assert len(http_api.request_to_event(request, request_id="r", epoch_s=0.0)) <= http_api.EVENT_BYTES_MAX


def test_a_scope_of_another_server_without_raw_path_is_taken_by_its_path() -> None:
    scope = {"type": "http", "http_version": "1.1", "method": "GET", "path": "/é/a%?#", "headers": []}

    request = http_api.scope_to_request(scope, b"")

    assert request.raw_path == b"/%C3%A9/a%25%3F%23"
    assert http_api.request_to_scope(request)["path"] == "/é/a%?#"
