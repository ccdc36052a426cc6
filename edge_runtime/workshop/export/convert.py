"""A fitted scikit-learn classifier to an ONNX graph: features in, one tensor of scores out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from skl2onnx import to_onnx
from skl2onnx._supported_operators import sklearn_operator_name_map
from skl2onnx.common._registration import get_converter
from skl2onnx.common.data_types import FloatTensorType
from sklearn.pipeline import Pipeline

from edge_runtime.errors import Refused
from edge_runtime.workshop.export.parts import leaves, require_exportable
from edge_runtime.workshop.export.plain_numbers import accept_numpy_integers
from edge_runtime.workshop.graph import OPSET, only_scores

FEATURES = "features"
OPSET_ML = 3
Kind = Literal["logits", "probabilities"]
_FAULTS = (RuntimeError, NotImplementedError, NameError, ValueError, TypeError, AttributeError, KeyError, IndexError)
"""What skl2onnx raises where it can not write a part; it has no exception of its own for it."""
_INVALID = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError)
"""The same, found out only when the graph was there."""


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
    estimator = _chosen(estimator)
    accept_numpy_integers()
    kind: Kind = "probabilities" if hasattr(estimator, "predict_proba") else "logits"
    width = int(estimator.n_features_in_)
    try:
        return Converted(
            only_scores(_to_onnx(estimator, width, kind), "estimator", kind, len(estimator.classes_)), kind, width
        )
    except (*_FAULTS, *_INVALID) as fault:
        raise Refused(
            f"skl2onnx can not write {_culprit(estimator)}: {_first_line(fault)}",
            "Change that step, or use another: LogisticRegression, MLPClassifier and HistGradientBoostingClassifier work",
        ) from None


def source_scores(estimator: Any, features: NDArray[np.float32], kind: Kind) -> NDArray[np.float64]:
    """What scikit-learn itself says, (n, classes), in the kind of the graph's output."""
    answer = estimator.predict_proba(features) if kind == "probabilities" else estimator.decision_function(features)
    return np.asarray(answer, np.float64)


def _chosen(estimator: Any) -> Any:
    """What a search decided for, in place of the search, which would answer with maps instead of numbers."""
    if hasattr(estimator, "best_estimator_"):
        return _chosen(estimator.best_estimator_)
    if isinstance(estimator, Pipeline):
        name, last = estimator.steps[-1]
        return Pipeline([*estimator.steps[:-1], (name, _chosen(last))])
    return estimator


def _to_onnx(estimator: Any, width: int, kind: Kind) -> onnx.ModelProto:
    last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    known = _known_options(last)
    wanted = {"zipmap": False} | ({"raw_scores": True} if kind == "logits" else {})
    return _written(estimator, width, {id(last): {name: value for name, value in wanted.items() if name in known}})


def _known_options(last: Any) -> dict[str, Any]:
    """What skl2onnx lets one choose for a kind of estimator; not every kind has every option."""
    known: dict[str, Any] = get_converter(sklearn_operator_name_map[type(last)]).get_allowed_options() or {}
    return known


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


def _first_line(fault: Exception) -> str:
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(fault).__name__
