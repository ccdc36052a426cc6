"""Which model runs now, and what takes its place when it fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from edge_runtime.daemon.models import LoadedModel, Parts, load_proven
from edge_runtime.errors import EdgeError, ModelFault
from edge_runtime.lifecycle.bundle import Bundle, Variant
from edge_runtime.lifecycle.guard import STAY, Verdict
from edge_runtime.lifecycle.origin import Origin
from edge_runtime.lifecycle.state_file import Candidate, Proof, Step
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
    @property
    def candidate(self) -> Candidate | None: ...
    @property
    def history(self) -> tuple[Step, ...]: ...

    def changed(self) -> bool: ...
    def origin_of(self, sha256: str) -> Origin: ...
    def floor_of(self, name: str) -> int: ...
    def current(self) -> Bundle | None:
        """The bundle to run; None is safe mode."""
        ...

    def read(self, sha256: str) -> Bundle: ...
    def standing(self) -> Bundle | None:
        """The bundle that would run if there were no trial."""
        ...

    def rollback(self, reason: str, quarantine: bool = ..., running: str = ...) -> ModelId | None:
        """Take the bundle with the digest `running` out (another, activated meanwhile, stays); `current` then names
        the one to run."""
        ...

    def try_out(self, model: ModelId, reason: str = ...) -> ModelId: ...
    def commit(self, running: str, reason: str = ...) -> ModelId: ...
    def proof_of(self, sha256: str) -> Proof | None: ...
    def note_start(self) -> Verdict: ...
    def note_healthy(self) -> None: ...
    def note_stopped(self) -> None: ...


class ModelUser(Protocol):
    """Whoever runs the model and must change it (`station.Station`)."""

    @property
    def name(self) -> str: ...
    def fit(self, loaded: LoadedModel | None) -> Parts: ...
    def use(self, loaded: LoadedModel | None, fitted: Parts | None = ...) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """A model in memory, fitted to the cameras that there were: it can take over between two frames."""

    loaded: LoadedModel
    fitted: Mapping[str, Parts] = field(default_factory=dict)
    """By camera."""


class ModelDeck:
    """Which model runs now. Owned by the inference loop.

    Falls back along the store's chain until a model loads; when none does the device goes on in safe mode.
    """

    def __init__(
        self,
        store: BundleStore,
        threads: int = 1,
        healthy_frames: int = 30,
        load: Callable[[Bundle, int, Variant], LoadedModel] = load_proven,
    ) -> None:
        self.store = store
        self.threads = threads
        self._healthy_frames = healthy_frames
        self._load = load
        self._good = 0
        self.loaded: LoadedModel | None = None
        self.spare: LoadedModel | None = None
        """Another model that is in memory, and need not be loaded again should the store name it."""
        self.trouble = ""
        """Why another model than the wanted one runs, or none; empty if all is well."""

    @property
    def troubles(self) -> tuple[str, ...]:
        """Everything about models that a person should know."""
        safe = "" if self.loaded else "safe mode: no model runs"
        found = (safe, self.trouble, self.store.degraded, *self.store.problems)
        return tuple(dict.fromkeys(text for text in found if text))

    @property
    def id(self) -> ModelId | None:
        return self.loaded.id if self.loaded else None

    @property
    def running(self) -> str:
        """The digest of the model that runs; empty in safe mode."""
        return self.loaded.id.sha256 if self.loaded else ""

    def open(self) -> LoadedModel | None:
        """Count the start, then load what the store names."""
        verdict = self.guarded(self.store.note_start, STAY)
        return self._settle(verdict.reason if verdict.fall_back else "")

    def loader(self, bundle: Bundle) -> Callable[[], LoadedModel]:
        """What loads a bundle, in the variant that its proof chose. May be called in another thread; raises ModelFault."""
        variant = self._variant(bundle.sha256)
        return lambda: self._load(bundle, self.threads, variant)

    def take_over(self, ready: Ready, users: Iterable[ModelUser]) -> LoadedModel | None:
        """Let another model run from the next frame on; the one that ran stays in memory as the spare.

        Its start must have been counted (`note_start`). If it does not fit a camera it is given up, and what the store then names runs.
        """
        users = tuple(users)
        self.loaded, self.spare = ready.loaded, self.loaded
        self.trouble, self._good = "", 0
        try:
            for user in users:
                user.use(ready.loaded, ready.fitted.get(user.name))
        except ModelFault as fault:
            return self.fall_back(fault.found, users)
        return self.loaded

    def fall_back(self, reason: str, users: Iterable[ModelUser] = ()) -> LoadedModel | None:
        """Give the running model up for good and put the next one in charge of `users`; None is safe mode."""
        log.warning("model %s is given up: %s", self.id, reason)
        self._give_up(reason, self.running)
        return self.settle(reason, tuple(users))

    def roll_back(self, reason: str, users: Iterable[ModelUser] = ()) -> LoadedModel | None:
        """Take the candidate out, also one that only runs beside, else what runs, on an operator's wish: it may be
        activated again. Raises Refused if it is the only one."""
        candidate = self.store.candidate
        self.store.rollback(reason, quarantine=False, running=candidate.sha256 if candidate else self.running)
        return self.settle("", tuple(users))

    def settle(self, trouble: str, users: tuple[ModelUser, ...]) -> LoadedModel | None:
        """Run what the store names now."""
        for _ in range(MAX_FALLBACKS):
            loaded = self._settle(trouble)
            try:
                for user in users:
                    user.use(loaded)
                return loaded
            except ModelFault as fault:
                trouble = str(fault)
                self._give_up(trouble, self.running)
        self.loaded = None
        for user in users:
            user.use(None)
        return None

    def note_good_frame(self) -> None:
        """Count a frame that was answered; after enough of them the store hears that the model is sound."""
        if self._good < self._healthy_frames:
            self._good += 1
            if self._good == self._healthy_frames:
                self.guarded(self.store.note_healthy, None)

    def close(self) -> None:
        """The daemon ends in order: this start was no crash."""
        self.guarded(self.store.note_stopped, None)

    def guarded(self, ask: Callable[[], T], otherwise: T) -> T:
        """A store that can not answer (its disk fails) must not stop inference."""
        try:
            return ask()
        except EdgeError as fault:
            log.warning("%s", fault)
            self.trouble = str(fault)
            return otherwise

    def _settle(self, trouble: str) -> LoadedModel | None:
        """Load what the store names, or the first after it that loads."""
        known = {model.id.sha256: model for model in (self.loaded, self.spare) if model}
        self.trouble, self._good, self.loaded, self.spare = trouble, 0, None, None
        for _ in range(MAX_FALLBACKS):
            bundle = self.guarded(self.store.current, None)
            if bundle is None:
                break
            try:
                self.loaded = known.get(bundle.sha256) or self.loader(bundle)()
                return self.loaded
            except ModelFault as fault:
                reason = str(fault)
                log.warning("%s %s: %s", bundle.manifest.name, bundle.manifest.version, reason)
                self.trouble = f"{bundle.manifest.name} {bundle.manifest.version}: {reason}"
                self._give_up(reason, bundle.sha256)
        self.trouble = self.trouble or "no bundle is installed"
        return None

    def _variant(self, sha256: str) -> Variant:
        """What the proof on this device chose; a model that was never proved here runs as it is packed."""
        proof = self.store.proof_of(sha256)
        return Variant.FLOAT if proof is not None and proof.variant == Variant.FLOAT else Variant.PACKED

    def _give_up(self, reason: str, running: str) -> None:
        self.guarded(lambda: self.store.rollback(reason, running=running), None)
