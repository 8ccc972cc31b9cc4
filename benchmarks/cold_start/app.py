"""The app that starts: FastAPI, pydantic and boto3 imported and used, as many web apps do."""

from __future__ import annotations

import asyncio
import gc
import os

import boto3
from fastapi import FastAPI
from pydantic import BaseModel, Field

app = FastAPI()
store = boto3.session.Session(region_name="us-east-1")


class Title(BaseModel):
    id: int
    name: str = Field(max_length=200)
    genres: list[str]


@app.get("/titles/{title}")
async def title(title: int) -> Title:
    return Title(id=title, name=f"Title {title}", genres=["drama", "crime"])


@app.get("/together/{path:path}")
async def together(path: str) -> dict[str, int]:
    """Answer once as many instances as the other side counts are here at the same time."""
    reader, writer = await asyncio.open_unix_connection(f"/{path}")
    await reader.readexactly(1)
    writer.close()
    return {"pid": os.getpid()}


@app.get("/collect/{path:path}")
async def collect(path: str) -> dict[str, int]:
    gc.collect()
    return await together(path)
