"""What `peaker run --dev` changes in the settings, and what it watches."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from peaker.cli.check import check_settings
from peaker.cli.development import Watch, changes, for_development, names, snapshot, watched_files
from peaker.settings import AppSection, FunctionsSection, RouteSection, ServersSection, Settings

ROUTES = (RouteSection(path="/a", placement="functions", stream=True), RouteSection(path="/b", placement="servers"))
SETTINGS = Settings(
    app=AppSection(web="shop:app", spill=True),
    servers=ServersSection(count_min=2, count_max=4, workers=3, header_timeout_s=1),
    functions=FunctionsSection(concurrency_max=7),
    route=ROUTES,
)


def test_there_is_one_worker_without_time_limits_and_nothing_leaves_it() -> None:
    found = for_development(SETTINGS, spill=False)
    assert (found.servers.count_min, found.servers.workers) == (1, 1)
    assert found.servers.header_timeout_s == found.servers.body_timeout_s == 900
    assert not found.app.spill
    assert [route.placement for route in found.route] == ["hybrid", "servers"]
    assert found.app.access_log == "-"
    check_settings(found)


def test_with_spill_functions_are_as_declared_and_a_named_access_log_stays() -> None:
    settings = Settings(app=AppSection(web="shop:app", spill=True, access_log="requests.log"), route=ROUTES)
    found = for_development(settings, spill=True)
    assert found.app.spill
    assert found.route == ROUTES
    assert found.app.access_log == "requests.log"


def test_code_and_settings_are_watched_and_what_others_write_is_not(tmp_path: Path) -> None:
    for name in ("shop.py", "part/prices.py", ".venv/lib.py", ".git/hook.py", ".peaker/x.py", "__pycache__/shop.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    for name in ("peaker.toml", "variables.env", "orders.db", "page.html"):
        (tmp_path / name).write_text("")
    found = snapshot(watched_files(tmp_path, None, "variables.env"))
    assert {str(path.relative_to(tmp_path)) for path in found} == {
        "shop.py", "part/prices.py", "peaker.toml", "variables.env",
    }  # fmt: skip


def test_what_was_changed_added_or_removed_is_named() -> None:
    a, b, c = Path("a.py"), Path("b.py"), Path("c.py")
    assert changes({a: (1, 1, 1), b: (1, 1, 1)}, {a: (2, 1, 1), c: (1, 1, 1)}) == [a, b, c]
    assert changes({a: (1, 1, 1)}, {a: (1, 1, 1)}) == []
    assert names([a]) == "a.py"
    assert names([a, b]) == "2 files"


def test_a_save_in_several_steps_is_told_once(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "shop.py"
        path.write_text("1")
        watch = Watch(lambda: watched_files(tmp_path, None, ""))
        told = asyncio.create_task(watch.changed())
        path.unlink()
        (tmp_path / "other.py").write_text("1")
        path.write_text("22")
        async with asyncio.timeout(20):
            found = await told
        assert path in found
        again = asyncio.create_task(watch.changed())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await again

    asyncio.run(main())
