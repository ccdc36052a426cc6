"""YOLOX-nano and FastestDet themselves, where their files lie beside the checkout."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.inference.detect.decode import decode
from edge_runtime.inference.detect.detector import Detector
from edge_runtime.inference.detect.session import DetectSession
from edge_runtime.inference.session import open_session
from edge_runtime.layout import read_layout
from edge_runtime.normalize.reference import open_reference
from edge_runtime.normalize.view import RawNormalizer
from edge_runtime.records import Frame, View
from edge_runtime.workshop.detect import manifest_of, read_description
from tests.inference.detect.slow import slow_decode

ROOT = Path(__file__).resolve().parents[3]
SHARED = ROOT / "../shared/data"
DESCRIPTIONS = ROOT / "models" / "detectors"
FILES = {"yolox-nano": "yolox_nano/yolox_nano.onnx", "fastestdet": "fastestdet/FastestDet.onnx"}


@pytest.mark.parametrize("path", sorted(DESCRIPTIONS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_description_that_ships_is_one(path: Path) -> None:
    described = read_description(path)
    assert described.name == path.stem
    assert manifest_of(described, "not recorded", ("0.1.0", "2.0.0")).decoder == described.decoder


@pytest.mark.parametrize("name", sorted(FILES))
def test_real_outputs_are_decoded_as_the_models_own_code_does(name: str) -> None:
    model, shelf = SHARED / "models" / FILES[name], SHARED / "field-dev/shelves/shelf00"
    if not model.is_file() or not shelf.is_dir():
        pytest.skip(f"{FILES[name]} and field-dev are not beside the checkout")
    manifest = manifest_of(read_description(DESCRIPTIONS / f"{name}.toml"), "not recorded", ("0.1.0", "2.0.0"))
    session = open_session(model.read_bytes(), manifest)
    assert isinstance(session, DetectSession)
    layout = read_layout(shelf / "layout.json")
    pixels = np.asarray(cv2.imread(str(shelf / "frames" / "lab-0.jpg")), np.uint8)
    view = RawNormalizer(layout, open_reference(layout), manifest.crop).normalize(Frame("c", 0, pixels, 0.0, 0.0))
    assert isinstance(view, View) and view.canvas is not None
    outputs = session.outputs(view.canvas.pixels[0])
    found = decode(outputs, session.decoder, manifest.input.size)
    wanted = slow_decode(outputs, session.decoder, manifest.input.size)
    assert len(found) == len(wanted) > 10
    assert np.allclose(found.corners, [row[:4] for row in wanted], atol=0.01)
    assert found.labels.tolist() == [row[5] for row in wanted]
    scores = Detector(session, manifest, "ab" * 32, layout).infer(view)
    assert 0 < (scores.probabilities.argmax(1) == 0).sum() < len(layout.slots)
