"""A thumbnail of each film: its first frame. Doing it twice makes the same one."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from PIL import Image
from places import FILMS, THUMBNAILS, film_of, write

LONGER_SIDE_PX = 160


def thumbnail(event: dict[str, Any], _context: Any) -> dict[str, str]:
    film = film_of(event)
    with Image.open(FILMS / film) as first:
        picture = first.convert("RGB")
    picture.thumbnail((LONGER_SIDE_PX, LONGER_SIDE_PX))
    out = BytesIO()
    picture.save(out, "JPEG", quality=85)
    write(THUMBNAILS / f"{film}.jpg", out.getvalue())
    return {"thumbnail": f"{film}.jpg"}
