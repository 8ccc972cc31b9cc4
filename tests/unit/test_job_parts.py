"""What a job's handler is given, its folder, its settings, and what follows from the end of a process."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from peaker.cli import main
from peaker.errors import SettingsError
from peaker.jobs import Job, JobStopping
from peaker.jobs.folder import HISTORY_BYTES_MAX, JobFolder, JobRecord
from peaker.jobs.process import bound_log
from peaker.jobs.shown import job_shown, log_lines
from peaker.policy.job_ending import ProcessEnd, Verdict, verdict_of
from peaker.settings import Settings, load_settings


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    made = JobFolder.of(tmp_path / "jobs", "j-1")
    made.make(b"{}")
    made.write_record(record(number=1))
    return made


def record(*, number: int) -> JobRecord:
    return JobRecord(id="j-1", name="encode", source="invoke", accepted_at_s=1.0, state="running", number=number)


def job_of(folder: JobFolder, attempt: int = 1) -> Job:
    return Job(folder, job_id="j-1", name="encode", attempt=attempt)


def test_the_next_process_begins_with_the_newest_checkpoint(folder: JobFolder) -> None:
    first = job_of(folder)
    assert first.resumed_from is None
    first.checkpoint({"segment": 1})
    first.checkpoint({"segment": 2})
    folder.write_record(record(number=2))
    second = job_of(folder, attempt=2)
    assert second.resumed_from == {"segment": 2}
    second.checkpoint({"segment": 3})
    found = folder.checkpoint()
    assert found is not None
    assert (found.number, found.attempt, found.value) == (3, 2, {"segment": 3})


def test_a_process_that_was_followed_by_another_can_write_no_checkpoint(folder: JobFolder) -> None:
    late = job_of(folder)
    late.checkpoint("mine")
    folder.write_record(record(number=2))
    with pytest.raises(JobStopping, match="another process"):
        late.checkpoint("too late")
    found = folder.checkpoint()
    assert found is not None
    assert found.value == "mine"


@pytest.mark.parametrize("value", [math.nan, {1, 2}, "x" * 1024 * 1024])
def test_a_checkpoint_that_cannot_be_kept_is_refused_and_the_one_before_holds(folder: JobFolder, value: object) -> None:
    job = job_of(folder)
    job.checkpoint(1)
    with pytest.raises(ValueError, match=r"checkpoint|JSON"):
        job.checkpoint(value)
    found = folder.checkpoint()
    assert found is not None
    assert found.value == 1


@pytest.mark.parametrize("fraction", [-0.1, 1.1, math.nan])
def test_progress_is_from_0_to_1(folder: JobFolder, fraction: float) -> None:
    with pytest.raises(ValueError, match="allowed: 0 to 1"):
        job_of(folder).progress(fraction)


def test_what_progress_says_last_is_shown_even_where_it_was_said_too_often(folder: JobFolder) -> None:
    job = job_of(folder)
    for done in range(101):
        job.progress(done / 100, f"part {done}\nof 100")
    job.flush()
    shown = job_shown(folder)
    assert shown is not None
    assert (shown["fraction"], shown["text"]) == (1.0, "part 100 of 100")


def test_who_is_told_to_stop_hears_of_it_once_and_is_not_caught_by_accident(folder: JobFolder) -> None:
    job = job_of(folder)
    heard: list[str] = []
    job.on_stop(lambda: heard.append("stop"))
    job.check()
    job.stop()
    job.stop()
    assert job.stopping
    assert heard == ["stop"]
    with pytest.raises(JobStopping):
        swallow_exceptions(job.check)


def swallow_exceptions(work: Callable[[], object]) -> None:
    try:
        work()
    except Exception as error:  # noqa: BLE001 - as handlers do it; a stop has to get through
        pytest.fail(f"caught {error!r}")


def test_there_is_one_process_of_a_job_at_the_most(folder: JobFolder) -> None:
    assert folder.holder() is None
    lock = folder.take_lock(ticks=77)
    assert lock is not None
    assert folder.take_lock(ticks=78) is None
    assert folder.holder() == (os.getpid(), 77)
    os.close(lock)
    assert folder.holder() is None


@pytest.mark.parametrize("name", ["../../etc", "a/b", ".", "x" * 300, "ß"])
def test_an_id_never_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    assert JobFolder.of(tmp_path, name).path.parent == tmp_path
    assert JobFolder.of(tmp_path, name).path.name not in (".", "..")


def test_a_job_whose_process_is_gone_is_shown_as_interrupted(folder: JobFolder) -> None:
    shown = job_shown(folder)
    assert shown is not None
    assert (shown["state"], shown["pid"]) == ("interrupted", None)


def test_history_and_log_are_bounded_and_keep_the_newest(folder: JobFolder) -> None:
    for number in range(3000):
        folder.tell("started", at_s=float(number), attempt=number)
    assert (folder.path / "history.jsonl").stat().st_size <= HISTORY_BYTES_MAX
    assert folder.history()[-1]["attempt"] == 2999
    folder.log.write_text("".join(f"line {number}\n" for number in range(1000)))
    bound_log(folder.log, 4000)
    assert folder.log.stat().st_size == 0
    assert folder.log.with_name("log.1").stat().st_size == 2000
    assert log_lines(folder, 2) == ["line 998", "line 999"]


@pytest.mark.parametrize(
    ("outcome", "was_cancelled", "was_told", "has_new_checkpoint", "verdict"),
    [
        ("succeeded", False, False, False, Verdict.FINISHED),
        ("succeeded", True, True, False, Verdict.FINISHED),  # it was done before it heard
        ("failed", False, False, True, Verdict.FAILED),
        ("failed", True, False, True, Verdict.CANCELLED),
        ("stopped", True, False, True, Verdict.CANCELLED),
        ("stopped", False, True, False, Verdict.SET_ASIDE),
        ("stopped", False, False, False, Verdict.AGAIN),  # somebody else's SIGTERM
        ("", False, True, False, Verdict.SET_ASIDE),  # killed for not stopping
        ("", False, False, True, Verdict.AGAIN),
        ("", False, False, False, Verdict.FAILED),  # it dies at the same place again and again
        ("", True, False, False, Verdict.CANCELLED),
    ],
)
def test_what_follows_from_the_end_of_a_process(
    *, outcome: str, was_cancelled: bool, was_told: bool, has_new_checkpoint: bool, verdict: Verdict
) -> None:
    end = ProcessEnd(
        outcome=outcome, was_cancelled=was_cancelled, was_told=was_told, has_new_checkpoint=has_new_checkpoint
    )
    assert verdict_of(end) is verdict


def load(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "peaker.toml"
    path.write_text(text)
    return load_settings(path)


JOB = '[[job]]\nname = "encode"\nhandler = "films:encode"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[[function]]\nname = "encode"\nhandler = "films:encode"\ntimeout_s = 901\n', "make it a \\[\\[job\\]\\]"),
        ('[[job]]\nname = "encode"\n', "handler"),
        (JOB + "concurrency_max = 0\n", "allowed: 1 to 1,000"),
        (JOB + JOB, "job.name = 'encode' stands twice"),
        (JOB + '[[function]]\nname = "encode"\nhandler = "films:f"\n', "is the name of a \\[\\[function\\]\\], too"),
        (JOB + '[[job.on]]\nqueue = "films"\n', "names queue; allowed: schedule, object_created"),
        (JOB + '[[job.on]]\nschedule = "rate(0 minutes)"\n', "function.on.schedule"),
        (JOB + 'on_success = "function:gone"\n', "is no function of this app"),
        (JOB + 'writes = ["films/"]\n[[job.on]]\nobject_created = "films/*.gif"\n', "start it again"),
    ],
)
def test_a_wrong_job_is_refused_with_its_line_and_what_is_allowed(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told) as found:
        load(tmp_path, text)
    assert "peaker.toml:" in found.value.where


def test_a_job_may_be_where_another_ones_record_goes_and_reaches_every_process(tmp_path: Path) -> None:
    settings = load(tmp_path, JOB + 'on_success = "function:tell"\n[[job]]\nname = "tell"\nhandler = "films:tell"\n')
    assert Settings.from_json(settings.to_json()).job == settings.job


def test_a_stage_may_leave_jobs_out(tmp_path: Path) -> None:
    path = tmp_path / "peaker.toml"
    path.write_text(JOB + '[[function]]\nname = "f"\nhandler = "films:f"\n[stage.aws]\njob = []\n')
    assert len(load_settings(path).job) == 1
    assert load_settings(path, "aws").job == ()


@pytest.mark.parametrize("handler", ["films:gone", "films:TITLE", "nowhere:encode"])
def test_check_tells_of_a_job_and_imports_its_handler(
    tmp_path: Path, handler: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "films.py").write_text('TITLE = "dune"\ndef encode(event, job): ...\n')
    config = tmp_path / "peaker.toml"
    config.write_text(JOB + '[[job.on]]\nschedule = "rate(1 day)"\n')
    check = ["check", "--config", str(config)]
    with pytest.raises(SystemExit) as passed:
        main(check)
    assert not passed.value.code
    told = capsys.readouterr().out
    assert "job encode: films:encode, no time limit, at most 1 at once\n    on schedule rate(1 day)" in told
    config.write_text(JOB.replace("films:encode", handler))
    with pytest.raises(SystemExit) as refused:
        main(check)
    assert refused.value.code == 2
    assert handler.partition(":")[0] in capsys.readouterr().err
