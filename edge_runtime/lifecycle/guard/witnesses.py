"""Who is right in a dispute? Signed evidence from what neither model can have made up.

A better model disagrees with a bad incumbent as often as a bad model with a good one, so that two models differ says
nothing yet. Two witnesses are heard. The reference picture: a slot that correlates with its own commissioned look is
stocked, whoever says so. And how sure each model is, for the one that errs is usually the less sure one; its word is
bounded, because a model can be sure and wrong. On recorded store days, real models against real models, the first is right in 98 % of the
disputes where a slot correlates by 0.95 or more, the second in 80 % where the models differ by two to three logits
(docs/adr/0010-guard.md).
"""

from __future__ import annotations

import math

from edge_runtime.lifecycle.guard.settings import DisputeSettings
from edge_runtime.lifecycle.guard.values import SlotPair
from edge_runtime.records import State

_SUREST = 0.998


def testimony(pair: SlotPair, settings: DisputeSettings) -> float:
    """-1..1: how surely the model on trial is wrong and the incumbent right about this slot; 0 if they agree.

    Antisymmetric: with the models exchanged it is the negative. A model that abstains loses as much as the other is sure.
    """
    if pair.mine is pair.theirs:
        return 0.0
    if pair.mine is State.UNKNOWN:
        return pair.theirs_confidence
    if pair.theirs is State.UNKNOWN:
        return -pair.mine_confidence
    margin = _logit(pair.theirs_confidence) - _logit(pair.mine_confidence)
    surer = max(-settings.surest, min(settings.surest, margin))
    return math.tanh(0.5 * (surer + _reference(pair, settings)))


def _reference(pair: SlotPair, settings: DisputeSettings) -> float:
    """Log odds that the incumbent is right, as the reference picture has it."""
    if pair.likeness is None or (pair.mine is State.STOCKED) == (pair.theirs is State.STOCKED):
        return 0.0
    weight = next((odds for least, odds in settings.likeness if pair.likeness >= least), 0.0)
    return weight if pair.theirs is State.STOCKED else -weight


def _logit(confidence: float) -> float:
    held = min(max(confidence, 1.0 - _SUREST), _SUREST)
    return math.log(held / (1.0 - held))
