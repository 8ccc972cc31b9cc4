"""Listening sockets, opened on real addresses."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from peaker.engines.local.listener import holders_of_port, open_listener, split_address, url_of
from peaker.errors import ListenError

HAS_IPV6 = socket.has_dualstack_ipv6()


def reaches(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=2).close()
    except OSError:
        return False
    return True


def test_port_0_takes_a_free_one_and_its_url_is_known() -> None:
    with open_listener("127.0.0.1:0", "app.listen") as listener:
        port = listener.getsockname()[1]
        assert url_of(listener) == f"http://127.0.0.1:{port}"
        assert reaches(("127.0.0.1", port))
        assert not os.get_blocking(listener.fileno())
        assert not listener.get_inheritable()


@pytest.mark.skipif(not HAS_IPV6, reason="no IPv6 here")
def test_ipv6_addresses_stand_in_brackets() -> None:
    with open_listener("[::1]:0", "app.listen") as listener:
        port = listener.getsockname()[1]
        assert url_of(listener) == f"http://[::1]:{port}"
        assert reaches(("::1", port))
        assert not reaches(("127.0.0.1", port))


@pytest.mark.skipif(not HAS_IPV6, reason="no IPv6 here")
def test_no_host_is_all_addresses_of_both_families() -> None:
    with open_listener(":0", "app.listen") as listener:
        port = listener.getsockname()[1]
        assert url_of(listener) == f"http://127.0.0.1:{port}"
        assert reaches(("127.0.0.1", port))
        assert reaches(("::1", port))


def test_a_name_with_both_families_is_served_on_ipv4() -> None:
    with open_listener("localhost:0", "app.listen") as listener:
        assert listener.family is socket.AF_INET


def test_a_port_in_use_names_who_has_it_and_what_to_do() -> None:
    with open_listener("127.0.0.1:0", "app.listen") as first:
        port = first.getsockname()[1]
        with pytest.raises(ListenError) as caught:
            open_listener(f"127.0.0.1:{port}", "app.listen")
        text = str(caught.value)
        assert f"app.listen = '127.0.0.1:{port}': port {port} is in use by " in text
        assert f"(pid {os.getpid()})" in text
        assert "choose another port" in text
        assert any(f"(pid {os.getpid()})" in holder for holder in holders_of_port(port))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:70000", "port 70000 is above 65535"),
        ("no-such-host.invalid:0", r"the host 'no-such-host\.invalid' is not known here"),
        ("203.0.113.7:0", "this machine does not have that address"),
    ],
)
def test_an_address_that_cannot_be_had_says_why(address: str, message: str) -> None:
    with pytest.raises(ListenError, match=message):
        open_listener(address, "app.listen")


def test_a_port_can_be_listened_on_again_at_once_after_connections_were_open() -> None:
    with open_listener("127.0.0.1:0", "app.listen") as listener:
        listener.setblocking(True)
        port = listener.getsockname()[1]
        accepted: list[socket.socket] = []
        taking = threading.Thread(target=lambda: accepted.append(listener.accept()[0]))
        taking.start()
        client = socket.create_connection(("127.0.0.1", port))
        taking.join()
        accepted[0].close()  # This side closes first, so TIME_WAIT is here.
        client.close()
    open_listener(f"127.0.0.1:{port}", "app.listen").close()


def test_addresses_are_split_at_the_last_colon() -> None:
    assert split_address("[::1]:80") == ("::1", 80)
    assert split_address(":80") == ("", 80)
    assert split_address("a.b:80") == ("a.b", 80)
