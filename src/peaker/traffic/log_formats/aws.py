"""What AWS writes line by line: load balancers, CloudFront, S3, Lambda reports, API Gateway; and HAProxy.

Fields and units are those of AWS's own pages ("Access logs for your Application Load Balancer", "Standard log file
fields", "Amazon S3 server access log format") and of HAProxy's configuration manual, section 8.2.3.
"""

from __future__ import annotations

import re

from peaker.traffic.log_formats.pattern import QUOTED, REQUEST, PatternFormat

_UTC_SECOND = rb"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)[.\d]*+Z?"

ALB = PatternFormat(
    name="alb",
    # type time elb client target request_s target_s response_s elb_status target_status received sent "request" "agent"
    pattern=rb"(?P<upgrade>[a-z0-9]++) " + _UTC_SECOND + rb" app/[^ \n]++ (?P<client>[^ \n]*?)(?::\d+)? [^ \n]++ "
    rb"(?:[^ \n]++) (?P<service>[^ \n]++) (?:[^ \n]++) (?P<status>\d{3}|-) (?P<reached>[^ \n]++) "
    rb"(?P<request_bytes>\d++) (?P<response_bytes>\d++) " + REQUEST + rb' "(?P<agent>' + QUOTED + rb')"(?: .*+)?',
    time="utc",
    service_time_is="target_processing_time: from the request sent to the target to the target's response headers",
    not_passed_on=frozenset((b"-",)),
    passed_on_rule="target status '-' and no server error: the load balancer answered by itself",
    upgrades=frozenset((b"ws", b"wss")),
)  # fmt: skip

ELB = PatternFormat(
    name="elb",
    pattern=_UTC_SECOND + rb" [^ \n]++ (?P<client>[^ \n]*?)(?::\d+)? [^ \n]++ [^ \n]++ (?P<service>[^ \n]++) "
    rb"[^ \n]++ (?P<status>\d{3}|-) (?P<reached>[^ \n]++) (?P<request_bytes>\d++) (?P<response_bytes>\d++) "
    + REQUEST + rb' "(?P<agent>' + QUOTED + rb')"(?: .*+)?',
    time="utc",
    service_time_is="backend_processing_time: from the request sent to the instance to its response headers",
    not_passed_on=frozenset((b"-",)),
    passed_on_rule="backend status '-' and no server error: the load balancer answered by itself",
)  # fmt: skip

S3 = PatternFormat(
    name="s3",
    pattern=rb"[0-9a-f]{64} [^ \n]++ \[(?P<time>[^\]\n]++)\] (?P<client>[^ \n]++) (?:[^ \n]++ ){4}"
     rb"(?:" + REQUEST + rb"|-) (?P<status>\d{3}|-) [^ \n]++ (?P<response_bytes>[^ \n]++) [^ \n]++ "
    rb'(?P<response>[^ \n]++) (?P<service>[^ \n]++) [^ \n]++ "(?P<agent>' + QUOTED + rb')"(?: .*+)?',
    seconds={"response": 1e-3, "service": 1e-3},
    service_time_is="turn-around time: what S3 took from the request's last byte to the response's first",
)  # fmt: skip

HAPROXY = PatternFormat(
    name="haproxy",
    pattern=rb"(?:.*?haproxy\[\d+\]: )?(?P<client>[^ \n\[]+?):\d+ "
    rb"\[(?P<time>\d{1,2}/[A-Za-z]{3}/\d{4}:\d\d:\d\d:\d\d)[.\d]*+\] "
    rb"[^ \n]++ [^ \n]*?/(?P<reached>[^ /\n]++) "
    rb"-?\d+/-?\d+/-?\d+/(?P<service>-?\d+)/\+?(?P<response>-?\d+) (?P<status>\d{3}|-1) "
    rb"\+?(?P<response_bytes>\d++) (?:[^ \n]++ ){3}[^ \n]++ [^ \n]++ (?:\{[^\n]*?\} ){0,2}" + REQUEST,
    seconds={"response": 1e-3, "service": 1e-3},
    service_time_is="Tr: from the request sent to the server to the server's response headers",
    not_passed_on=frozenset((b"<NOSRV>", b"<STATS>")),
    passed_on_rule="server <NOSRV> or <STATS>: HAProxy answered by itself",
)

LAMBDA = PatternFormat(
    name="lambda",
    pattern=rb"(?:[^\n]*?(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:[.,]\d+)?(?:Z|[+-]00:?00)?[^\n]*?)?"
    rb"REPORT RequestId: [0-9a-f-]++\s++Duration: (?P<service>[\d.]++) ms\s++Billed Duration: \d++ ms\s++"
    rb"Memory Size: (?P<memory>\d++) MB\s++Max Memory Used: (?P<memory_used>\d++) MB"
    rb"(?:\s++(?:Init|Restore) Duration: (?P<init>[\d.]++) ms)?[^\n]*",
    time="utc",
    seconds={"service": 1e-3},
    service_time_is="Duration: what the handler took, without initialisation",
    needs="service",
    skips_others=True,
)

API_GATEWAY_CSV = PatternFormat(
    name="api_gateway_csv",
    # The console's CSV: ip,caller,user,requestTime,httpMethod,resourcePath,protocol,status,responseLength,requestId
    pattern=rb"(?P<client>[^,\n]++),[^,\n]*+,[^,\n]*+,(?P<time>\d[^,\n]++),(?P<method>[A-Z]++),"
    rb"(?P<target>[^,?\n]*+)[^,\n]*+,[^,\n]++,(?P<status>\d{3}),(?P<response_bytes>[^,\n]++)(?:,[^\n]*+)?",
)

_CLOUDFRONT_DEFAULT = (
    "date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent) "
    "cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header cs-protocol cs-bytes time-taken"
)
_CLOUDFRONT_GROUPS = {
    "sc-bytes": b"response_bytes",
    "c-ip": b"client",
    "cs-method": b"method",
    "cs-uri-stem": b"target",
    "sc-status": b"status",
    "cs(User-Agent)": b"agent",
    "x-edge-result-type": b"reached",
    "cs-bytes": b"request_bytes",
    "time-taken": b"response",
    "time-to-first-byte": b"service",
}

_FROM_CACHE = frozenset((b"Hit", b"Redirect", b"LimitExceeded", b"CapacityExceeded", b"FunctionGeneratedResponse"))


def cloudfront(sample: bytes) -> PatternFormat:
    """Standard logs, with the fields that the sample's `#Fields` line names, else the first nineteen."""
    header = re.search(rb"^#Fields: (.+)$", sample, re.MULTILINE)
    fields = (header[1].decode("latin-1") if header else _CLOUDFRONT_DEFAULT).split()
    parts = []
    for name in fields:
        if name == "date":
            parts.append(rb"(?P<time>\d{4}-\d\d-\d\d\t\d\d:\d\d:\d\d)")
        elif name in _CLOUDFRONT_GROUPS:
            parts.append(rb"(?P<" + _CLOUDFRONT_GROUPS[name] + rb">[^\t\r\n]++)")
        elif name != "time":
            parts.append(rb"[^\t\r\n]*+")
    first_byte = "time-to-first-byte" in fields
    return PatternFormat(
        name="cloudfront",
        pattern=rb"\t".join(parts) + rb"(?:\t[^\n]*)?",
        time="utc",
        service_time_is=(
            "time-to-first-byte: nearest to the origin's own time" if first_byte else
            "time-taken: the only time there is; it includes sending to the client"
        ),
        not_passed_on=_FROM_CACHE,
        passed_on_rule="result Hit or Redirect: CloudFront answered by itself",
    )  # fmt: skip
