"""Getting a fitted estimator out of a file or a function, and refusing what is none, with the reason."""

from __future__ import annotations

import hashlib
import importlib
import pickle
import struct
import sys
import traceback
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import joblib  # type: ignore[import-untyped]
from sklearn.base import is_classifier
from sklearn.exceptions import InconsistentVersionWarning, NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from edge_runtime.errors import Refused, Unavailable, Usage
from edge_runtime.workshop.export.receipt import Source

TRUST = (
    "Loading a pickle runs whatever code it holds. If you or your colleagues made this file, say so with --trust-pickle"
)
_UNPICKLING = (
    pickle.PickleError,
    struct.error,
    zlib.error,
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a broken pickle, or one of another version, is known to raise."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A fitted scikit-learn classifier, and where it is from."""

    estimator: Any
    source: Source
    warnings: tuple[str, ...] = ()


def from_file(path: Path, trusted: bool) -> Fitted:
    """Unpickle an estimator (joblib or pickle).

    Raises Unavailable if the file can not be read, Usage if nobody said that the file is trusted, Refused if it does not
    load or is no fitted classifier.
    """
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as fault:
        raise Unavailable(
            f"{path} can not be read: {fault.strerror}", "Name the file of the fitted estimator"
        ) from None
    if not trusted:
        raise Usage(f"{path} is a pickle and was not loaded", TRUST)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", InconsistentVersionWarning)
        estimator = _unpickle(path)
    notes = tuple(sorted({str(note.message).splitlines()[0] for note in said}))
    return _checked(estimator, Source("scikit-learn", path.name, sha256, describe(estimator)), notes)


def from_function(name: str) -> Fitted:
    """Call `module:function` (no arguments), found as Python would from the working folder.

    Raises Unavailable if there is no such function, Refused if it fails or gives no fitted classifier.
    """
    module_name, _, function_name = name.partition(":")
    before = list(sys.path)
    sys.path.insert(0, str(Path.cwd()))
    try:
        module, make = _imported(module_name, function_name)
        estimator = _called(name, make)
    finally:
        sys.path[:] = before
    file = getattr(module, "__file__", None)
    sha256 = hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""
    return _checked(estimator, Source("scikit-learn", name, sha256, describe(estimator)), ())


def describe(estimator: object) -> str:
    """`StandardScaler > LogisticRegression`, or the name of the class."""
    if isinstance(estimator, Pipeline):
        return " > ".join(describe(step) for _, step in estimator.steps)
    return type(estimator).__name__


def _imported(module_name: str, function_name: str) -> tuple[ModuleType, Any]:
    try:
        module = importlib.import_module(module_name)
        return module, getattr(module, function_name)
    except (Exception, SystemExit) as fault:  # noqa: BLE001 - somebody else's module raises what it likes
        raise Unavailable(
            f"{module_name}:{function_name} can not be imported: {_said(fault)}",
            "Name it as module:function, from its folder",
        ) from None


def _called(name: str, make: Any) -> Any:
    try:
        return make()
    except (Exception, SystemExit) as fault:  # noqa: BLE001 - somebody else's function raises what it likes
        raise Refused(f"{name}() failed: {_said(fault)}", "Mend the function") from None


def _said(fault: BaseException) -> str:
    """`ValueError: no rows (train.py:12)`: the place is the last that was reached, as a traceback has it."""
    frames = traceback.extract_tb(fault.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if len(frames) > 1 else ""
    return f"{type(fault).__name__}: {fault}{place}"


def _unpickle(path: Path) -> object:
    try:
        return joblib.load(path)
    except _UNPICKLING as fault:
        missing = fault.name if isinstance(fault, ModuleNotFoundError) else None
        if missing and all(part.isidentifier() for part in missing.split(".")):  # else the bytes are no pickle's
            raise Refused(
                f"{path} needs the Python module {missing!r}, which can not be imported here",
                "Install it, or keep your own classes out of the pipeline: they can not be exported anyway",
            ) from None
        lines = str(fault).splitlines() or [""]
        raise Refused(
            f"{path} is not a pickle that loads here: {type(fault).__name__}: {lines[0][:200]}",
            "Save it again with joblib.dump, with the scikit-learn that is installed here",
        ) from None


def _checked(estimator: Any, source: Source, notes: tuple[str, ...]) -> Fitted:
    if not hasattr(estimator, "fit"):
        raise Refused(
            f"{source.name} holds a {type(estimator).__name__}, a scikit-learn classifier was expected",
            "Save the fitted estimator or pipeline itself",
        )
    if not is_classifier(estimator):
        raise Refused(
            f"{source.name} holds {source.what}, which is no classifier", "Fit a classifier on the slot states"
        )
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        raise Refused(f"{source.name} holds {source.what}, which is not fitted", "Call fit before saving it") from None
    if not hasattr(estimator, "classes_") or not hasattr(estimator, "n_features_in_"):
        raise Refused(
            f"{source.name} holds {source.what}, which does not say its classes and how many features it takes",
            "A search needs refit=True; a part of your own needs classes_ and n_features_in_",
        )
    return Fitted(estimator, source, notes)
