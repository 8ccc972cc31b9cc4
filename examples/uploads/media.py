"""Makes a thumbnail of each photo that is uploaded. Doing it twice makes the same thumbnail."""

from __future__ import annotations

from io import BytesIO
from typing import Any
from urllib.parse import unquote_plus

import boto3
from PIL import Image, ImageOps

THUMBNAILS = "photo-thumbnails"
LONGER_SIDE_PX = 160

s3 = boto3.client("s3")


def thumbnail(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    made = {}
    for record in event["Records"]:
        bucket, key = record["s3"]["bucket"]["name"], unquote_plus(record["s3"]["object"]["key"])
        photo = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        small, size = shrink(photo)
        s3.put_object(Bucket=THUMBNAILS, Key=key, Body=small, ContentType="image/jpeg")
        made[key] = size
    return made


def shrink(photo: bytes) -> tuple[bytes, tuple[int, int]]:
    """The photo as a small JPEG, upright, and its width and height in pixels."""
    with Image.open(BytesIO(photo)) as image:
        upright = ImageOps.exif_transpose(image)
        upright.thumbnail((LONGER_SIDE_PX, LONGER_SIDE_PX))
        out = BytesIO()
        upright.convert("RGB").save(out, "JPEG", quality=85)
        return out.getvalue(), upright.size
