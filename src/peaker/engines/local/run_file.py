"""run.json as the supervisor keeps it: written whenever what it says has changed."""

from __future__ import annotations

import logging

from peaker.engines.local.state_dir import LockedState, RunRecord

_logger = logging.getLogger("peaker.supervisor")


class RunFile:
    """Writes the record of one supervisor."""

    def __init__(self, locked: LockedState) -> None:
        self._locked = locked
        self._written: RunRecord | None = None

    def write(self, record: RunRecord) -> None:
        """Write it if it differs from what was written last."""
        if record == self._written:
            return
        try:
            self._locked.write_run(record)
        except OSError as error:
            # A full disk must not end the supervision; the next change tries again.
            _logger.error("run.json cannot be written: %s", error, extra={"action": "record"})  # noqa: TRY400
            return
        self._written = record

    def forget(self) -> None:
        """Somebody else has written it meanwhile."""
        self._written = None
