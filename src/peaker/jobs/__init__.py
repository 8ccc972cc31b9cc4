"""Jobs: work without a time limit. A handler needs `Job` (and `JobStopping`) of this package, and nothing else.

from peaker.jobs import Job

def transcode(event: dict, job: Job) -> None:
    done = job.resumed_from or 0
    for part in range(done, event["parts"]):
        job.check()
        encode(part)
        job.checkpoint(part + 1)
        job.progress((part + 1) / event["parts"], f"part {part + 1} of {event['parts']}")
"""

from peaker.jobs.job import Job, JobStopping

__all__ = ["Job", "JobStopping"]
