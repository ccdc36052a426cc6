"""The proxy does what the campaigns believe that it does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fleet.brokers import wait_until

from benchmarks.faults.tcp_proxy import Proxy


class Echo:
    """A server that gives back what it gets, and keeps it."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.ended = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                end, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(end,), daemon=True).start()

    def _serve(self, end: socket.socket) -> None:
        with end:
            try:
                while piece := end.recv(4_096):
                    self.received += piece
                    end.sendall(piece)
            except OSError:
                pass
            self.ended += 1

    def close(self) -> None:
        self._server.close()


@contextmanager
def proxied() -> Iterator[tuple[Echo, Proxy]]:
    echo = Echo()
    with Proxy(echo.port) as proxy:
        yield echo, proxy
    echo.close()


def client(proxy: Proxy) -> socket.socket:
    end = socket.create_connection(("127.0.0.1", proxy.port))
    end.settimeout(10.0)
    return end


def all_of(end: socket.socket) -> bytes:
    """What comes until the end, whichever way it comes."""
    found = b""
    try:
        while piece := end.recv(4_096):
            found += piece
    except ConnectionError:
        pass
    return found


def test_bytes_go_through_in_order_both_ways() -> None:
    with proxied() as (_, proxy), client(proxy) as end:
        sent = bytes(range(256)) * 200
        end.sendall(sent)
        found = b""
        while len(found) < len(sent):
            found += end.recv(65_536)
        assert found == sent and proxy.accepted == 1


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_a_cut_comes_after_exactly_so_many_bytes(count: int) -> None:
    with proxied() as (echo, proxy), client(proxy) as end:
        proxy.cut_after(count, "up")
        end.sendall(b"0123456789")
        all_of(end)
        wait_until(lambda: echo.ended, "the server's end")
        assert bytes(echo.received) == b"0123456789"[:count] and not proxy.cutting
    with proxied() as (echo, proxy), client(proxy) as end:
        proxy.cut_after(count, "down")
        end.sendall(b"0123456789")
        assert all_of(end) == b"0123456789"[:count]


def test_a_cut_ends_all_connections() -> None:
    with proxied() as (_, proxy), client(proxy) as one, client(proxy) as other:
        for end in (one, other):
            end.sendall(b"x")
            assert end.recv(1) == b"x"
        assert proxy.cut() == 2 and proxy.open_connections == 0
        assert all_of(one) == all_of(other) == b""


def test_half_open_tells_the_client_nothing() -> None:
    with proxied() as (echo, proxy), client(proxy) as end:
        end.sendall(b"x")
        assert end.recv(1) == b"x"
        assert proxy.half_open() == 1
        wait_until(lambda: echo.ended, "the server's end")
        end.sendall(b"y")
        end.settimeout(0.2)
        with pytest.raises(TimeoutError):
            end.recv(1)
        with client(proxy) as fresh:
            fresh.sendall(b"z")
            assert fresh.recv(1) == b"z", "new connections are whole"


def test_a_black_hole_swallows_and_then_cuts() -> None:
    with proxied() as (echo, proxy), client(proxy) as end:
        proxy.black_hole(True)
        end.sendall(b"lost")
        end.settimeout(0.2)
        with pytest.raises(TimeoutError):
            end.recv(1)
        proxy.black_hole(False)
        assert all_of(end) == b"" and echo.received == b""


def test_delay_and_throttle_lose_nothing() -> None:
    with proxied() as (_, proxy), client(proxy) as end:
        proxy.delay(0.05)
        proxy.throttle(20_000.0)
        sent = bytes(5_000)
        end.sendall(sent)
        found = b""
        while len(found) < len(sent):
            found += end.recv(65_536)
        assert found == sent
