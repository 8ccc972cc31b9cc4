"""Messages to a topic, for one function: a subscription of its own, as each function on Lambda has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from peaker.aws_calls.joining import join_topic
from peaker.aws_calls.resources import Queue
from peaker.events.sources.inbox import Inbox, event_id
from peaker.events.sources.source import Surroundings
from peaker.messages import Event
from peaker.wire import sns
from peaker.wire.aws_event import to_payload


class TopicSource(Inbox):
    """What is published to a topic runs a function."""

    def __init__(self, topic: str, function: str, around: Surroundings) -> None:
        super().__init__(f"topic/{topic}/{function}", around)
        self._topic = topic
        self._function = function
        self._subscription = ""

    async def inbox(self) -> Queue:
        """Make the topic and subscribe the queue."""
        app = self.around.settings.app.name
        queue, self._subscription = await join_topic(self.around.aws, app, self._topic, self._function)
        return queue

    def events_of(self, message_id: str, body: Mapping[str, Any]) -> Sequence[Event]:
        """One event; its id is the same however often the message comes."""
        name = event_id("topic", self._topic, self._function, body["MessageId"], message_id)
        record = sns.record_of(body, self._subscription)
        payload = to_payload(sns.event([record]))
        source = f"topic/{self._topic}"
        return [Event(id=name, function=self._function, payload=payload, source=source, dedup_key=name)]
