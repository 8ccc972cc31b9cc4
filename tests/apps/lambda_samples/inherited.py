"""Handlers that are objects of classes."""

import abc
import logging

logger = logging.getLogger(__name__)
logger.setLevel("INFO")


class Handler(abc.ABC):
    def __init__(self):
        self.warm = 0

    def __call__(self, event, context):
        self.warm += 1
        logger.info("%s runs for the %s. time", type(self).__name__, self.warm)
        return self.handle(event)

    @abc.abstractmethod
    def handle(self, event): ...


class Greeter(Handler):
    def handle(self, event):
        return f"Hello {event['name']}, call {self.warm}"


lambda_handler = Greeter()
