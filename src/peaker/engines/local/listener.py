"""The listening sockets, opened once by the supervisor and handed to processes that come and go."""

from __future__ import annotations

import contextlib
import errno
import socket
from pathlib import Path

from peaker.errors import ListenError

BACKLOG = 2048
"""Connections that wait while no worker accepts; the kernel cuts it to net.core.somaxconn (4096 since Linux 5.4)."""


def open_listener(address: str, name: str) -> socket.socket:
    """Listen on `host:port`, `[v6]:port` or `:port` (all addresses, both families); port 0 takes a free one.

    Raises:
        ListenError: names the setting, the address, the reason and, for a port in use, who has it.
    """
    host, port = split_address(address)
    where = f"{name} = {address!r}"
    if port > 65_535:
        raise ListenError(f"port {port} is above 65535.", where=where)
    try:
        family, destination = _resolve(host, port)
    except socket.gaierror as error:
        raise ListenError(f"the host {host!r} is not known here: {error.strerror}.", where=where) from error
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if not host else 1)
        listener.bind(destination)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ListenError(_reason(error, port), where=where, remedy=_remedy(error)) from error
    listener.setblocking(False)
    return listener


def split_address(address: str) -> tuple[str, int]:
    """`[::1]:80` -> `("::1", 80)`; the form has been checked by the settings."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def url_of(listener: socket.socket) -> str:
    """An address a person can open: a wildcard is shown as loopback."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def holders_of_port(port: int) -> list[str]:
    """Processes listening on this port, as `name (pid N)`, as far as this user may see them."""
    inodes = _listening_inodes(port)
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        # Processes end while this runs, and those of other users may not be looked into.
        with contextlib.suppress(OSError):
            if any(_link(descriptor) in inodes for descriptor in (process / "fd").iterdir()):
                found.append(f"{(process / 'comm').read_text(encoding='utf-8').strip()} (pid {process.name})")
    return sorted(found)


def _link(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except OSError:
        return ""  # Closed meanwhile.


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[object, ...]]:
    if not host:
        both = socket.has_dualstack_ipv6()
        return (socket.AF_INET6, ("::", port)) if both else (socket.AF_INET, ("0.0.0.0", port))
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # A name that has both families, like localhost, is served on IPv4: every client tries that.
    family, _, _, _, destination = min(found, key=lambda item: item[0] != socket.AF_INET)
    return family, destination


def _listening_inodes(port: int) -> set[str]:
    """Field 2 is the local address, 4 the state (0A = listening), 10 the inode; proc_net(5)."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    return inodes


def _reason(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        holders = ", ".join(holders_of_port(port))
        return f"port {port} is in use" + (f" by {holders}." if holders else " by a process of another user.")
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have that address."
    if error.errno == errno.EACCES:
        return f"this user may not listen on port {port}."
    return f"it cannot be listened on: {error.strerror}."


def _remedy(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "Stop it, or choose another port; port 0 takes a free one."
    if error.errno == errno.EACCES:
        return "Choose a port above 1023."
    return ""
