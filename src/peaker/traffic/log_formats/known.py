"""All formats of access logs, and which of them a log is in: the one that reads most of its first lines."""

from __future__ import annotations

from collections.abc import Callable

from peaker.errors import LogError
from peaker.traffic.log_formats import aws, nginx
from peaker.traffic.log_formats.json_lines import json_lines
from peaker.traffic.log_formats.pattern import LineFormat, share_read
from peaker.traffic.log_formats.request_csv import request_csv

Maker = Callable[[bytes], LineFormat | None]
"""Makes a reader from the first lines of a log; None where they cannot be in this format."""

SHARE_READ_MIN = 0.1
"""Of the first lines, before a log is said to be in a format: formats are strict, and logs are dirty."""


def _fixed(line_format: LineFormat) -> Maker:
    return lambda _sample: line_format


MAKERS: dict[str, Maker] = {
    **{name: _fixed(nginx.from_template(template, name)) for name, template in nginx.TEMPLATES.items()},
    "json": json_lines,
    "alb": _fixed(aws.ALB),
    "cloudfront": aws.cloudfront,
    "requests_csv": request_csv,
    "lambda": _fixed(aws.LAMBDA),
    "api_gateway_csv": _fixed(aws.API_GATEWAY_CSV),
    "elb": _fixed(aws.ELB),
    "s3": _fixed(aws.S3),
    "haproxy": _fixed(aws.HAPROXY),
}
"""By the name that --format takes, in the order in which they are tried."""


def named_format(name: str, sample: bytes, source: str) -> LineFormat:
    """The format of this name, or of an nginx `log_format` string.

    Raises:
        LogError: there is none of this name, or the log does not begin as one.
    """
    if "$" in name:
        return nginx.from_template(name)
    if name not in MAKERS:
        raise LogError(
            f"there is no format {name!r}; there are: {', '.join(MAKERS)}, counts, cloudwatch.",
            remedy="Any other line format is given as in nginx's log_format, with its $variables.",
        )
    made = MAKERS[name](sample)
    if made is None:
        raise LogError(f"the first lines are not in the format {name}.", where=source)
    return made


def find_format(sample: bytes) -> LineFormat | None:
    """The format that reads the largest share of these lines, at least a tenth; None where none does."""
    best: tuple[float, LineFormat | None] = (SHARE_READ_MIN, None)
    for maker in MAKERS.values():
        made = maker(sample)
        if made is None:
            continue
        share = share_read(made, sample)
        if share > best[0] or (share == best[0] and best[1] is None):
            best = (share, made)
        if share == 1.0:
            break
    if best[1] is None or best[0] < 1.0:
        longer = nginx.with_tail(sample)
        if longer is not None and share_read(longer, sample) > best[0]:
            return longer
    return best[1]


def others_that_read(sample: bytes, but: str) -> list[LineFormat]:
    """Further formats, for lines that the log's own does not fit: those that read at least one of these lines."""
    found = []
    for name, maker in MAKERS.items():
        made = maker(sample) if name != but else None
        if made is not None and name != "requests_csv" and share_read(made, sample) > 0:
            found.append(made)
    return found
