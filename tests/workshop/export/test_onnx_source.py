"""Existing ONNX files: what is accepted, what is mended, and that it says the same afterwards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto

from edge_runtime.errors import Refused, Usage
from edge_runtime.workshop.export.exported import Exported, feeds_of
from edge_runtime.workshop.export.interface import PREPROCESS, Declared
from edge_runtime.workshop.export.onnx_source import Wishes, export_classifier, export_detector
from edge_runtime.workshop.export.samples import Samples
from edge_runtime.workshop.export.trial import run_apart
from edge_runtime.workshop.labels import LABELS

from .graphs import SIDE, classifier, save

STATES = {state: state for state in LABELS}
RGB = Declared(colour="RGB", preprocess="imagenet")


@pytest.fixture
def few(samples: Samples) -> Samples:
    return Samples("few", samples.current[:10], samples.reference[:10])


def export(model: onnx.ModelProto, folder: Path, few: Samples, declared: Declared = RGB, **wishes: bool) -> Exported:
    path = save(model, folder / "crops.onnx")
    return export_classifier(path, declared, STATES, few, Wishes(**wishes), 1e-3)


def test_a_good_file_stays_as_it_is(tmp_path: Path, few: Samples) -> None:
    model = classifier()
    exported = export(model, tmp_path, few)
    assert exported.raw == model.SerializeToString(deterministic=True)
    receipt = exported.receipt
    assert receipt.source.sha256 == receipt.model.sha256
    assert receipt.source.what == "a trainer"
    assert receipt.output is not None
    assert (receipt.output.name, receipt.output.kind, receipt.output.labels) == ("scores", "logits", LABELS)
    assert receipt.input.mean == PREPROCESS["imagenet"][1]
    assert (receipt.input.layout, receipt.input.size, receipt.input.current) == ("NCHW", (SIDE, SIDE), "pixels")
    assert (receipt.parity.rows, receipt.parity.agreement, receipt.repairs) == (10, 1.0, ())
    assert receipt.opsets == {"ai.onnx": 17}


def test_what_the_device_computes_is_what_training_computed(tmp_path: Path, few: Samples) -> None:
    """torchvision: RGB / 255, less the mean, by the deviation, in planes."""
    exported = export(classifier(), tmp_path, few)
    small = few.resized((SIDE, SIDE))
    unit = small.current[..., ::-1] / 255.0
    scaled = (unit - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    expected = scaled.transpose(0, 3, 1, 2).astype(np.float32)
    assert np.abs(feeds_of(exported.receipt.input, small)["pixels"] - expected).max() < 1e-4


def test_preprocessing_follows_the_colours(tmp_path: Path, few: Samples) -> None:
    spec = export(classifier(), tmp_path, few, Declared(colour="BGR", preprocess="imagenet")).receipt.input
    assert spec.mean == (103.53, 116.28, 123.675)


def test_rows_that_sum_to_one_are_probabilities(tmp_path: Path, few: Samples) -> None:
    receipt = export(classifier(softmax=True), tmp_path, few).receipt
    assert receipt.output is not None
    assert receipt.output.kind == "probabilities"


def test_two_inputs_of_bytes_take_both_crops(tmp_path: Path, few: Samples) -> None:
    declared = Declared(colour="BGR", current="now", reference="then")
    model = classifier(names=("now", "then"), dtype=TensorProto.UINT8)
    spec = export(model, tmp_path, few, declared).receipt.input
    assert (spec.current, spec.reference, spec.dtype, spec.std) == ("now", "then", "uint8", (1, 1, 1))


@pytest.mark.parametrize("reshape", [(0, -1), (1, -1), (1, 8)])
def test_a_fixed_batch_is_freed_when_asked_and_says_the_same(
    tmp_path: Path, few: Samples, reshape: tuple[int, ...]
) -> None:
    model = classifier(rows=1, reshape=reshape)
    with pytest.raises(Refused, match="number of slots is fixed") as caught:
        export(model, tmp_path, few)
    assert "--free-batch" in caught.value.mend
    exported = export(model, tmp_path, few, free_batch=True)
    assert exported.receipt.repairs == ("first axis freed",)
    assert exported.receipt.inputs[0].shape == ("n", 3, SIDE, SIDE)
    feeds = feeds_of(exported.receipt.input, few.resized((SIDE, SIDE)))
    alone = run_apart(model.SerializeToString(), feeds, 1)["scores"]
    together = ort.InferenceSession(exported.raw, providers=["CPUExecutionProvider"]).run(None, feeds)[0]
    assert np.allclose(alone, together, atol=1e-5)


def test_an_axis_that_only_looks_free_is_found_out(tmp_path: Path, few: Samples) -> None:
    with pytest.raises(Refused, match=r"first axis is not free|does not run the model"):
        export(classifier(rows=1, reshape=(-1, 8, 1), columns=4), tmp_path, few, free_batch=True)


def test_rows_that_are_mixed_are_found_out(tmp_path: Path, few: Samples) -> None:
    """As a normalization over the batch would: a slot's answer must not depend on its neighbours."""
    model = classifier()
    model.graph.node[-1].output[0] = "sums"
    model.graph.node.append(onnx.helper.make_node("ReduceMean", ["sums"], ["middle"], axes=[0], keepdims=1))
    model.graph.node.append(onnx.helper.make_node("Sub", ["sums", "middle"], ["scores"]))
    with pytest.raises(Refused, match="depends on how many are fed with it") as caught:
        export(model, tmp_path, few)
    assert "model.eval()" in caught.value.mend


def test_a_slimmed_file_says_the_same(tmp_path: Path, few: Samples) -> None:
    pytest.importorskip("onnxslim")
    model = classifier()
    model.graph.node.insert(0, onnx.helper.make_node("Identity", ["pixels"], ["same"]))
    model.graph.node[1].input[0] = "same"
    one, two = (export(model, tmp_path, few, slim=True) for _ in "ab")
    assert one.raw == two.raw
    assert one.receipt.repairs[0].startswith("slimmed from 6 to ")
    assert one.receipt.parity.agreement == 1.0


def test_outputs_beside_the_scores_are_left_out(tmp_path: Path, few: Samples) -> None:
    model = classifier()
    model.graph.output.append(onnx.helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["batch", 8, 1, 1]))
    exported = export(model, tmp_path, few)
    assert [entry.name for entry in exported.receipt.outputs] == ["scores"]
    assert exported.receipt.repairs == ("outputs left out: pooled",)


def test_a_newer_ir_version_is_lowered(tmp_path: Path, few: Samples) -> None:
    model = classifier()
    model.ir_version = 11
    exported = export(model, tmp_path, few)
    assert exported.receipt.ir_version == 10


def test_an_opset_named_twice_is_named_once(tmp_path: Path, few: Samples) -> None:
    """As onnx.compose leaves it."""
    model = classifier()
    model.opset_import.extend([onnx.helper.make_opsetid("", 17)])
    exported = export(model, tmp_path, few)
    assert len(onnx.ModelProto.FromString(exported.raw).opset_import) == 1
    model.opset_import.extend([onnx.helper.make_opsetid("ai.onnx", 13)])
    with pytest.raises(Refused, match="opsets 13, 17, one was expected"):
        export(model, tmp_path, few)


def test_a_subgraph_is_no_obstacle(tmp_path: Path, few: Samples) -> None:
    model = classifier()
    model.graph.node[-1].output[0] = "sums"
    branches = {}
    for name, kind in (("then_branch", "Identity"), ("else_branch", "Neg")):
        out = onnx.helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, ["batch", 4])
        inner = onnx.helper.make_node(kind, ["sums"], [f"{name}_out"])
        branches[name] = onnx.helper.make_graph([inner], name, [], [out])
    yes = onnx.numpy_helper.from_array(np.asarray(True), "yes")
    model.graph.initializer.append(yes)
    model.graph.node.append(onnx.helper.make_node("If", ["yes"], ["scores"], **branches))
    assert export(model, tmp_path, few).receipt.parity.max_error < 1e-4


def test_a_detector_keeps_its_batch_of_one_and_all_outputs(tmp_path: Path, few: Samples) -> None:
    model = classifier(rows=1)
    model.graph.output.append(onnx.helper.make_tensor_value_info("bent", TensorProto.FLOAT, [1, 8, SIDE, SIDE]))
    path = save(model, tmp_path / "boxes.onnx")
    exported = export_detector(path, Declared(colour="BGR", preprocess="none"), few, Wishes(), 1e-3)
    assert exported.raw == path.read_bytes()
    assert exported.receipt.task == "detect"
    assert exported.receipt.output is None
    assert [entry.name for entry in exported.receipt.outputs] == ["scores", "bent"]


@pytest.mark.parametrize(
    ("model", "declared", "said", "mend"),
    [
        (classifier(), Declared(preprocess="unit"), "order of the colours", "--colour RGB"),
        (classifier(), Declared(colour="RGB"), "what was done to the pixels", "--preprocess"),
        (classifier(), Declared(colour="RGB", mean=(0, 0, 0)), "belong together", "--colour"),
        (classifier(names=("a", "b")), RGB, "takes a, b", "--current"),
        (classifier(side="side"), RGB, "leaves the crop's size free", "--size"),
    ],
)
def test_what_can_not_be_seen_must_be_said(
    tmp_path: Path, few: Samples, model: onnx.ModelProto, declared: Declared, said: str, mend: str
) -> None:
    with pytest.raises(Usage, match=said) as caught:
        export(model, tmp_path, few, declared)
    assert mend in caught.value.mend


@pytest.mark.parametrize(
    ("model", "declared", "said"),
    [
        (classifier(columns=1000), RGB, "1000 columns, --labels names 4"),
        (classifier(dtype=TensorProto.FLOAT16), RGB, "is float16, uint8 or float32"),
        (classifier(), Declared(colour="RGB", preprocess="unit", size=(80, 80)), "16x16, --size says 80"),
        (classifier(), Declared(colour="RGB", preprocess="unit", layout="NHWC"), "not NHWC with 3 colours"),
        (classifier(), Declared(colour="RGB", preprocess="unit", current="x"), "no input 'x'; it has pixels"),
        (classifier(), Declared(colour="RGB", preprocess="unit", output="x"), "no output 'x'; it has scores"),
        (classifier(dtype=TensorProto.UINT8), RGB, "scales pixels itself"),
        (classifier(names=("current", "level")), RGB, "also takes level"),
        (classifier(side=4), RGB, "4x4, 8 to 1024"),
    ],
)
def test_what_contradicts_is_refused(
    tmp_path: Path, few: Samples, model: onnx.ModelProto, declared: Declared, said: str
) -> None:
    with pytest.raises(Refused, match=said) as caught:
        export(model, tmp_path, few, declared)
    assert caught.value.mend
