"""Which trace an object, a message or a notification belongs to, so that functions that start each other by them end.

AWS's SDKs send the trace of the run they are in with every call (X-Amzn-Trace-Id), and SQS gives it on with the
message, as the system attribute AWSTraceHeader. moto does not, so it is remembered here from call to message. What
starts a function comes by a message; in it stands which object or notification it tells of.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_plus

REMEMBERED_MAX = 10_000
ATTRIBUTE = "AWSTraceHeader"
_MESSAGE_ID = re.compile(rb'<MessageId>([^<]+)</MessageId>|"MessageId":\s*"([^"]+)"')


class Traces:
    """The newest REMEMBERED_MAX traces, by what was made in them."""

    def __init__(self) -> None:
        self._by_name: OrderedDict[str, str] = OrderedDict()

    def remember(self, path: str, headers: Mapping[str, str], answer: bytes) -> None:
        """A call that wrote: messages sent by it stand in its answer; else it is an object's path, /bucket/key."""
        trace = headers.get("x-amzn-trace-id", "")
        if "Lineage=" not in trace and "Lineage%3D" not in trace:
            return
        found = _MESSAGE_ID.findall(answer)
        names = [f"message/{(xml or in_json).decode('utf-8', 'replace')}" for xml, in_json in found] or [
            f"object{path}"
        ]
        for name in names:
            self._by_name[name] = trace
            self._by_name.move_to_end(name)
        while len(self._by_name) > REMEMBERED_MAX:
            self._by_name.popitem(last=False)

    def put_into(self, answer: bytes) -> bytes:
        """The answer of ReceiveMessage, with the traces of its messages; the older protocol's is left as it is."""
        if not self._by_name or not answer.startswith(b"{"):
            return answer
        document = json.loads(answer)
        for message in document.get("Messages") or []:
            if trace := self._trace_of(message):
                message.setdefault("Attributes", {})[ATTRIBUTE] = trace
        return json.dumps(document).encode()

    def _trace_of(self, message: Mapping[str, Any]) -> str:
        own = self._by_name.get(f"message/{message.get('MessageId')}")
        if own is not None:
            return own
        told = _told(message.get("Body", ""))
        if told.get("Type") == "Notification":
            return self._by_name.get(f"message/{told.get('MessageId')}", "")
        try:
            described = told["Records"][0]["s3"]
            return self._by_name.get(
                f"object/{described['bucket']['name']}/{unquote_plus(described['object']['key'])}", ""
            )
        except (KeyError, IndexError, TypeError):
            return ""  # It tells of nothing that is known here.


def _told(body: str) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
