"""Paths as routes: what changes from one request to the next becomes `{}`.

First by form (numbers, identifiers, long random words), as each path is met; then by number: where one place in a path
has more than SIBLINGS_MAX different words, it is a parameter.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping

SIBLINGS_MAX = 30
WORD_SHARE_MIN = 0.01
SEGMENTS_MAX = 8
PATH_BYTES_MAX = 200
ANY = "{}"

_CHANGING = re.compile(
    rb"""
    \d+(?:[.,:;_-]\d+)*                                  # numbers, dates, versions
    | [0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}   # UUID
    | (?=[0-9a-fA-F-]*\d)[0-9a-fA-F-]{7,}                # hexadecimal
    | (?=[\w~%=+-]*\d)(?=[\w~%=+-]*[a-zA-Z])[\w~%=+-]{16,}  # tokens: long, letters and digits mixed
    | [\w%~=+-]{40,}
    | \{[^/]*\} | :[a-z]\w*                              # parameters as API gateways write them
    """,
    re.VERBOSE,
)
_NUMBERED = re.compile(rb"(?<![a-zA-Z])\d+(?:[._]\d+)*(?![a-zA-Z\d])")
_VERSION = re.compile(rb"v\d{1,2}")
_HASHED_NAME = re.compile(rb"([\w.@-]*?)[.-](?=\w*\d)?([0-9a-zA-Z_]{8,})((?:\.min)?\.\w{1,5}(?:\.map)?)")


def route_of(target: bytes) -> str:
    """The route of a path without its query string: `/users/17/posts` is `/users/{}/posts`."""
    path = target[:PATH_BYTES_MAX]
    if not path.startswith(b"/"):
        return path.decode("ascii", "replace") if path in {b"*", b""} else ANY
    segments = path.strip(b"/").split(b"/")
    named = [_segment(segment) for segment in segments if segment]
    if len(named) > SEGMENTS_MAX:
        named = [*named[:SEGMENTS_MAX], "..."]
    return "/" + "/".join(named)


def _segment(segment: bytes) -> str:
    if _VERSION.fullmatch(segment):
        return segment.decode("ascii")
    if _CHANGING.fullmatch(segment):
        return ANY
    hashed = _HASHED_NAME.fullmatch(segment)
    if hashed and re.search(rb"\d|[a-z][A-Z]", hashed[2]):
        return f"{hashed[1].decode('utf-8', 'replace')}-{ANY}{hashed[3].decode('ascii', 'replace')}"
    return _NUMBERED.sub(ANY.encode(), segment).decode("utf-8", "replace")


def folded(counts: Mapping[str, int]) -> dict[str, str]:
    """For each route the one it belongs to when words with too many siblings are parameters.

    A word that alone has WORD_SHARE_MIN of all requests keeps its name. Works from the first segment to the last, so
    that `/shop/{}/price` gathers what `/shop/NAME/price` were.
    """
    current = {pattern: pattern.split("/") for pattern in counts}
    large = WORD_SHARE_MIN * sum(counts.values())
    for place in range(1, SEGMENTS_MAX + 2):
        siblings: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for pattern, segments in current.items():
            if len(segments) > place:
                siblings[*segments[:place]][segments[place]] += counts[pattern]
        for segments in current.values():
            words = siblings[*segments[:place]] if len(segments) > place else {}
            if len(words) > SIBLINGS_MAX and words[segments[place]] < large:
                segments[place] = _parameter(segments[place])
    return {pattern: "/".join(segments) for pattern, segments in current.items()}


def _parameter(word: str) -> str:
    """The kind of file is kept: pictures and pages are different routes."""
    name, dot, ending = word.rpartition(".")
    return f"{ANY}.{ending}" if dot and name and ending.isalnum() and len(ending) <= 5 else ANY
