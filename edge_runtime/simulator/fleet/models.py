"""The models of one virtual device: the store's states and the guard's verdict, without a byte of a model."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, replace

from edge_runtime.errors import Refused, TryAgain
from edge_runtime.fleet.convergence import Held, Past, Seen
from edge_runtime.fleet.desired import DesiredModel
from edge_runtime.records import ModelId
from edge_runtime.simulator.fleet.plan import FleetPlan, Quality, digest_of
from edge_runtime.telemetry.messages import Scalar

MAX_HISTORY = 32


@dataclass(frozen=True, slots=True)
class Candidate:
    sha256: str
    phase: str
    ends_s: float
    """When the phase is over."""
    trial_s: float
    verdict: str = ""
    """Why the guard takes it out at the end of this phase; empty: it does not."""


@dataclass(frozen=True, slots=True)
class Switch:
    """A change of a device's models, as its event tells it."""

    was: str
    now: str
    phase: str
    reason: str


class VirtualModels:
    """What `lifecycle.store` keeps, with time instead of frames. Times are monotonic seconds."""

    def __init__(self, plan: FleetPlan, chances: random.Random) -> None:
        self._plan, self._chances = plan, chances
        first = digest_of(plan.model, plan.version)
        self._names: dict[str, tuple[str, str]] = {first: (plan.model, plan.version)}
        self._quarantined: dict[str, str] = {}
        self._history: deque[Past] = deque(maxlen=MAX_HISTORY)
        self.current, self.previous = first, ""
        self.candidate: Candidate | None = None

    @property
    def running(self) -> ModelId:
        """In a trial the candidate, else what is current."""
        candidate = self.candidate
        digest = candidate.sha256 if candidate is not None and candidate.phase == "trial" else self.current
        return self.id_of(digest)

    @property
    def quality(self) -> Quality:
        """Of what runs."""
        return self._plan.quality(self.running.version)

    @property
    def rollbacks(self) -> int:
        """Models that are kept out."""
        return len(self._quarantined)

    @property
    def last_rollback(self) -> tuple[ModelId, str] | None:
        for digest in reversed(self._quarantined):
            return self.id_of(digest), self._quarantined[digest]
        return None

    def id_of(self, sha256: str) -> ModelId:
        return ModelId(*self._names[sha256], sha256)

    def seen(self, config: dict[str, Scalar]) -> Seen:
        """For the reconciler."""
        held = [
            Held(*self._names[digest], digest, self._status(digest), self._reason(digest)) for digest in self._names
        ]
        return Seen(tuple(held), tuple(self._history), config)

    def install(self, model: DesiredModel) -> ModelId:
        """A download has come to its end."""
        digest = model.sha256 or digest_of(model.name, model.version)
        if digest in self._quarantined:
            raise Refused(f"{model.name} {model.version} is quarantined here: {self._quarantined[digest]}")
        if model.name != self._plan.model:
            raise Refused(f"the repository offers no release of {model.name} to this device")
        self._names[digest] = (model.name, model.version)
        self._note(digest, "staged", "")
        return self.id_of(digest)

    def activate(self, sha256: str, shadow_s: float | None, trial_s: float | None, why: str, now_s: float) -> str:
        """Begin the shadow run or the trial; the phase."""
        if sha256 in self._quarantined or sha256 not in self._names:
            raise Refused(f"{sha256[:12]} is quarantined or not here")
        if sha256 == self.current:
            self.candidate = None
            return "committed"
        if self.candidate is not None and self.candidate.phase == "trial" and self.candidate.sha256 != sha256:
            raise TryAgain(f"{self._names[self.candidate.sha256][1]} is in trial")
        shadow_s = self._plan.shadow_s if shadow_s is None else shadow_s
        trial_s = self._plan.trial_s if trial_s is None else trial_s
        if shadow_s > 0:
            self.candidate = Candidate(sha256, "shadow", now_s + shadow_s, trial_s)
        else:
            self.candidate = self._trial(sha256, trial_s, now_s)
        self._note(sha256, self.candidate.phase, why)
        return self.candidate.phase

    def commit(self, why: str) -> ModelId:
        candidate = self.candidate
        if candidate is None or candidate.phase != "trial":
            raise Refused("no model is in trial")
        self.current, self.previous, self.candidate = candidate.sha256, self.current, None
        self._note(self.current, "committed", why)
        return self.running

    def take_out(self, why: str) -> ModelId:
        """The candidate leaves, or what is current gives way to the one before; without a quarantine."""
        if self.candidate is not None:
            gone, self.candidate = self.candidate.sha256, None
        elif self.previous:
            gone, self.current, self.previous = self.current, self.previous, ""
        else:
            raise Refused("no other model to roll back to")
        self._note(gone, "rolled_back", why)
        return self.running

    def advance(self, now_s: float) -> Switch | None:
        """What time has brought, one change a call."""
        candidate = self.candidate
        if candidate is None or now_s < candidate.ends_s:
            return None
        was, version = self.running.version, self._names[candidate.sha256][1]
        if candidate.phase == "shadow":
            self.candidate = self._trial(candidate.sha256, candidate.trial_s, now_s)
            reason = "agrees with the current model on 97.0% of 240 slots"
            self._note(candidate.sha256, "trial", reason)
            return Switch(was, version, "trial", reason)
        if candidate.verdict:
            self.candidate = None
            self._quarantined[candidate.sha256] = candidate.verdict
            self._note(candidate.sha256, "rolled_back", candidate.verdict)
            return Switch(was, self.running.version, "rolled_back", candidate.verdict)
        self.commit("it held")
        return Switch(was, version, "committed", "it held")

    def _trial(self, sha256: str, trial_s: float, now_s: float) -> Candidate:
        quality = self._plan.quality(self._names[sha256][1])
        trial = Candidate(sha256, "trial", now_s + trial_s, trial_s)
        if quality.unknown <= 0.1 or self._chances.random() >= self._plan.guard:
            return trial
        ends_s = now_s + trial_s * self._chances.uniform(0.3, 0.9)
        return replace(trial, ends_s=ends_s, verdict=f"unknown on {quality.unknown:.0%} of the slots, 2% before")

    def _status(self, digest: str) -> str:
        if digest in self._quarantined:
            return "quarantined"
        if self.candidate is not None and digest == self.candidate.sha256:
            return self.candidate.phase
        return {self.current: "current", self.previous: "previous"}.get(digest, "staged")

    def _reason(self, digest: str) -> str:
        return self._quarantined.get(digest, "")

    def _note(self, digest: str, phase: str, reason: str) -> None:
        self._history.append(Past(digest, phase, reason))
