"""A detector bound to one camera's slots: `pipeline.Model` for the task `detect`."""

from __future__ import annotations

import time

import numpy as np

from edge_runtime.inference.confidence import calibrate, temperature, to_logits
from edge_runtime.inference.detect.boxes import Floats
from edge_runtime.inference.detect.cover import SlotCover
from edge_runtime.inference.detect.session import DetectSession
from edge_runtime.manifest import Manifest
from edge_runtime.records import Layout, ModelId, Scores, View


class Detector:
    """Scores every slot of a view by the boxes over it. One session may serve several cameras, from one thread."""

    def __init__(self, session: DetectSession, manifest: Manifest, sha256: str, layout: Layout) -> None:
        self._session = session
        self._manifest = manifest
        self._id = ModelId(manifest.name, manifest.version, sha256)
        self._cover = SlotCover(layout, session.decoder)

    @property
    def id(self) -> ModelId:
        return self._id

    def infer(self, view: View) -> Scores:
        """Calibrated scores in the order of the layout; `ms` holds `infer`. Raises ModelFault if the model fails."""
        began = time.perf_counter()
        shares = self.evidence(view)
        sharpness = 0.0 if np.isnan(view.sharpness) else view.sharpness
        temperatures = temperature(self._manifest.confidence, view.quality, sharpness, max(0.0, view.noise))
        logits = to_logits(shares, "probabilities")
        probabilities, blocked = calibrate(logits, self._manifest.output.labels, temperatures)
        return Scores(self._id, probabilities, blocked, {"infer": 1e3 * (time.perf_counter() - began)})

    def evidence(self, view: View) -> Floats:
        """What the boxes say of every slot before the temperature: (slots, labels), rows sum to one."""
        if view.canvas is None:
            raise ValueError("the view has no canvas; a normalizer with the manifest's `crop` was expected")
        found = [self._session.boxes(tile) for tile in view.canvas.pixels]
        return self._cover.probabilities(found, view.canvas.places)
