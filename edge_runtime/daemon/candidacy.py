"""A new model's way in on the running device: loaded in the background, beside the current one, in charge under watch.

The store says what is wanted; whoever changes it (a command, the command line, this file) is noticed here, between two
frames. Nothing is loaded, fitted or proved on the inference loop, and the switch itself is a handful of assignments.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edge_runtime.daemon.background import Background, Done
from edge_runtime.daemon.deck import ModelDeck, Ready
from edge_runtime.daemon.models import LoadedModel, Parts
from edge_runtime.daemon.sentry import Sentry
from edge_runtime.daemon.shadow import Shadow, ShadowReport
from edge_runtime.daemon.station import Station
from edge_runtime.daemon.terms import Terms
from edge_runtime.errors import EdgeError
from edge_runtime.lifecycle.bundle import Bundle
from edge_runtime.lifecycle.guard import Verdict
from edge_runtime.lifecycle.state_file import Candidate
from edge_runtime.records import Outcome

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""Between two looks at the store's file; a look costs one stat."""
RETRY_S = 60.0
"""After a step that the disk did not take."""
AGREEMENT = 0.8
"""Share of the slots answered by both on which a candidate must agree with the current model to be tried."""
LEAST_SLOTS = 24
"""Slots that both must have answered before a shadow run says anything."""

Tell = Callable[[str, str, str, dict[str, str | float]], None]
"""(kind, was, now, detail): an event of the device."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the candidate stands, for `status`."""

    candidate: Candidate
    said: str
    report: ShadowReport | None
    frames: int
    """Under watch in the trial."""
    left_s: float
    """Of the shadow run or the trial, at least."""


class Candidacy:
    """Owned by the inference loop. Survives a reload of the configuration, and so does a trial."""

    def __init__(
        self,
        deck: ModelDeck,
        terms_of: Callable[[str], Terms],
        sentry: Sentry | None = None,
        clock: Callable[[], float] = time.monotonic,
        beside: Shadow | None = None,
    ) -> None:
        """`terms_of`: the terms on which a digest was let in; `sentry`, `beside`: those of the last configuration."""
        self._deck = deck
        self._terms_of = terms_of
        self._clock = clock
        self._loader: Background[Ready] = Background()
        self.sentry = sentry or Sentry()
        self.beside = beside
        """The candidate in its shadow run, or in a trial the model before."""
        self.candidate: Candidate | None = None
        """As the store had it at the last look."""
        self._phase_s = self._look_s = self._wait_s = float("-inf")
        self._asked = True
        """The store must be read: something may have changed."""

    def meet(self) -> None:
        """The cameras are others than before (a start, a reload): what was fitted to them is of no use."""
        self._asked = True
        if self.beside is not None:
            self.beside = self._shadow(self.beside.loaded)

    def attend(self, stations: Sequence[Station], tell: Tell) -> None:
        """Between two frames: notice, take over, judge."""
        done = self._loader.poll()
        if done is not None:
            self._arrived(done, stations, tell)
        now = self._clock()
        if now - self._look_s >= LOOK_S:
            self._look_s = now
            self._asked = self._asked or self._deck.store.changed()
        if self._asked and not self._loader.key:
            self._asked = False
            self._look(stations, tell)
        if self.candidate is not None and now >= self._wait_s:
            self._judge(self.candidate, tell)

    def observe(self, station: Station, outcome: Outcome) -> Verdict:
        """After each frame: what the one beside says of it, and what the guard makes of both."""
        late = station.waits
        beside = self.beside.look(station, outcome, late) if self.beside is not None else None
        known = beside if self.sentry.trial is not None else None  # an unproven model is no judge of the current one
        return self.sentry.observe(outcome, station.parts.drift.report().cause, known)

    def fell_back(self) -> None:
        """The deck has given the running model up: look what the store says now."""
        self._asked = True
        self.beside = None
        self.sentry.stand()

    def standing(self) -> Standing | None:
        """For people; None if no model is on its way in."""
        candidate = self.candidate
        if candidate is None:
            return None
        terms, gone_s = self._terms_of(candidate.sha256), self._clock() - self._phase_s
        report = self.beside.report() if self.beside else None
        trial = self.sentry.trial
        if candidate.phase == "trial" and trial is not None:
            said = f"held up by a change of {trial.waiting}" if trial.waiting else "under watch"
            return Standing(candidate, said, report, trial.frames, max(0.0, terms.trial_s - gone_s))
        loading = self._loader.key == candidate.sha256
        said = "being loaded" if loading else "beside the current model"
        return Standing(candidate, said, report, 0, max(0.0, terms.shadow_s - gone_s))

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
            self._told(tell, candidate, "shadow", candidate.reason)
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
        """Another model is to run: at once if it is in memory, else when it has been loaded."""
        beside = self.beside
        if wanted is None:
            self._switched(tell, lambda: self._deck.settle("", tuple(stations)))
        elif beside is not None and beside.id.sha256 == wanted.sha256:
            self._take(Ready(beside.loaded, beside.fitted), stations, tell)
        else:
            self._load(wanted, stations)

    def _fetch_beside(self, candidate: Candidate, stations: Sequence[Station]) -> None:
        """The other of the two is to run along: the candidate in its shadow run, in a trial what was current."""
        store, deck = self._deck.store, self._deck
        if candidate.phase == "shadow":
            bundle = deck.guarded(lambda: store.read(candidate.sha256), None)
        else:
            self._begin_trial(candidate)
            bundle = deck.guarded(store.standing, None)
        if bundle is not None and bundle.sha256 != deck.running:
            self._load(bundle, stations)

    def _load(self, bundle: Bundle, stations: Sequence[Station]) -> None:
        load, fits = self._deck.loader(bundle), {station.name: station.fit for station in stations}

        def work() -> Ready:
            loaded = load()
            return Ready(loaded, {name: fit(loaded) for name, fit in fits.items()})

        self._loader.start(bundle.sha256, work)

    def _arrived(self, done: Done[Ready], stations: Sequence[Station], tell: Tell) -> None:
        """A model has been loaded; it is wanted still, or not."""
        store, deck = self._deck.store, self._deck
        self._asked = True
        if done.result is None:
            reason = done.fault.found if done.fault else ""
            log.warning("model %s does not load: %s", done.key[:12], reason)
            deck.guarded(lambda: store.rollback(reason, running=done.key), None)
            if self.candidate is not None and self.candidate.sha256 == done.key:
                self._told(tell, self.candidate, "rolled_back", reason)
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
        self._switched(tell, lambda: deck.take_over(ready, stations))
        candidate = deck.store.candidate
        self.beside = None
        if candidate is None or candidate.phase != "trial" or candidate.sha256 != deck.running:
            self.sentry.stand()
            return
        self._begin_trial(candidate)
        if before is not None:
            self.beside = self._shadow(before)

    def _shadow(self, loaded: LoadedModel, fitted: Mapping[str, Parts] | None = None) -> Shadow:
        """CPU time is that of all threads where the model has several."""
        cpu_clock = time.thread_time if self._deck.threads == 1 else time.process_time
        return Shadow(loaded, fitted, cpu_clock=cpu_clock)

    def _begin_trial(self, candidate: Candidate) -> None:
        if self.sentry.trial is None:
            terms = self._terms_of(candidate.sha256)
            self.sentry.begin_trial(terms.trial_s, terms.trial_frames)
            self._phase_s = self._clock()

    def _switched(self, tell: Tell, change: Callable[[], object]) -> None:
        was = self._deck.id
        change()
        now, candidate = self._deck.id, self._deck.store.candidate
        phase = "trial" if candidate and now and candidate.sha256 == now.sha256 else "committed"
        detail = {"name": now.name if now else "none", "phase": phase, "reason": candidate.reason if candidate else ""}
        tell("model", was.version if was else "none", now.version if now else "none", dict(detail))

    def _judge(self, candidate: Candidate, tell: Tell) -> None:
        if candidate.phase == "shadow":
            self._judge_shadow(candidate, tell)
        elif (trial := self.sentry.trial) is not None and trial.passed:
            self._commit(candidate, tell)

    def _judge_shadow(self, candidate: Candidate, tell: Tell) -> None:
        if self.beside is None or self.beside.id.sha256 != candidate.sha256:
            return
        report, terms = self.beside.report(), self._terms_of(candidate.sha256)
        if report.fault:
            self._refuse(candidate, report.fault, quarantine=True, tell=tell)
        elif self._clock() - self._phase_s >= terms.shadow_s and report.slots >= LEAST_SLOTS:
            agreement = report.agreement or 0.0
            said = f"agrees with the current model on {agreement:.1%} of {report.slots} slots"
            if agreement >= AGREEMENT:
                self._step(lambda: self._deck.store.try_out(candidate.id, said))
            else:
                least = f"; at least {AGREEMENT:.0%} was expected"
                self._refuse(candidate, said + least, quarantine=False, tell=tell)

    def _refuse(self, candidate: Candidate, reason: str, quarantine: bool, tell: Tell) -> None:
        store = self._deck.store
        self._step(lambda: store.rollback(reason, quarantine=quarantine, running=candidate.sha256))
        self.beside = None
        self._told(tell, candidate, "rolled_back", reason)

    def _commit(self, candidate: Candidate, tell: Tell) -> None:
        trial = self.sentry.trial
        said = f"{trial.frames if trial else 0} frames in trial without a fault"
        if self._step(lambda: self._deck.store.commit(candidate.sha256, said)):
            self._told(tell, candidate, "committed", said)
            self.sentry.stand()

    def _told(self, tell: Tell, candidate: Candidate, phase: str, reason: str) -> None:
        """A step of the candidate in which the model that runs stays the same."""
        runs = self._deck.id.version if self._deck.id else "none"
        detail = {"name": candidate.name, "candidate": candidate.version, "phase": phase, "reason": reason}
        tell("model", runs, runs, {**detail, "sha256": candidate.sha256[:12]})

    def _step(self, change: Callable[[], object]) -> bool:
        """A step of the store that waits if the disk does not take it."""
        self._asked = True
        try:
            change()
        except EdgeError as fault:
            log.warning("%s", fault)
            self._deck.trouble = str(fault)
            self._wait_s = self._clock() + RETRY_S
            return False
        return True
