"""`examples/uploads` as its README runs it: real photos, real thumbnails, one mail, while processes are killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from peaker.testing.running import PeakerRun, is_alive, until

EXAMPLE = Path(__file__).parents[2] / "examples" / "uploads"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeakerRun]:
    directory = tmp_path_factory.mktemp("photos")
    shutil.copytree(EXAMPLE, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", ".peaker"))
    with PeakerRun(directory, "--aws", "local", "--listen", "127.0.0.1:0") as run:
        yield run


def ask(run: PeakerRun, path: str, body: bytes | None = None, method: str = "GET") -> tuple[int, bytes]:
    request = urllib.request.Request(run.app_url + path, body, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def photo(width: int, height: int) -> bytes:
    out = BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(out, "JPEG")
    return out.getvalue()


def thumbnail(run: PeakerRun, name: str) -> Image.Image:
    until(lambda: ask(run, f"/thumbnails/{name}")[0] == 200, 30)
    return Image.open(BytesIO(ask(run, f"/thumbnails/{name}")[1]))


def mails(run: PeakerRun) -> list[dict[str, Any]]:
    endpoint = run.command_json("profile", "--aws")["AWS_ENDPOINT_URL"]
    with urllib.request.urlopen(f"{endpoint}/moto-api/data.json", timeout=30) as answer:
        found = json.loads(answer.read())
    return list(found.get("ses", {}).get("Message", []))


def kill(run: PeakerRun, name: str) -> None:
    pid = run.pids()[name]
    os.kill(pid, signal.SIGKILL)
    until(lambda: not is_alive(pid), 30)


def test_its_settings_are_checked_without_a_region_or_key_of_the_users(photos: PeakerRun) -> None:
    checked = photos.command("check", "--aws", "local")
    assert checked.returncode == 0, checked.stderr
    assert "photo-uploads/*.jpg" in checked.stdout


def test_an_upload_gets_a_real_thumbnail(photos: PeakerRun) -> None:
    assert ask(photos, "/thumbnails/wide.jpg")[0] == 404
    assert ask(photos, "/photos/wide.jpg", photo(800, 400), "PUT")[0] == 202
    small = thumbnail(photos, "wide.jpg")
    assert (small.format, small.size) == ("JPEG", (160, 80))
    assert ask(photos, "/photos/wide.png", b"", "PUT")[0] == 415


def test_a_sign_up_gets_one_mail_however_often_it_comes(photos: PeakerRun) -> None:
    for _ in range(3):
        assert ask(photos, "/sign-ups", b'{"email": "ada@example.org"}', "POST")[0] == 202
    assert ask(photos, "/sign-ups", b'{"email": "bob@example.org"}', "POST")[0] == 202
    until(lambda: len(mails(photos)) >= 2, 30)
    until(lambda: photos.command_json("status")["events"]["totals"]["finished"] >= 5, 30)
    assert sorted(mail["destinations"]["ToAddresses"][0] for mail in mails(photos)) == [
        "ada@example.org", "bob@example.org",
    ]  # fmt: skip
    assert {mail["subject"] for mail in mails(photos)} == {"Welcome"}


def test_every_upload_gets_its_thumbnail_while_the_host_and_the_events_process_are_killed(photos: PeakerRun) -> None:
    names = [f"photo-{number}.jpg" for number in range(6)]
    for number, name in enumerate(names):
        assert ask(photos, f"/photos/{name}", photo(300, 200 + number), "PUT")[0] == 202
        if number == 1:
            kill(photos, "events")
        if number == 3:
            kill(photos, "host")
    assert [thumbnail(photos, name).size[0] for name in names] == [160] * len(names)


@pytest.mark.long
def test_what_is_no_photo_is_a_dead_letter_in_the_end(photos: PeakerRun) -> None:
    assert ask(photos, "/photos/broken.jpg", b"no picture", "PUT")[0] == 202
    until(lambda: photos.command_json("status")["events"]["counts"]["dead"] == 1, 60)
    assert "UnidentifiedImageError" in photos.command("events", "--state", "dead").stdout + photos.errors
