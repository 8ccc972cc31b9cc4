"""The shop's web app: what was paid. It knows nothing of Peaker, and nothing of the webhook."""

from __future__ import annotations

import orders
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


def index(_: Request) -> JSONResponse:
    return JSONResponse({"paid": orders.paid(), "runs": orders.runs()})


app = Starlette(routes=[Route("/", index)])
