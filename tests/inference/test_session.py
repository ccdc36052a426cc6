"""A session is only opened for a model that fits its manifest, and only believed if its answers are sound."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from lifecycle.bundles import LABELS, expected_logits, golden, manifest_of, model_bytes

from edge_runtime.errors import ModelFault
from edge_runtime.inference.graph import require_standalone
from edge_runtime.inference.session import open_session
from edge_runtime.manifest import Manifest, OutputSpec


def manifest_with(**fields: Any) -> Manifest:
    manifest = manifest_of()
    return msgspec.structs.replace(manifest, input=msgspec.structs.replace(manifest.input, **fields))


def test_uint8_crops_go_straight_through() -> None:
    parts = golden()
    session = open_session(model_bytes(), manifest_of())
    assert np.allclose(session.run(parts["current"], parts["reference"]), parts["logits"], atol=1e-4)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("colour", ["BGR", "RGB"])
def test_float_inputs_are_normalized_in_the_graphs_own_layout_and_colour(layout: str, colour: str) -> None:
    """The test graph takes the difference of what it is fed: mean cancels, the deviation of each colour scales."""
    std = (2.0, 4.0, 8.0)
    manifest = manifest_with(layout=layout, colour=colour, dtype="float32", mean=(10.0, 20.0, 30.0), std=std)
    session = open_session(model_bytes(layout=layout, dtype="float32"), manifest)
    reference = np.zeros((3, 64, 64, 3), np.uint8)
    current = reference.copy()
    current[..., 0] = 80  # blue
    difference = 80 / std[0 if colour == "BGR" else 2] / 3
    answer = session.run(current, reference)
    assert np.allclose(answer[:, 0], 6.0 - 0.25 * difference, atol=1e-3)


def test_a_prepared_reference_is_a_copy_and_gives_the_same_answer() -> None:
    parts = golden()
    session = open_session(model_bytes(), manifest_of())
    reference = parts["reference"].copy()
    prepared = session.prepare(reference)
    reference[:] = 0
    assert np.allclose(session.run_prepared(parts["current"], prepared), parts["logits"], atol=1e-4)


def test_any_number_of_slots_in_any_order_of_calls() -> None:
    session = open_session(model_bytes(layout="NCHW", dtype="float32"), manifest_with(layout="NCHW", dtype="float32"))
    random = np.random.default_rng(3)
    for count in (1, 32, 5, 33, 100, 1):
        pair = random.integers(0, 256, (2, count, 64, 64, 3), dtype=np.uint8)
        assert np.allclose(session.run(pair[0], pair[1]), expected_logits(pair[0], pair[1]), atol=1e-2)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"current": "now"}, "takes"),
        ({"reference": None}, "takes"),
        ({"dtype": "float32"}, "tensor(float) was expected"),
        ({"size": (32, 64)}, "[slots, 64, 32, 3] was expected"),
        ({"layout": "NCHW"}, "[slots, 3, 64, 64] was expected"),
    ],
)
def test_a_graph_that_differs_from_its_manifest_is_a_model_fault(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ModelFault) as fault:
        open_session(model_bytes(), manifest_with(**fields))
    assert told in fault.value.found and fault.value.mend


def test_an_output_that_differs_from_the_manifest_is_a_model_fault() -> None:
    other = msgspec.structs.replace(manifest_of(), output=OutputSpec("scores", "logits", LABELS))
    with pytest.raises(ModelFault, match="scores"):
        open_session(model_bytes(), other)
    with pytest.raises(ModelFault, match=r"\[slots, 4\] was expected"):
        open_session(model_bytes("wrong_shape"), manifest_of())


@pytest.mark.parametrize("behaviour", ["garbage", "external"])
def test_a_file_that_is_no_single_onnx_model_is_a_model_fault(behaviour: str) -> None:
    with pytest.raises(ModelFault):
        open_session(model_bytes(behaviour), manifest_of())


def test_weights_in_a_file_beside_are_refused_even_if_the_file_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weights.bin").write_bytes(np.zeros(4, np.float32).tobytes())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelFault, match="beside"):
        open_session(model_bytes("external"), manifest_of())


@pytest.mark.parametrize(("behaviour", "told"), [("nan", "NaN"), ("crash", "failed while running")])
def test_a_model_that_misbehaves_while_running_is_a_model_fault(behaviour: str, told: str) -> None:
    session = open_session(model_bytes(behaviour), manifest_of())
    parts = golden()
    for _ in range(2):
        with pytest.raises(ModelFault, match=told):
            session.run(parts["current"], parts["reference"])


def test_an_output_declared_as_probabilities_must_be_one() -> None:
    manifest = msgspec.structs.replace(manifest_of(), output=OutputSpec("logits", "probabilities", LABELS))
    parts = golden()
    answer = open_session(model_bytes(kind="probabilities"), manifest).run(parts["current"], parts["reference"])
    assert np.allclose(answer.sum(axis=1), 1.0, atol=1e-4)
    with pytest.raises(ModelFault, match="sum to one"):
        open_session(model_bytes(), manifest).run(parts["current"], parts["reference"])


def test_the_reference_crops_are_given_exactly_if_the_model_takes_them() -> None:
    session = open_session(model_bytes(), manifest_of())
    with pytest.raises(ValueError, match="reference"):
        session.run(golden()["current"])
    with pytest.raises(ValueError, match="uint8"):
        session.run(golden()["current"][:, :32], golden()["reference"])


def test_another_task_is_a_model_fault_not_a_guess() -> None:
    with pytest.raises(ModelFault, match="detect"):
        open_session(model_bytes(), msgspec.structs.replace(manifest_of(), task="detect"))


def test_every_truncation_of_a_model_is_a_model_fault_or_a_model() -> None:
    whole = model_bytes()
    for length in range(0, len(whole), 7):
        with pytest.raises(ModelFault):
            open_session(whole[:length], manifest_of())


def test_changed_bytes_of_a_model_end_in_a_model_fault_or_a_session() -> None:
    whole = model_bytes()
    random = np.random.default_rng(11)
    for _ in range(300):
        changed = bytearray(whole)
        for place in random.integers(0, len(whole), random.integers(1, 4)):
            changed[place] = random.integers(0, 256)
        try:
            open_session(bytes(changed), manifest_of())
        except ModelFault as fault:
            assert fault.found


def test_the_graph_walk_finds_external_data_in_a_subgraph() -> None:
    import onnx

    model = onnx.load_from_string(model_bytes("slow"))
    loop = next(node for node in model.graph.node if node.op_type == "Loop")
    tensor = loop.attribute[0].g.initializer.add(name="hidden", data_type=1, dims=[1])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    with pytest.raises(ModelFault, match="beside"):
        require_standalone(model.SerializeToString())


def test_importing_the_room_does_not_load_the_runtime() -> None:
    code = "import sys, edge_runtime.inference.classifier, edge_runtime.inference.probe; print('onnxruntime' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.strip() == "False"
