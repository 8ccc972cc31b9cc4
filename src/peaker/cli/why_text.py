"""What the journal of the control loop says, as sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from peaker.engines.local.baseline_report import baseline_report
from peaker.engines.local.state_dir import read_run
from peaker.errors import PeakerError
from peaker.settings import Settings
from peaker.state import StateDirectory

Entry = Mapping[str, Any]

_KEPT = {
    "settling": "the last change the other way is too short ago",
    "bounds": "servers.count_min and servers.count_max allow no other number",
    "unreachable": "whoever has the servers did not do it; it is asked again",
    "spend": "the day's spend on functions is used up, so that servers must carry the load",
}
_RULE_HELD = {
    "guard": " It is held to what break-even would have, for otherwise it could cost more than that.",
    "steadiness": " It waits, so as not to go to and fro.",
}


def sentences(entries: Iterable[Entry]) -> Iterator[str]:
    """One for each; a line that this version does not know, or that lacks something, is left out."""
    for entry in entries:
        tell = _TELL.get(entry.get("kind", ""))
        if tell is None:
            continue
        try:
            yield f"{moment(entry['at'])} {tell(entry)}"
        except (KeyError, TypeError, ValueError):
            continue  # Written by another version.


def now_line(state: StateDirectory) -> str:
    """Who decides now; "" where no app was ever started here, or its files cannot be read."""
    try:
        record = read_run(state)
        if record is None:
            return ""
        settings = Settings.from_json(state.settings_of(record.generation).read_text(encoding="utf-8"))
        found = baseline_report(state, settings)
    except (PeakerError, OSError):
        return ""  # The journal is what was asked for.
    servers = settings.servers
    if found["policy"] == "fixed":
        cause = "servers.policy is fixed" if servers.policy == "fixed" else "there is one number that is allowed"
        return f"now: {_servers(record.servers)}; nothing is decided, for {cause}."
    if found["held"] is not None:
        return f"now: {_servers(record.servers)}, held by hand; `peaker scale auto` gives it back to the policy."
    last = found["loop"]
    if last is None or last.get("demand_servers") is None:
        return f"now: {_servers(record.servers)}; demand is not known yet."
    return (
        f"now: {_servers(record.servers)}, demand {last['demand_servers']:.2f}; one carries {last['server_per_s']:.3g} "
        f"requests/s ({last['capacity_from']}) for {usd(last['server_usd_per_hour'])} an hour, functions for "
        f"{usd(last['function_usd_per_server_hour'])}; a start takes {last['server_start_s']:.2g} s"
        f"{'' if last['is_start_measured'] else ' (not measured yet)'}."
    )


def _changed(entry: Entry) -> str:
    more = entry["after"] - entry["before"]
    what = f"{'added' if more > 0 else 'removed'} {_servers(abs(more))} ({entry['after']} now)"
    if entry["held_by"] == "spend":
        return f"{what}: {_KEPT['spend']}; demand is {_demand(entry)}."
    return f"{what}: {_added(entry) if more > 0 else _removed(entry)}.{_RULE_HELD['guard'] if _guarded(entry) else ''}"


def _added(entry: Entry) -> str:
    functions, server, window = usd(entry["functions_usd"]), usd(entry["server_usd"]), span(entry["window_s"])
    if not entry["may_spill"]:
        return f"demand is {_demand(entry)}{_expected(entry)}, and what finds no server waits or is refused"
    if entry["functions_usd"] > entry["server_usd"]:
        return f"functions cost {functions} in the last {window} for load that one server carries for {server}"
    return f"demand is {_demand(entry)}{_expected(entry)}"


def _removed(entry: Entry) -> str:
    functions, server, window = usd(entry["functions_usd"]), usd(entry["server_usd"]), span(entry["window_s"])
    if entry["may_spill"] and entry["functions_usd"] <= entry["server_usd"]:
        return f"what it did in the last {window} costs {functions} on functions, and it costs {server}"
    return f"demand has fallen to {_demand(entry)}{_expected(entry)}"


def _kept(entry: Entry) -> str:
    wanted, cause = entry["wanted"], entry["held_by"]
    return f"kept {_servers(entry['servers'])} where {wanted} are wanted: {_KEPT.get(cause, cause)}."


def _judged(entry: Entry) -> str:
    more = entry["after"] - entry["before"]
    change = f"{'adding' if more > 0 else 'removing'} {_servers(abs(more))} at {moment(entry['changed_at'])}"
    difference = entry["cost_usd"] - entry["otherwise_usd"]
    verdict = f"cost {usd(difference)} more than" if difference > 0 else f"saved {usd(-difference)} beside"
    text = f"{change} {verdict} leaving {entry['before']}, in the {span(entry['span_s'])} after it"
    if entry["forecast_servers"] is not None and entry["forecast_for_s"]:
        text += f"; {entry['forecast_servers']:.2f} servers' worth was expected"
    text += f"; {entry['demand_mean']:.2f} came, {entry['demand_max']:.2f} at the most"
    return text + ("; the forecast was wrong." if difference > 0 and entry["forecast_servers"] is not None else ".")


def _began(entry: Entry) -> str:
    history = "goes on with what it had learned" if entry["restored"] else "begins to learn"
    return f"the control loop starts with policy {entry['policy']} and {history}.{_note(entry)}"


def _note(entry: Entry) -> str:
    return f" {entry['note']}" if entry.get("note") else ""


def _held(entry: Entry) -> str:
    return f"{_servers(entry['servers'])} set by hand; the policy pauses."


def _released(entry: Entry) -> str:
    return f"the policy decides again, from {_servers(entry['servers'])} on."


def _started(entry: Entry) -> str:
    return f"a server was ready {entry['took_s']:.2g} s after it was asked for."


_TELL: dict[str, Callable[[Entry], str]] = {
    "began": _began,
    "changed": _changed,
    "kept": _kept,
    "held": _held,
    "released": _released,
    "started": _started,
    "judged": _judged,
}


def _guarded(entry: Entry) -> bool:
    return bool(entry["policy_held_by"] == "guard")


def _demand(entry: Entry) -> str:
    demand = entry["demand_servers"]
    return "not known" if demand is None else f"{demand:.2f} servers' worth"


def _expected(entry: Entry) -> str:
    if entry["forecast_servers"] is None or not entry["forecast_for_s"]:
        return ""
    quantile = f" (quantile {entry['quantile']:.2f})" if entry["quantile"] is not None else ""
    return f", and {entry['forecast_servers']:.2f} expected within {span(entry['forecast_for_s'])}{quantile}"


def _servers(count: int) -> str:
    return f"{count} server" if count == 1 else f"{count} servers"


def usd(value: float) -> str:
    """Two digits that say something: $0.31, $0.012, $0.000071."""
    if value >= 0.095 or value <= 0:
        return f"${value:.2f}"
    digits = next(places for places in range(3, 13) if value >= 9.5 * 10.0**-places or places == 12)
    return f"${value:.{digits}f}"


def span(seconds: float) -> str:
    """`8 s`, `10 min`, `1.5 h`."""
    if seconds < 100:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 6000 else f"{seconds / 3600:.3g} h"


def moment(epoch_s: float) -> str:
    """`14:02` today, with the day else; of this machine's time zone."""
    when = datetime.fromtimestamp(epoch_s).astimezone()
    is_today = when.date() == datetime.now().astimezone().date()
    return f"{when:%H:%M}" if is_today else f"{when:%Y-%m-%d %H:%M}"
