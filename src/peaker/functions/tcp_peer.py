"""Which process is at the other end of a TCP connection on this machine.

TCP has no SO_PEERCRED. But the kernel tells the inode of the peer's socket, by `sock_diag(7)` or, where that is not
offered, in /proc/net/tcp, and /proc/PID/fd tells which process holds that inode.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

Address = tuple[str, int]

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_HEADER = struct.Struct("=IHHII")
"""`struct nlmsghdr`: length, type, flags, sequence, port."""
_REQUEST_START = struct.Struct("=BBBBI")
"""`struct inet_diag_req_v2` up to its `id`: family, protocol, extensions, padding, states."""
_INODE_AT = _HEADER.size + 4 + 48 + 16
"""`struct inet_diag_msg`: four bytes, the 48 of its `id`, then expires, rqueue, wqueue, uid, inode."""
_ANY = 0xFFFFFFFF
_ANSWER_BYTES = 4096


def can_tell() -> bool:
    """Whether this system says who the peer is."""
    return sys.platform == "linux"


def socket_inode(local: Address, remote: Address) -> int:
    """The inode of the IPv4 socket bound to `local` and connected to `remote`; 0 where there is none any more."""
    try:
        return _ask_kernel(local, remote)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return 0
        return _look_up(Path("/proc/net/tcp").read_text(encoding="ascii"), local, remote)


def _ask_kernel(local: Address, remote: Address) -> int:
    ends = struct.pack("!HH", local[1], remote[1])
    ends += socket.inet_aton(local[0]) + bytes(12) + socket.inet_aton(remote[0]) + bytes(12)
    request = _REQUEST_START.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 0, _ANY)
    request += ends + struct.pack("=III", 0, _ANY, _ANY)
    header = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as link:
        link.send(header + request)
        answer = link.recv(_ANSWER_BYTES)
    kind = _HEADER.unpack_from(answer)[1]
    if kind != _SOCK_DIAG_BY_FAMILY:
        number = -struct.unpack_from("=i", answer, _HEADER.size)[0]
        raise OSError(number, os.strerror(number))
    return int(struct.unpack_from("=I", answer, _INODE_AT)[0])


def _look_up(table: str, local: Address, remote: Address) -> int:
    """In the text of /proc/net/tcp; addresses stand there as one number in the machine's own byte order."""
    wanted = [_as_in_table(local), _as_in_table(remote)]
    for line in table.splitlines()[1:]:
        fields = line.split()
        if fields[1:3] == wanted:
            return int(fields[9])
    return 0


def _as_in_table(address: Address) -> str:
    number = struct.unpack("=I", socket.inet_aton(address[0]))[0]
    return f"{number:08X}:{address[1]:04X}"


def holds_socket(pids: Iterable[int], inode: int) -> bool:
    """Whether one of these processes has the socket open.

    A process whose descriptors we may not see counts as one that has: its program is privileged (file capabilities),
    and this very process started it.
    """
    link = f"socket:[{inode}]"
    for pid in pids:
        try:
            if any(_reads(entry, link) for entry in Path(f"/proc/{pid}/fd").iterdir()):
                return True
        except PermissionError:
            return True
        except OSError:  # it has ended
            continue
    return False


def _reads(entry: Path, link: str) -> bool:
    try:
        return str(entry.readlink()) == link
    except FileNotFoundError:  # closed while we looked
        return False
