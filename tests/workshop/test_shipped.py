"""The bundles in models/bundles and the pairs in calibration/quantization, as they are shipped."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from edge_runtime.assets import factory_bundles
from edge_runtime.manifest import Manifest, decode_manifest
from edge_runtime.workshop.labels import LABELS, softmax
from edge_runtime.workshop.pack import MEMBERS, pack
from edge_runtime.workshop.run import Graph
from edge_runtime.workshop.strips import read_strips

ROOT = Path(__file__).parents[2]
MAX_STRIP_BYTES = 3_000_000
QUANTIZATION = ROOT / "calibration" / "quantization"


@dataclass(frozen=True)
class Shipped:
    raw: bytes
    manifest: Manifest
    members: dict[str, bytes]
    golden: dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module", params=factory_bundles(), ids=lambda path: path.stem)
def shipped(request: pytest.FixtureRequest) -> Shipped:
    raw = request.param.read_bytes()
    with zipfile.ZipFile(io.BytesIO(raw)) as bundle:
        members = {name: bundle.read(name) for name in bundle.namelist()}
    with np.load(io.BytesIO(members["golden.npz"]), allow_pickle=False) as vectors:
        golden = {name: vectors[name] for name in vectors}
    return Shipped(raw, decode_manifest(members.pop("manifest.json")), members, golden)


def test_there_is_a_factory_model_and_one_to_fall_back_to() -> None:
    assert [path.stem for path in factory_bundles()] == ["shelf-occupancy-0.9.0", "shelf-occupancy-1.1.0"]


def test_members_match_their_digests(shipped: Shipped) -> None:
    assert set(shipped.members) == set(MEMBERS) - {"manifest.json"}
    for name, body in shipped.members.items():
        assert hashlib.sha256(body).hexdigest() == shipped.manifest.files[name].sha256


def test_packing_its_members_again_gives_the_bundle(shipped: Shipped) -> None:
    assert pack(shipped.manifest, shipped.members) == shipped.raw


def test_golden_vectors_hold(shipped: Shipped) -> None:
    golden = shipped.golden
    said = Graph(shipped.members["model.onnx"])(golden["current"], golden["reference"])
    assert (said.argmax(1) == golden["logits"].argmax(1)).all()
    assert np.abs(said - golden["logits"]).max() <= golden["tolerance_logits"]
    assert np.abs(softmax(said) - golden["probabilities"]).max() <= golden["tolerance_probability"]
    full = Graph(shipped.members["model.fp32.onnx"])(golden["current"], golden["reference"])
    assert np.abs(full - golden["logits_fp32"]).max() <= golden["tolerance_fp32_logits"]


def test_golden_vectors_cover_every_label(shipped: Shipped) -> None:
    assert set(shipped.golden["logits"].argmax(1).tolist()) == set(range(len(LABELS)))
    assert shipped.manifest.output.labels == LABELS


def test_int8_agrees_with_float_on_the_quantization_pairs(shipped: Shipped) -> None:
    pairs = read_strips(QUANTIZATION / f"{shipped.manifest.input.size[0]}px")
    full, small = (Graph(shipped.members[name])(*pairs) for name in ("model.fp32.onnx", "model.onnx"))
    sure = softmax(full).max(1) > 0.6
    assert (full.argmax(1) == small.argmax(1))[sure].all()


def test_the_receipt_keeps_the_marks(shipped: Shipped) -> None:
    receipt = shipped.manifest.receipt
    assert receipt["int8_agreement"] >= 0.995
    assert receipt["accuracy_delta"] >= -0.002
    assert receipt["network_to_onnx_max_error"] < 1e-3
    assert receipt["head_to_onnx_max_error"] < 1e-3


def test_one_file_without_outside_data(shipped: Shipped) -> None:
    for name in ("model.onnx", "model.fp32.onnx"):
        graph = onnx.load_from_string(shipped.members[name]).graph
        assert all(weight.data_location == onnx.TensorProto.DEFAULT for weight in graph.initializer)
        assert [output.name for output in graph.output] == [shipped.manifest.output.name]


def test_the_quantization_pairs_are_small_enough_to_ship() -> None:
    strips = list(QUANTIZATION.glob("*px/pairs-*.png"))
    assert 0 < sum(path.stat().st_size for path in strips) <= MAX_STRIP_BYTES
