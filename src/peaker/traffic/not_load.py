"""Which requests are no load, by rules that are told to the user with their counts."""

from __future__ import annotations

import re

HEALTH_AGENT = re.compile(
    rb"ELB-HealthChecker|kube-probe|GoogleHC|Google-Cloud-Scheduler-Probe|Amazon-Route53-Health|HAProxy|Consul Health"
    rb"|UptimeRobot|Pingdom|StatusCake|Site24x7|NewRelicPinger|Datadog/Synthetics|Blackbox[ -]Exporter|check_http"
    rb"|Zabbix|Better ?Uptime|Uptime-Kuma|Envoy/HC|AlwaysOn|Checkly|Freshping|HetrixTools|updown\.io|GatusHealth"
    rb"|Edge Health Probe|Load Balancer Agent",
    re.IGNORECASE,
)
"""Programs that ask whether a server is up, by the name they send."""

HEALTH_PATH = re.compile(
    rb"/(?:[\w-]+/)?(?:_?health[-_]?(?:z|check|checks)?|livez|readyz|_?liveness|_?readiness|live|ready|_?ping|up|"
    rb"_?status|heartbeat|__heartbeat__|__lbheartbeat__|alive|elb-status|lb-?check|nginx_status|server-status|"
    rb"actuator/health(?:/\w+)?)(?:\.(?:html?|php|json|txt))?/?",
    re.IGNORECASE,
)
"""Paths that are there to be asked so; only GET and HEAD of them count as health checks."""

STREAM_PATH = re.compile(
    rb"/(?:sse|event-?stream|events?/stream|stream|long-?poll(?:ing)?|poll(?:ing)?|xhr-polling|comet|subscribe|lp|"
    rb"sockjs|socket\.io|signalr|eventsource|htmlfile)(?:/|$)",
    re.IGNORECASE,
)
STREAM_S_MIN = 5.0
"""A request to such a path that stays open this long is held, not served."""

AGENT_RULE = "the client calls itself a health checker"
PATH_RULE = "GET or HEAD of a path that is named for health checks"
PROBE_RULE = "HEAD of one path by one address, again and again"
UPGRADE_RULE = "status 101 or a ws target: an upgraded connection"
STREAM_RULE = f"a path named for streams or polling, open for {STREAM_S_MIN:g} s or longer"
EVENTS_RULE = "content type text/event-stream"
NO_REQUEST_RULE = "the request line is empty, or no HTTP"
NOT_PASSED_ON_RULE = "answered before it came to the app"

PROBES_MIN = 20
"""HEADs of one path by one address before they are a probe."""

PROBE_SHARE_MIN = 0.5
"""Share of the minutes between the first and the last in which a probe was there."""


def is_probe(count: int, minutes_seen: int, first_s: float, last_s: float) -> bool:
    """Whether HEADs of one path by one address are somebody asking whether the server is up."""
    minutes = last_s // 60 - first_s // 60 + 1
    return count >= PROBES_MIN and minutes_seen >= PROBE_SHARE_MIN * minutes
