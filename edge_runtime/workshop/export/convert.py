"""A fitted scikit-learn classifier to an ONNX graph: features in, one tensor of scores out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType

from edge_runtime.errors import Refused
from edge_runtime.workshop.export.parts import leaves, require_exportable
from edge_runtime.workshop.graph import OPSET, finished

FEATURES = "features"
OPSET_ML = 3
Kind = Literal["logits", "probabilities"]
_FAULTS = (RuntimeError, NotImplementedError, NameError, ValueError, TypeError, AttributeError, KeyError, IndexError)
"""What skl2onnx raises where it can not write a part; it has no exception of its own for it."""


@dataclass(frozen=True, slots=True, eq=False)
class Converted:
    """The graph of an estimator: input `features` (n, width), output named as `kind`."""

    graph: onnx.ModelProto
    kind: Kind
    width: int


def convert(estimator: Any) -> Converted:
    """Write an estimator as ONNX (skl2onnx), with the one output that it decides by.

    Probabilities where it has them, else raw scores. Raises Refused naming the parts that have no ONNX form, or what
    skl2onnx said.
    """
    require_exportable(estimator)
    kind: Kind = "probabilities" if hasattr(estimator, "predict_proba") else "logits"
    width = int(estimator.n_features_in_)
    try:
        model = _to_onnx(estimator, width, kind)
    except _FAULTS as fault:
        raise Refused(
            f"skl2onnx can not write {_culprit(estimator)}: {_first_line(fault)}",
            "Change that step, or use another: LogisticRegression, MLPClassifier and HistGradientBoostingClassifier work",
        ) from None
    return Converted(_only_scores(model, kind, len(estimator.classes_)), kind, width)


def source_scores(estimator: Any, features: NDArray[np.float32], kind: Kind) -> NDArray[np.float64]:
    """What scikit-learn itself says, (n, classes), in the kind of the graph's output."""
    answer = estimator.predict_proba(features) if kind == "probabilities" else estimator.decision_function(features)
    return np.asarray(answer, np.float64)


def _to_onnx(estimator: Any, width: int, kind: Kind) -> onnx.ModelProto:
    last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    options: dict[int, dict[str, bool]] = {id(last): {"zipmap": False}}
    try:
        if kind == "logits":
            options[id(last)]["raw_scores"] = True
        return _written(estimator, width, options)
    except NameError:  # skl2onnx: this kind has no option `raw_scores`; its scores are raw already
        return _written(estimator, width, {id(last): {"zipmap": False}})


def _written(estimator: Any, width: int, options: dict[int, dict[str, bool]]) -> onnx.ModelProto:
    written: onnx.ModelProto = to_onnx(
        estimator,
        initial_types=[(FEATURES, FloatTensorType([None, width]))],
        options=options,
        target_opset={"": OPSET, "ai.onnx.ml": OPSET_ML},
    )
    return written


def _culprit(estimator: Any) -> str:
    """The first part that can not be written by itself, by its place; the whole if each one can."""
    for place, part in leaves(estimator):
        width = getattr(part, "n_features_in_", None)
        if place and width:
            try:
                to_onnx(
                    part,
                    initial_types=[(FEATURES, FloatTensorType([None, int(width)]))],
                    target_opset={"": OPSET, "ai.onnx.ml": OPSET_ML},
                )
            except _FAULTS:
                return f"{place} ({type(part).__name__})"
    return type(estimator).__name__


def _only_scores(model: onnx.ModelProto, name: str, classes: int) -> onnx.ModelProto:
    """Keep what leads to the scores, under one name; the label output would make the graph answer twice."""
    graph = model.graph
    scores = graph.output[-1].name
    needed, kept = {scores}, []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            kept.append(node)
    kept.reverse()
    for node in kept:
        node.output[:] = [name if output == scores else output for output in node.output]
        node.input[:] = [name if taken == scores else taken for taken in node.input]
    out = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", classes])
    weights = [weight for weight in graph.initializer if weight.name in needed]
    alone = helper.make_graph(kept, "estimator", list(graph.input), [out], weights)
    return finished(helper.make_model(alone, opset_imports=list(model.opset_import)))


def _first_line(fault: Exception) -> str:
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(fault).__name__
