"""Each format by a few lines written here."""

import gzip
import io
import json
from pathlib import Path

import pytest

from peaker.errors import LogError
from peaker.traffic.reading import read_traffic
from peaker.traffic.requests import Kind, ReadingReport, Traffic

BROWSER = "Mozilla/5.0 (X11; Linux x86_64) Firefox/127.0"


def read(text: str | bytes, **options: object) -> tuple[Traffic, ReadingReport]:
    data = text.encode() if isinstance(text, str) else text
    traffic, report = read_traffic([io.BytesIO(data)], **options)  # type: ignore[arg-type]
    assert report.used + report.excluded + report.skipped + report.unreadable_count == report.lines
    assert traffic.trace.total == (report.used if traffic.routes else traffic.trace.total)
    return traffic, report


def epoch(traffic: Traffic) -> float:
    assert traffic.start_epoch_s is not None
    return traffic.start_epoch_s


COMMON = '10.1.1.1 - alice smith [31/Dec/2023:23:59:58 -0130] "GET /a/17?x=1 HTTP/1.1" 200 512'


def test_the_common_format_is_read_with_its_zone_and_a_name_with_a_blank() -> None:
    traffic, report = read(COMMON + "\n")
    assert list(report.formats) == ["common"]
    assert epoch(traffic) == 1704072598.0  # 2024-01-01T01:29:58Z
    assert traffic.zone == "-01:30"
    (route,) = traffic.routes
    assert (route.pattern, route.count, dict(route.methods), dict(route.status_classes)) == (
        "/a/{}", 1, {"GET": 1}, {2: 1},
    )  # fmt: skip
    assert route.response_bytes is not None
    assert route.response_bytes.mean == 512
    assert not traffic.source_has_times


def test_the_combined_format_is_read_with_escaped_quotes_and_an_agent() -> None:
    traffic, report = read(f'{COMMON} "-" "say \\"hi\\" {BROWSER}"\n{COMMON} "https://x/" "{BROWSER}"\r\n')
    assert (list(report.formats), report.used) == (["combined"], 2)
    assert traffic.trace.counts == (2,)


def test_the_virtual_host_before_the_line_is_read_over() -> None:
    _, report = read(f'shop.example:443 {COMMON} "-" "{BROWSER}"\n')
    assert list(report.formats) == ["vhost_combined"]


def test_times_after_a_combined_line_are_found_by_their_names_or_sizes() -> None:
    line = f'{COMMON} "-" "{BROWSER}"'
    named, _ = read(f'{line} rt=0.250 uct="0.001" urt="0.100, 0.050"\n' * 3)
    assert named.service_time is not None
    assert named.response_time is not None
    assert named.service_time.mean == pytest.approx(0.150)
    assert named.response_time.mean == pytest.approx(0.250)
    by_size, _ = read(f"{line} 0.020 0.300\n" * 3)
    assert by_size.service_time is not None
    assert by_size.service_time.mean == pytest.approx(0.020)
    apache, _ = read(f"{line} 12345\n" * 3)
    assert apache.service_time is not None
    assert apache.service_time.mean == pytest.approx(0.012345)
    assert apache.service_time_is.startswith("%D")
    unknown, _ = read(f'{line} "10.0.0.1" 3\n' * 3)
    assert unknown.service_time is None


def test_a_format_may_be_given_as_in_log_format() -> None:
    line = '2024-05-01T10:00:00+02:00|GET|/x?y=1|201|0.5|0.25|"agent"\n'
    traffic, _ = read(
        line, format='$time_iso8601|$request_method|$request_uri|$status|$request_time|$upstream_response_time|"$other"'
    )
    assert epoch(traffic) == 1714550400.0
    assert traffic.service_time is not None
    assert traffic.service_time.mean == 0.25
    assert dict(traffic.routes[0].status_classes) == {2: 1}


@pytest.mark.parametrize(
    "wrong", ["$remote_addr $status", "$time_local $msec $request", "$status [$time_local] $status"]
)
def test_a_log_format_without_exactly_one_time_is_refused(wrong: str) -> None:
    with pytest.raises(LogError, match="exactly one time"):
        read(COMMON, format=wrong)


NGINX_TIMED = (
    '10.1.1.{} - - [10/Nov/2023:00:01:02 +0800] "{} {} HTTP/1.1" {} 813 "shop.example" "-" - "{}" "-" {} {} {} {}\n'
)


def timed(
    times: str = "0.02", full: str = "0.03", *, status: int = 200, upstream: str = "200", agent: str = BROWSER,
    method: str = "GET", path: str = "/a", host: int = 1,
) -> str:  # fmt: skip
    address = "10.0.0.1:80" if upstream != "-" else "-"
    if ", " in upstream:
        address = "10.0.0.1:80, 10.0.0.2:80"
    return NGINX_TIMED.format(host, method, path, status, agent, address, upstream, times, full)


def test_the_apps_own_time_is_used_and_tries_are_summed() -> None:
    traffic, report = read(timed() + timed("0.1, 0.3", "0.5", upstream="502, 200"))
    assert list(report.formats) == ["nginx_timed"]
    assert traffic.service_time is not None
    assert traffic.service_time.total == pytest.approx(0.42)
    assert traffic.response_time is not None
    assert traffic.response_time.largest == 0.5
    assert "upstream_response_time" in traffic.service_time_is


def test_what_is_no_load_is_left_out_with_the_rule_that_said_so() -> None:
    lines = [timed(path=f"/p{i % 7}", host=i % 9) for i in range(50)]
    lines += [timed("-", "0.000", status=301, upstream="-", method="HEAD", path="/", agent="curl/8", host=200)] * 30
    lines += [timed("277.4", "277.4", status=101, upstream="101", path="/ws")] * 5
    lines += [timed("-", "0.001", status=404, upstream="-", path="/nothing")] * 3
    lines += [timed(agent="ELB-HealthChecker/2.0")] * 4
    lines += [timed(path="/healthz")] * 2
    lines += [timed("30.0", "30.0", path="/socket.io/1/xhr-polling/x")] * 6
    traffic, report = read("".join(lines))
    assert report.used == 50
    assert {kind: traffic.excluded_count(kind) for kind in Kind} == {
        Kind.HEALTH_CHECK: 36, Kind.WEBSOCKET: 5, Kind.NOT_PASSED_ON: 3, Kind.EVENT_STREAM: 6, Kind.NO_REQUEST: 0,
    }  # fmt: skip
    assert all(each.rule for each in traffic.excluded)
    assert traffic.service_time is not None
    assert traffic.service_time.largest == 0.02
    (websockets,) = [each for each in traffic.excluded if each.kind is Kind.WEBSOCKET]
    assert websockets.open_time is not None
    assert websockets.open_time.largest == 277.4


def test_a_person_who_sends_a_few_heads_is_load() -> None:
    lines = [timed(method="HEAD", path="/page", host=7)] * 3 + [timed()] * 10
    traffic, report = read("".join(lines))
    assert report.excluded == 0
    assert traffic.methods == {"GET": 10, "HEAD": 3}


def test_answers_of_500_and_above_count_as_load_but_not_as_service_times() -> None:
    traffic, report = read(timed() * 3 + timed("0.001", "0.001", status=502, upstream="502"))
    assert report.used == 4
    assert traffic.service_time is not None
    assert traffic.service_time.count == 3
    assert traffic.status_share(5) == 0.25


def test_a_line_without_an_http_request_is_told_apart() -> None:
    tls = COMMON.replace("GET /a/17?x=1 HTTP/1.1", "\\x16\\x03\\x01\\x02").replace(" 200 ", " 400 ")
    empty = COMMON.replace("GET /a/17?x=1 HTTP/1.1", "-").replace(" 200 ", " 408 ")
    traffic, report = read("\n".join([COMMON] * 5 + [tls, empty]))
    assert (report.used, traffic.excluded_count(Kind.NO_REQUEST)) == (5, 2)


def test_json_of_nginx_is_read_by_the_usual_names() -> None:
    entry = {
        "time_iso8601": "2024-01-01T00:00:00+00:00", "remote_addr": "10.0.0.1", "request": "POST /u/9?q HTTP/1.1",
        "status": "503", "request_time": "0.5", "upstream_response_time": "0.25, 0.125", "body_bytes_sent": "77",
    }  # fmt: skip
    traffic, _ = read(json.dumps(entry) + "\n" + json.dumps(entry | {"status": "200"}) + "\n")
    assert traffic.routes[0].pattern == "/u/{}"
    assert traffic.methods == {"POST": 2}
    assert traffic.service_time is not None
    assert (traffic.service_time.count, traffic.service_time.mean) == (1, 0.375)
    assert traffic.response_bytes is not None
    assert traffic.response_bytes.mean == 77


def test_json_of_caddy_and_an_event_stream_in_it() -> None:
    def entry(kind: str, duration: float) -> str:
        request = {"remote_ip": "1.2.3.4", "method": "GET", "uri": "/beta/?a=b", "headers": {"User-Agent": [BROWSER]}}
        return json.dumps({
            "level": "info", "ts": 1703373474.81, "request": request, "bytes_read": 3, "duration": duration,
            "size": 36, "status": 200, "resp_headers": {"Content-Type": [kind]},
        })  # fmt: skip

    traffic, report = read("\n".join([entry("text/html", 0.001)] * 2 + [entry("text/event-stream", 90.0)]))
    assert (report.used, traffic.excluded_count(Kind.EVENT_STREAM)) == (2, 1)
    assert traffic.service_time is not None
    assert traffic.service_time.largest == 0.001
    assert epoch(traffic) == 1703373474.0


def test_json_of_traefik_has_nanoseconds_and_its_own_time_of_the_app() -> None:
    entry = {
        "ClientHost": "1.2.3.4", "DownstreamStatus": 200, "DownstreamContentSize": 15, "Duration": 20_000_000,
        "OriginDuration": 10_000_000, "RequestMethod": "GET", "RequestPath": "/my/app", "RequestContentSize": 4,
        "StartUTC": "2023-08-11T11:39:21.773360139Z", "time": "2023-08-11T11:41:25Z",
    }  # fmt: skip
    traffic, _ = read(json.dumps(entry))
    assert epoch(traffic) == 1691753961.0
    assert traffic.service_time is not None
    assert traffic.service_time.mean == pytest.approx(0.01)
    assert traffic.response_time is not None
    assert traffic.response_time.mean == pytest.approx(0.02)


def test_json_of_api_gateway_and_of_lambda() -> None:
    gateway = {
        "requestTime": "09/Apr/2024:12:34:56 +0000", "httpMethod": "GET", "resourcePath": "/pets/{id}", "status": "200",
        "ip": "1.2.3.4", "responseLength": "20", "integrationLatency": "40", "responseLatency": "45",
    }  # fmt: skip
    traffic, _ = read(json.dumps(gateway))
    assert traffic.service_time is not None
    assert traffic.service_time.mean == pytest.approx(0.04)
    assert traffic.routes[0].pattern == "/pets/{}"
    metrics = {
        "durationMs": 101.5,
        "billedDurationMs": 300,
        "memorySizeMB": 512,
        "maxMemoryUsedMB": 33,
        "initDurationMs": 116.7,
    }
    report = {"time": "2024-03-13T18:56:24.046Z", "type": "platform.report", "record": {"metrics": metrics}}
    start = {"time": "2024-03-13T18:56:23Z", "type": "platform.start", "record": {}}
    traffic, account = read(json.dumps(start) + "\n" + json.dumps(report) + "\n")
    assert (account.used, account.skipped) == (1, 1)
    assert traffic.functions is not None
    assert (traffic.functions.memory_mb, traffic.functions.cold_starts) == (512, 1)
    assert traffic.service_time is not None
    assert traffic.service_time.mean == pytest.approx(0.1015)


ALB = (
    '{} 2024-07-02T22:23:00.186641Z app/lb/50dc6c 192.168.131.39:2817 10.0.0.1:80 0.001 {} 0.002 {} {} 34 366 '
    '"GET https://www.example.com:443/u/7?x=1 HTTP/1.1" "curl/8" - - arn:aws:x "Root=1-5833" "-" "-" 0 '
    '2024-07-02T22:22:48.364000Z "forward" "-" "-" "10.0.0.1:80" "200" "-" "-"{}\n'
)  # fmt: skip


@pytest.mark.parametrize("more", ["", ' TID_1234 "new" 7 "-"'])
def test_alb_lines_are_read_with_any_number_of_fields_after_them(more: str) -> None:
    text = ALB.format("https", "0.086", 200, 200, more) * 2
    text += ALB.format("wss", "9.0", 101, 101, more)
    text += ALB.format("http", "-1", 301, "-", more)
    text += ALB.format("http", "-1", 504, "-", more)
    traffic, report = read(text)
    assert (list(report.formats), report.used) == (["alb"], 3)
    assert traffic.excluded_count(Kind.WEBSOCKET) == 1
    assert traffic.excluded_count(Kind.NOT_PASSED_ON) == 1
    assert traffic.service_time is not None
    assert (traffic.service_time.count, traffic.service_time.mean) == (2, pytest.approx(0.086))
    assert traffic.routes[0].pattern == "/u/{}"
    assert traffic.request_bytes is not None
    assert traffic.request_bytes.mean == 34
    assert (epoch(traffic), traffic.zone) == (1719958980.0, "UTC")


def test_alb_lines_of_the_first_years_with_fewer_fields() -> None:
    short = ALB.format("http", "0.01", 200, 200, "").split(" - - arn")[0] + " - -\n"
    assert read(short)[1].used == 1


def test_classic_elb_lines_and_a_tcp_line_among_them() -> None:
    line = (
        '2024-05-13T23:39:43.945958Z lb 1.2.3.4:2817 10.0.0.1:80 0.00008 0.25 0.0013 200 200 0 57 '
        '"GET https://www.example.com:443/a HTTP/1.1" "curl/8" DHE-RSA-AES128-SHA TLSv1.2\n'
    )  # fmt: skip
    tcp = '2024-05-13T23:39:44.000000Z lb 1.2.3.4:2817 10.0.0.1:80 0.001 0.00002 0.00004 - - 82 305 "- - - " "-" - -\n'
    traffic, report = read(line + tcp)
    assert (list(report.formats), report.used, report.excluded) == (["elb"], 1, 1)
    assert traffic.service_time is not None
    assert traffic.service_time.mean == 0.25


def test_cloudfront_fields_are_taken_from_its_header_and_hits_did_not_reach_the_app() -> None:
    head = (
        "#Version: 1.0\n#Fields: date time x-edge-location sc-bytes c-ip cs-method cs-uri-stem sc-status "
        "cs(User-Agent) x-edge-result-type cs-bytes time-taken time-to-first-byte\n"
    )
    row = "2024-12-04\t21:02:31\tLAX1\t392\t192.0.2.1\tGET\t/i/5\t200\tMozilla/5.0\t{}\t23\t0.5\t0.25\n"
    traffic, report = read(head + row.format("Hit") + row.format("Miss") * 2)
    assert (list(report.formats), report.skipped, report.used) == (["cloudfront"], 2, 2)
    assert traffic.excluded_count(Kind.NOT_PASSED_ON) == 1
    assert traffic.service_time is not None
    assert traffic.service_time.mean == 0.25
    assert epoch(traffic) == 1733346151.0


def test_s3_haproxy_lambda_and_api_gateway_csv_lines() -> None:
    s3 = (
        f'{"a" * 64} bucket [10/Feb/2024:16:42:07 -0500] 1.2.3.4 arn:aws:iam::1:user/x EB35 REST.GET.OBJECT a.jpg '
        '"GET /a.jpg HTTP/1.1" 200 - 368 368 100 90 "-" "curl/8" - extra\n'
    )  # fmt: skip
    traffic, _ = read(s3)
    assert epoch(traffic) == 1707601327.0
    assert traffic.service_time is not None
    assert traffic.service_time.mean == pytest.approx(0.09)
    haproxy = (
        "Sep 25 06:05:27 host haproxy[6801]: 4.3.2.1:55008 [25/Sep/2024:06:05:27.584] ft~ bk/abc 0/0/0/72/80 200 7456 "
        '- - ---- 5/4/0/1/0 0/0 {a|b} "POST /user/ HTTP/1.1"\n'
    )
    traffic, report = read(
        haproxy + haproxy.replace("bk/abc 0/0/0/72", "bk/<NOSRV> 0/-1/-1/-1").replace(" 200 ", " 403 ")
    )
    assert (report.used, traffic.excluded_count(Kind.NOT_PASSED_ON)) == (1, 1)
    assert traffic.service_time is not None
    assert traffic.service_time.mean == pytest.approx(0.072)
    lines = (
        "2024-01-31T10:00:00.123000+00:00 START RequestId: 55bc566d-1e2c\n"
        "2024-01-31T10:00:00.500000+00:00 REPORT RequestId: 55bc566d-1e2c\tDuration: 469.40 ms\tBilled Duration: 500 ms"
        "\tMemory Size: 1024 MB\tMax Memory Used: 21 MB\tInit Duration: 100.99 ms\n"
    )
    traffic, report = read(lines)
    assert (report.used, report.skipped) == (1, 1)
    assert traffic.functions is not None
    assert traffic.functions.init_time.largest == pytest.approx(0.10099)
    with pytest.raises(LogError, match="no time on the line"):
        read(lines.replace("2024-01-31T10:00:00.500000+00:00 ", "").split("\n")[1])
    csv = "1.2.3.4,-,-,09/Apr/2024:12:34:56 +0000,GET,/pets,HTTP/1.1,200,20,abc-1\n"
    assert list(read(csv)[1].formats) == ["api_gateway_csv"]


@pytest.mark.parametrize(
    ("text", "seconds", "mean"),
    [
        ("timestamp,duration_ms,path\n1700000000,20,/a/1\n1700000001,40,/a/2\n", 2, 0.03),
        ("time,latency\n2023-11-14T22:13:20Z,0.5\n2023-11-14T22:13:20Z,1.5\n", 1, 1.0),
        ("1700000000000,0.25\n1700000002500,0.75\n", 3, 0.5),
        ("timestamp\n1700000000\n1700000004\n", 5, None),
    ],
)
def test_a_table_of_requests_tells_its_columns_in_its_header(text: str, seconds: int, mean: float | None) -> None:
    traffic, report = read(text)
    assert (list(report.formats), report.used, report.unreadable_count) == (["requests_csv"], 2, 0)
    assert len(traffic.trace.counts) == seconds
    assert epoch(traffic) == 1700000000.0
    if mean is None:
        assert traffic.service_time is None
    else:
        assert traffic.service_time is not None
        assert traffic.service_time.mean == pytest.approx(mean)


def test_a_log_in_no_known_format_says_what_to_do() -> None:
    with pytest.raises(LogError, match="--format"):
        read("what is this\nnobody knows\n")
    with pytest.raises(LogError, match="no format 'nginks'; there are: nginx_timed, combined"):
        read(COMMON, format="nginks")


def test_gzip_is_known_by_its_bytes_not_its_name(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_bytes(gzip.compress(COMMON.encode() * 1) + gzip.compress(f"\n{COMMON}\n".encode()))
    assert read_traffic([path])[1].used == 2
