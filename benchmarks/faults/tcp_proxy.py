"""A TCP proxy on the loopback that does to a connection what networks do: cut, swallow, slow down, hold back.

`with Proxy(broker.port) as proxy: connect to proxy.port`. One thread serves all connections; every verb may be called
from any thread and is in force when it returns. Bytes come out in the order in which they went in, or not at all.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal

Side = Literal["up", "down", "both"]
CHUNK = 4_096
POLL_S = 0.002
IDLE_S = 0.02
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of 0 s: closing sends RST instead of FIN."""


@dataclass(slots=True)
class _Pipe:
    """One direction of one connection."""

    source: socket.socket
    sink: socket.socket
    upward: bool
    waiting: deque[tuple[float, bytes]] = field(default_factory=deque)
    """What was read, and when it may go out."""
    ended: bool = False

    @property
    def held(self) -> int:
        return sum(len(piece) for _, piece in self.waiting)


@dataclass(slots=True)
class _Pair:
    client: socket.socket
    server: socket.socket
    pipes: tuple[_Pipe, _Pipe]
    dead_end: bool = False
    """The far side is gone and this one has not been told."""


class Proxy:
    """From `port` to `target_port`, both of the loopback. Nothing is in force at the start."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        """May be changed: new connections go there."""
        self.accepted = 0
        """Connections since the start."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.RLock()
        self._pairs: list[_Pair] = []
        self._swallows = False
        self._rate: float | None = None
        self._delay_s = 0.0
        self._budget: int | None = None
        self._budget_side: Side = "both"
        self._budget_reset = False
        self._allowance = 0.0
        self._filled_s = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tcp-proxy", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        with self._lock:
            return len(self._pairs)

    def cut(self, reset: bool = True) -> int:
        """End every connection now, with RST (or FIN); what was on its way is lost. How many there were."""
        with self._lock:
            return sum(self._drop(pair, reset) for pair in tuple(self._pairs))

    def cut_after(self, count: int, side: Side = "both", reset: bool = False) -> None:
        """Let `count` more bytes through (of the given direction, of all connections together), then cut all, once.

        The last byte before the cut is delivered; with `reset` what the receiver has not read yet is lost too.
        """
        with self._lock:
            self._budget, self._budget_side, self._budget_reset = count, side, reset

    @property
    def cutting(self) -> bool:
        """Whether a `cut_after` is still to come."""
        return self._budget is not None

    def black_hole(self, on: bool) -> None:
        """Take connections and bytes and give nothing back, until it is over: what was swallowed stays lost.

        Connections of that time can not go on with a hole in them and are cut at the end of it.
        """
        with self._lock:
            if self._swallows and not on:
                self.cut()
            self._swallows = on

    def half_open(self) -> int:
        """The target loses all its connections, the clients are not told. How many there were."""
        with self._lock:
            pairs = [pair for pair in self._pairs if not pair.dead_end]
            for pair in pairs:
                pair.dead_end = True
                _close(pair.server, reset=True)
            return len(pairs)

    def throttle(self, bytes_per_s: float | None) -> None:
        """Both directions of all connections together; None: as fast as it goes."""
        with self._lock:
            self._rate, self._allowance = bytes_per_s, 0.0

    def delay(self, seconds: float) -> None:
        """Hold each piece back that long, in each direction."""
        with self._lock:
            self._delay_s = seconds

    def close(self) -> None:
        """Cut everything and stop listening."""
        self._over.set()
        self._thread.join(5.0)
        self._listener.close()
        self.cut()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        while not self._over.is_set():
            with self._lock:
                pipes = [pipe for pair in self._pairs for pipe in pair.pipes]
                sources = {pipe.source for pipe in pipes if not pipe.ended and pipe.held < 16 * CHUNK}
                busy = any(pipe.waiting for pipe in pipes)
            ready = _readable({self._listener, *sources}, POLL_S if busy else IDLE_S)
            with self._lock:
                if self._listener in ready:
                    self._accept()
                for pair in tuple(self._pairs):
                    self._serve(pair, ready)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        self.accepted += 1
        try:
            server = socket.create_connection(("127.0.0.1", self.target_port), 2.0)
        except OSError:
            _close(client, reset=True)
            return
        for end in (client, server):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pairs.append(_Pair(client, server, (_Pipe(client, server, True), _Pipe(server, client, False))))

    def _serve(self, pair: _Pair, ready: set[socket.socket]) -> None:
        for pipe in pair.pipes:
            if pipe.source in ready:
                self._read(pair, pipe)
        for pipe in pair.pipes:
            if pair in self._pairs and not pair.dead_end:
                self._write(pair, pipe)

    def _read(self, pair: _Pair, pipe: _Pipe) -> None:
        if pipe.source.fileno() < 0:
            return
        try:
            piece = pipe.source.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece:
            pipe.ended = True
            if pair.dead_end or self._swallows or not pipe.waiting:
                self._end_of(pair)
        elif not (self._swallows or pair.dead_end):
            pipe.waiting.append((time.monotonic() + self._delay_s, piece))

    def _end_of(self, pair: _Pair) -> None:
        """One side has closed: a black hole keeps that to itself as long as the client is still there."""
        if self._swallows and not pair.pipes[0].ended:
            return
        self._drop(pair, reset=False)

    def _write(self, pair: _Pair, pipe: _Pipe) -> None:
        while pipe.waiting and pipe.waiting[0][0] <= time.monotonic():
            room = self._room(pipe)
            if room <= 0:
                break
            due_s, piece = pipe.waiting.popleft()
            try:
                sent = pipe.sink.send(piece[:room])
            except BlockingIOError:
                sent = 0
            except OSError:
                self._drop(pair, reset=True)
                return
            if sent < len(piece):
                pipe.waiting.appendleft((due_s, piece[sent:]))
            if self._spent(pipe, sent) or not sent:
                return
        if pipe.ended and not pipe.waiting and not self._swallows:
            self._drop(pair, reset=False)

    def _room(self, pipe: _Pipe) -> int:
        room = CHUNK
        if self._rate is not None:
            now_s = time.monotonic()
            self._allowance = min(max(1.0, self._rate / 4), self._allowance + (now_s - self._filled_s) * self._rate)
            self._filled_s = now_s
            room = min(room, int(self._allowance))
        if self._budget is not None and self._counts(pipe):
            room = min(room, max(self._budget, 1))
        return room

    def _counts(self, pipe: _Pipe) -> bool:
        return self._budget_side == "both" or (self._budget_side == "up") == pipe.upward

    def _spent(self, pipe: _Pipe, sent: int) -> bool:
        """Book what went out; True if that was the last before a cut."""
        self._allowance -= sent
        if self._budget is None or not self._counts(pipe):
            return False
        self._budget -= sent
        if self._budget > 0:
            return False
        self._budget = None
        self.cut(self._budget_reset)
        return True

    def _drop(self, pair: _Pair, reset: bool) -> bool:
        if pair not in self._pairs:
            return False
        self._pairs.remove(pair)
        _close(pair.client, reset)
        _close(pair.server, reset)
        return True


def _readable(sockets: set[socket.socket], timeout_s: float) -> set[socket.socket]:
    """Those that have something to read or have ended. One that another thread closes meanwhile is left out."""
    with selectors.DefaultSelector() as selector:
        for end in sockets:
            with contextlib.suppress(ValueError, KeyError, OSError):
                selector.register(end, selectors.EVENT_READ, end)
        return {key.data for key, _ in selector.select(timeout_s)}


def _close(end: socket.socket, reset: bool) -> None:
    with contextlib.suppress(OSError):
        if reset:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        end.close()
