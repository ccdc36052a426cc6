from __future__ import annotations

import numpy as np
import onnx
import pytest
from sklearn.linear_model import LogisticRegression

from edge_runtime.errors import Refused
from edge_runtime.workshop.crops import CropSet
from edge_runtime.workshop.graph import Backbone, backbone_graph, multiply_adds
from edge_runtime.workshop.head import fit_head, head_graph, merge
from edge_runtime.workshop.quantization.qdq import quantize_crops
from edge_runtime.workshop.run import Graph, latency_ms


def test_the_merged_graph_says_what_backbone_and_head_say(
    backbone: Backbone, head: LogisticRegression, merged: onnx.ModelProto, crops: CropSet
) -> None:
    expected = head.decision_function(Graph(backbone_graph(backbone)).over(crops))
    assert np.abs(Graph(merged).over(crops) - expected).max() < 1e-4


def test_the_merged_graph_takes_pixels_and_gives_four_logits(merged: onnx.ModelProto) -> None:
    inputs = {entry.name: entry.type.tensor_type for entry in merged.graph.input}
    assert sorted(inputs) == ["current", "reference"]
    assert {entry.elem_type for entry in inputs.values()} == {onnx.TensorProto.UINT8}
    (output,) = merged.graph.output
    assert output.name == "logits"
    assert output.type.tensor_type.shape.dim[1].dim_value == 4


def test_the_same_weights_give_the_same_bytes(backbone: Backbone, head: LogisticRegression) -> None:
    one, two = (merge(backbone_graph(backbone), head_graph(head)).SerializeToString(deterministic=True) for _ in "ab")
    assert one == two


def test_a_batch_says_what_its_rows_say(merged: onnx.ModelProto, crops: CropSet) -> None:
    graph, rows = Graph(merged), slice(0, 8)
    together = graph(crops.current[rows], crops.reference_of(rows))
    alone = [graph(crops.current[k : k + 1], crops.reference_of(slice(k, k + 1))) for k in range(8)]
    assert np.allclose(together, np.concatenate(alone), atol=1e-4)


def test_int8_agrees_with_float_and_is_smaller(merged: onnx.ModelProto, crops: CropSet) -> None:
    pairs = crops.current[:64], crops.reference_of(slice(0, 64))
    small = quantize_crops(merged, *pairs)
    full, said = Graph(merged).over(crops), Graph(small).over(crops)
    ranked = np.sort(full, 1)
    clear = ranked[:, -1] - ranked[:, -2] > 0.1 * full.std()
    assert np.mean((full.argmax(1) == said.argmax(1))[clear]) > 0.95
    assert np.abs(full - said).mean() < 0.1 * full.std()
    assert quantize_crops(merged, *pairs).SerializeToString(deterministic=True) == small.SerializeToString(
        deterministic=True
    )
    kinds = {node.op_type for node in small.graph.node}
    assert "QuantizeLinear" in kinds
    assert "Clip" not in kinds


def test_every_label_must_have_an_example(crops: CropSet) -> None:
    with pytest.raises(Refused, match="no example of blocked"):
        fit_head(np.zeros((3, 4), np.float32), np.array([0, 1, 2]))


def test_multiply_adds_counts_both_stems(backbone: Backbone) -> None:
    stem = 32 * 32 * 8 * 27 + 16 * 16 * (8 * 9 + 8 * 12)
    body = 16 * 16 * (36 * 24 + 24 * 9 + 24 * 24) + 8 * 8 * (24 * 9 + 24 * 32) + 32 * 64 + 32 * 24
    assert multiply_adds(backbone) == 2 * stem + body


def test_latency_is_measured_for_each_graph(merged: onnx.ModelProto) -> None:
    graph = Graph(merged)
    assert all(ms > 0 for ms in latency_ms((graph, graph), 64, rounds=4, slots=2))
