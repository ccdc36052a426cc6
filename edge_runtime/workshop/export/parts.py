"""Which parts of an estimator have no ONNX form, each by its place in the pipeline, with what to use instead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from skl2onnx._supported_operators import sklearn_operator_name_map

from edge_runtime.errors import Refused

_INSTEAD = {
    "FunctionTransformer": "use PolynomialFeatures, PowerTransformer or KBinsDiscretizer: a Python function can not travel",
    "SplineTransformer": "use PolynomialFeatures or KBinsDiscretizer",
    "GaussianProcessClassifier": "use SVC: only two classes have an ONNX form",
    "NearestCentroid": "use GaussianNB or LinearDiscriminantAnalysis",
    "LabelPropagation": "use KNeighborsClassifier",
    "LabelSpreading": "use KNeighborsClassifier",
    "SelfTrainingClassifier": "export its base estimator",
    "FixedThresholdClassifier": "export its base estimator: thresholds are set when packing",
    "IterativeImputer": "leave it out: features are never missing",
    "MissingIndicator": "leave it out: features are never missing",
    "FeatureAgglomeration": "use PCA or SelectKBest",
    "SequentialFeatureSelector": "use RFE or SelectKBest",
    "FastICA": "use PCA or TruncatedSVD",
    "FactorAnalysis": "use PCA or TruncatedSVD",
    "NMF": "use PCA or TruncatedSVD",
    "Isomap": "use PCA or TruncatedSVD",
    "Nystroem": "use SVC or MLPClassifier",
    "RBFSampler": "use SVC or MLPClassifier",
}
_ONLY_BY_NAME = ("GaussianProcessClassifier",)
"""Known to skl2onnx, but not for as many classes as slots have."""
_FAMILIES = {
    "lightgbm": "use HistGradientBoostingClassifier",
    "xgboost": "use HistGradientBoostingClassifier",
    "catboost": "use HistGradientBoostingClassifier, or its own export to ONNX",
}


def require_exportable(estimator: Any) -> None:
    """Raise Refused naming every part without an ONNX form, one by one."""
    faults = [
        f"{place or 'the estimator'} ({type(part).__name__}): {_mend(part)}"
        for place, part in leaves(estimator)
        if not _exportable(part)
    ]
    if faults:
        raise Refused(
            f"{len(faults)} part(s) have no ONNX form: {'; '.join(faults)}", "Replace them, fit again and export again"
        )


def leaves(part: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """(place such as `scale` or `union.pca`, part) of all parts that do work of their own, in order."""
    inner = list(_inner(part))
    if not inner:
        yield place, part
    for name, child in inner:
        if child is not None and not isinstance(child, str):
            yield from leaves(child, f"{place}.{name}" if place else name)


def _inner(part: Any) -> Iterator[tuple[str, Any]]:
    """What a part is made of: steps, parallel transformers, or the best of a search."""
    if hasattr(part, "steps"):
        yield from part.steps
    elif hasattr(part, "transformer_list"):
        yield from part.transformer_list
    elif hasattr(part, "transformers_"):
        yield from ((name, child) for name, child, _ in part.transformers_)
    elif hasattr(part, "best_estimator_"):
        yield "best", part.best_estimator_
    elif hasattr(part, "calibrated_classifiers_"):
        yield "calibrated", part.calibrated_classifiers_[0].estimator
    elif isinstance(getattr(part, "named_estimators_", None), dict):
        yield from part.named_estimators_.items()


def _exportable(part: Any) -> bool:
    kind = type(part)
    return (
        kind in sklearn_operator_name_map and kind.__name__ not in _ONLY_BY_NAME and getattr(part, "func", None) is None
    )


def _mend(part: Any) -> str:
    kind = type(part)
    for known in kind.__mro__:
        if known.__name__ in _INSTEAD and known.__module__.startswith("sklearn"):
            return _INSTEAD[known.__name__]
    family = kind.__module__.partition(".")[0]
    if family in _FAMILIES:
        return _FAMILIES[family]
    return 'leave it out, or use a part of scikit-learn that skl2onnx knows (python -c "import skl2onnx; print(skl2onnx.supported_converters())")'
