"""What `peaker jobs` tells a person."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from peaker.cli import present

ERROR_CHARACTERS_MAX = 60
JSON_CHARACTERS_MAX = 2_000


def jobs_text(jobs: list[dict[str, Any]], hidden: int, now_s: float) -> str:
    """One line a job; `jobs` is what --json shows."""
    if not jobs:
        return "no job has been started"
    heads = ["job", "id", "state", "for", "done", "attempt", "pid", ""]
    rows = [
        [
            job["name"],
            job["id"],
            job["state"],
            _length(_since_s(job, now_s)),
            percentage(job["fraction"]),
            str(job["attempt"] or ""),
            str(job["pid"] or ""),
            _remark(job),
        ]
        for job in jobs
    ]
    lines = [present.table([heads, *rows])]
    if hidden:
        lines += ["", f"  and {hidden} that have ended (--all)"]
    return "\n".join(lines)


def percentage(fraction: float | None) -> str:
    """`40 %`; whoever says 0.999 is not done."""
    return "" if fraction is None else f"{int(fraction * 100)} %"


def job_text(job: dict[str, Any], now_s: float) -> str:
    """One job whole; `job` is what --json shows."""
    head = f"{job['id']}: {job['name']}, {job['state']}"
    if job["fraction"] is not None:
        head += f", {percentage(job['fraction'])}" + (f", {job['text']}" if job["text"] else "")
    lines = [
        head,
        f"  from        {job['source'] or 'unknown'}, accepted {_moment(job['accepted_at_s'])}",
        f"  began       {_moment(job['began_at_s'])}",
        f"  ended       {_moment(job['ended_at_s'])}",
        f"  attempt     {job['attempt']}" + (f", pid {job['pid']}" if job["pid"] else ""),
        f"  last sign   {_moment(job['last_sign_s'])}",
    ]
    if job["error"]:
        lines.append(f"  error       {job['error']}")
    if checkpoint := job.get("checkpoint"):
        when = f"{_length(now_s - checkpoint['at_s'])} ago, by attempt {checkpoint['attempt']}"
        lines += [
            f"  checkpoint  number {checkpoint['number']}, {when}",
            f"    {_cut(json.dumps(checkpoint['value']))}",
        ]
    if job.get("event") is not None:
        lines += ["  event", f"    {_cut(job['event'])}"]
    if job.get("history"):
        lines += ["", "  what happened:", *(f"    {_happened(each)}" for each in job["history"])]
    if job.get("log"):
        lines += ["", f"  the end of {job['log_file']}:", *(f"    {line}" for line in job["log"])]
    return "\n".join(lines)


def _happened(each: dict[str, Any]) -> str:
    more = ", ".join(f"{key} {value}" for key, value in each.items() if key not in ("at_s", "what", "error"))
    error = f": {each['error']}" if each.get("error") else ""
    return f"{_moment(each['at_s'])}  {each['what']}{f' ({more})' if more else ''}{error}"


def _since_s(job: dict[str, Any], now_s: float) -> float:
    """How long it ran in all, or has waited."""
    began_s = job["began_at_s"] or job["accepted_at_s"]
    return float((job["ended_at_s"] or now_s) - began_s)


def _remark(job: dict[str, Any]) -> str:
    said = " ".join((job["error"] if job["state"] in ("failed", "waiting") else job["text"]).split())
    return said[:ERROR_CHARACTERS_MAX]


def _cut(text: str) -> str:
    return text if len(text) <= JSON_CHARACTERS_MAX else f"{text[:JSON_CHARACTERS_MAX]}..  (--json has all of it)"


def _moment(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if epoch_s else "-"


def _length(seconds: float) -> str:
    if seconds < 120:
        return f"{max(0.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
