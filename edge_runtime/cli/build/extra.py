"""Is the `build` extra there? Asked first by every verb of the family, so that the answer is a sentence."""

from __future__ import annotations

from importlib.util import find_spec

from edge_runtime.errors import Unavailable

PIP = 'pip install "edge-runtime[build]"'
_PACKAGES = {"onnx": "onnx", "skl2onnx": "skl2onnx", "sklearn": "scikit-learn"}


def require_build() -> None:
    """Raise Unavailable with the exact command if a package of the extra is missing."""
    missing = [package for module, package in _PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise Unavailable(f"`edge-runtime build` needs {', '.join(missing)}, which this installation lacks", PIP)
