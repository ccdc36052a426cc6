"""Files that ship with the runtime: the factory bundles, the face detector, the demo camera's layout, the brokers' configurations.

In a wheel they lie in `edge_runtime/assets/`; in a checkout they are the repository's own `models/`, `calibration/` and
`deploy/`.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


def _folder(*parts: str) -> Path:
    packed = _PACKAGE.joinpath("assets", *parts)
    return packed if packed.is_dir() else _PACKAGE.parent.joinpath(*parts)


def factory_bundles(name: str = "") -> tuple[Path, ...]:
    """The bundles in the package, newest version last; with `name` those of one model."""
    found = _folder("models", "bundles").glob("*.zip")
    return tuple(
        sorted(
            (path for path in found if not name or path.stem.rpartition("-")[0] == name),
            key=lambda path: [int(n) if n.isdigit() else 0 for n in path.stem.rpartition("-")[2].split(".")],
        )
    )


def face_detector() -> Path:
    """YuNet as an ONNX file (models/faces/README.md)."""
    return _folder("models", "faces") / "yunet_n_320_320.onnx"


def demo_layout() -> Path:
    """The layout.json of the simulated store camera."""
    return _folder("calibration", "demo") / "layout.json"


def broker_files(broker: str) -> Path:
    """The folder of a broker's configuration files: `mosquitto` or `nats-cluster`."""
    return _folder("deploy", broker)
