"""The state directory: where everything a running app shares between its processes stands."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

SCHEMA_VERSION = 1

_SOCKET_PATH_BYTES_MAX = 100
"""The kernel takes 108 bytes for a unix socket's path; some room is kept for the longest name."""


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """Names of all files below one `.peaker/`; making them is the supervisor's work."""

    root: Path

    @property
    def lock(self) -> Path:
        """Held by the one supervisor."""
        return self.root / "lock"

    @property
    def schema(self) -> Path:
        """The schema version this directory was written by."""
        return self.root / "schema.json"

    @property
    def run(self) -> Path:
        """What is running now: generation, addresses, processes."""
        return self.root / "run.json"

    @property
    def slots(self) -> Path:
        """The free-slot table."""
        return self.root / "slots.table"

    @property
    def usage(self) -> Path:
        """The usage table."""
        return self.root / "usage.table"

    @property
    def function_usage(self) -> Path:
        """The table of what functions were billed for."""
        return self.root / "functions.table"

    @property
    def route_usage(self) -> Path:
        """The table of latencies by declared route."""
        return self.root / "routes.table"

    @property
    def work(self) -> Path:
        """The table of what was asked for in the last hour and in all."""
        return self.root / "work.table"

    @property
    def meter(self) -> Path:
        """How long servers were paid for, and what each UTC day was used."""
        return self.root / "meter.json"

    @property
    def spend(self) -> Path:
        """What functions have cost in this UTC day."""
        return self.root / "spend.json"

    @property
    def credentials(self) -> Path:
        """The key that signs calls to the Invoke port, as an AWS credentials file."""
        return self.root / "credentials"

    @property
    def versions(self) -> Path:
        """The version number of each build that was ever started here."""
        return self.root / "versions.json"

    @property
    def idle_times(self) -> Path:
        """What the function host has learned about how long instances are idle."""
        return self.root / "idle-times.json"

    @property
    def aws_config(self) -> Path:
        """An AWS config file whose profile leads to the Invoke port."""
        return self.root / "aws-config"

    @property
    def hold(self) -> Path:
        """The number of servers that was set by hand, while it holds."""
        return self.root / "hold.json"

    @property
    def baseline(self) -> Path:
        """What the control loop has learned, and where it stands."""
        return self.root / "baseline.json"

    @property
    def decisions(self) -> Path:
        """The journal of what the control loop decided, and why."""
        return self.logs / "decisions.jsonl"

    @property
    def observations(self) -> Path:
        """The journal of what it saw, step by step."""
        return self.logs / "observations.jsonl"

    @property
    def logs(self) -> Path:
        """Folder of bounded log files."""
        return self.root / "logs"

    @property
    def scratch(self) -> Path:
        """Folder of the temporary folders of instances."""
        return self.root / "scratch"

    def settings_of(self, generation: int) -> Path:
        """The resolved settings of one generation of code, as `Settings.to_json` wrote them."""
        return self.root / f"generation-{generation}.json"

    @property
    def sockets(self) -> Path:
        """Folder of unix sockets: below the state directory, or in /tmp where that path is too long.

        Not in TMPDIR, which may be too long as well, and another one in the shell that `peaker status` runs in.
        """
        below = self.root / "sockets"
        if len(os.fsencode(below.absolute())) + len("/supervisor.sock") <= _SOCKET_PATH_BYTES_MAX:
            return below
        digest = hashlib.sha256(os.fsencode(self.root.absolute())).hexdigest()[:16]
        return Path("/tmp", f"peaker-{os.getuid()}-{digest}")  # noqa: S108 - made private, or refused where it is not ours

    @property
    def supervisor_socket(self) -> Path:
        """Where commands for the supervisor go."""
        return self.sockets / "supervisor.sock"

    @property
    def events(self) -> Path:
        """The event queue; the events process alone opens it."""
        return self.root / "events.sqlite"

    @property
    def jobs(self) -> Path:
        """A folder for each job that was started; the events process makes and removes them."""
        return self.root / "jobs"

    @property
    def jobs_lock(self) -> Path:
        """Held by whoever looks after running jobs."""
        return self.root / "jobs.lock"

    @property
    def source_positions(self) -> Path:
        """How far each source has come, and what it saw last; the events process alone opens it."""
        return self.root / "sources.sqlite"

    @property
    def schedules(self) -> Path:
        """How far each schedule has come; the events process alone writes it."""
        return self.root / "schedules.json"

    @property
    def intake_socket(self) -> Path:
        """Where events are sent to be kept."""
        return self.sockets / "intake.sock"

    @property
    def invoke_socket(self) -> Path:
        """The Invoke API of the newest function host: a link to that generation's own socket."""
        return self.sockets / "invoke.sock"

    def invoke_socket_of(self, generation: int) -> Path:
        """The Invoke API of one generation's function host; its workers spill there and nowhere else."""
        return self.sockets / f"invoke-{generation}.sock"

    def control_socket(self, process: str) -> Path:
        """Where the supervisor speaks to one process: `worker-3`, `host`, `control`."""
        return self.sockets / f"{process}.sock"

    def hand_over_socket(self, row: int) -> Path:
        """Where the worker of this row takes requests from its siblings."""
        return self.sockets / f"over-{row}.sock"
