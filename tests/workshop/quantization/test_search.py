"""The method is chosen by measurement, the gate decides, and what is too noisy stays float."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import qdq_loss_debug as debug

from edge_runtime.errors import BadConfig, ModelFault, Refused
from edge_runtime.manifest import OutputSpec
from edge_runtime.workshop.crops import CropSet
from edge_runtime.workshop.labels import LABELS
from edge_runtime.workshop.quantization.arrays import CropArrays
from edge_runtime.workshop.quantization.blame import rank
from edge_runtime.workshop.quantization.judge import Gate, Judge, Likeness, doubts
from edge_runtime.workshop.quantization.processor import EIGHT_BITS, choose_types
from edge_runtime.workshop.quantization.qdq import int8_share, prepare, quantize, tail_of
from edge_runtime.workshop.quantization.receipt import encode_quantization, receipt_of
from edge_runtime.workshop.quantization.search import Wish, search, split
from workshop.small import RGB, convnet, crops, house_spec, levelled

TESTS = Path(__file__).parents[2]
OUTPUT = OutputSpec("scores", "logits", LABELS)
SAMPLES = CropArrays(crops(48), None, RGB)


def test_every_method_is_tried_and_the_best_is_taken() -> None:
    found = search(convnet(), SAMPLES, Wish(EIGHT_BITS, output=OUTPUT, gate=Gate(0.5)))
    firsts = [trial for trial in found.trials if not trial.kept_group]
    assert [trial.method for trial in firsts] == ["minmax", "percentile", "entropy"]
    assert found.likeness.agreement == max(trial.likeness.agreement for trial in firsts)
    assert found.calibrated == 36
    assert found.judged == 12
    assert not found.shortfalls
    assert int8_share(found.int8) == (2, 3)


def test_two_inputs_as_the_shipped_model_has(merged: onnx.ModelProto, crops: CropSet) -> None:
    samples = CropArrays(crops.current[:48], crops.reference_of(slice(0, 48)), house_spec())
    found = search(
        merged, samples, Wish(EIGHT_BITS, ("minmax",), output=OutputSpec("logits", "logits", LABELS), gate=Gate(0.8))
    )
    assert not found.shortfalls
    assert {value.name for value in found.int8.graph.input} == {"current", "reference"}


def test_the_noisiest_tensors_go_back_to_float_until_the_gate_holds() -> None:
    wish = Wish(EIGHT_BITS, ("minmax",), output=OUTPUT, gate=Gate(1.0))
    model = convnet(spread=3.0)
    before = search(model, SAMPLES, Wish(EIGHT_BITS, ("minmax",), output=OUTPUT, gate=Gate(0.0)))
    assert before.likeness.agreement < 1.0
    found = search(model, SAMPLES, wish)
    kept = [trial for trial in found.trials if trial.kept_group]
    assert kept
    assert found.suspects[0].signal_db <= found.suspects[-1].signal_db
    assert found.likeness.agreement > before.likeness.agreement


def with_a_third(model: onnx.ModelProto) -> onnx.ModelProto:
    """Another convolution in front of the pool, which int8 does no harm."""
    weights = np.random.default_rng(3).normal(0, 0.4, (8, 8, 3, 3)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w4"))
    model.graph.node[4].input[0] = "c3"
    third = onnx.helper.make_node("Conv", ["r2", "w4"], ["c3"], name="third", pads=[1, 1, 1, 1], kernel_shape=[3, 3])
    nodes = [*model.graph.node[:4], third, *model.graph.node[4:]]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return levelled(model)


def test_what_int8_ruins_stays_float_and_the_rest_is_int8() -> None:
    """Channels that lie four powers of ten apart behind the first layer's Relu: one scale holds only the largest."""
    model = with_a_third(convnet(spread=4.0))
    wish = Wish(EIGHT_BITS, ("minmax",), output=OUTPUT, gate=Gate(0.9))
    assert search(model, SAMPLES, replace(wish, max_groups=0)).shortfalls
    found = search(model, SAMPLES, wish)
    assert not found.shortfalls
    assert found.suspects[0].tensor == "r1"
    assert {"first", "second"} <= set(found.kept)
    assert int8_share(found.int8) == (1, 4)


def test_the_ranking_is_that_of_all_samples_at_once(tmp_path: Path) -> None:
    prepared = prepare(convnet(spread=2.0))
    int8 = quantize(convnet(spread=2.0), SAMPLES, "minmax", EIGHT_BITS)
    onnx.save(int8, tmp_path / "int8.onnx")
    debug.modify_model_output_intermediate_tensors(str(tmp_path / "int8.onnx"), str(tmp_path / "told.onnx"))
    seen = debug.collect_activations(str(tmp_path / "told.onnx"), iter(SAMPLES.feed([row]) for row in range(8)))
    matched = debug.create_activation_matching(seen)
    suspects = {
        one.tensor: one.signal_db for one in rank(prepared, int8, SAMPLES, range(48)) if one.kind == "activation"
    }
    assert {"image", "r1"} <= set(suspects)
    for name, signal_db in suspects.items():
        pair = matched[name]
        expected = debug.compute_signal_to_quantization_noice_ratio(pair["pre_qdq"], pair["post_qdq"])
        assert signal_db == pytest.approx(expected, abs=1e-3)


def test_a_tensor_that_lost_nothing_is_no_suspect() -> None:
    model = convnet(spread=3.0)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(8, np.float32), "b1"))
    model.graph.node[0].input.append("b1")
    found = search(model, SAMPLES, Wish(EIGHT_BITS, ("minmax",), output=OUTPUT, gate=Gate(1.0)))
    assert {suspect.tensor for suspect in found.suspects} >= {"w1", "w2"}
    assert "b1" not in {suspect.tensor for suspect in found.suspects}


def test_a_graph_without_an_int8_layer_left_is_no_int8_graph() -> None:
    wish = Wish(EIGHT_BITS, ("minmax",), ("first", "second", "last"), Gate(0.0), OUTPUT)
    assert [mark for mark, _, _ in search(convnet(), SAMPLES, wish).shortfalls] == ["layers in int8"]


def test_labels_give_an_accuracy_that_may_not_fall() -> None:
    model = convnet()
    truth = Judge(model.SerializeToString(), SAMPLES, range(48), OUTPUT)
    labels = tuple(LABELS[k] for k in _best(model))
    likeness = search(
        model, CropArrays(SAMPLES.current, None, RGB, labels), Wish(EIGHT_BITS, ("minmax",), output=OUTPUT)
    ).likeness
    assert truth.compare(model.SerializeToString()).agreement == 1.0
    assert likeness.accuracy_float == 1.0
    assert likeness.accuracy_delta is not None
    assert Gate(0.0, 0.0).shortfalls(likeness) == (
        () if likeness.accuracy_delta == 0 else (("accuracy delta", likeness.accuracy_delta, 0.0),)
    )


def _best(model: onnx.ModelProto) -> list[int]:
    from edge_runtime.workshop.quantization.feeding import Runner

    (scores,) = Runner(model.SerializeToString())(SAMPLES.feed(range(48)))
    return [int(k) for k in scores.argmax(1)]


def test_the_same_input_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    onnx.save(convnet(), tmp_path / "m.onnx")
    code = (
        "import sys, onnx, hashlib\n"
        "from workshop.quantization.test_search import SAMPLES, OUTPUT\n"
        "from edge_runtime.workshop.quantization.search import Wish, search\n"
        "from edge_runtime.workshop.quantization.judge import Gate\n"
        "from edge_runtime.workshop.quantization.processor import EIGHT_BITS\n"
        "found = search(onnx.load(sys.argv[1]), SAMPLES, Wish(EIGHT_BITS, output=OUTPUT, gate=Gate(0.5)))\n"
        "print(hashlib.sha256(found.int8.SerializeToString(deterministic=True)).hexdigest())\n"
    )
    said = set()
    for seed in ("1", "77"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(TESTS)}
        command = [sys.executable, "-c", code, str(tmp_path / "m.onnx")]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        said.add(done.stdout)
    assert len(said) == 1


def test_a_gate_says_what_it_does_not_show() -> None:
    good = Likeness(600, 1.0, 0.01, 0.1, answers=4)
    assert doubts(good, Gate()) == ()
    assert doubts(replace(good, rows=29), Gate(0.9)) == doubts(replace(good, rows=1), Gate(0.0)) == ()
    (few,) = doubts(replace(good, rows=16), Gate())
    assert few.startswith("16 samples judge, and 598 that all agree")
    assert doubts(replace(good, rows=16, answers=None), Gate()) == ()  # boxes are counted in another way
    (same,) = doubts(replace(good, answers=1), Gate())
    assert "all 600 samples the same answer" in same
    (far,) = doubts(replace(good, mean_error=0.45), Gate())
    assert "45 % of their spread apart" in far


def test_a_model_that_gives_one_answer_is_doubted() -> None:
    model = convnet()
    bias = next(weight for weight in model.graph.initializer if weight.name == "b3")
    bias.CopyFrom(onnx.numpy_helper.from_array(np.array([1e4, 0, 0, 0], np.float32), "b3"))
    found = search(model, SAMPLES, Wish(EIGHT_BITS, ("minmax",), output=OUTPUT))
    assert found.likeness.answers == 1
    assert any("same answer" in doubt for doubt in doubts(found.likeness, Gate()))


def test_a_slip_in_what_shall_stay_float_is_refused() -> None:
    with pytest.raises(Refused, match=r"no node's name begins with 'frist'; the graph has first, first_relu"):
        search(convnet(), SAMPLES, Wish(EIGHT_BITS, ("minmax",), ("frist", "last"), Gate(0.0), OUTPUT))


def test_the_receipt_says_all_and_holds_no_time() -> None:
    wish = Wish(choose_types("any", "x86_64", frozenset()), ("minmax",), output=OUTPUT, gate=Gate(0.5))
    found = search(convnet(), SAMPLES, wish)
    body = found.int8.SerializeToString(deterministic=True)
    receipt = receipt_of(b"float", body, found, wish.gate, "set", SAMPLES.digest)
    assert receipt.types == "U8S8/7"
    assert receipt.passed
    assert receipt.kept_in_float == found.kept
    assert encode_quantization(receipt) == encode_quantization(receipt)


def test_an_old_opset_is_raised() -> None:
    assert int8_share(quantize(convnet(opset=11), SAMPLES, "minmax", EIGHT_BITS))[0] > 0


def test_what_puts_outputs_together_stays_float() -> None:
    graph = convnet().graph
    assert tail_of(graph) == ()
    del graph.node[-1]
    graph.output[0].name = "flat"
    assert set(tail_of(graph)) == {"flat", "pool", "second_relu"}


def test_seven_bit_weights_use_seven_bits() -> None:
    small = quantize(convnet(), SAMPLES, "minmax", choose_types("any", "x86_64", frozenset()))
    weights = [onnx.numpy_helper.to_array(w) for w in small.graph.initializer if w.data_type == onnx.TensorProto.INT8]
    assert max(int(np.abs(weight.astype(np.int16)).max()) for weight in weights if weight.ndim > 1) <= 64


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_samples(count: int) -> None:
    with pytest.raises(Refused, match="at least 2 were expected"):
        split(count)


def test_calibration_and_judging_share_no_sample() -> None:
    for count in range(2, 40):
        rows, held = split(count)
        assert sorted((*rows, *held)) == list(range(count))
        assert rows
        assert held


def test_nothing_to_quantize() -> None:
    model = convnet()
    del model.graph.node[:]
    model.graph.node.extend([onnx.helper.make_node("Flatten", ["image"], ["scores"])])
    with pytest.raises(Refused, match="nothing to quantize"):
        prepare(model)


def test_an_unknown_method() -> None:
    with pytest.raises(BadConfig, match="'guess'"):
        quantize(convnet(), SAMPLES, "guess", EIGHT_BITS)


def test_a_float_model_that_answers_nan() -> None:
    with pytest.raises(ModelFault, match="NaN"):
        search(convnet(weights=float("nan")), SAMPLES, Wish(EIGHT_BITS, ("minmax",), output=OUTPUT))
