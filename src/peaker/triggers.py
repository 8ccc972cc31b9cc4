"""What starts a function: one `[[function.on]]` each, with the settings of its kind.

Names and ranges are those of AWS where it has them: Lambda's event source mappings (CreateEventSourceMapping, and the
Developer Guide's "Lambda parameters for Amazon SQS event source mappings"), EventBridge Scheduler, SQS, SNS, DynamoDB.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Protocol

from peaker.errors import SettingsError
from peaker.local_time import moment_of, zone_of
from peaker.object_pattern import PATTERN_WORDS, ObjectPattern, is_pattern
from peaker.schedule_expression import At, ExpressionError, parse_expression
from peaker.section_reader import setting
from peaker.setting_checks import Check, between, matching, one_of

FIFO = ".fifo"
FIFO_BATCH_MAX = 10
BATCH_WITHOUT_WINDOW_MAX = 10
QUEUE_BATCH_SIZE = 10
TABLE_BATCH_SIZE = 100
"""What Lambda takes where nothing is said."""

_PATTERNS = Check(PATTERN_WORDS, lambda value: not value or is_pattern(value))
_QUEUE = matching(r"|[A-Za-z0-9_-]{1,80}|[A-Za-z0-9_-]{1,75}\.fifo", "an SQS name: 1 to 80 letters, digits, - or _")
_TOPIC = matching(r"|[A-Za-z0-9_-]{1,256}", "an SNS name: 1 to 256 letters, digits, - or _; FIFO topics start none")
_TABLE = matching(r"|[A-Za-z0-9_.-]{3,255}", "a DynamoDB name: 3 to 255 letters, digits, -, _ or .")
_PATH = matching(r"|/[^\s*?#]*", "a path that begins with / and has no * in it")
_HEADER = matching(r"|[A-Za-z0-9-]{1,64}", "the name of a header")
_METHODS = one_of("POST", "PUT", "PATCH", "DELETE", "GET")


class Kind(Enum):
    """What can start a function; the values are the keys of `[[function.on]]`."""

    SCHEDULE = "schedule"
    OBJECT_CREATED = "object_created"
    OBJECT_REMOVED = "object_removed"
    QUEUE = "queue"
    TOPIC = "topic"
    HTTP = "http"
    TABLE = "table"


class Signature(Enum):
    """How a webhook's sender proves who it is."""

    NONE = "none"
    GITHUB = "github"
    STRIPE = "stripe"
    HMAC_SHA256 = "hmac-sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerSection:
    """What starts a function: exactly one of `schedule` to `table`, and what belongs to it."""

    schedule: str = setting(
        "", "Runs by the clock: rate(5 minutes), cron(0 9 ? * MON-FRI *) or at(yyyy-mm-ddThh:mm:ss)."
    )
    object_created: str = setting("", "Runs for each new object of a bucket: bucket/prefix*suffix.", _PATTERNS)
    object_removed: str = setting("", "Runs for each object taken away: bucket/prefix*suffix.", _PATTERNS)
    queue: str = setting("", "Runs for batches of messages of this SQS queue.", _QUEUE)
    topic: str = setting("", "Runs for each message to this SNS topic.", _TOPIC)
    http: str = setting("", "Runs for each request to this path of the app, after it was answered 202.", _PATH)
    table: str = setting("", "Runs for batches of changes of this DynamoDB table.", _TABLE)

    timezone: str = setting("UTC", "schedule: IANA name of the time zone that cron() and at() are in.")
    input: str = setting("", "schedule: JSON that is the event; absent is EventBridge's Scheduled Event.")
    missed_s_max: float = setting(
        86_400.0,
        "schedule: of the runs missed while nothing ran the last is made up once, if it is no older than this.",
        between(0, 604_800),
    )
    batch_size: int | None = setting(
        None, "queue, table: records of one batch; absent is 10 of a queue, 100 of a table.", between(1, 10_000)
    )
    window_s: float = setting(0.0, "queue, table: longest wait for a batch to fill.", between(0, 300))
    maximum_concurrency: int | None = setting(
        None, "queue: batches that run at once; absent is what the function may.", between(2, 1000)
    )
    visibility_timeout_s: int | None = setting(
        None,
        "queue: one made for this run has its messages come back after this time; absent is six times timeout_s.",
        between(1, 43_200),
    )
    dead_letter_queue: str = setting(
        "", "queue: one made for this run gives messages that were received too often to this queue.", _QUEUE
    )
    receives_max: int = setting(3, "queue: how often a message is received before that.", between(1, 1000))
    report_batch_item_failures: bool = setting(
        True, "queue, table: take batchItemFailures of the answer as the records that failed."
    )
    starting_position: str = setting(
        "LATEST", "table: where the first start begins to read.", one_of("LATEST", "TRIM_HORIZON")
    )
    method: str = setting("POST", "http: the method that is taken.", _METHODS)
    signature: str = setting(
        "", "http: how the sender signs; required.", one_of("", *(scheme.value for scheme in Signature))
    )
    secret: str = setting("", "http: name in [secrets] of the key of the signature.")
    signature_header: str = setting("", "http: header of an hmac-sha256 signature.", _HEADER)
    signature_encoding: str = setting("hex", "http: how hmac-sha256 is written.", one_of("hex", "base64"))
    signature_age_s_max: float = setting(300.0, "http: oldest stripe signature that is taken.", between(1, 86_400))
    delivery_header: str = setting(
        "", "http: header with the id of a delivery, by which repeats are known; absent is the scheme's own.", _HEADER
    )
    delivery_known_s: float = setting(
        86_400.0,
        "http: a delivery with the same id within this time is a repeat and runs nothing.",
        between(0, 604_800),
    )
    body_bytes_max: int = setting(262_144, "http: size of a request body.", between(0, 700_000))

    @property
    def kind(self) -> Kind:
        """Which kind it is; only of a checked section."""
        return next(kind for kind in Kind if getattr(self, kind.value))

    @property
    def is_fifo(self) -> bool:
        """Whether its queue keeps the order within a group."""
        return self.queue.endswith(FIFO)

    @property
    def records_max(self) -> int:
        """Records of one batch, the default filled in."""
        return self.batch_size or (TABLE_BATCH_SIZE if self.table else QUEUE_BATCH_SIZE)


KEYS_OF: dict[Kind, tuple[str, ...]] = {
    Kind.SCHEDULE: ("timezone", "input", "missed_s_max"),
    Kind.OBJECT_CREATED: (),
    Kind.OBJECT_REMOVED: (),
    Kind.QUEUE: (
        "batch_size",
        "window_s",
        "maximum_concurrency",
        "visibility_timeout_s",
        "dead_letter_queue",
        "receives_max",
        "report_batch_item_failures",
    ),
    Kind.TOPIC: (),
    Kind.HTTP: (
        "method",
        "signature",
        "secret",
        "signature_header",
        "signature_encoding",
        "signature_age_s_max",
        "delivery_header",
        "delivery_known_s",
        "body_bytes_max",
    ),
    Kind.TABLE: ("batch_size", "window_s", "report_batch_item_failures", "starting_position"),
}

LineOf = Callable[..., str]
"""Gives `path:line` of a key or of what it stands in; its arguments are the keys and numbers that lead there."""


class Triggered(Protocol):
    """What triggers may start: a `[[function]]`."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def writes(self) -> list[str]:
        """Patterns of the objects it writes."""

    @property
    def on(self) -> tuple[TriggerSection, ...]:
        """What starts it."""


def check_triggers(functions: Sequence[Triggered], line_of: LineOf, secrets: Mapping[str, str]) -> None:
    """Refuse triggers that cannot be, or cannot be together; `line_of` gets the place after `function`.

    Raises:
        SettingsError: name, value and allowed range of the first thing that is wrong.
    """
    seen: dict[tuple[object, ...], str] = {}
    for number, function in enumerate(functions):
        for index, trigger in enumerate(function.on):
            check_trigger(trigger, partial(line_of, number, "on", index), secrets)
            is_path = trigger.kind is Kind.HTTP
            key = (trigger.method, trigger.http) if is_path else (function.name, trigger)
            if key in seen:
                raise SettingsError(
                    f"function.on.{trigger.kind.value} = {getattr(trigger, trigger.kind.value)!r} stands twice: "
                    f"in {seen[key]} and in {function.name}.",
                    where=line_of(number, "on", index),
                )
            seen[key] = function.name
        for written in function.writes:
            if not is_pattern(written):
                raise SettingsError(
                    f"function.writes = {written!r} is not allowed; allowed: {PATTERN_WORDS}.",
                    where=line_of(number, "writes"),
                )
    if way := find_loop(functions):
        first = next(number for number, function in enumerate(functions) if function.name == way[0])
        chain = " -> ".join([*way, way[0]])
        what = (
            f"{way[0]} writes objects that start it again" if len(way) == 1 else "functions start each other for ever"
        )
        raise SettingsError(
            f"{what}: {chain}, as function.writes and function.on.object_created overlap.",
            where=line_of(first, "writes"),
            remedy="Let it write to another bucket, or under a prefix or suffix that starts none of them.",
        )


def check_trigger(trigger: TriggerSection, line_of: LineOf, secrets: Mapping[str, str]) -> None:
    """Refuse what no check of a single value can see; `line_of(key)` says where a key stands.

    Raises:
        SettingsError: name, value and allowed range of the first thing that is wrong.
    """
    kinds = [kind for kind in Kind if getattr(trigger, kind.value)]
    known = ", ".join(kind.value for kind in Kind)
    if len(kinds) != 1:
        named = " and ".join(kind.value for kind in kinds) or "none"
        raise SettingsError(f"[[function.on]] names {named}; allowed: exactly one of {known}.", where=line_of())
    kind = kinds[0]
    for field in dataclasses.fields(trigger)[len(Kind) :]:
        if field.name not in KEYS_OF[kind] and getattr(trigger, field.name) != field.default:
            of = " and ".join(other.value for other, keys in KEYS_OF.items() if field.name in keys)
            value = getattr(trigger, field.name)
            raise SettingsError(
                f"function.on.{field.name} = {value!r} is not for {kind.value}; it belongs to {of}.",
                where=line_of(field.name),
            )
    if kind is Kind.SCHEDULE:
        _check_schedule(trigger, line_of)
    elif kind in {Kind.QUEUE, Kind.TABLE}:
        _check_batches(trigger, line_of)
    elif kind is Kind.HTTP:
        _check_webhook(trigger, line_of, secrets)


def _check_schedule(trigger: TriggerSection, line_of: LineOf) -> None:
    try:
        expression = parse_expression(trigger.schedule)
    except ExpressionError as error:
        raise SettingsError(f"function.on.schedule: {error}.", where=line_of("schedule")) from error
    zone = zone_of(trigger.timezone)
    if zone is None:
        raise SettingsError(
            f"function.on.timezone = {trigger.timezone!r} is not known here; allowed: IANA names (Europe/Berlin).",
            where=line_of("timezone"),
            remedy="Where the system has no time zones at all, the package tzdata brings them.",
        )
    if isinstance(expression, At) and moment_of(expression.local, zone) is None:
        raise SettingsError(
            f"function.on.schedule = {trigger.schedule!r}: the clocks of {trigger.timezone} are set forward over it.",
            where=line_of("schedule"),
        )
    if trigger.input:
        try:
            json.loads(trigger.input)
        except ValueError as error:
            raise SettingsError(
                f"function.on.input = {trigger.input!r} is not JSON: {error}.", where=line_of("input")
            ) from error


def _check_batches(trigger: TriggerSection, line_of: LineOf) -> None:
    if trigger.dead_letter_queue and trigger.dead_letter_queue.endswith(FIFO) != trigger.is_fifo:
        raise SettingsError(
            f"function.on.dead_letter_queue = {trigger.dead_letter_queue!r} of the queue {trigger.queue!r}; allowed: a "
            "FIFO queue for a FIFO queue, a standard one for a standard one.",
            where=line_of("dead_letter_queue"),
        )
    if trigger.is_fifo and trigger.records_max > FIFO_BATCH_MAX:
        raise SettingsError(
            f"function.on.batch_size = {trigger.batch_size} of the FIFO queue {trigger.queue!r}; "
            f"allowed: 1 to {FIFO_BATCH_MAX}.",
            where=line_of("batch_size"),
        )
    if trigger.is_fifo and trigger.window_s:
        raise SettingsError(
            f"function.on.window_s = {trigger.window_s:g} of the FIFO queue {trigger.queue!r}; allowed: 0, as a FIFO "
            "queue has no batching window.",
            where=line_of("window_s"),
        )
    if trigger.queue and trigger.records_max > BATCH_WITHOUT_WINDOW_MAX and trigger.window_s < 1:
        raise SettingsError(
            f"function.on.batch_size = {trigger.batch_size} without a window; allowed: 1 to "
            f"{BATCH_WITHOUT_WINDOW_MAX}, or more with window_s of at least 1.",
            where=line_of("batch_size"),
        )


def _check_webhook(trigger: TriggerSection, line_of: LineOf, secrets: Mapping[str, str]) -> None:
    schemes = ", ".join(scheme.value for scheme in Signature)
    if not trigger.signature:
        raise SettingsError(
            f"[[function.on]] http = {trigger.http!r} has no signature; allowed: {schemes}.",
            where=line_of("http"),
            remedy='Anybody can send to it; write signature = "none" where that is meant.',
        )
    is_signed = trigger.signature != Signature.NONE.value
    if is_signed and trigger.secret not in secrets:
        known = ", ".join(sorted(secrets)) or "none are there"
        raise SettingsError(
            f"function.on.secret = {trigger.secret!r} is no name in [secrets]; there are: {known}.",
            where=line_of("secret" if trigger.secret else "signature"),
        )
    if not is_signed and trigger.secret:
        raise SettingsError(
            f"function.on.secret = {trigger.secret!r} is for a signature, and signature is 'none'.",
            where=line_of("secret"),
        )
    is_generic = trigger.signature == Signature.HMAC_SHA256.value
    if is_generic != bool(trigger.signature_header):
        raise SettingsError(
            f"function.on.signature_header = {trigger.signature_header!r} with signature = {trigger.signature!r}; "
            "allowed: the name of a header, with hmac-sha256 alone.",
            where=line_of("signature_header" if trigger.signature_header else "signature"),
        )


def find_loop(functions: Sequence[Triggered]) -> list[str]:
    """Names of functions that would start each other for ever by the objects they write, [] where there is no loop."""
    starts = {one.name: [other.name for other in functions if _is_started(other.on, one.writes)] for one in functions}
    for name in starts:
        path, visited = [[name]], {name}
        while path:
            way = path.pop()
            for other in starts[way[-1]]:
                if other == name:
                    return way
                if other not in visited:
                    visited.add(other)
                    path.append([*way, other])
    return []


def _is_started(triggers: Sequence[TriggerSection], writes: Sequence[str]) -> bool:
    created = [ObjectPattern.parse(trigger.object_created) for trigger in triggers if trigger.object_created]
    return any(ObjectPattern.parse(written).overlaps(pattern) for written in writes for pattern in created)
