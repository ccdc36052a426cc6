"""What a daemon is made of, and what people and signals want of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edge_runtime.config import DeviceConfig
from edge_runtime.daemon.candidacy import Candidacy
from edge_runtime.daemon.convergence import Convergence
from edge_runtime.daemon.deck import ModelDeck
from edge_runtime.daemon.errand import Place
from edge_runtime.daemon.errand_runner import ErrandRunner
from edge_runtime.daemon.meters import Meters
from edge_runtime.daemon.notify import Notifier
from edge_runtime.daemon.overlay import Overlay
from edge_runtime.daemon.roster import Roster
from edge_runtime.daemon.updates import AutoUpdate
from edge_runtime.daemon.voice import Voice


class Orders:
    """What people and signals want of the loop. Setting one is safe from any thread and any signal handler."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.reloading = threading.Event()

    def stop(self) -> None:
        self.stopping.set()

    def reload(self) -> None:
        self.reloading.set()


@dataclass(slots=True)
class DaemonParts:
    """What a daemon is made of; `compose.build_daemon` makes it."""

    config: DeviceConfig
    """What is in force: device.toml, and over it what was set from afar."""
    roster: Roster
    deck: ModelDeck
    candidacy: Candidacy
    voice: Voice
    notifier: Notifier
    reload: Callable[[], DeviceConfig]
    """Reads device.toml again. Raises BadConfig."""
    place: Place = field(default_factory=lambda: Place("", ""))
    """Where its models are, for errands."""
    written: DeviceConfig | None = None
    """device.toml alone; None: the same as `config`."""
    overlay: Overlay = field(default_factory=Overlay)
    errands: ErrandRunner = field(default_factory=ErrandRunner)
    updates: AutoUpdate | None = None
    convergence: Convergence | None = None
    """Follows the desired state; None where none is taken."""
    meters: Meters | None = None
    """Reads the figures for `/metrics`; None without the local page."""
    view_url: str = ""
    troubles: tuple[str, ...] = ()
    """What could not be set up (a busy port), for as long as this daemon runs."""
    closers: Sequence[Callable[[], None]] = field(default_factory=tuple)
