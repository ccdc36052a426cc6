"""Builds what makes the device follow its desired state, and tells the broker how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, Protocol, cast

from edge_runtime.daemon.convergence import Account, Convergence
from edge_runtime.daemon.errand import place_of
from edge_runtime.fleet.commands import RateLimit
from edge_runtime.fleet.convergence import Held, Past, Seen
from edge_runtime.fleet.desired import DesiredGate, OpenUnsigned
from edge_runtime.fleet.openers import Opener
from edge_runtime.fleet.wish_file import WishFile
from edge_runtime.telemetry.builders import Stamp, clipped
from edge_runtime.telemetry.messages import ModelRef, Reported, Scalar, encode

if TYPE_CHECKING:
    from edge_runtime.config import DeviceConfig, MqttConfig
    from edge_runtime.daemon.errand_runner import ErrandRunner
    from edge_runtime.daemon.line import Line
    from edge_runtime.daemon.run import Daemon
    from edge_runtime.lifecycle.entries import Entry
    from edge_runtime.lifecycle.state_file import Step

GAP_S = 0.5
"""Between leaving a subscription and taking it anew."""
CHECKS_PER_S, CHECKS_BURST = 0.5, 8
"""Signatures of wishes, which have a budget of their own: a flood of commands does not starve them."""


class Shelves(Protocol):
    """What is read of the store (`lifecycle.store.ModelStore`)."""

    @property
    def history(self) -> tuple[Step, ...]: ...
    def list(self) -> tuple[Entry, ...]: ...


class SetFromAfar(Protocol):
    """What is in force beside device.toml (`daemon.overlay.Overlay`)."""

    @property
    def in_force(self) -> Mapping[str, Scalar]: ...
    @property
    def trial(self) -> object | None: ...


def build_convergence(
    config: DeviceConfig,
    errands: ErrandRunner,
    open_store: Callable[[], Shelves],
    settings: SetFromAfar | None = None,
    development: bool = False,
) -> Convergence:
    """`open_store`: the device's store once more, for another thread; `settings`: what was set from afar.

    Where there is no broker nothing new is taken, and what was kept is still pursued.
    """
    wish = WishFile(config.storage.state_dir)
    gate = None
    if config.mqtt is not None:
        opener = open_opener(config, config.mqtt)
        limit = RateLimit(CHECKS_PER_S, CHECKS_BURST, time.monotonic)
        gate = DesiredGate(f"{config.site}/{config.id}", opener, wish, limit.allows)

    def look() -> Seen:
        return seen_of(open_store(), settings)

    return Convergence(wish, look, errands, place_of(config, development), gate)


def open_opener(config: DeviceConfig, mqtt: MqttConfig) -> Opener:
    """Whose wishes count: the same keys as for commands."""
    if mqtt.commands == "unsigned":
        return OpenUnsigned()
    from edge_runtime.lifecycle.trust.envelope import EnvelopeVerifier
    from edge_runtime.lifecycle.trust.key_ring import KeyRing

    return EnvelopeVerifier(KeyRing(config.storage.state_dir, mqtt.command_keys).keys)


def attach(convergence: Convergence, line: Line) -> None:
    """Let it hear what comes over the line, and look at once whenever the broker is back."""
    line.convergence = convergence
    line.mailbox.sort("desired", (line.stamp.topics.desired,), convergence.arrived)
    line.link.on_connect(convergence.connected)
    convergence.ask = lambda: line.link.hush(GAP_S, (line.stamp.topics.desired,))


def seen_of(store: Shelves, settings: SetFromAfar | None = None) -> Seen:
    """The device as the reconciler sees it. Raises Unavailable if the store's folder can not be read."""
    return Seen(
        tuple(Held(entry.name, entry.version, entry.sha256, entry.status, entry.reason) for entry in store.list()),
        tuple(Past(step.sha256, step.phase, step.reason) for step in store.history),
        settings.in_force if settings is not None else {},
        settings is not None and settings.trial is not None,
    )


class Reporter:
    """Says `reported`, retained, whenever it changes. Owned by the inference loop."""

    def __init__(
        self,
        stamp: Stamp,
        retain: Callable[[str, bytes], None],
        config: Callable[[], Mapping[str, Scalar]] = dict,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`config`: what differs from device.toml."""
        self._stamp = stamp
        self._retain = retain
        self._config = config
        self._wall = wall
        self._said: object = None

    def attend(self, daemon: Daemon) -> None:
        """Cheap while nothing has changed."""
        convergence = daemon.parts.convergence
        account = convergence.account() if convergence is not None else Account(0, "none")
        config, model = dict(self._config()), model_ref(daemon)
        gist = (account, model, config)
        if gist == self._said:
            return
        self._said = gist
        message = Reported(
            **self._stamp.head(self._wall()),
            seq=account.seq,
            state=cast("Literal['none', 'converging', 'converged', 'failed', 'refused']", account.state),
            reason=clipped(account.reason, 40),
            detail=clipped(account.detail),
            model=model,
            config=config,
        )
        self._retain(self._stamp.topics.reported, encode(message))


def model_ref(daemon: Daemon) -> ModelRef | None:
    """What runs now; None in safe mode."""
    loaded, candidate = daemon.deck.loaded, daemon.parts.candidacy.candidate
    if loaded is None:
        return None
    trial = candidate is not None and candidate.sha256 == loaded.id.sha256
    phase = "trial" if trial else "committed"
    return ModelRef(loaded.id.name, loaded.id.version, loaded.id.sha256, phase, clipped(loaded.variant.value, 40))
