"""Lines come out of a log pipe whole, in order, and bounded."""

import asyncio
import os
from collections.abc import Callable

from peaker.functions.log_pipe import LINE_BYTES_MAX, LOG_BYTES_MAX, LogPipe


def lines_of(write: Callable[[int, LogPipe], object]) -> list[str]:
    """What comes out when `write` has put something in."""
    lines: list[str] = []

    async def scenario() -> None:
        pipe = LogPipe(asyncio.get_running_loop(), lines.append)
        write(pipe.write_fd, pipe)
        pipe.close()

    asyncio.run(scenario())
    return lines


def test_lines_are_cut_at_their_ends_and_decoded() -> None:
    assert lines_of(lambda fd, _: os.write(fd, "one\nzwö\n\n".encode() + b"\xff\n")) == ["one", "zwö", "", "\ufffd"]


def test_a_line_without_an_end_is_passed_on_when_the_invocation_ends() -> None:
    def write(fd: int, pipe: LogPipe) -> None:
        os.write(fd, b"no end")
        assert pipe.end_of_invocation() == 0
        os.write(fd, b" of it")

    assert lines_of(write) == ["no end", " of it"]


def test_a_line_that_is_too_long_is_cut_into_several_and_nothing_is_lost() -> None:
    def write(fd: int, pipe: LogPipe) -> None:
        for _ in range(5):
            os.write(fd, b"z" * (LINE_BYTES_MAX // 2))
            pipe._take()

    lines = lines_of(write)
    assert [len(line) for line in lines] == [LINE_BYTES_MAX, LINE_BYTES_MAX, LINE_BYTES_MAX // 2]


def test_what_is_above_the_bound_is_counted_and_the_next_invocation_starts_anew() -> None:
    counts = []

    def write(fd: int, pipe: LogPipe) -> None:
        line = b"w" * 1023 + b"\n"
        for _ in range(LOG_BYTES_MAX // 1024 + 40):
            os.write(fd, line)
            pipe._take()
        counts.append(pipe.end_of_invocation())
        os.write(fd, b"next\n")
        counts.append(pipe.end_of_invocation())

    lines = lines_of(write)
    assert counts == [39, 0]
    assert lines[-1] == "next"
    assert len(lines) == LOG_BYTES_MAX // 1024 + 2


def test_the_end_of_the_process_is_the_end_of_the_pipe() -> None:
    async def scenario() -> None:
        lines: list[str] = []
        pipe = LogPipe(asyncio.get_running_loop(), lines.append)
        os.write(pipe.write_fd, b"last words")
        pipe.given_away()
        pipe.given_away()
        for _ in range(3):
            await asyncio.sleep(0)
        pipe.close()
        pipe.close()
        assert lines == ["last words"]

    asyncio.run(scenario())
