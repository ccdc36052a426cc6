"""Hundreds of MQTT connections in one thread: every socket of a process in one selector, for virtual devices.

The device itself has a thread and a connection (`link`). A load test has thousands of them, and threads are what would
be measured then. Clean sessions, presence, back-off and receipts are as in `link`; MQTT 3.1.1, plain TCP.
"""

from __future__ import annotations

import errno
import heapq
import logging
import os
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_runtime.fleet.backoff import Cause, delay_s
from edge_runtime.fleet.presence import Presence
from edge_runtime.fleet.session import Incoming
from edge_runtime.fleet.settings import BrokerAddress
from edge_runtime.telemetry.builders import Stamp
from edge_runtime.telemetry.publisher import Delivery

log = logging.getLogger(__name__)

KEEPALIVE_S = 60
CONNECT_TIMEOUT_S = 60.0
"""A broker to which thousands come at once takes its time; whoever gives up and comes again makes it longer."""
CONNECTING = 64
"""Connections of one process that may wait for their CONNACK at once."""
SETTLED_S = 30.0
READ_PACKETS = 64


class SwarmSent:
    """The receipt of one publish."""

    __slots__ = ("_state",)

    def __init__(self, state: Delivery = Delivery.PENDING) -> None:
        self._state = state

    def settle(self, state: Delivery) -> None:
        self._state = state

    def delivery(self) -> Delivery:
        return self._state


class Swarm:
    """The selector, the clock and the counts of one process. Everything happens inside `turn`, in its thread."""

    def __init__(self, chance: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.chance = clock, chance
        self.counts: Counter[str] = Counter()
        self.connecting: set[SwarmLink] = set()
        self._queue: list[SwarmLink] = []
        """Links that are due to connect and wait for their turn."""
        self._selector = selectors.DefaultSelector()
        self._writable: set[SwarmLink] = set()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._ticket = count()

    def at(self, when_s: float, act: Callable[[], None]) -> None:
        """Call `act` inside the `turn` in which the clock reaches `when_s`."""
        heapq.heappush(self._timers, (when_s, next(self._ticket), act))

    def turn(self, longest_s: float = 0.5) -> None:
        """Wait for sockets or timers for up to `longest_s`, and deal with what comes."""
        wait_s = longest_s
        if self._timers:
            wait_s = min(wait_s, max(0.0, self._timers[0][0] - self.clock()))
        for key, events in self._selector.select(wait_s):
            link: SwarmLink = key.data
            if events & selectors.EVENT_READ:
                link.read()
            if events & selectors.EVENT_WRITE:
                self._writable.add(link)
        now = self.clock()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
        self._admit()
        for link in tuple(self._writable):
            link.write()

    def close(self) -> None:
        self._selector.close()

    # For the links

    def enqueue(self, link: SwarmLink) -> None:
        self._queue.append(link)

    def watch(self, sock: int, link: SwarmLink) -> None:
        self._selector.register(sock, selectors.EVENT_READ, link)

    def forget(self, sock: int, link: SwarmLink) -> None:
        self._writable.discard(link)
        self._selector.unregister(sock)

    def wants_write(self, link: SwarmLink) -> None:
        self._writable.add(link)

    def wrote(self, sock: int, link: SwarmLink, more: bool) -> None:
        """Ask the selector only where the socket was full."""
        self._writable.discard(link)
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if more else 0)
        if self._selector.get_key(sock).events != wanted:
            self._selector.modify(sock, wanted, link)

    def _admit(self) -> None:
        room = CONNECTING - len(self.connecting)
        if room > 0 and self._queue:
            due, self._queue = self._queue[:room], self._queue[room:]
            for link in due:
                link.connect()


class SwarmLink:
    """A `telemetry.publisher.Publisher` of a swarm. Comes back by itself until `leave` or `drop`."""

    def __init__(
        self,
        swarm: Swarm,
        nodes: Sequence[BrokerAddress],
        client_id: str,
        stamp: Callable[[], Stamp],
        wall: Callable[[], float],
    ) -> None:
        """`nodes`: of one cluster; the client id chooses the first, a failure the next. `stamp`: of the session."""
        self._swarm, self._nodes, self._client_id = swarm, tuple(nodes), client_id
        self._stamp, self._wall = stamp, wall
        self._node = sum(client_id.encode()) % len(self._nodes)
        self._client: _Client | None = None
        self._callbacks: list[Callable[[], None]] = []
        self._filters: tuple[str, ...] = ()
        self._listener: Callable[[Incoming], None] | None = None
        self._pending: dict[int, SwarmSent] = {}
        self.connected = False
        self.connection = 0
        """Counts the connections of this session, failed ones not."""
        self.on_progress: Callable[[], None] = lambda: None
        """Called when something was acknowledged."""
        self._wanted = False
        self._failures = 0
        self._began_s = 0.0
        self._presence = self._new_presence()
        self._birth = self._farewell = SwarmSent(Delivery.FAILED)

    def on_connect(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def listen(self, filters: tuple[str, ...], listener: Callable[[Incoming], None]) -> None:
        self._filters, self._listener = filters, listener

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> SwarmSent:
        if self._client is None or not self.connected:
            return SwarmSent(Delivery.FAILED)
        info = self._client.publish(topic, payload, qos, retain)
        self._swarm.counts["sent"] += 1
        self._swarm.counts["bytes_sent"] += len(topic) + len(payload) + 5
        if qos == 0:
            return SwarmSent(Delivery.ACKNOWLEDGED)
        sent = SwarmSent()
        self._pending[info.mid] = sent
        return sent

    def enter(self) -> None:
        """Connect, now and whenever the connection is lost."""
        self._wanted = True
        self._swarm.enqueue(self)

    def leave(self) -> None:
        """Say goodbye, and go when it is acknowledged; the broker keeps the will to itself."""
        self._wanted = False
        if self._client is not None and self.connected:
            self._farewell = self._say_availability(self._presence.farewell())

    def drop(self) -> None:
        """Be gone without a word, as after a crash or a cut cable."""
        self._wanted = False
        client, self._client = self._client, None
        if client is not None:
            client.cut()
        self._over()

    def ask_again(self, name: str) -> None:
        """Subscribe once more, for what the broker retains there."""
        if self._client is not None and self.connected:
            self._client.subscribe([(name, 0)])

    @property
    def shown(self) -> str:
        """How the link is, in words."""
        if self._client is None:
            return f"not connected, {self._failures} failures"
        state = "connected" if self.connected else "connecting"
        since_s = self._swarm.clock() - self._began_s
        return f"{state} to node {self._node + 1} for {since_s:.0f} s, {len(self._pending)} publishes unacknowledged"

    def new_session(self) -> None:
        """The process begins anew: its connections are counted from one."""
        self.connection = 0
        self._presence = self._new_presence()

    # Called by the swarm

    def connect(self) -> None:
        """Begin to connect; the end comes as a callback."""
        if not self._wanted or self._client is not None:
            return
        self._began_s = self._swarm.clock()
        client = self._fresh_client()
        self._client = client
        self._swarm.connecting.add(self)
        self._swarm.at(self._began_s + CONNECT_TIMEOUT_S, lambda: self._give_up(client))
        node = self._nodes[self._node]
        try:
            client.connect(node.host, node.port, KEEPALIVE_S)
        except OSError:
            self._failed(Cause.UNREACHABLE)

    def read(self) -> None:
        if self._client is not None:
            self._client.loop_read(READ_PACKETS)

    def write(self) -> None:
        client = self._client
        if client is None:
            return
        client.loop_write()
        sock = client.socket()
        if sock is not None:
            self._swarm.wrote(sock.fileno(), self, client.want_write())

    def _fresh_client(self) -> _Client:
        client = _Client(CallbackAPIVersion.VERSION2, self._client_id, clean_session=True, reconnect_on_failure=False)
        client.will_set(self._own, self._presence.will(self.connection + 1), qos=1, retain=True)
        client.on_socket_open = lambda _, __, sock: self._swarm.watch(sock.fileno(), self)
        client.on_socket_close = lambda _, __, sock: self._swarm.forget(sock.fileno(), self)
        client.on_socket_register_write = lambda _, __, ___: self._swarm.wants_write(self)
        client.on_connect = self._connack
        client.on_disconnect = self._gone
        client.on_message = self._arrived
        client.on_publish = self._acknowledged
        return client

    def _connack(
        self, client: paho.Client, data: object, flags: paho.ConnectFlags, code: ReasonCode, extra: Properties | None
    ) -> None:
        if code.is_failure:
            return  # the end comes as `_gone`
        self._swarm.connecting.discard(self)
        self._swarm.counts["connects"] += 1
        self._swarm.counts["connect_ms"] += round((self._swarm.clock() - self._began_s) * 1000)
        self.connected = True
        self.connection += 1
        client.subscribe([(self._own, 0)])
        self._be_born()
        if self._filters:
            client.subscribe([(name, 0) for name in self._filters])
        self._keep_alive(client, self._swarm.clock())
        for callback in self._callbacks:
            callback()
        self.on_progress()

    def _keep_alive(self, client: paho.Client, now: float) -> None:
        if client is self._client and self.connected:
            client.loop_misc()
            self._presence.answered(self._birth.delivery())
            if self._presence.due() and self._wanted:
                self._be_born()
            next_s = now + KEEPALIVE_S / 4 * (0.75 + 0.5 * self._swarm.chance())
            self._swarm.at(next_s, lambda: self._keep_alive(client, next_s))

    def _gone(
        self, client: paho.Client, data: object, flags: paho.DisconnectFlags, code: ReasonCode, extra: Properties | None
    ) -> None:
        if client is self._client:
            self._failed(Cause.LOST if self.connected else Cause.UNREACHABLE)

    def _give_up(self, client: _Client) -> None:
        if client is self._client and not self.connected:
            client.cut()
            self._failed(Cause.SILENT)

    def _failed(self, cause: Cause) -> None:
        """The connection is over, or did not come about; come again later, at another node."""
        if self.connected and self._swarm.clock() - self._began_s >= SETTLED_S:
            self._failures = 0
        self._client = None
        self._over()
        if not self._wanted:
            return
        self._failures += 1
        self._node = (self._node + 1) % len(self._nodes)
        self._swarm.counts[f"failed_{cause.value}"] += 1
        wait_s = delay_s(cause, self._failures, self._swarm.chance)
        self._swarm.at(self._swarm.clock() + wait_s, lambda: self._swarm.enqueue(self))

    def _over(self) -> None:
        self._swarm.connecting.discard(self)
        self.connected = False
        for sent in self._pending.values():
            sent.settle(Delivery.FAILED)
        self._pending.clear()

    def _arrived(self, client: paho.Client, data: object, message: paho.MQTTMessage) -> None:
        self._swarm.counts["received"] += 1
        self._swarm.counts["bytes_received"] += len(message.topic) + len(message.payload) + 5
        if message.topic == self._own:
            if not message.retain:
                self._presence.heard(bytes(message.payload))
        elif self._listener is not None:
            self._listener(Incoming(message.topic, bytes(message.payload), bool(message.retain)))

    def _acknowledged(
        self, client: paho.Client, data: object, mid: int, code: ReasonCode, extra: Properties | None
    ) -> None:
        sent = self._pending.pop(mid, None)
        if sent is not None:
            sent.settle(Delivery.ACKNOWLEDGED)
            self._swarm.counts["acknowledged"] += 1
            if sent is self._birth:
                self._presence.answered(Delivery.ACKNOWLEDGED)
            if sent is self._farewell:
                client.disconnect()
            self.on_progress()

    @property
    def _own(self) -> str:
        """Where it is told that the device is there."""
        return self._stamp().topics.availability

    def _new_presence(self) -> Presence:
        return Presence(self._stamp(), self._wall, self._swarm.clock, hears_itself=True, keepalive_s=KEEPALIVE_S)

    def _be_born(self) -> None:
        self._swarm.counts["births"] += 1
        self._birth = self._say_availability(self._presence.birth())

    def _say_availability(self, payload: bytes) -> SwarmSent:
        return self.publish(self._own, payload, 1, True)


class _Client(paho.Client):
    """paho's client, whose connect does not wait for the other side."""

    def _create_socket_connection(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex((self.host, self.port))
        if code not in (0, errno.EINPROGRESS):
            sock.close()
            raise OSError(code, os.strerror(code))
        return sock

    def cut(self) -> None:
        """Close the socket without a DISCONNECT."""
        self.on_disconnect = None
        self._sock_close()
