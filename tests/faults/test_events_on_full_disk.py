"""The whole way of an event while the disk of the state directory is full: refused in Lambda's words, nothing lost."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_disk import small_disk

from peaker.settings import FunctionSection, ServersSection, Settings
from peaker.testing.hosts import RunningHost

FILES = Path(__file__).parents[1] / "apps"
FINISH_S_MAX = 60.0


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("peaker", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))


def send(host: RunningHost, payload: object) -> tuple[int, str]:
    """Status and what is said."""
    with contextlib.closing(_Connection(host.state.invoke_socket)) as connection:
        connection.request(
            "POST", "/2015-03-31/functions/appends/invocations", json.dumps(payload),
            {"x-amz-invocation-type": "Event", "content-type": "application/json"},
        )  # fmt: skip
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


@contextlib.contextmanager
def filled(folder: Path) -> Iterator[None]:
    other = folder / "other-data"
    with other.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 65_536):
            pass
    try:
        yield
    finally:
        other.unlink()


def test_a_full_disk_refuses_events_and_what_was_accepted_is_run(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.touch()
    settings = Settings(
        function=(FunctionSection(name="appends", handler="appending:append", concurrency_max=2),),
        servers=ServersSection(drain_s_max=2.0),
        directory=str(FILES),
    )
    with small_disk(80) as folder, RunningHost(settings, state=folder / "state", with_events=True) as host:
        accepted, refused = [], []

        def put(number: int, **more: object) -> None:
            status, said = send(host, {"number": number, "file": str(notes), **more})
            (accepted if status == 202 else refused).append(number)
            if status != 202:
                assert status == 429, said
                assert "disk" in said

        for number in range(20):
            put(number, wait_s=0.05)
        with filled(folder):
            for number in range(20, 40):
                put(number)
            assert refused == list(range(20, 40)), "events were accepted on a full disk"
            wait_for(notes, accepted)
        for number in range(40, 50):
            put(number)
        assert accepted == [*range(20), *range(40, 50)]
        wait_for(notes, accepted)


def wait_for(notes: Path, accepted: list[int]) -> None:
    deadline_s = time.monotonic() + FINISH_S_MAX
    while sorted({int(line) for line in notes.read_text().split()}) != sorted(accepted):
        if time.monotonic() > deadline_s:
            pytest.fail(f"accepted {accepted}, run {notes.read_text().split()}")
        time.sleep(0.02)
