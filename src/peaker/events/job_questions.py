"""What can be asked about jobs while they run, and done with them, beside what their folders show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from peaker.events.intake import Question
from peaker.events.job_runs import JobRuns


class JobQuestions:
    """Each takes the fields of a request and gives a document."""

    def __init__(self, jobs: JobRuns) -> None:
        self._jobs = jobs

    def by_name(self) -> Mapping[str, Question]:
        """As the intake serves them."""
        return {"jobs": self.live, "cancel_job": self.cancel}

    async def live(self, _: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Those that have a process."""
        return {}, json.dumps({"jobs": self._jobs.describe(), "totals": dict(self._jobs.totals)}).encode()

    async def cancel(self, line: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """End the job `job_id` for good; `was` is "" where there is none to end."""
        return {}, json.dumps({"was": await self._jobs.cancel(str(line.get("job_id", "")))}).encode()
