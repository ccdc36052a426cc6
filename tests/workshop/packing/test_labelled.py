"""Evidence from labelled crops: what is fitted holds, and a device can check it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edge_runtime.errors import Refused
from edge_runtime.inference.probe import check_golden
from edge_runtime.inference.session import open_session
from edge_runtime.lifecycle.arrays import read_arrays
from edge_runtime.manifest import Confidence, OutputSpec
from edge_runtime.workshop.crops import CropSet
from edge_runtime.workshop.labels import LABELS
from edge_runtime.workshop.packing.assemble import Graphs, assemble
from edge_runtime.workshop.packing.identity import Identity
from edge_runtime.workshop.packing.labelled import from_crops
from edge_runtime.workshop.quantization.qdq import quantize_crops
from workshop.small import house_spec

IDENTITY = Identity("small", "1.0.0", "2026-11-23", "", "", ("0.0.1", "9.0.0"))


@pytest.fixture(scope="module")
def graphs(merged: onnx.ModelProto, crops: CropSet) -> Graphs:
    small = quantize_crops(merged, crops.current[:32], crops.reference_of(slice(0, 32)))
    bodies = [model.SerializeToString(deterministic=True) for model in (small, merged)]
    return Graphs(bodies[0], bodies[1], house_spec(), OutputSpec("logits", "logits", LABELS))


def test_both_files_pass_the_golden_set_that_was_made(graphs: Graphs, crops: CropSet) -> None:
    evidence = from_crops(graphs, crops, seed=3)
    manifest, files = assemble(IDENTITY, graphs, evidence, {}, {}, {}, b"licence")
    golden = read_arrays(evidence.golden, "golden.npz")
    for name, floating in (("model.onnx", False), ("model.fp32.onnx", True)):
        report = check_golden(open_session(files[name], manifest), manifest, golden, floating)
        assert report.passed
        assert report.agreement == 1.0
    assert evidence.confidence != Confidence()
    assert "Balanced accuracy" in dict(evidence.facts)["how_measured"]


def test_a_model_without_a_blocked_column_is_packed_all_the_same(graphs: Graphs, crops: CropSet) -> None:
    """Its last column is cut off; blocked crops then count for nothing."""
    model = onnx.load_from_string(graphs.float32 or b"")
    columns = onnx.numpy_helper.from_array(np.arange(3), "columns")
    model.graph.initializer.append(columns)
    model.graph.node.append(onnx.helper.make_node("Gather", ["logits", "columns"], ["three"], axis=1))
    out = onnx.helper.make_tensor_value_info("three", onnx.TensorProto.FLOAT, ["n", 3])
    del model.graph.output[:]
    model.graph.output.append(out)
    three = Graphs(model.SerializeToString(), None, graphs.input, OutputSpec("three", "logits", LABELS[:3]))
    evidence = from_crops(three, crops, seed=3)
    assert read_arrays(evidence.golden, "golden.npz")["logits"].shape[1] == 3
    assert np.isfinite(read_arrays(evidence.reference, "reference.npz")["lab_energy"]).all()


def test_no_usable_frame(graphs: Graphs, crops: CropSet) -> None:
    lost = crops.only(np.arange(0))
    with pytest.raises(Refused, match="no frame of the labelled set"):
        from_crops(graphs, lost, seed=3)


def test_the_same_crops_give_the_same_evidence(graphs: Graphs, crops: CropSet) -> None:
    assert from_crops(graphs, crops, seed=3).golden == from_crops(graphs, crops, seed=3).golden
