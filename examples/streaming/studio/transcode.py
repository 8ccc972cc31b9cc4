"""Makes a smaller rendition of each film, segment by segment: a job, for a film may take longer than a function may.

Its process may be killed at any moment. The one that follows goes on after the last segment that was checkpointed; a
segment that was written and not checkpointed is written again, the same.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

from PIL import Image
from places import FILMS, RENDITIONS, film_of, write

from peaker.jobs import Job

SEGMENT_FRAMES = 10
SMALLER = 2


def transcode(event: dict[str, Any], job: Job) -> dict[str, Any]:
    film = film_of(event)
    with Image.open(FILMS / film) as source:
        frames = getattr(source, "n_frames", 1)
        segments = -(-frames // SEGMENT_FRAMES)
        for segment in range(job.resumed_from or 0, segments):
            job.check()
            first = segment * SEGMENT_FRAMES
            made = [smaller(source, frame) for frame in range(first, min(first + SEGMENT_FRAMES, frames))]
            write(RENDITIONS / film / f"{segment:05}.gif", encoded(made))
            print(f"segment {segment + 1} of {segments}")
            job.checkpoint(segment + 1)
            job.progress((segment + 1) / (segments + 1), f"transcoded {segment + 1} of {segments} segments")
    write(RENDITIONS / f"small-{film}", joined(film, segments))
    job.progress(1.0, "joined")
    return {"film": film, "frames": frames, "segments": segments}


def smaller(source: Image.Image, frame: int) -> Image.Image:
    source.seek(frame)
    picture = source.convert("RGB")
    size = (max(1, picture.width // SMALLER), max(1, picture.height // SMALLER))
    return picture.resize(size, Image.Resampling.LANCZOS).quantize(64, Image.Quantize.MEDIANCUT)


def encoded(pictures: list[Image.Image]) -> bytes:
    out = BytesIO()
    pictures[0].save(out, "GIF", save_all=True, append_images=pictures[1:], duration=40, loop=0)
    return out.getvalue()


def joined(film: str, segments: int) -> bytes:
    pictures: list[Image.Image] = []
    for segment in range(segments):
        with Image.open(RENDITIONS / film / f"{segment:05}.gif") as part:
            for frame in range(getattr(part, "n_frames", 1)):
                part.seek(frame)
                pictures.append(part.convert("RGB"))
    return encoded(pictures)
