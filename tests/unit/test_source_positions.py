"""The file of where sources are, when it is closed while threads of cancelled callers still use it."""

import threading
from pathlib import Path

import pytest

from peaker.errors import StateError
from peaker.events.sources.positions import Positions

THREADS = 3


def test_a_file_is_closed_between_two_calls_and_later_ones_are_refused(tmp_path: Path) -> None:
    for number in range(10):
        positions = Positions(tmp_path / f"{number}.sqlite")
        began = threading.Barrier(THREADS + 1)
        refused: list[str] = []

        def use(positions: Positions = positions, began: threading.Barrier = began, told: list[str] = refused) -> None:
            positions.move("shard", "0")
            began.wait()
            try:
                while True:
                    positions.move("shard", positions.position("shard") + "1")
            except StateError as error:
                told.append(error.what)

        threads = [threading.Thread(target=use) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        began.wait()
        positions.close()
        for thread in threads:
            thread.join(20)
        assert len(refused) == THREADS
        assert all("closed" in what for what in refused)
        again = Positions(tmp_path / f"{number}.sqlite")
        assert again.position("shard").startswith("0")
        again.close()
        with pytest.raises(StateError, match="closed"):
            again.position("shard")
