"""What the device says of its models: which runs and why, and what is on its way in."""

from __future__ import annotations

from edge_runtime.daemon.candidacy import Candidacy
from edge_runtime.daemon.deck import ModelDeck
from edge_runtime.daemon.status_file import CandidateLine, ModelLine
from edge_runtime.lifecycle.guard import TrialWatch
from edge_runtime.lifecycle.state_file import Candidate, Step
from edge_runtime.telemetry.builders import ModelHealth, clipped, rounded
from edge_runtime.telemetry.messages import Rollback


def model_line(deck: ModelDeck, candidacy: Candidacy) -> ModelLine | None:
    """None in safe mode."""
    loaded, store = deck.loaded, deck.store
    if loaded is None:
        return None
    origin, candidate = store.origin_of(loaded.id.sha256), candidacy.candidate
    return ModelLine(
        loaded.id.name,
        loaded.id.version,
        loaded.id.sha256,
        "trial" if candidate is not None and candidate.sha256 == loaded.id.sha256 else "committed",
        loaded.variant.value,
        origin.kind,
        origin.release,
        store.floor_of(loaded.id.name),
    )


def candidate_line(candidacy: Candidacy) -> CandidateLine | None:
    """None if no model is on its way in."""
    candidate = candidacy.candidate
    if candidate is None:
        return None
    report = candidacy.beside.report() if candidacy.beside is not None else None
    trial = candidacy.sentry.trial if candidate.phase == "trial" else None
    return CandidateLine(
        candidate.name,
        candidate.version,
        candidate.sha256,
        candidate.phase,
        candidate.reason,
        _doing(candidacy, candidate, trial),
        round(candidacy.left_s, 1),
        trial.frames if trial is not None else report.frames if report else 0,
        report.slots if report else 0,
        round(report.agreement, 4) if report and report.agreement is not None else None,
        trial.describe() if trial is not None else {},
        tuple(f"{camera}/{slot}" for camera, slot in trial.worth_asking) if trial is not None else (),
    )


def _doing(candidacy: Candidacy, candidate: Candidate, trial: TrialWatch | None) -> str:
    if candidacy.loading == candidate.sha256:
        return "being loaded"
    if candidate.phase == "shadow":
        return "beside the current model"
    return f"held up by a change of {trial.waiting}" if trial is not None and trial.waiting else "under watch"


def taken_back(deck: ModelDeck) -> tuple[Step, ...]:
    """The models that were rolled back here, oldest first, as far as the store remembers."""
    none: tuple[Step, ...] = ()
    return tuple(step for step in deck.guarded(lambda: deck.store.history, none) if step.phase == "rolled_back")


def model_health(
    model: ModelLine | None, candidate: CandidateLine | None, taken_back: tuple[Step, ...] = ()
) -> ModelHealth:
    """The same in short, for the broker."""
    last = taken_back[-1] if taken_back else None
    return ModelHealth(
        model.phase if model else "",
        model.variant if model else "",
        candidate.name if candidate else "",
        candidate.version if candidate else "",
        candidate.phase if candidate else "",
        candidate.agreement if candidate else None,
        len(taken_back),
        Rollback(last.name, last.version, last.sha256, rounded(last.at.wall_s, 0), clipped(last.reason))
        if last is not None
        else None,
    )
