"""A gap between skl2onnx and newer onnx: gradient-boosted trees hand over lists with numpy's own integers and with booleans.

`onnx.helper.make_node` of onnx 1.19 and newer takes Python's integers only, so the estimators' converters are given a
container that turns the numbers on the way. With an skl2onnx that does so itself this changes nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import skl2onnx.operator_converters
import skl2onnx.shape_calculators  # noqa: F401
from skl2onnx import update_registered_converter
from skl2onnx.common._registration import get_converter, get_shape_calculator
from sklearn.ensemble import HistGradientBoostingClassifier

_ALIAS = "SklearnHistGradientBoostingClassifier"


class _Container:
    """Passes everything on; attributes of nodes become plain numbers."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def add_node(self, *arguments: Any, **attributes: Any) -> Any:
        plain = {name: _plain(value) for name, value in attributes.items()}
        return self._inner.add_node(*arguments, **plain)


def accept_numpy_integers() -> None:
    """Register the converters anew, once; calling it again changes nothing."""
    converter = get_converter(_ALIAS)
    if getattr(converter, "_fct", None) is not None and getattr(converter._fct, "plain_numbers", False):
        return

    def convert(scope: Any, operator: Any, container: Any) -> None:
        converter(scope, operator, _Container(container))

    convert.plain_numbers = True  # type: ignore[attr-defined]
    update_registered_converter(
        HistGradientBoostingClassifier,
        _ALIAS,
        get_shape_calculator(_ALIAS),
        convert,
        overwrite=True,
        options=converter.get_allowed_options(),
    )


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    return int(value) if isinstance(value, bool) else value
