"""Makes the device what its operator wishes: takes the reconciler's steps through the errands and the store.

Wishes are judged and kept in the thread in which they arrive; looking at the store and the disk is done in another; the
inference loop only begins and ends things between two frames. Nothing here needs a broker: what was kept goes on.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from edge_runtime.daemon.background import Background, Done
from edge_runtime.daemon.errand import Errand, Place
from edge_runtime.daemon.errand_runner import ErrandRunner, Job
from edge_runtime.errors import EdgeError, ModelFault, Refused, TryAgain, Unavailable
from edge_runtime.fleet import convergence as c
from edge_runtime.fleet.commands import RateLimit
from edge_runtime.fleet.desired import PASSING, Declined, Desired, DesiredGate, Taken
from edge_runtime.fleet.session import Incoming
from edge_runtime.fleet.wish_file import WishFile
from edge_runtime.telemetry.builders import clipped

if TYPE_CHECKING:
    from edge_runtime.daemon.run import Daemon

log = logging.getLogger(__name__)

LOOK_S = 5.0
"""Between two looks while a wish is under way."""
SETTLED_LOOK_S = 60.0
"""And while there is nothing to do: somebody may have put another model in place by hand."""
ASK_S, ASK_AGAIN_S = 45.0, 7_200.0
"""After a connect, and from then on, the retained wish is asked for once more: a clustered broker whose node has just died
takes a subscription and delivers nothing of what it retains (seen with NATS 2.15: "error loading retained messages")."""
PER_S, BURST = 20.0, 40
"""Wishes that are read: what comes faster is dropped, for the retained one comes again."""
_PACE_S: Mapping[type[EdgeError], tuple[float, float]] = {
    Unavailable: (30.0, 3600.0),
    TryAgain: (10.0, 600.0),
}
"""By what went wrong: the first wait and the longest."""


@dataclass(frozen=True, slots=True)
class Account:
    """What the device says of its wish."""

    seq: int
    state: str
    """`none`, `converging`, `converged`, `failed` or `refused`."""
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Looked:
    """What the other thread found."""

    desired: Desired | None
    step: c.Step
    progress: c.Progress


class Convergence:
    """Owned by the inference loop; `arrived` and `hurry` may be called from any thread."""

    def __init__(
        self,
        wish: WishFile,
        look: Callable[[], c.Seen],
        errands: ErrandRunner,
        place: Place,
        gate: DesiredGate | None = None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`look`: reads the store anew, in another thread; `gate`: None where no wishes are taken any more."""
        self._wish = wish
        self._look = look
        self._errands = errands
        self.place = place
        """As the newest configuration says."""
        self._gate = gate
        self._clock, self._chance = clock, chance
        self._limit = RateLimit(PER_S, BURST, clock)
        self._looking: Background[_Looked] = Background()
        self._job: tuple[int, Job, c.Step] | None = None
        self._due_s = float("-inf")
        self._asked = False
        self._failures = 0
        self._failing: tuple[int, c.Failed] | None = None
        """What has failed under which `seq`, until that is written."""
        self._trouble = ("", "")
        self._declined: Declined | None = None
        self._doubtful: Incoming | None = None
        """The last message that could not be trusted; it is judged again now and then, for keys come and go."""
        self.ask: Callable[[], None] | None = None
        """Has the broker say the retained wish once more."""
        self._ask_s = float("inf")
        self.strangers = 0
        """Messages of keys that are not known here."""

    # Any thread

    def arrived(self, message: Incoming) -> None:
        """A message under `desired`: judged, and if it is a newer wish, kept. Never raises for what a sender may send."""
        if self._gate is None or not self._limit.allows():
            return
        verdict = self._gate.judge(message)
        if isinstance(verdict, Declined):
            if verdict != self._declined:
                log.warning("a desired state was not taken: %s (%s)", verdict.reason, verdict.detail[:200])
            self._declined = verdict
            self._doubtful = message if verdict.reason in PASSING else self._doubtful
            self.strangers += verdict.stranger
            return
        self._declined = self._doubtful = None
        if isinstance(verdict, Taken):
            log.info("desired %d, signed by %s", verdict.desired.seq, clipped(verdict.signer, 80))
            self._wish.take(verdict.desired, verdict.signer)
            self.hurry()

    def hurry(self) -> None:
        """Look now: the broker is back, or there is a newer wish."""
        self._asked = True

    def connected(self) -> None:
        """The broker is back."""
        self._ask_s = self._clock() + ASK_S * (0.5 + 0.5 * self._chance())
        self.hurry()

    # The inference loop

    def attend(self, daemon: Daemon) -> None:
        """Between two frames: hear what has ended, begin what is next."""
        if self._job is not None and self._job[1].ended:
            (seq, job, step), self._job = self._job, None
            self._hear(seq, job, step)
        done = self._looking.poll()
        if done is not None:
            self._found(done, daemon)
        now = self._clock()
        if now >= self._ask_s and self.ask is not None:
            self._ask_s = now + ASK_AGAIN_S * (0.5 + 0.5 * self._chance())
            self.ask()
        if self._asked:
            self._asked, self._failures, self._due_s = False, 0, now
        if now >= self._due_s and self._job is None and not self._looking.key:
            self._due_s = now + LOOK_S
            failing, self._failing = self._failing, None
            self._looking.start("desired", lambda: self._judge(failing))

    def account(self) -> Account:
        """What to say to the operator."""
        desired, progress = self._wish.now()
        declined = self._declined
        if declined is not None and (desired is None or declined.seq > progress.seq):
            return Account(declined.seq, "refused", declined.reason.value, clipped(declined.detail))
        if desired is None:
            return Account(0, "none")
        reason, detail = (progress.reason, progress.detail)
        if progress.state == "converging" and self._trouble[0]:
            reason, detail = self._trouble
        return Account(progress.seq, progress.state, reason, clipped(detail))

    @property
    def names_model(self) -> bool:
        """Whether the wish is for a model: then the device does not look for others by itself."""
        desired, _ = self._wish.now()
        return desired is not None and desired.model is not None

    @property
    def trouble(self) -> str:
        """What a person should know: a disk that does not keep the wish."""
        return self._wish.problem

    def _judge(self, failing: tuple[int, c.Failed] | None) -> _Looked:
        """In the other thread: look at the store, decide, and keep how far it is."""
        doubtful, self._doubtful = self._doubtful, None
        if doubtful is not None:
            self.arrived(doubtful)
        desired, before = self._wish.now()
        if desired is None:
            return _Looked(None, c.Rest(), before)
        if failing is not None and failing[0] == desired.seq:
            progress: c.Progress = before
            step: c.Step = failing[1]
        else:
            seen = self._look()
            progress = c.noted(desired, seen, before)
            step = c.decide(desired, seen, progress)
        progress = c.told(progress, step)
        self._wish.note(progress)
        return _Looked(desired, step, progress)

    def _found(self, done: Done[_Looked], daemon: Daemon) -> None:
        if done.result is None:
            self._put_off(done.fault or TryAgain("the models can not be read"))
            return
        looked = done.result
        if looked.desired is None or isinstance(looked.step, c.Rest | c.Converged | c.Failed):
            self._trouble, self._failures = ("", ""), 0
            self._due_s = self._clock() + SETTLED_LOOK_S
        elif isinstance(looked.step, c.Waiting):
            self._trouble = ("", "")
        elif looked.desired.seq == self._wish.floor:  # else: a newer one came meanwhile
            try:
                self._take(looked.desired, looked.step, daemon)
            except EdgeError as fault:
                self._fault(looked.desired.seq, fault)

    def _take(self, desired: Desired, step: c.Step, daemon: Daemon) -> None:
        """Begin a step. Raises what its beginning may raise."""
        if isinstance(step, c.SetConfig):
            daemon.change_settings(step.values, c.why(desired))
            self._due_s = self._clock() + LOOK_S
        elif isinstance(step, c.TakeOut):
            self._take_out(desired, step, daemon)
        elif isinstance(step, c.Install):
            if not self.place.repository:
                raise Refused("this device has no model repository", "Give [model] repository and root in device.toml")
            errand = Errand(self.place, "install", name=step.model.name, version=step.model.version)
            self._job = (desired.seq, self._errands.send(errand), step)
        elif isinstance(step, c.Activate):
            terms = self.place.terms
            terms = msgspec.structs.replace(
                terms,
                shadow_s=terms.shadow_s if step.model.shadow_s is None else step.model.shadow_s,
                trial_s=terms.trial_s if step.model.trial_s is None else step.model.trial_s,
            )
            errand = Errand(self.place, "activate", sha256=step.sha256, why=c.why(desired), terms=terms)
            self._job = (desired.seq, self._errands.send(errand), step)

    def _take_out(self, desired: Desired, step: c.TakeOut, daemon: Daemon) -> None:
        candidate = daemon.deck.store.candidate
        if (candidate.sha256 if candidate else daemon.deck.running) != step.sha256:
            return  # it has changed since the look
        reason = f"{c.why(desired)}: {step.detail}"
        daemon.change_model(lambda stations: daemon.deck.roll_back(reason, stations), reason)
        self._due_s = self._clock()

    def _hear(self, seq: int, job: Job, step: c.Step) -> None:
        try:
            found = job.outcome() or {}
        except EdgeError as fault:
            self._fault(seq, fault)
            return
        if isinstance(step, c.Install) and step.model.sha256 not in ("", found.get("sha256")):
            self._fail(seq, "wrong_digest", f"the repository has {found.get('sha256')!s:.64} under that name")
            return
        self._trouble, self._failures = ("", ""), 0
        self._due_s = self._clock()

    def _fault(self, seq: int, fault: EdgeError) -> None:
        """What can not be is failed for good under this wish; anything else is tried again later."""
        if isinstance(fault, ModelFault):
            self._fail(seq, "quarantined", str(fault))
        elif isinstance(fault, Refused):
            self._fail(seq, "refused", str(fault))
        else:
            self._put_off(fault)

    def _fail(self, seq: int, reason: str, detail: str) -> None:
        log.warning("desired %d failed: %s (%s)", seq, reason, detail)
        self._failing, self._due_s = (seq, c.Failed(reason, detail)), self._clock()

    def _put_off(self, fault: EdgeError) -> None:
        self._failures += 1
        first_s, longest_s = next((pace for kind, pace in _PACE_S.items() if isinstance(fault, kind)), (30.0, 3600.0))
        ceiling_s = min(longest_s, first_s * 2.0 ** min(self._failures - 1, 12))
        self._due_s = self._clock() + ceiling_s * (0.5 + 0.5 * self._chance())
        kind = "unavailable" if isinstance(fault, Unavailable) else "try_again"
        if self._trouble[0] != kind:
            log.info("desired: %s; tried again later", fault)
        self._trouble = (kind, clipped(str(fault)))
