"""One frame on its own: calibrated scores and what was visible, made into one reading a slot.

The order of the checks is the contract: what is not in the picture, or too coarse to tell anything, can not be answered;
what stands in front is said before what is too bright; only then may the probabilities speak. A view whose slots are
unsure as a whole is not trusted: a model that meets what it can not see is often wrong and sure in single slots, but
seldom sure in all of them.
"""

from __future__ import annotations

from edge_runtime.manifest import Thresholds
from edge_runtime.records import ANSWERS, Layout, Reason, Scores, SlotReading, State, Unusable, View

OUTSIDE = "outside"
SATURATED = "saturated"
RESOLUTION = "resolution"
UNSURE = "unsure"
BLOCKED = "blocked"

_NAMES = tuple(str(state) for state in ANSWERS)


def read_slots(
    layout: Layout, view: View | Unusable, scores: Scores | None, thresholds: Thresholds
) -> tuple[SlotReading, ...]:
    """One reading for every slot, in the order of the layout.

    An unusable frame makes every slot `unknown` with the frame's own reason; no scores make it `unknown` with
    `no_model`. The confidence of an answer is its calibrated probability, of `blocked` the probability that something
    stands in front, of `unknown` the best probability that was not good enough (0 where nothing was computed).
    """
    if isinstance(view, Unusable):
        return _all_unknown(layout, view.reason)
    if scores is None:
        return _all_unknown(layout, Reason.NO_MODEL)
    quality = view.quality
    rows = zip(
        layout.slots,
        scores.probabilities.tolist(),
        scores.blocked.tolist(),
        quality.inside.tolist(),
        quality.saturated.tolist(),
        quality.density.tolist(),
        strict=True,
    )
    least = thresholds.answer if view_confidence(view, scores, thresholds) >= thresholds.view else thresholds.sure
    return tuple(_reading(slot.id, p, blocked, seen, thresholds, least) for slot, p, blocked, *seen in rows)


def view_confidence(view: View, scores: Scores, thresholds: Thresholds) -> float:
    """Mean of the best probabilities over the slots that lie in the frame and are not blocked; 1 without any."""
    visible = (view.quality.inside >= thresholds.inside) & (scores.blocked < thresholds.blocked)
    return float(scores.probabilities.max(axis=1)[visible].mean()) if visible.any() else 1.0


def _all_unknown(layout: Layout, reason: Reason) -> tuple[SlotReading, ...]:
    return tuple(SlotReading(slot.id, State.UNKNOWN, 0.0, {}, str(reason)) for slot in layout.slots)


def _reading(
    slot: str, probabilities: list[float], blocked: float, seen: list[float], limits: Thresholds, least: float
) -> SlotReading:
    inside, saturated, density = seen
    scores = dict(zip(_NAMES, probabilities, strict=True))
    scores[BLOCKED] = blocked
    best = max(probabilities)
    if inside < limits.inside:
        return SlotReading(slot, State.UNKNOWN, best, scores, OUTSIDE)
    if density < limits.density:
        return SlotReading(slot, State.UNKNOWN, best, scores, RESOLUTION)
    if blocked >= limits.blocked:
        return SlotReading(slot, State.BLOCKED, blocked, scores, BLOCKED)
    if saturated > limits.saturated:
        return SlotReading(slot, State.UNKNOWN, best, scores, SATURATED)
    if not best >= least:
        return SlotReading(slot, State.UNKNOWN, best, scores, UNSURE)
    return SlotReading(slot, ANSWERS[probabilities.index(best)], best, scores)
