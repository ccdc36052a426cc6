"""`build …`: from a trained model to a bundle, off the device. One file a verb; this one only gathers them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.cli.build import export, features, pack, quantize, validate
from edge_runtime.cli.output import add_verb

if TYPE_CHECKING:
    from edge_runtime.cli.output import Verbs


def register(verbs: Verbs) -> None:
    """Add the family and its verbs, in the order in which a model passes through them."""
    parser = add_verb(
        verbs,
        "build",
        "export, quantize, validate and pack a model (off the device)",
        "Makes a bundle out of a trained model, with a receipt of every step. Needs the `build` extra:\n"
        '  pip install "edge-runtime[build]"',
        "  edge-runtime build export shelf.joblib --trust-pickle --out shelf.onnx\n"
        "  edge-runtime build export crops.onnx --out shelf.onnx --labels stocked,low,empty,blocked",
    )
    kinds = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for verb in (features, export, quantize, validate, pack):
        verb.register(kinds)
