"""EventBridge: the event of a schedule, and of anything else on a bus.

Source: Amazon EventBridge User Guide, "Events" (structure) and "Scheduled Event".
"""

from __future__ import annotations

from collections.abc import Sequence

from peaker.messages import JSONValue
from peaker.wire.aws_event import time_s

SCHEDULED = "Scheduled Event"


def event(
    detail_type: str,
    source: str,
    detail: JSONValue,
    *,
    event_id: str,
    epoch_s: float,
    account: str,
    region: str,
    resources: Sequence[str] = (),
) -> JSONValue:
    """An event of a bus; `epoch_s` is when it happened."""
    return {
        "version": "0",
        "id": event_id,
        "detail-type": detail_type,
        "source": source,
        "account": account,
        "time": time_s(epoch_s),
        "region": region,
        "resources": list(resources),
        "detail": detail,
    }


def scheduled(rule: str, *, event_id: str, epoch_s: float, account: str, region: str) -> JSONValue:
    """The event of a schedule named `rule` for the moment `epoch_s`, which is when it was due."""
    return event(
        SCHEDULED,
        "aws.events",
        {},
        event_id=event_id,
        epoch_s=epoch_s,
        account=account,
        region=region,
        resources=[f"arn:aws:events:{region}:{account}:rule/{rule}"],
    )
