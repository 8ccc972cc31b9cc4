"""Where lines come from, and what must never stop or fool the reading."""

import gzip
import io
import itertools
import os
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from peaker.errors import LogError
from peaker.traffic.reading import read_traffic
from peaker.traffic.sources import LINE_BYTES_MAX, Block, blocks, range_blocks

LINE = '10.0.{}.{} - - [{:02d}/May/2024:{:02d}:{:02d}:{:02d} {}] "GET /p/{} HTTP/1.1" 200 512 "-" "Mozilla/5.0"'


def line(second: int, zone: str = "+0000", day: int = 1) -> str:
    return LINE.format(second % 7, second % 250, day + second // 86400, second // 3600 % 24, second // 60 % 60,
                       second % 60, zone, second)  # fmt: skip


def log(seconds: int, start: int = 0, zone: str = "+0000") -> bytes:
    return "".join(line(start + second, zone) + "\n" for second in range(seconds)).encode()


def counted(data: bytes) -> tuple[int, int, dict[str, tuple[int, int]], tuple[str, ...]]:
    """Used, gaps, unreadable by kind with the first line, notes."""
    _, report = read_traffic([io.BytesIO(data)])
    assert report.used + report.excluded + report.skipped + report.unreadable_count == report.lines
    bad = {each.kind: (each.count, each.first_line) for each in report.unreadable}
    return report.used, len(report.gaps), bad, report.notes


def test_files_patterns_folders_and_streams_are_read_as_one(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.log").write_bytes(log(10))
    (tmp_path / "logs" / "b.log.gz").write_bytes(gzip.compress(log(10, 10)))
    (tmp_path / "logs" / "c.zst").write_bytes(zstandard.compress(log(10, 20)) + zstandard.compress(log(5, 30)))
    for sources in (
        [tmp_path / "logs"],
        [str(tmp_path / "logs" / "*")],
        [tmp_path / "logs" / "a.log", str(tmp_path / "logs" / "[bc]*")],
        [io.BytesIO(log(10)), tmp_path / "logs" / "b.log.gz", tmp_path / "logs" / "c.zst"],
    ):
        traffic, report = read_traffic(sources)
        assert (traffic.trace.total, traffic.trace.counts, len(report.sources)) == (35, (1,) * 35, 3)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="no such file") as caught:
        read_traffic([str(tmp_path / "none*.log")])
    assert "none*.log" in str(caught.value)
    with pytest.raises(LogError, match="no file in the folder"):
        read_traffic([tmp_path])
    with pytest.raises(LogError, match="no log was named"):
        read_traffic([])
    (tmp_path / "empty").touch()
    with pytest.raises(LogError, match="it is empty"):
        read_traffic([tmp_path / "empty"])


def test_an_empty_file_among_others_is_noted(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(log(3))
    (tmp_path / "b").touch()
    _, report = read_traffic([tmp_path])
    assert (report.used, [note for note in report.notes if "is empty" in note]) == (3, [f"{tmp_path / 'b'} is empty."])


def test_progress_reaches_the_size_of_a_file_and_has_no_goal_for_a_stream(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(log(2000))
    seen: list[tuple[int, int | None]] = []
    read_traffic([path], progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (path.stat().st_size, path.stat().st_size)
    seen.clear()
    read_traffic([io.BytesIO(log(2000))], progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(log(2000)), None)


def test_several_processes_read_the_same_as_one(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(log(3000) + b"junk\n" + log(3000, 3000))
    one, one_report = read_traffic([path], processes=1)
    two, two_report = read_traffic([path], processes=2)
    assert one.trace == two.trace
    assert [(route.pattern, route.count) for route in one.routes] == [(r.pattern, r.count) for r in two.routes]
    assert two_report.unreadable[0].first_line == 3001
    assert (one_report.lines, one_report.used) == (two_report.lines, two_report.used) == (6001, 6000)


@pytest.mark.parametrize("packed", [gzip.compress, zstandard.compress])
def test_a_cut_off_file_is_read_to_the_cut_and_said_to_be_cut(packed: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "cut"
    chance = random.Random(3)
    text = "".join(f'{line(second)[:-1]} {chance.random()}"\n' for second in range(20_000)).encode()
    whole = packed(text)
    path.write_bytes(whole[: len(whole) // 2])
    _, report = read_traffic([path])
    assert 1000 < report.used < 19_000
    assert any("cannot be read further" in note for note in report.notes)


def test_a_line_without_end_is_passed_over_and_counted() -> None:
    used, _, bad, _ = counted(log(10) + b"x" * (3 * LINE_BYTES_MAX) + b"\n" + log(10, 10))
    assert (used, bad) == (20, {"longer than a line may be": (1, 11)})


def test_a_long_first_line_does_not_hide_the_format() -> None:
    used, _, bad, _ = counted(b"y" * (1 << 20) + b"\n" + log(10))
    assert (used, bad) == (10, {"does not fit the format": (1, 1)})


def test_binary_junk_is_counted_and_the_rest_is_read() -> None:
    junk = random.Random(5).randbytes(200_000)
    _, report = read_traffic([io.BytesIO(log(100) + junk + b"\n" + log(100, 100))])
    assert report.used == 200
    # By chance a line of junk is empty or begins as a comment.
    assert report.unreadable_count + report.skipped == junk.count(b"\n") + 1
    assert [(each.kind, each.first_line) for each in report.unreadable] == [("does not fit the format", 101)]


def test_lines_in_several_formats_are_each_read_in_theirs() -> None:
    common = b'10.0.0.1 - - [01/May/2024:00:01:00 +0000] "GET / HTTP/1.1" 200 5\n'
    other = b'{"ts": 1714521661, "method": "GET", "uri": "/j", "status": 200, "duration": 0.5}\n'
    _, report = read_traffic([io.BytesIO(log(60) + common * 5 + other * 3)])
    assert report.formats == {"combined": 60, "common": 5, "json": 3}
    assert any("several formats" in note for note in report.notes)
    with pytest.raises(LogError, match="no load"):
        read_traffic([io.BytesIO(other)], format="common")


def test_each_time_is_taken_at_its_own_zone() -> None:
    used, _, _, notes = counted((line(7200, "+0200") + "\n" + line(0, "+0000") + "\n").encode())
    assert used == 2
    assert any("several zones" in note for note in notes)
    traffic, report = read_traffic([io.BytesIO((line(7200, "+0200") + "\n" + line(0, "+0000")).encode())])
    assert traffic.trace.counts == (2,)
    assert report.zone == "mixed"


def test_time_going_backwards_is_counted_in_its_place_and_noted() -> None:
    used, _, _, notes = counted(log(100, 1000) + log(100, 0) + log(100, 2000))
    assert used == 300
    assert any("not in time order" in note for note in notes)
    traffic, _ = read_traffic([io.BytesIO(log(100, 1000) + log(100, 0))])
    assert traffic.start_epoch_s == 1714521600.0
    assert traffic.trace.counts[:100] == traffic.trace.counts[1000:1100] == (1,) * 100


@pytest.mark.parametrize("place", [0, 50, 99])
@pytest.mark.parametrize("year", [b"1970", b"2038"])
def test_a_clock_that_jumps_and_comes_back_does_not_stretch_the_trace(place: int, year: bytes) -> None:
    lines = log(100).splitlines(keepends=True)
    lines[place] = lines[place].replace(b"2024", year)
    used, _, bad, _ = counted(b"".join(lines))
    assert (used, bad) == (99, {"the time is far from that of the lines around it": (1, place + 1)})


def test_a_sparse_log_in_order_has_no_jumps() -> None:
    lines = [line(0).replace("01/May/2024", f"01/{month}/{year}") for year in range(2019, 2024)
             for month in ("Jan", "Apr", "Sep")]  # fmt: skip
    assert counted("\n".join(lines).encode())[2] == {}


def test_an_outage_is_a_gap_and_a_quiet_night_is_not() -> None:
    # Three hours at one a second, two hours of nothing, three hours again.
    traffic, report = read_traffic([io.BytesIO(log(10_800) + log(10_800, 18_000))])
    assert [(gap.duration_s, gap.start_epoch_s) for gap in report.gaps] == [(7200.0, 1714532400.0)]
    assert (traffic.trace.gap_steps, traffic.trace.mean_per_s) == (7200, 1.0)
    # Bursts of a minute every hour: what comes again is idleness.
    bursts = b"".join(log(60, hour * 3600) for hour in range(24))
    assert counted(bursts)[1] == 0


def test_a_time_that_is_none_is_told_apart() -> None:
    broken = line(5).replace("01/May/2024", "41/May/2024") + "\n"
    used, _, bad, _ = counted(log(10) + broken.encode())
    assert (used, bad) == (10, {"the time is not understood": (1, 11)})


def test_more_than_two_months_are_counted_by_the_minute() -> None:
    lines = "".join(
        line(0).replace("01/May", f"{day:02d}/{month}") + "\n"
        for month in ("Jan", "Feb", "Mar")
        for day in range(1, 29)
    )
    traffic, report = read_traffic([io.BytesIO(lines.encode())])
    assert (traffic.trace.step_s, traffic.trace.total) == (60.0, 84)
    assert any("steps of 60 s" in note for note in report.notes)


def test_many_routes_are_folded_and_none_is_lost() -> None:
    text = "".join(
        line(0).replace(
            "/p/0", f"/{'shop' if i % 2 else 'blog'}/word{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}/x{i % 3}"
        )
        + "\n"
        for i in range(5000)
    )
    traffic, _ = read_traffic([io.BytesIO(text.encode())])
    assert sum(route.count for route in traffic.routes) == 5000
    assert len(traffic.routes) <= 200
    assert "/shop/{}/x1" in {route.pattern for route in traffic.routes}


def test_blocks_hold_whole_lines_and_ranges_hold_each_line_once(tmp_path: Path) -> None:
    data = b"\n".join(b"%d" % i * (i % 5) for i in range(500))
    assert list(blocks(io.BytesIO(data), "x")) == [Block(data)]
    path = tmp_path / "lines"
    path.write_bytes(data + b"\n")
    for step in (1, 2, 3, 7, 100, 5000):
        cuts = [*range(0, len(data) + 1, step), len(data) + 1]
        read = [block.data for start, end in itertools.pairwise(cuts) for block in range_blocks(path, start, end)]
        assert b"\n".join(read) == data


def test_a_line_over_many_ranges_is_counted_once(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(log(5) + b"z" * (2 * LINE_BYTES_MAX) + b"\n" + log(5, 5))
    size, step = path.stat().st_size, LINE_BYTES_MAX // 3
    found = [block for start in range(0, size, step) for block in range_blocks(path, start, min(size, start + step))]
    assert sum(block.too_long for block in found) == 1
    assert b"".join(block.data + b"\n" for block in found if not block.too_long) == log(10)


def test_memory_does_not_grow_with_a_stream() -> None:
    piece = log(4) * (LINE_BYTES_MAX // len(log(4)) // 4)

    class Long(io.RawIOBase):
        """A stream of twenty pieces, together five blocks, made as they are asked for."""

        def __init__(self) -> None:
            self.left, self.rest = 20, b""

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            if not self.rest and self.left:
                self.left, self.rest = self.left - 1, piece
            count = min(len(buffer), len(self.rest))
            buffer[:count], self.rest = self.rest[:count], self.rest[count:]
            return count

    tracemalloc.start()
    try:
        traffic, _ = read_traffic([io.BufferedReader(Long())])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert traffic.trace.total == 20 * piece.count(b"\n")
    assert most < 120 << 20


def test_a_named_pipe_or_unreadable_file_is_an_answer_not_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "locked"
    path.write_bytes(log(1))
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("root reads everything")
    with pytest.raises(LogError, match="cannot be read"):
        read_traffic([path])
