"""How a function is named in a call: by name, partial ARN or full ARN, each with or without a qualifier.

Source: AWS Lambda API Reference, "Invoke", FunctionName: name `my-function`, `my-function:v1`; ARN
`arn:aws:lambda:us-west-2:123456789012:function:my-function`; partial ARN `123456789012:function:my-function`.
Region and account are taken as they come: code that names its functions by their ARN on AWS meets the same functions
here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from peaker.wire.lambda_errors import invalid_parameter, violated

LATEST = "$LATEST"

_PATTERN = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?"
    r"([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
)
"""NamespacedFunctionName of the service's model, as it is told to who breaks it."""

_NAMED = re.compile(
    r"(?:arn:aws[a-zA-Z-]*:lambda:)?(?:[a-z]{2}(?:-[a-z]+)+-\d:)?(?:\d{12}:)?(?:function:)?"
    r"(?P<name>[a-zA-Z0-9-_]{1,140})(?::(?P<qualifier>\$LATEST|[a-zA-Z0-9-_]{1,128}))?"
)
_QUALIFIER = re.compile(r"\$LATEST|[a-zA-Z0-9-_]{1,128}")


@dataclass(frozen=True, slots=True)
class Named:
    """A function as a caller names it; `qualifier` is "" where none is given."""

    function: str
    qualifier: str = ""

    @property
    def suffix(self) -> str:
        """What a qualifier adds to an ARN."""
        return f":{self.qualifier}" if self.qualifier else ""


def parse_name(text: str, qualifier: str = "") -> Named:
    """Read a name as it stands in the path, decoded, and the qualifier beside it.

    Raises:
        InvokeApiError: 400; one breaks its pattern, or both name a qualifier and not the same.
    """
    found = _NAMED.fullmatch(text)
    if found is None:
        raise violated("functionName", text, f"Member must satisfy regular expression pattern: {_PATTERN}")
    if qualifier and not _QUALIFIER.fullmatch(qualifier):
        raise violated("qualifier", qualifier, "Member must satisfy regular expression pattern: (|[a-zA-Z0-9$_-]+)")
    own = found["qualifier"] or ""
    if own and qualifier and own != qualifier:
        raise invalid_parameter("The derived qualifier from the function name does not match the specified qualifier.")
    return Named(found["name"], own or qualifier)
