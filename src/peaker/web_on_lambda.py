"""A web app as a handler of AWS Lambda."""

from __future__ import annotations

import asyncio
import json
import sys
import time

from peaker.asgi import ASGIApp
from peaker.functions.web import WebApp, warm_up_event
from peaker.messages import JSONValue, RunNotes
from peaker.wire.http_api import result_for


class WebHandler:
    """A web app as a handler. All its requests run in one event loop, which stands still in between, as Lambda does.

    `init_ms` is how long it took from `began_s` to here, app included; raises AppStartError. With `metrics_of`, the
    function's name, its first event writes a line of metrics.
    """

    def __init__(self, application: ASGIApp, *, warm_up: str = "", began_s: float, metrics_of: str = "") -> None:
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._web = self._loop.run_until_complete(_started(application, warm_up))
        self._is_first = True
        self._metrics_of = metrics_of
        self.init_ms = (time.perf_counter() - began_s) * 1000

    def __call__(self, event: JSONValue, context: object) -> JSONValue:
        """The result of one event, in the format of the event.

        Raises:
            MalformedEvent: the event is not that of an HTTP request.
            PayloadTooLarge: the response is longer than a result may be.
            ResponseBroken: the app ended before its response was complete.
        """
        del context  # A request has all it needs in its event.
        began_s = time.perf_counter()
        response = self._loop.run_until_complete(self._web.respond(event))
        duration_ms = (time.perf_counter() - began_s) * 1000
        is_cold, self._is_first = self._is_first, False
        if is_cold and self._metrics_of:
            sys.stdout.write(cold_start_line(self._metrics_of, self.init_ms, epoch_s=time.time()))
            sys.stdout.flush()
        notes = RunNotes(cold=is_cold, init_ms=self.init_ms if is_cold else 0.0, duration_ms=duration_ms)
        return json.loads(result_for(event, response, notes))


def cold_start_line(function: str, init_ms: float, *, epoch_s: float) -> str:
    """A line of which CloudWatch makes metrics: how many cold starts there were, and how long initialisation took.

    The form is AWS's embedded metric format (Amazon CloudWatch User Guide). Only what no metric of Lambda's own tells,
    and one line for each instance, not for each request: its cost does not grow with traffic.
    """
    metrics = [{"Name": "ColdStarts", "Unit": "Count"}, {"Name": "InitDuration", "Unit": "Milliseconds"}]
    declared = {"Namespace": "Peaker", "Dimensions": [["FunctionName"]], "Metrics": metrics}
    line = {
        "_aws": {"Timestamp": int(epoch_s * 1000), "CloudWatchMetrics": [declared]},
        "FunctionName": function,
        "ColdStarts": 1,
        "InitDuration": round(init_ms, 1),
    }
    return json.dumps(line) + "\n"


async def _started(application: ASGIApp, warm_up: str) -> WebApp:
    web = WebApp(application)
    await web.start()
    if warm_up:
        await web.answer(warm_up_event(warm_up))
    return web
