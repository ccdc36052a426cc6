"""A manifest for a model that is not packed yet, so that it can be run as a device would run it."""

from __future__ import annotations

import re

from edge_runtime import __version__
from edge_runtime.errors import Refused
from edge_runtime.manifest import Confidence, Manifest
from edge_runtime.workshop.export.receipt import ExportReceipt
from edge_runtime.workshop.packing.assemble import UNFITTED


def trial_manifest(name: str, exported: ExportReceipt) -> Manifest:
    """Unfitted confidence and thresholds. Raises Refused for a detector: its decoder is declared when it is packed."""
    if exported.output is None:
        raise Refused("a detector can not be read without its decoder", "Pack it first, then validate the bundle")
    plain = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-") or "model"
    return Manifest(
        format="edge-bundle/1",
        name=plain[:63],
        version="0.0.0",
        task="classify-slots",
        created="",
        description="",
        licence="",
        input=exported.input,
        output=exported.output,
        confidence=Confidence(),
        thresholds=UNFITTED,
        runtime=(__version__, "2.0.0"),
        provenance={},
        receipt={},
        files={},
    )
