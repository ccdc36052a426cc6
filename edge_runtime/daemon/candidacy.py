"""A new model's way in on the running device: loaded in the background, beside the current one, in charge under watch.

The store says what is wanted; whoever changes it (a command, the command line, this file) is noticed here, between two
frames. Nothing is loaded, fitted, proved or written on the inference loop: the switch is a handful of assignments.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from edge_runtime.daemon.background import Background, Done
from edge_runtime.daemon.deck import BundleStore, ModelDeck, Ready
from edge_runtime.daemon.judgement import BARRED, COMMITTED, WITHDRAWN, judge_shadow
from edge_runtime.daemon.model_events import Tell, tell_step, tell_switch
from edge_runtime.daemon.models import LoadedModel, Parts
from edge_runtime.daemon.sentry import Sentry
from edge_runtime.daemon.shadow import Shadow
from edge_runtime.daemon.station import Station
from edge_runtime.daemon.steps import Stepped, Steps
from edge_runtime.daemon.terms import Terms
from edge_runtime.lifecycle.bundle import Bundle
from edge_runtime.lifecycle.guard import Feedback, SlotPair, Verdict
from edge_runtime.lifecycle.state_file import Candidate
from edge_runtime.manifest import Manifest
from edge_runtime.records import ANSWERS, Outcome, State

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""Between two looks at the store's file; a look costs one stat."""
RETRY_S = 60.0
"""After a step that the disk did not take."""


class Candidacy:
    """Owned by the inference loop. Survives a reload of the configuration, and so does a trial."""

    def __init__(
        self,
        deck: ModelDeck,
        elsewhere: Callable[[], BundleStore],
        terms_of: Callable[[str], Terms],
        sentry: Sentry | None = None,
        clock: Callable[[], float] = time.monotonic,
        beside: Shadow | None = None,
    ) -> None:
        """`elsewhere`: opens the same store once more, for another thread; `terms_of`: the terms on which a digest was
        let in; `sentry`, `beside`: those of the last configuration."""
        self._deck = deck
        self._elsewhere = elsewhere
        self._terms_of = terms_of
        self._clock = clock
        self._loader: Background[Ready] = Background()
        self._steps = Steps(elsewhere)
        self.sentry = sentry or Sentry()
        self.beside = beside
        """The candidate in its shadow run, or in a trial the model before."""
        self.candidate: Candidate | None = None
        """As the store had it at the last look."""
        self._phase_s = self._look_s = self._wait_s = float("-inf")
        self._asked = True
        """The store must be read: something may have changed."""
        self._compared: dict[str, tuple[SlotPair, ...]] = {}
        """What both models said of each camera's newest frame."""
        self._before_switch: dict[str, int] = {}
        self._missed = 0
        """Pictures that were missed between the last frame of the model before and the first of this one."""

    @property
    def busy(self) -> bool:
        """Something is being loaded or written in another thread."""
        return bool(self._loader.key) or self._steps.busy

    def meet(self) -> None:
        """The cameras are others than before (a start, a reload): what was fitted to them is of no use."""
        self._asked = True
        if self.beside is not None:
            self.beside = self._shadow(self.beside.loaded)

    def attend(self, stations: Sequence[Station], tell: Tell) -> None:
        """Between two frames: notice, take over, judge."""
        done, stepped = self._loader.poll(), self._steps.poll()
        if done is not None:
            self._arrived(done, stations, tell)
        if stepped is not None:
            self._stepped(stepped, tell)
        now = self._clock()
        if now - self._look_s >= LOOK_S:
            self._look_s = now
            self._asked = self._asked or self._deck.store.changed()
        if self._asked and not self._loader.key:
            self._asked = False
            self._look(stations, tell)
        if self.candidate is not None and now >= self._wait_s and not self._steps.busy and not self._asked:
            self._judge(self.candidate)

    def observe(self, station: Station, outcome: Outcome) -> Verdict:
        """After each frame: what the one beside says of it, and what the guard makes of both."""
        if station.name in self._before_switch:
            self._missed += station.missed - self._before_switch.pop(station.name)
        late = station.waits
        beside = self.beside.look(station, outcome, late) if self.beside is not None else None
        self._compared[station.name] = beside.pairs if beside is not None else ()
        known = beside if self.sentry.trial is not None else None  # an unproven model is no judge of the current one
        return self.sentry.observe(outcome, station.parts.drift.report().cause, known)

    def feedback(self, camera: str, slot: str, said: State, true: State) -> Verdict:
        """Somebody says what a slot is; `said` is what the model in charge answers to its newest picture."""
        trial, pairs = self.sentry.trial, self._compared.get(camera, ())
        theirs = next((pair.theirs for pair in pairs if pair.slot == slot), None) if trial is not None else None
        picked = trial is not None and (camera, slot) in trial.worth_asking
        right_too = None if theirs is None or theirs not in ANSWERS else theirs is true
        return self.sentry.watch.feedback(Feedback(self._clock(), camera, slot, said is true, right_too, picked))

    def label(self, camera: str, slot: str, right: bool) -> Verdict:
        """Somebody says whether an event of the model that runs was right. Events are there because the model spoke: what
        is said of them is counted, and no fair bet against what the model promised of all slots."""
        return self.sentry.watch.feedback(Feedback(self._clock(), camera, slot, right, None, picked=True))

    def fell_back(self) -> None:
        """The deck has given the running model up: look what the store says now."""
        self._asked = True
        self.beside = None
        self.sentry.stand()

    @property
    def loading(self) -> str:
        """The digest of the model that is being loaded; empty if none is."""
        return self._loader.key

    @property
    def left_s(self) -> float:
        """How long the candidate stays in its phase, at least."""
        if self.candidate is None:
            return 0.0
        terms = self._terms_of(self.candidate.sha256)
        whole_s = terms.trial_s if self.candidate.phase == "trial" else terms.shadow_s
        return max(0.0, whole_s - (self._clock() - self._phase_s))

    def _look(self, stations: Sequence[Station], tell: Tell) -> None:
        """Read what the store wants, and go about it."""
        store, deck = self._deck.store, self._deck
        wanted = deck.guarded(store.current, None)
        candidate = store.candidate
        if candidate != self.candidate:
            self._enter(candidate, tell)
        if wanted is None or wanted.sha256 != deck.running:
            self._fetch_in(wanted, stations, tell)
        elif candidate is not None and not self._is_beside(candidate):
            self._fetch_beside(candidate, stations)
        elif candidate is None:
            self.beside = deck.spare = None

    def _enter(self, candidate: Candidate | None, tell: Tell) -> None:
        """The candidate is another one, in another phase, or none any more."""
        before, self.candidate, self._phase_s = self.candidate, candidate, self._clock()
        if candidate is not None and candidate.phase == "shadow":
            tell_step(tell, self._deck.id, candidate, "shadow", candidate.reason)
        elif (
            candidate is None
            and self.sentry.trial is not None
            and before is not None
            and self._deck.running == before.sha256
        ):
            self.sentry.stand()  # committed by a person

    def _is_beside(self, candidate: Candidate) -> bool:
        """Whether the one that runs along is the one that should."""
        if self.beside is None:
            return False
        if candidate.phase == "shadow":
            return self.beside.id.sha256 == candidate.sha256
        return self.beside.id.sha256 != self._deck.running

    def _fetch_in(self, wanted: Bundle | None, stations: Sequence[Station], tell: Tell) -> None:
        """Another model is to run, once its start is counted and it is in memory."""
        beside = self.beside
        if wanted is None:
            self._switched(tell, lambda: self._deck.settle("", tuple(stations)))
            return
        known = beside is not None and beside.id.sha256 == wanted.sha256
        ready = Ready(beside.loaded, beside.fitted) if beside is not None and known else None
        load, fits, elsewhere = self._deck.loader(wanted), {s.name: s.fit for s in stations}, self._elsewhere

        def work() -> Ready:
            elsewhere().note_start()
            return ready or _made_ready(load, fits)

        self._loader.start(wanted.sha256, work)

    def _fetch_beside(self, candidate: Candidate, stations: Sequence[Station]) -> None:
        """The other of the two is to run along: the candidate in its shadow run, in a trial what was current."""
        store, deck = self._deck.store, self._deck
        if candidate.phase == "shadow":
            bundle = deck.guarded(lambda: store.read(candidate.sha256), None)
        else:
            bundle = deck.guarded(store.standing, None)
            self._begin_trial(candidate, bundle.manifest if bundle is not None else None)
        if bundle is not None and bundle.sha256 != deck.running:
            load, fits = deck.loader(bundle), {s.name: s.fit for s in stations}
            self._loader.start(bundle.sha256, lambda: _made_ready(load, fits))

    def _arrived(self, done: Done[Ready], stations: Sequence[Station], tell: Tell) -> None:
        """A model has been loaded; it is wanted still, or not."""
        store, deck = self._deck.store, self._deck
        self._asked = True
        if done.result is None:
            reason = done.fault.found if done.fault else ""
            log.warning("model %s does not load: %s", done.key[:12], reason)
            deck.guarded(lambda: store.rollback(reason, running=done.key), None)
            if self.candidate is not None and self.candidate.sha256 == done.key:
                tell_step(tell, self._deck.id, self.candidate, "rolled_back", reason)
            return
        wanted = deck.guarded(store.current, None)
        if wanted is not None and wanted.sha256 == done.key != deck.running:
            self._take(done.result, stations, tell)
        elif done.key != deck.running and store.candidate is not None:
            self.beside = self._shadow(done.result.loaded, done.result.fitted)
            self._phase_s = self._clock()

    def _take(self, ready: Ready, stations: Sequence[Station], tell: Tell) -> None:
        """The switch between two frames."""
        deck, before = self._deck, self._deck.loaded
        parts = {s.name: (s.parts.pipeline.normalizer, s.parts.pipeline.model) for s in stations}
        self._before_switch, self._missed = {s.name: s.missed for s in stations}, 0
        self._switched(tell, lambda: deck.take_over(ready, stations))
        candidate = deck.store.candidate
        self.beside = None
        if candidate is None or candidate.phase != "trial" or candidate.sha256 != deck.running:
            self.sentry.stand()
            return
        self._begin_trial(candidate, before.manifest if before is not None else None)
        if before is not None:
            self.beside = self._shadow(before, parts)

    def _shadow(self, loaded: LoadedModel, fitted: Mapping[str, Parts] | None = None) -> Shadow:
        """CPU time is that of all threads where the model has several."""
        cpu_clock = time.thread_time if self._deck.threads == 1 else time.process_time
        return Shadow(loaded, fitted, cpu_clock=cpu_clock)

    def _begin_trial(self, candidate: Candidate, incumbent: Manifest | None) -> None:
        if self.sentry.trial is None:
            promised = incumbent.receipt.get("accuracy_int8") if incumbent is not None else None
            self.sentry.begin_trial(self._terms_of(candidate.sha256), promised)
            self._phase_s = self._clock()

    def _switched(self, tell: Tell, change: Callable[[], object]) -> None:
        was, began_s = self._deck.id, time.perf_counter()
        change()
        switch_ms = round(1e3 * (time.perf_counter() - began_s), 2)
        last = next(reversed(self._deck.store.history), None)
        tell_switch(tell, was, self._deck.id, self._deck.store.candidate, last, switch_ms)

    def _judge(self, candidate: Candidate) -> None:
        """Begin the next step of the candidate, if it is due. It is written in another thread: `_stepped` goes on."""
        trial = self.sentry.trial
        if candidate.phase == "trial" and trial is not None and trial.passed:
            self._steps.begin(candidate, COMMITTED, f"{trial.frames} frames in trial without a fault")
        elif candidate.phase == "shadow" and self.beside is not None and self.beside.id.sha256 == candidate.sha256:
            gone_s = self._clock() - self._phase_s
            step, said = judge_shadow(self.beside.report(), gone_s, self._terms_of(candidate.sha256))
            if step:
                self._steps.begin(candidate, step, said)

    def _stepped(self, done: Stepped, tell: Tell) -> None:
        """A step has been written, or the disk did not take it: then it waits."""
        self._asked = True
        if done.fault is not None:
            log.warning("%s", done.fault)
            self._deck.trouble = str(done.fault)
            self._wait_s = self._clock() + RETRY_S
        elif done.step == COMMITTED:
            tell_step(
                tell, self._deck.id, done.candidate, "committed", done.said, {"missed_at_switch": float(self._missed)}
            )
            self.sentry.stand()
        elif done.step in (BARRED, WITHDRAWN):
            self.beside = None
            tell_step(tell, self._deck.id, done.candidate, "rolled_back", done.said)


def _made_ready(load: Callable[[], LoadedModel], fits: Mapping[str, Callable[[LoadedModel], Parts]]) -> Ready:
    loaded = load()
    return Ready(loaded, {name: fit(loaded) for name, fit in fits.items()})
