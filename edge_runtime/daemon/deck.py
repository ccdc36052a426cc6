"""Which model runs now, and what takes its place when it fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from edge_runtime.daemon.models import LoadedModel, load_proven
from edge_runtime.errors import EdgeError, ModelFault
from edge_runtime.lifecycle.bundle import Bundle
from edge_runtime.lifecycle.guard import STAY, Verdict
from edge_runtime.records import ModelId

log = logging.getLogger(__name__)
T = TypeVar("T")

MAX_FALLBACKS = 8
"""More bundles than a store keeps: a store that never ends its chain must not hold up the loop."""


class BundleStore(Protocol):
    """What the daemon needs of `lifecycle.store.ModelStore`."""

    @property
    def degraded(self) -> str: ...
    @property
    def problems(self) -> tuple[str, ...]: ...

    def current(self) -> Bundle | None:
        """The bundle to run; None is safe mode."""
        ...

    def rollback(self, reason: str, quarantine: bool = ..., running: str = ...) -> ModelId | None:
        """Take the bundle with the digest `running` out (another, activated meanwhile, stays); `current` then names
        the one to run."""
        ...

    def note_start(self) -> Verdict: ...
    def note_healthy(self) -> None: ...
    def note_stopped(self) -> None: ...


class ModelUser(Protocol):
    """Whoever runs the model and must change it (`station.Station`)."""

    def use(self, loaded: LoadedModel | None) -> None: ...


class ModelDeck:
    """Which model runs now. Owned by the inference loop.

    Falls back along the store's chain until a model loads; when none does the device goes on in safe mode.
    """

    def __init__(
        self,
        store: BundleStore,
        threads: int = 1,
        healthy_frames: int = 30,
        load: Callable[[Bundle, int], LoadedModel] = load_proven,
    ) -> None:
        self._store = store
        self._threads = threads
        self._healthy_frames = healthy_frames
        self._load = load
        self._good = 0
        self.loaded: LoadedModel | None = None
        self.trouble = ""
        """Why another model than the wanted one runs, or none; empty if all is well."""

    @property
    def troubles(self) -> tuple[str, ...]:
        """Everything about models that a person should know."""
        safe = "" if self.loaded else "safe mode: no model runs"
        found = (safe, self.trouble, self._store.degraded, *self._store.problems)
        return tuple(dict.fromkeys(text for text in found if text))

    @property
    def id(self) -> ModelId | None:
        return self.loaded.id if self.loaded else None

    def open(self) -> LoadedModel | None:
        """Count the start, then load what the store names."""
        verdict = self._guarded(self._store.note_start, STAY)
        return self._settle(verdict.reason if verdict.fall_back else "")

    def fall_back(self, reason: str, users: Iterable[ModelUser] = ()) -> LoadedModel | None:
        """Give the running model up for good and put the next one in charge of `users`; None is safe mode."""
        log.warning("model %s is given up: %s", self.id, reason)
        self._give_up(reason, self._running)
        return self._hand_over(reason, tuple(users))

    def roll_back(self, reason: str, users: Iterable[ModelUser] = ()) -> LoadedModel | None:
        """As `fall_back`, on an operator's wish: the model may be activated again. Raises Refused if it is the only one."""
        self._store.rollback(reason, quarantine=False, running=self._running)
        self._hand_over("", tuple(users))
        return self.loaded

    def note_good_frame(self) -> None:
        """Count a frame that was answered; after enough of them the store hears that the model is sound."""
        if self._good < self._healthy_frames:
            self._good += 1
            if self._good == self._healthy_frames:
                self._guarded(self._store.note_healthy, None)

    def close(self) -> None:
        """The daemon ends in order: this start was no crash."""
        self._guarded(self._store.note_stopped, None)

    def _hand_over(self, trouble: str, users: tuple[ModelUser, ...]) -> LoadedModel | None:
        for _ in range(MAX_FALLBACKS):
            loaded = self._settle(trouble)
            try:
                for user in users:
                    user.use(loaded)
                return loaded
            except ModelFault as fault:
                trouble = str(fault)
                self._give_up(trouble, self._running)
        self.loaded = None
        for user in users:
            user.use(None)
        return None

    def _settle(self, trouble: str) -> LoadedModel | None:
        """Load what the store names, or the first after it that loads."""
        self.trouble, self._good, self.loaded = trouble, 0, None
        for _ in range(MAX_FALLBACKS):
            bundle = self._guarded(self._store.current, None)
            if bundle is None:
                break
            try:
                self.loaded = self._load(bundle, self._threads)
                return self.loaded
            except ModelFault as fault:
                reason = str(fault)
                log.warning("%s %s: %s", bundle.manifest.name, bundle.manifest.version, reason)
                self.trouble = f"{bundle.manifest.name} {bundle.manifest.version}: {reason}"
                self._give_up(reason, bundle.sha256)
        self.trouble = self.trouble or "no bundle is installed"
        return None

    @property
    def _running(self) -> str:
        return self.loaded.id.sha256 if self.loaded else ""

    def _give_up(self, reason: str, running: str) -> None:
        self._guarded(lambda: self._store.rollback(reason, running=running), None)

    def _guarded(self, ask: Callable[[], T], otherwise: T) -> T:
        """A store that can not answer (its disk fails) must not stop inference."""
        try:
            return ask()
        except EdgeError as fault:
            log.warning("%s", fault)
            self.trouble = str(fault)
            return otherwise
