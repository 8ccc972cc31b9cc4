"""Where the host's events go: to the process that keeps them (events/), over its socket."""

from __future__ import annotations

from pathlib import Path

from peaker.errors import MalformedEvent, QueueFull, QueueUnavailable
from peaker.event_socket import WAIT_S, EventClient
from peaker.functions.prepared import PreparedEvent
from peaker.messages import Event
from peaker.wire.lambda_errors import EVENT_RATE, InvokeApiError, service_error, too_many_requests

SOURCE = "invoke"
"""What events by the Invoke API are known by."""

FULL_RETRY_S = 5.0


class DurableEvents:
    """An `EventIntake`: what it has taken is on disk.

    While the events process is begun anew, for about a second, a call waits; after `wait_s` it is refused.
    """

    def __init__(self, socket_path: Path, *, wait_s: float = WAIT_S) -> None:
        self._client = EventClient(socket_path, wait_s=wait_s)

    async def take(self, event: PreparedEvent) -> None:
        """Have it kept.

        Raises:
            InvokeApiError: 429, there is no room for it; or ServiceException, it was not kept and may be sent again.
        """
        try:
            await self._client.put(
                Event(
                    id=event.request_id,
                    function=event.function,
                    payload=event.payload,
                    source=SOURCE,
                    qualifier=event.qualifier,
                    headers=tuple(event.headers.items()),
                    hops=event.hops,
                )
            )
        except QueueFull as error:
            raise too_many_requests(EVENT_RATE, str(error), retry_after_s=FULL_RETRY_S) from error
        except QueueUnavailable as error:
            raise service_error(str(error)) from error
        except MalformedEvent as error:
            raise InvokeApiError(400, "InvalidRequestContentException", str(error), Type="User") from error

    def close(self) -> None:
        """Hang up."""
        self._client.close()
