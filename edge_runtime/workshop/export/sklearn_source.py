"""scikit-learn to a device: the declared features in front, the estimator behind, in one graph of uint8 crops."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import compose

from edge_runtime.errors import Refused
from edge_runtime.manifest import InputSpec, OutputSpec
from edge_runtime.records import CropSpec
from edge_runtime.workshop.export.columns import columns_of
from edge_runtime.workshop.export.convert import FEATURES as TAKEN
from edge_runtime.workshop.export.convert import Converted, convert, source_scores
from edge_runtime.workshop.export.estimator import Fitted
from edge_runtime.workshop.export.exported import Exported, device_scores, finish
from edge_runtime.workshop.export.parity import compare
from edge_runtime.workshop.export.samples import Samples
from edge_runtime.workshop.features import FEATURE_SETS, FeatureSet, features
from edge_runtime.workshop.features_graph import FEATURES as GIVEN
from edge_runtime.workshop.features_graph import features_graph
from edge_runtime.workshop.graph import CURRENT, IR_VERSION, REFERENCE, finished

TOOLS = ("skl2onnx", "scikit-learn", "onnx", "onnxruntime", "numpy")


def export_estimator(
    fitted: Fitted, chosen: FeatureSet, crop: CropSpec, labels: dict[str, str], samples: Samples, tolerance: float
) -> Exported:
    """The whole graph with its receipt, compared with scikit-learn's own answers on `samples` through the device's code.

    Raises Refused if classes, width or parts do not fit.
    """
    columns = columns_of(fitted.estimator.classes_, labels)
    converted = convert(fitted.estimator)
    _check_width(converted.width, chosen, fitted)
    model = _merged(features_graph(chosen, crop.size), converted)
    raw = model.SerializeToString(deterministic=True)
    crops = samples.resized(crop.size)
    spec = _input_spec(crop, chosen)
    output = OutputSpec(converted.kind, converted.kind, columns)
    vector = features(crops.current, crops.reference if chosen.pair else None)
    expected = source_scores(fitted.estimator, vector, converted.kind)
    parity = compare(expected, device_scores(raw, spec, output, crops), samples.name, tolerance)
    return finish(
        raw,
        source=fitted.source,
        task="classify-slots",
        input=spec,
        output=output,
        parity=parity,
        features=chosen.name,
        warnings=(*fitted.warnings, *_unseen(expected, columns)),
        versions={name: version(name) for name in TOOLS},
    )


def _input_spec(crop: CropSpec, chosen: FeatureSet) -> InputSpec:
    return InputSpec(
        layout="NHWC",
        size=crop.size,
        colour="BGR",
        dtype="uint8",
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        margin=crop.margin,
        current=CURRENT,
        reference=REFERENCE if chosen.pair else None,
    )


def _check_width(width: int, chosen: FeatureSet, fitted: Fitted) -> None:
    if width == chosen.width:
        return
    others = [name for name, entry in FEATURE_SETS.items() if entry.width == width]
    raise Refused(
        f"{fitted.source.what} was fitted on {width} features; {chosen.name} has {chosen.width}",
        f"Give --features {others[0]}" if others else "Fit it on the table of `edge-runtime build features`",
    )


def _merged(front: onnx.ModelProto, back: Converted) -> onnx.ModelProto:
    """Features and estimator in one graph; the number of rows stays free."""
    for model in (front, back.graph):
        model.ir_version = IR_VERSION
    body = compose.add_prefix(back.graph, "estimator_", rename_inputs=True, rename_outputs=False)
    merged = compose.merge_models(
        front, body, io_map=[(GIVEN, f"estimator_{TAKEN}")], outputs=[back.kind], producer_name="edge-runtime"
    )
    merged.graph.name = "features_and_estimator"
    return finished(merged)


def _unseen(expected: NDArray[np.floating], columns: tuple[str, ...]) -> tuple[str, ...]:
    """A column that no sample is best in: the parity says little about it."""
    missing = sorted(set(columns) - {columns[k] for k in np.unique(expected.argmax(1))})
    return (
        (f"no sample is called {', '.join(missing)}: its column was compared only where others win",) if missing else ()
    )
