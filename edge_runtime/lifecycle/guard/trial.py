"""The watch over a model on trial, and the weaker one over a model that is committed."""

from __future__ import annotations

from collections.abc import Sequence

from edge_runtime.lifecycle.guard.disputes import DisputeTest
from edge_runtime.lifecycle.guard.environment import Calm
from edge_runtime.lifecycle.guard.labels import LabelTest
from edge_runtime.lifecycle.guard.rules import Stopwatch, Streaks
from edge_runtime.lifecycle.guard.settings import DisputeSettings, TrialSettings
from edge_runtime.lifecycle.guard.values import STAY, Environment, Feedback, FrameEvidence, SlotPair, Verdict
from edge_runtime.lifecycle.guard.witnesses import testimony


class StandingWatch:
    """Long-run guard of a committed model, without an incumbent beside it: fault, speed, `unknown`, feedback.

    What `FrameEvidence.incumbent` then holds is the model's own usual answers, if anything.
    """

    def __init__(self, settings: TrialSettings | None = None) -> None:
        self.settings = settings or TrialSettings()
        self.verdict = STAY
        """The first verdict to fall back stands."""
        self.frames = 0
        """Usable frames in a steady environment."""
        self._calm: dict[str, Calm] = {}
        self._now_s = 0.0
        """Of the newest frame of any camera."""
        self._streaks = Streaks(self.settings.rules)
        self._stopwatch = Stopwatch(self.settings.rules)
        self._labels = LabelTest(self.settings.labels)

    @property
    def waiting(self) -> str:
        """Which change of the environment holds judgement up; empty if none does."""
        causes = (calm.cause_at(self._now_s) for calm in self._calm.values())
        return next((cause for cause in causes if cause), "")

    def observe(
        self, evidence: FrameEvidence, environment: Environment = Environment.STEADY, pairs: Sequence[SlotPair] = ()
    ) -> Verdict:
        """One frame. Returns the verdict that stands."""
        calm = self._calm.setdefault(evidence.camera, Calm(self.settings.sense.settle_s))
        steady = calm.note(environment, evidence.at_s)
        self._now_s = max(self._now_s, evidence.at_s)
        if not self.verdict.fall_back:
            self.verdict = self._judge(evidence, steady, pairs)
        return self.verdict

    def feedback(self, feedback: Feedback) -> Verdict:
        """One label. What was answered while camera or light moved is not held against the model."""
        if not self.waiting and not self.verdict.fall_back:
            self._labels.take(feedback)
            self.verdict = self._labels.verdict()
        return self.verdict

    def describe(self) -> dict[str, float | str]:
        """For telemetry and `status`: how far the evidence has come. Wealth is in natural logs."""
        return {
            "frames": self.frames,
            "waiting": self.waiting,
            "infer_p95_ms": round(self._stopwatch.p95_ms, 2),
            "labels": self._labels.labels,
            "labels_wrong": self._labels.wrong,
            "label_evidence": round(self._labels.log_wealth, 3),
            "verdict": self.verdict.reason,
        }

    def _judge(self, evidence: FrameEvidence, steady: bool, pairs: Sequence[SlotPair]) -> Verdict:
        self.frames += steady and evidence.usable
        verdict = self._streaks.judge(evidence, steady, mean_testimony(pairs, self.settings.disputes))
        return verdict if verdict.fall_back else self._stopwatch.judge(evidence)


class TrialWatch(StandingWatch):
    """A model on trial: the rules of the standing watch, and disagreement with the incumbent that runs along."""

    def __init__(self, settings: TrialSettings | None = None) -> None:
        super().__init__(settings)
        self._disputes = DisputeTest(self.settings.disputes)
        self._began_s: float | None = None
        self._last_s = 0.0
        self._pairs = 0

    @property
    def passed(self) -> bool:
        """The trial was long enough, with enough evidence, and nothing stands against the model: commit it."""
        settings = self.settings
        if self.verdict.fall_back or self.waiting or self._began_s is None:
            return False
        gone_s = self._last_s - self._began_s
        if self.suspicious and gone_s < settings.longest_s:
            return False
        enough = self.frames >= settings.least_frames and gone_s >= settings.least_s
        return enough and (not self._pairs or self._pairs >= settings.least_pairs)

    @property
    def suspicious(self) -> bool:
        """Disagreement speaks against the model, though not enough to condemn it: the trial goes on."""
        return self._disputes.suspicious

    @property
    def worth_asking(self) -> tuple[tuple[str, str], ...]:
        """(camera, slot) on which the models differ now: feedback here (`Feedback.picked`) says most."""
        return self._disputes.worth_asking

    def describe(self) -> dict[str, float | str]:
        return super().describe() | {
            "trial_s": round(self._last_s - (self._began_s or self._last_s), 1),
            "pairs": self._pairs,
            "looks": self._disputes.looks,
            "disputes": self._disputes.disputes,
            "dispute_evidence": round(self._disputes.log_wealth, 3),
            "excess_evidence": round(self._disputes.log_excess, 3),
        }

    def _judge(self, evidence: FrameEvidence, steady: bool, pairs: Sequence[SlotPair]) -> Verdict:
        self._began_s = evidence.at_s if self._began_s is None else self._began_s
        self._last_s = evidence.at_s
        verdict = super()._judge(evidence, steady, pairs)
        if verdict.fall_back or not steady:
            return verdict
        self._pairs += len(pairs)
        self._disputes.take(pairs)
        return self._disputes.verdict()


def mean_testimony(pairs: Sequence[SlotPair], settings: DisputeSettings) -> float | None:
    """Over the slots on which the models give different answers; None if there are none."""
    given = [testimony(pair, settings) for pair in pairs if pair.both_answer and pair.mine is not pair.theirs]
    return sum(given) / len(given) if given else None
