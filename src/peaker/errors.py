"""One tree of errors.

Each class's docstring is the sentence a person reads when nothing more exact is said. An instance adds where it
happened, what was seen there and what to do about it.
"""

from __future__ import annotations


class PeakerError(Exception):
    """Peaker could not go on."""

    exit_code = 1

    def __init__(self, what: str = "", *, where: str = "", remedy: str = "") -> None:
        # Docstrings are absent under `python -OO`, so the class name stands in for them.
        self.what = what or (type(self).__doc__ or type(self).__name__).strip().splitlines()[0]
        self.where = where
        self.remedy = remedy
        super().__init__(self.what)

    def __str__(self) -> str:
        """Where, what, and what to do: on one line, unless what was seen needs several."""
        place = f"{self.where}: " if self.where else ""
        gap = "\n" if "\n" in self.what else " "
        remedy = f"{gap}{self.remedy}" if self.remedy else ""
        return f"{place}{self.what}{remedy}"


class SettingsError(PeakerError):
    """A setting is unknown, of the wrong type or out of range."""

    exit_code = 2


class PlacementError(SettingsError):
    """A declared placement breaks a limit of the place it names."""


class ResourceError(SettingsError):
    """The configuration could open more connections than a shared resource has."""


class PriceError(SettingsError):
    """There is no such price."""


class PlanFileError(PeakerError):
    """The file is no plan."""

    exit_code = 2


class AppImportError(PeakerError):
    """The application could not be imported."""

    exit_code = 2


class AppStartError(PeakerError):
    """The application did not start."""


class ListenError(PeakerError):
    """The address could not be listened on."""


class StateError(PeakerError):
    """The state directory cannot be used."""


class CapacityUnavailable(PeakerError):  # noqa: N818 - named for the outcome, as in the interface
    """The servers asked for could not be had."""


class TraceError(PeakerError):
    """The trace cannot be read."""

    exit_code = 2


class MalformedEvent(PeakerError):  # noqa: N818 - named for what was received
    """An event, or a function's answer to one, lacks a key or holds something else in it than it should."""


class PayloadTooLarge(PeakerError):  # noqa: N818
    """A request or response is larger, encoded, than a function can take or give."""


class InvokeError(PeakerError):
    """An invocation did not return a reply.

    `started` is False when the function is known not to have run (safe to send again), None when nobody knows.
    """

    started: bool | None = None


class Unavailable(InvokeError):  # noqa: N818
    """The function endpoint could not be reached; no byte was sent."""

    started = False


class Throttled(InvokeError):  # noqa: N818
    """The function endpoint had no room; the function was not started."""

    started = False


class InvocationRefused(InvokeError):  # noqa: N818
    """The function endpoint rejected the invocation; sending it again changes nothing."""

    started = False


class DeadlineExceeded(InvokeError):  # noqa: N818
    """The function did not answer in time; its effect is unknown."""


class FunctionCrashed(InvokeError):  # noqa: N818
    """The function's process died or the connection to it broke; its effect is unknown."""


class SampleEventError(PeakerError):
    """There is no such sample event."""

    exit_code = 2


class MissingExtraError(PeakerError):
    """A part of Peaker needs packages that are not installed."""

    exit_code = 2


class BuildError(PeakerError):
    """The package for AWS cannot be built."""

    exit_code = 2


class DeployError(PeakerError):
    """AWS did not do what was asked of it."""


class CredentialsError(PeakerError):
    """AWS credentials cannot be had."""

    exit_code = 2


class LogError(PeakerError):
    """The log cannot be read."""

    exit_code = 2


class QueueFull(PeakerError):  # noqa: N818 - named for the outcome
    """The event queue has no room; nothing was accepted."""


class QueueUnavailable(PeakerError):  # noqa: N818
    """The event queue could not write to its disk; nothing was changed."""


class QueueBroken(QueueUnavailable):
    """The event queue cannot go on until its file is opened anew."""


class QueueFileError(PeakerError):
    """The file of the event queue cannot be used."""
