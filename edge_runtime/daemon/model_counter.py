"""What commands may do with models. Runs between two frames, on the loop; what takes longer than that is an errand.

A broker alone can never bring a model in: an errand fetches only what the repository offers that device.toml names, under
the root that device.toml pins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from edge_runtime.daemon.errand import Errand
from edge_runtime.daemon.errand_runner import Job
from edge_runtime.errors import Refused
from edge_runtime.fleet.model_handlers import ModelChoice
from edge_runtime.records import ModelId

if TYPE_CHECKING:
    from edge_runtime.daemon.run import Daemon


class ModelCounter:
    """A `model_handlers.ModelSwitch`. It serves one daemon after the other."""

    def __init__(self, running: Callable[[], Daemon]) -> None:
        """`running`: the daemon that there is now. Raises TryAgain while there is none."""
        self._running = running

    def rollback(self, why: str) -> ModelId | None:
        """Put the previous model in charge. Raises Refused if there is none."""
        daemon = self._running()
        daemon.change_model(lambda stations: daemon.deck.roll_back(why, stations), why)
        return daemon.deck.id

    def install(self, name: str, version: str) -> Job:
        """Fetch a release. Raises Refused if this device has no repository, TryAgain while another errand runs."""
        place = self._running().parts.place
        if not place.repository:
            raise Refused("this device has no model repository", "Give [model] repository and root in device.toml")
        return self._send(Errand(place, "install", name=name, version=version))

    def activate(self, model: ModelChoice, shadow_s: float | None, trial_s: float | None, why: str) -> Job:
        """Prove a bundle that is on this device, and let it in. Raises TryAgain while another errand runs."""
        place = self._running().parts.place
        terms = msgspec.structs.replace(
            place.terms,
            shadow_s=place.terms.shadow_s if shadow_s is None else shadow_s,
            trial_s=place.terms.trial_s if trial_s is None else trial_s,
        )
        return self._send(Errand(place, "activate", model.name, model.version, model.sha256, why, terms))

    def commit(self, why: str) -> Job:
        """End the trial now and keep the model."""
        return self._send(Errand(self._running().parts.place, "commit", why=why))

    def release(self, sha256: str) -> Job:
        """Lift a quarantine."""
        return self._send(Errand(self._running().parts.place, "release", sha256=sha256))

    def _send(self, errand: Errand) -> Job:
        return self._running().parts.errands.send(errand)
