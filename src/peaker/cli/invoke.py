"""`peaker invoke`: run a function once and show its result."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from peaker.cli import present
from peaker.cli.options import json_option, state_here, state_option
from peaker.state import StateDirectory

if TYPE_CHECKING:
    from peaker.http1 import Answer

EXIT_FUNCTION_ERROR = 1
TIMEOUT_S_MAX = 100_000.0
EVENT_BYTES_MAX = 6 * 1024 * 1024


@click.command("invoke")
@click.argument("function", default="")
@click.argument("event", default="")
@click.option(
    "--event", "sample", metavar="NAME", help="Run it with a sample event (s3-put, sqs, ...); list shows all."
)
@click.option("--set", "given", metavar="NAME=VALUE", multiple=True, help="Something in the sample event; repeatable.")
@click.option("--print", "prints", is_flag=True, help="Only show the event.")
@click.option("--config", metavar="FILE", help="Settings file beside which the state directory stands.")
@state_option
@click.option("--async", "is_async", is_flag=True, help="Hand the event over and do not wait (InvocationType Event).")
@click.option("--dry-run", is_flag=True, help="Only say whether it would run.")
@click.option("--qualifier", default="", metavar="VERSION", help="Version number, build hash or $LATEST.")
@click.option("--client-context", metavar="JSON", help="Object that the handler finds in context.client_context.")
@click.option("--log", "shows_log", is_flag=True, help="Show the last 4 KB of the run's log on standard error.")
@click.option("--timeout", "timeout_s", type=float, default=905.0, show_default=True, help="Longest wait, in seconds.")
@json_option
def command(
    *,
    function: str,
    event: str,
    sample: str | None,
    given: tuple[str, ...],
    prints: bool,
    config: str | None,
    state: Path | None,
    is_async: bool,
    dry_run: bool,
    qualifier: str,
    client_context: str | None,
    shows_log: bool,
    timeout_s: float,
    as_json: bool,
) -> int:
    """Run FUNCTION of the running app once with EVENT and show its result on standard output.

    EVENT is JSON, @FILE or the path of a file that holds it, or - for standard input; without it the event is {}, or
    with --event a sample as an AWS service sends it. The web app above the servers is the function APP-web.

    Exit codes: 0 the function returned, 1 it failed (its error is the result) or could not be run, 2 the command line
    or the event is wrong.

    \b
    Examples:
      peaker invoke thumbnail '{"key": "a.jpg"}'
      peaker invoke thumbnail @event.json --log
      echo '{"key": "a.jpg"}' | peaker invoke thumbnail - --json
      peaker invoke thumbnail events/s3-put.json --async
      peaker invoke thumbnail --event s3-put --set bucket=uploads --set key=photo.jpg
      peaker invoke --event list
      peaker invoke --event sqs --print > event.json
    """  # noqa: D301
    if is_async and (dry_run or shows_log):
        raise click.UsageError("--async waits for nothing: there is no log, and no dry run.")
    if not 0 < timeout_s <= TIMEOUT_S_MAX:
        raise click.BadParameter(f"{timeout_s:g} is not within 0 to {TIMEOUT_S_MAX:g}.", param_hint="--timeout")
    if sample == "list":
        return _list_samples(as_json=as_json)
    payload = _payload(event, sample, given)
    if prints:
        present.out(payload.decode("utf-8", "replace"))
        return 0
    if not function:
        raise click.UsageError("Missing argument 'FUNCTION'.")
    headers = [("x-amz-invocation-type", "Event" if is_async else "DryRun" if dry_run else "RequestResponse")]
    if client_context is not None:
        headers.append(("x-amz-client-context", _client_context(client_context)))
    if shows_log:
        headers.append(("x-amz-log-type", "Tail"))
    target = f"/2015-03-31/functions/{quote(function, safe='')}/invocations"
    if qualifier:
        target += f"?Qualifier={quote(qualifier, safe='')}"
    answer = asyncio.run(_invoke(state_here(config, state), target, headers, payload, timeout_s))
    return _show(answer, as_json=as_json)


def _payload(event: str, sample: str | None, given: tuple[str, ...]) -> bytes:
    """The event that the command line means."""
    if sample is None:
        if given:
            raise click.UsageError("--set is for a sample event: name one with --event.")
        return event_bytes(event or "{}")
    if event:
        raise click.UsageError(f"there are two events: EVENT ({event[:60]!r}) and --event {sample}.")
    pairs = [pair.partition("=") for pair in given]
    for name, equals, _ in pairs:
        if not (name and equals):
            raise click.BadParameter(f"{name!r} is not of the form NAME=VALUE.", param_hint="--set")
    from peaker.clock import SystemClock
    from peaker.wire.aws_event import to_payload
    from peaker.wire.samples import sample_event

    made = sample_event(sample, {name: value for name, _, value in pairs}, SystemClock().epoch_s())
    return to_payload(made)


def _list_samples(*, as_json: bool) -> int:
    from peaker.wire.samples import SAMPLES

    if as_json:
        present.data({name: {"what": one.help, "parameters": one.defaults} for name, one in SAMPLES.items()})
        return 0
    for name, one in SAMPLES.items():
        present.out(
            f"{name:<22} {one.help}\n{'':<22} {' '.join(f'{key}={value!r}' for key, value in one.defaults.items())}"
        )
    return 0


def event_bytes(argument: str) -> bytes:
    """The event that an argument means: JSON itself, standard input, or a file.

    Raises:
        click.BadParameter: it is none of these, too large, or not JSON.
    """
    if argument == "-":
        text = sys.stdin.buffer.read(EVENT_BYTES_MAX + 1)
    elif argument.startswith("@") or _is_file(argument):
        text = _read(Path(argument.removeprefix("@")))
    else:
        text = argument.encode()
    if len(text) > EVENT_BYTES_MAX:
        raise click.BadParameter(
            f"it has over {EVENT_BYTES_MAX} bytes, the most that Lambda takes.", param_hint="EVENT"
        )
    try:
        json.loads(text)
    except ValueError as error:
        what = f"{argument[:60]!r} is neither JSON ({error}) nor a file that is there; @FILE and - name one, too."
        raise click.BadParameter(what, param_hint="EVENT") from error
    return text


def _is_file(argument: str) -> bool:
    try:
        return Path(argument).is_file()
    except (OSError, ValueError):  # longer than a name may be, or with a NUL
        return False


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(EVENT_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{path} cannot be read: {error}.", param_hint="EVENT") from error


def _client_context(text: str) -> str:
    try:
        is_object = isinstance(json.loads(text), dict)
    except ValueError:
        is_object = False
    if not is_object:
        raise click.BadParameter("it is not a JSON object.", param_hint="--client-context")
    return base64.b64encode(text.encode()).decode()


async def _invoke(
    state: StateDirectory, target: str, headers: list[tuple[str, str]], event: bytes, timeout_s: float
) -> Answer:
    from peaker import http1
    from peaker.errors import DeadlineExceeded, Unavailable

    head = [("host", "localhost"), ("content-type", "application/json"), ("x-peaker-caller", "direct"), *headers]
    head.append(("x-peaker-deadline-ms", str(max(1, int(timeout_s * 1000)))))
    pool = http1.Pool(http1.Address(unix=state.invoke_socket), connections_max=1)
    try:
        return await pool.exchange(http1.request_head("POST", target, head, len(event)), event, timeout_s=timeout_s)
    except http1.NotSent as error:
        raise Unavailable(
            "no function host answers here.",
            where=str(state.invoke_socket),
            remedy="Start the app with `peaker run`; `peaker status` tells what runs, and whether it has functions.",
        ) from error
    except http1.AnswerTimeout as error:
        raise DeadlineExceeded(f"no answer within --timeout = {timeout_s:g} s; the function may run on.") from error
    finally:
        pool.close()


def _show(answer: Answer, *, as_json: bool) -> int:
    failed = answer.status >= 300 or "x-amz-function-error" in answer.headers
    if log := answer.headers.get("x-amz-log-result"):
        present.say(base64.b64decode(log).decode("utf-8", "replace").rstrip("\n"))
    if as_json:
        present.data(_document(answer))
    elif answer.status >= 300:
        present.say(f"peaker: {_refusal(answer)}")
    elif answer.body:
        present.out(answer.body.decode("utf-8", "replace"))
    if answer.status == 202:
        present.say(f"peaker: handed over, request id {answer.headers.get('x-amzn-requestid', '')}")
    return _exit_code(answer) if failed else 0


def _exit_code(answer: Answer) -> int:
    """A call that is wrong in itself (no such function, a bad qualifier) is bad usage; all else is a failure."""
    is_wrong = 400 <= answer.status < 500 and answer.status != 429
    return click.UsageError.exit_code if is_wrong else EXIT_FUNCTION_ERROR


def _document(answer: Answer) -> dict[str, Any]:
    headers = answer.headers
    return {
        "status": answer.status,
        "request_id": headers.get("x-amzn-requestid", ""),
        "executed_version": headers.get("x-amz-executed-version", ""),
        "function_error": headers.get("x-amz-function-error", ""),
        "error": headers.get("x-amzn-errortype", ""),
        "result": _result(answer.body),
    }


def _result(body: bytes) -> Any:
    if not body:
        return None
    try:
        return json.loads(body)
    except ValueError:  # a runtime of the user's own may return any bytes
        return body.decode("utf-8", "replace")


def _refusal(answer: Answer) -> str:
    kind = answer.headers.get("x-amzn-errortype", f"HTTP {answer.status}")
    document = _result(answer.body)
    told = document.get("Message") or document.get("message") if isinstance(document, dict) else document
    return f"{kind}: {told}"
