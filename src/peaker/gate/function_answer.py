"""Answering a request from a function: its whole response, or on a route that streams each part as it comes."""

from __future__ import annotations

from peaker.errors import InvocationRefused, InvokeError, PayloadTooLarge, PeakerError
from peaker.gate.answers import failure, send_response
from peaker.gate.attempt import Attempt
from peaker.gate.figures import Figures
from peaker.gate.spiller import Spiller
from peaker.gate.streamed_reply import FunctionResponse
from peaker.meter.usage import COUNTER_INDEX, Ran, UsageRow
from peaker.policy.placement import Placement


class StreamBroken(PeakerError):  # noqa: N818 - named for the outcome
    """A function's response broke off after its head was sent; the server ends the connection, so that it is seen."""


class FunctionAnswers:
    """What one gate's functions answer."""

    def __init__(self, spiller: Spiller, figures: Figures, usage: UsageRow) -> None:
        self._spiller = spiller
        self._figures = figures
        self._usage = usage

    async def give(self, attempt: Attempt, lag_s: float) -> bool:
        """Run it on a function; False when no function was started and the request is to be decided anew.

        Raises:
            StreamBroken: a streamed response broke off; as when the user's app fails in the middle of one.
        """
        try:
            if attempt.route.rule.streams and self._spiller.can_stream:
                async with self._spiller.stream(attempt, self._figures, lag_s) as streamed:
                    self._count(attempt)
                    await self._pass_on(attempt, streamed)
                return True
            response = await self._spiller.spill(attempt, self._figures, lag_s)
        except InvokeError as error:
            if error.started is False:
                if isinstance(error, InvocationRefused) and isinstance(error.__cause__, PayloadTooLarge):
                    attempt.why_never = error.what
                attempt.join_again()
                return False
            response = failure(error)
        self._count(attempt)
        await send_response(attempt.exchange, response)
        return True

    def _count(self, attempt: Attempt) -> None:
        attempt.unusual.ran = Ran.FUNCTION
        self._usage.add(_SPILLED, int(attempt.placement is not Placement.FUNCTIONS))

    async def _pass_on(self, attempt: Attempt, response: FunctionResponse) -> None:
        """Read no faster than the client: `send` waits where it is slow, and what is read meanwhile has a bound."""
        send = attempt.exchange.send
        await send({"type": "http.response.start", "status": response.status, "headers": list(response.headers)})
        try:
            while chunk := await response.read():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except InvokeError as error:
            if attempt.held.client_gone:
                return
            raise StreamBroken(f"a streamed response broke off: {error}") from error
        if not attempt.held.client_gone:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


_SPILLED = COUNTER_INDEX["spilled"]
