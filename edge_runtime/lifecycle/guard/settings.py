"""Every quantity of the guard in one place."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class RuleSettings:
    """The immediate rules. Each needs `frames` breaches in a row that span `lasting_s`, so that noise does not trip it."""

    frames: int = 5
    lasting_s: float = 60.0
    least_slots: int = 6
    """Fewer answered slots say nothing about shares."""
    one_class: float = 0.95
    """Share of one class among the answers from which a model may have collapsed ..."""
    class_gap: float = 0.30
    """... if the incumbent gives that class so much less."""
    class_witness: float = 0.25
    """Mean testimony in favour of the incumbent that this takes, where both ran: a bad incumbent's answers are varied too."""
    unknown_gap: float = 0.50
    """More `unknown` than the incumbent, as a share of the slots; less is judged by the disputes, which count abstaining."""
    max_infer_ms: float = 2_000.0
    """p95 of the inference time that the device has for one frame."""
    slower_than_incumbent: float = 1.0
    """While over budget the model is excused if the incumbent, on the same views, took more than its share of the budget:
    then the device is slow, not the model. As a multiple of the budget."""
    timed_frames: int = 20
    """Frames over which p95 is taken."""


@dataclass(frozen=True, slots=True)
class SenseSettings:
    """When a camera or its light counts as changing, and for how long."""

    settle_s: float = 120.0
    """Nothing is held against a model for so long after camera or light moved."""
    gain_step: float = 0.15
    """Change of the log gain against its recent mean that counts as a change of light."""
    residual_step: float = 0.20
    """The same of the light match's residual."""
    sharpness_step: float = 0.25
    """Relative change of sharpness that counts as camera (knocked out of focus, dirt)."""
    follow: float = 0.1
    """Weight of the newest frame in the recent mean."""


@dataclass(frozen=True, slots=True)
class LabelSettings:
    """Feedback of people. See docs/adr/0010-guard.md for where the numbers come from."""

    alpha: float = 0.05
    """Chance of ever falling back from a model that is exactly as bad as tolerated."""
    promise: float = 0.97
    """Accuracy that the incumbent's receipt promises."""
    alpha_sign: float = 0.01
    """The same of a model that is exactly as good as the incumbent."""
    beside: float = 0.2
    """Level at which the incumbent must win the labels that part the two, for a broken promise to count."""
    tolerance: float = 0.01
    """So much worse than promised is no reason to fall back."""
    noise: float = 0.05
    """Share of feedback that is itself wrong."""
    worse: float = 0.20
    """The loss against which the bets are laid."""


@dataclass(frozen=True, slots=True)
class DisputeSettings:
    """Disagreements with the incumbent. See docs/adr/0010-guard.md for where the numbers come from."""

    alpha: float = 0.01
    """Chance of ever falling back from a model that is exactly as good as the incumbent."""
    tolerated: float = 0.0
    """Mean of what disputes may give against a model that need not go: 0 is as good as the incumbent."""
    beside: float = 0.2
    """Level at which signs must speak against the model for an excess of disputes to count."""
    suspicion: float = 0.33
    """A trial does not pass while either wealth refutes at this level: it goes on until that is settled."""
    promise: float = 0.97
    """Accuracy that a model claims before it has shown here how sure it is."""
    slack: float = 0.05
    """Disputes beyond what both models' confidences allow that are no excess yet, as a share of the looks."""
    settle_frames: int = 3
    """A disagreement counts once it has stood for so many comparisons without a change of pixels."""
    constant_looks: int = 72
    """After so many different looks a model that gives one answer to nearly all of them has collapsed ..."""
    constant_share: float = 0.99
    constant_gap: float = 0.12
    """... if the incumbent gives another answer to at least this share."""
    kinship: float = 20.0
    """How alike the errors on one slot are over its looks: 1 / (1 + kinship) is their correlation."""
    surest: float = 1.5
    """The most that two models' confidences may say about who is right, in log odds."""
    likeness: tuple[tuple[float, float], ...] = ((0.95, 3.0), (0.90, 1.5))
    """From a correlation with the reference picture on: log odds that the slot is stocked."""


@dataclass(frozen=True, slots=True)
class TrialSettings:
    """One trial."""

    least_s: float = 14_400.0
    """A trial lasts at least so long ..."""
    least_frames: int = 60
    """... with so many frames that the model answered in a steady environment ..."""
    least_pairs: int = 200
    """... and so many slot comparisons with the incumbent, if it runs along at all."""
    longest_s: float = 43_200.0
    """Suspicion that is not settled prolongs a trial no longer than this."""
    rules: RuleSettings = field(default_factory=RuleSettings)
    sense: SenseSettings = field(default_factory=SenseSettings)
    labels: LabelSettings = field(default_factory=LabelSettings)
    disputes: DisputeSettings = field(default_factory=DisputeSettings)

    def promised(self, accuracy: float) -> TrialSettings:
        """The same for an incumbent whose receipt promises this accuracy (held within 0.6..0.99)."""
        held = min(0.99, max(0.6, accuracy))
        labels, disputes = replace(self.labels, promise=held), replace(self.disputes, promise=held)
        return replace(self, labels=labels, disputes=disputes)
