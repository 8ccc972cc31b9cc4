"""The web app: takes photos and sign-ups, shows thumbnails. Everything slow is left to what happens afterwards."""

from __future__ import annotations

import json

import boto3
from botocore.exceptions import ClientError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

UPLOADS, THUMBNAILS, SIGN_UPS = "photo-uploads", "photo-thumbnails", "sign-ups"

s3 = boto3.client("s3")
sns = boto3.client("sns")


async def front(_: Request) -> Response:
    return PlainTextResponse(
        'PUT /photos/NAME.jpg, then GET /thumbnails/NAME.jpg; POST /sign-ups with {"email": "..."}\n'
    )


async def upload(request: Request) -> Response:
    name = request.path_params["name"]
    if not name.endswith(".jpg"):
        return PlainTextResponse("only .jpg\n", status_code=415)
    await run_in_threadpool(s3.put_object, Bucket=UPLOADS, Key=name, Body=await request.body())
    return JSONResponse({"thumbnail": f"/thumbnails/{name}"}, status_code=202)


async def thumbnail(request: Request) -> Response:
    try:
        found = await run_in_threadpool(s3.get_object, Bucket=THUMBNAILS, Key=request.path_params["name"])
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        return PlainTextResponse("not there (yet)\n", status_code=404)
    return Response(await run_in_threadpool(found["Body"].read), media_type="image/jpeg")


async def sign_up(request: Request) -> Response:
    email = (await request.json())["email"]

    def publish() -> None:
        topic = sns.create_topic(Name=SIGN_UPS)["TopicArn"]  # the ARN of one that is there
        sns.publish(TopicArn=topic, Message=json.dumps({"email": email}))

    await run_in_threadpool(publish)
    return JSONResponse({"welcome": email}, status_code=202)


app = Starlette(
    routes=[
        Route("/", front),
        Route("/photos/{name}", upload, methods=["PUT"]),
        Route("/thumbnails/{name}", thumbnail),
        Route("/sign-ups", sign_up, methods=["POST"]),
    ]
)
