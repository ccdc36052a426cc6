"""Which node to connect to, in which dialect, and how long to wait when it did not go well."""

from __future__ import annotations

from collections.abc import Callable

from edge_runtime.fleet.backoff import Cause, delay_s
from edge_runtime.fleet.faults import ConnectFault
from edge_runtime.fleet.rotation import Rotation
from edge_runtime.fleet.session import Incoming, Session
from edge_runtime.fleet.settings import BrokerAddress, Dialect, MqttSettings

NEXT_NODE_S = 0.5
"""At most, before the next node of a cluster is tried: the devices of the one that fell must not all come at once."""


class Dialer:
    """Belongs to the link's thread."""

    def __init__(self, settings: MqttSettings, chance: Callable[[], float]) -> None:
        self._settings, self._chance = settings, chance
        self._rotation = Rotation(settings.addresses, chance)
        self._old_brokers: set[BrokerAddress] = set()
        self._wait = False

    @property
    def node(self) -> BrokerAddress:
        """To be tried next."""
        return self._rotation.node

    @property
    def rounds(self) -> int:
        """How often all nodes failed in a row."""
        return self._rotation.rounds

    def connect(
        self, will: tuple[str, bytes], on_message: Callable[[Incoming], None], on_refused: Callable[[str], None]
    ) -> Session:
        """To the node, in the newest dialect that both know, within one attempt. Raises ConnectFault."""
        node, wanted = self.node, self._settings.dialect
        if wanted is not Dialect.AUTO or node in self._old_brokers:
            dialect = Dialect.V5 if wanted is Dialect.V5 else Dialect.V311
            return Session(self._settings, node, dialect, will, on_message, on_refused)
        try:
            return Session(self._settings, node, Dialect.V5, will, on_message, on_refused)
        except ConnectFault as fault:
            if not fault.old_broker:
                raise
            if fault.cause is Cause.DENIED:  # it said so; one that hung up may have had other reasons
                self._old_brokers.add(node)
        return Session(self._settings, node, Dialect.V311, will, on_message, on_refused)

    def settled(self) -> None:
        """The connection was a good one."""
        self._rotation.settled()

    def failed(self, fault: ConnectFault) -> None:
        """It ended, or did not come about: turn to the next node, or to the one that the broker named."""
        self._wait = self._rotation.fail()
        if fault.moved_to and self._rotation.prefer(fault.moved_to):
            self._wait = False
        if fault.cause is Cause.TAKEN:
            self._wait = True

    def pause_s(self, cause: Cause, takeovers: int) -> float:
        """Before the next attempt: hardly any if there is another node to try, else by the cause."""
        if not self._wait:
            return NEXT_NODE_S * self._chance()
        return delay_s(cause, takeovers if cause is Cause.TAKEN else self.rounds, self._chance)
