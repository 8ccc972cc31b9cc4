"""An S3 trigger: fetch the picture, make it smaller, put it beside. Portable pixmaps, so nothing but boto3 is needed."""

import os
import urllib.parse
import uuid

import boto3

s3 = boto3.client("s3")


def shrink(source, target, factor=2):
    with open(source, "rb") as file:
        kind, size, depth, pixels = file.read().split(b"\n", 3)
    width, height = map(int, size.split())
    rows = [pixels[3 * width * y : 3 * width * (y + 1)] for y in range(0, height, factor)]
    small = b"".join(row[3 * x : 3 * x + 3] for row in rows for x in range(0, width, factor))
    with open(target, "wb") as file:
        file.write(b"%s\n%d %d\n%s\n" % (kind, -(-width // factor), -(-height // factor), depth) + small)


def lambda_handler(event, context):
    made = []
    for record in event["Records"]:
        bucket = record["s3"]["bucket"]["name"]
        key = urllib.parse.unquote_plus(record["s3"]["object"]["key"], encoding="utf-8")
        name = key.replace("/", "")
        download, upload = f"/tmp/{uuid.uuid4()}{name}", f"/tmp/small-{uuid.uuid4()}{name}"
        try:
            s3.download_file(bucket, key, download)
            shrink(download, upload)
            s3.upload_file(upload, f"{bucket}-resized", key)
            made.append(f"{bucket}-resized/{key}")
        finally:
            for path in (download, upload):
                if os.path.exists(path):
                    os.remove(path)
    return {"made": made}
