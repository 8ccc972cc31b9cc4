"""What the dispatcher decides: how many events of a function run at once, and when a batch is whole.

Source of the rules of batches: AWS Lambda Developer Guide, "Using Lambda with Amazon SQS" (a batch is run when it is
full, when its window is over, or when its payload would pass 6 MB) and "Implementing partial batch responses".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from peaker.policy.retry import LAMBDA_RULES, RetryRules

BATCH_BYTES_MAX = 6 * 1024 * 1024 - 64 * 1024
"""Records of one batch: Lambda's limit for an event, with room for what stands around them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """Events of one function that are run alike: those of `source`, or of all sources without a lane of their own ("").

    Args:
        at_once_max: runs at the same time, each of one event or of one batch.
        batch_size: records that one run gets as a list; 0 for a run of its own for each event, as it is.
        window_s: longest wait for a batch to fill.
        takes_partial: `batchItemFailures` of the answer names the records that failed.
    """

    function: str
    source: str = ""
    at_once_max: int
    timeout_s: float
    batch_size: int = 0
    window_s: float = 0.0
    takes_partial: bool = False
    rules: RetryRules = LAMBDA_RULES
    on_success: str = ""
    on_failure: str = ""


def room(lane: Lane, *, in_lane: int, in_function: int, function_max: int, brake: int | None) -> int:
    """How many more runs may begin now; `in_...` count runs, `brake` is what throttles have left of the lane's limit.

    A function's instances are its own: no other's events, and no spilled request, which runs in the web app's function,
    take from them. What shared resources leave room for has been divided among all functions by their `concurrency_max`
    before anything started (policy/resources.py), and starts are granted to functions in turn (functions/starts.py). So
    events and requests starve each other of nothing; only calls to the same function share its limit, as on Lambda.
    """
    left = min(lane.at_once_max - in_lane, function_max - in_function)
    return max(0, left if brake is None else min(left, brake - in_lane))


def brake_after_throttle(running: int) -> int:
    """Runs that may go on at once after one was throttled: half of those that ran, at least one."""
    return max(1, running // 2)


def brake_after_run(brake: int, at_once_max: int) -> int | None:
    """One more after each run that was started; None where nothing is held back any more."""
    return brake + 1 if brake + 1 < at_once_max else None


def batch_moment_s(lane: Lane, *, due: int, first_due_s: float) -> float:
    """When a batch of what is due may be run: at once where it is full, else when the window of its first is over."""
    return first_due_s if due >= lane.batch_size else first_due_s + lane.window_s


def failed_of_batch(named: Sequence[str] | None, ids: Sequence[str], *, from_first: bool) -> frozenset[int]:
    """Places of the records that failed, by what a partial batch response names; None stands for one that is no such.

    All of them where it names none of the batch, or one that is not in it. With `from_first` (streams, which have an
    order) the first that failed and whatever follows it.
    """
    everything = frozenset(range(len(ids)))
    if named is None or not set(named) <= set(ids):
        return everything
    failed = frozenset(place for place, known in enumerate(ids) if known in set(named))
    return frozenset(range(min(failed), len(ids))) if from_first and failed else failed
