"""The Host header of calls to loopback ports: whether a web page could have caused it.

Any page a developer opens can make the browser send requests to loopback, but only under the page's own name, before
and after DNS rebinding. An address or `localhost` is therefore no foreign page's.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(?::\d{1,5})?")


@lru_cache(maxsize=64)
def is_local_name(host: str) -> bool:
    """Whether `host` is an IP address or localhost, with or without a port."""
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = found[1].strip("[]")
    if name == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
