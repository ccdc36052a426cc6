"""A model bound to one camera's reference crops: `pipeline.Model` for the task `classify-slots`."""

from __future__ import annotations

import time

import numpy as np

from edge_runtime.inference.confidence import calibrate, temperature, to_logits
from edge_runtime.inference.session import Session
from edge_runtime.manifest import Manifest
from edge_runtime.records import Image, ModelId, Scores, View


class SlotClassifier:
    """Scores every slot of a view. One session may serve several cameras, one classifier each, from one thread."""

    def __init__(self, session: Session, manifest: Manifest, sha256: str, reference_crops: Image) -> None:
        self._session = session
        self._manifest = manifest
        self._id = ModelId(manifest.name, manifest.version, sha256)
        self._reference = session.prepare(reference_crops) if session.takes_reference else None

    @property
    def id(self) -> ModelId:
        return self._id

    def infer(self, view: View) -> Scores:
        """Calibrated scores in the order of the layout; `ms` holds `infer`. Raises ModelFault if the model fails."""
        began = time.perf_counter()
        output = self._session.run_prepared(view.crops, self._reference)
        logits = to_logits(output, self._manifest.output.kind)
        sharpness = 0.0 if np.isnan(view.sharpness) else view.sharpness
        temperatures = temperature(self._manifest.confidence, view.quality, sharpness, max(0.0, view.noise))
        probabilities, blocked = calibrate(logits, self._manifest.output.labels, temperatures)
        return Scores(self._id, probabilities, blocked, {"infer": 1e3 * (time.perf_counter() - began)})
