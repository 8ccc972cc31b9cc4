"""Which objects of a bucket are meant: `uploads`, `uploads/in/` or `uploads/in/*.jpg`."""

from __future__ import annotations

import re
from dataclasses import dataclass

# S3's rules for names of buckets: 3 to 63 lower-case letters, digits, dots and hyphens, no dot or hyphen at an end.
_PATTERN = re.compile(r"([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([^*]*)(?:\*([^*]*))?)?")

PATTERN_WORDS = (
    'a bucket, or bucket/prefix with at most one * and a suffix after it ("uploads/*.jpg"); a bucket has 3 to 63 '
    "lower-case letters, digits, dots and hyphens"
)


@dataclass(frozen=True, slots=True)
class ObjectPattern:
    """Objects whose key begins with `prefix` and ends with `suffix`, as in the filter of an S3 notification."""

    bucket: str
    prefix: str = ""
    suffix: str = ""

    @classmethod
    def parse(cls, text: str) -> ObjectPattern:
        """What `text` says; without * all that begins with it. Raises ValueError: it is no such pattern."""
        found = _PATTERN.fullmatch(text)
        if found is None or len(found[2] or "") + len(found[3] or "") > 1024:  # a key has at most 1,024 bytes
            raise ValueError(f"{text!r} is no pattern of objects; allowed: {PATTERN_WORDS}")
        return cls(found[1], found[2] or "", found[3] or "")

    def matches(self, key: str) -> bool:
        """Whether the object of this key in the bucket is meant; prefix and suffix may share letters, as on S3."""
        return key.startswith(self.prefix) and key.endswith(self.suffix)

    def overlaps(self, other: ObjectPattern) -> bool:
        """Whether some key is meant by both: one prefix begins the other, and one suffix ends the other."""
        return (
            self.bucket == other.bucket
            and (self.prefix.startswith(other.prefix) or other.prefix.startswith(self.prefix))
            and (self.suffix.endswith(other.suffix) or other.suffix.endswith(self.suffix))
        )


def is_pattern(text: str) -> bool:
    """Whether `ObjectPattern.parse` takes it."""
    try:
        ObjectPattern.parse(text)
    except ValueError:
        return False
    return True
