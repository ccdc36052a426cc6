"""Versions of what shapes a bundle, for its provenance."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

BUILD = ("onnx", "onnxruntime", "scikit-learn", "skl2onnx", "numpy", "opencv-python-headless")


def toolchain(also: tuple[str, ...] = ()) -> dict[str, str]:
    """`version_<package>` of those that are installed, and of Python."""
    found = {"version_python": platform.python_version()}
    for name in (*also, *BUILD):
        try:
            found[f"version_{name}"] = version(name)
        except PackageNotFoundError:
            continue
    return found
