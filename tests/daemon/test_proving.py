"""A bundle is proved in a process of its own: real children, real limits, and nothing that they do reaches the parent."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from inference.detect import graphs
from lifecycle.bundles import digest_of, golden, make_bundle, model_bytes, zip_bytes
from onnx import TensorProto, helper, numpy_helper

from edge_runtime.assets import factory_bundles
from edge_runtime.daemon import proving
from edge_runtime.daemon.proof import ProofLimits, Step
from edge_runtime.daemon.proving import Heard, cpu_s, judge, prove
from edge_runtime.errors import ModelFault, Refused, TryAgain, Unavailable
from edge_runtime.lifecycle.bundle import Variant, sha256_of_file
from edge_runtime.manifest import decode_manifest, encode_manifest
from edge_runtime.workshop.pack import npz

QUICK = ProofLimits(measure_s=0.05, cpu_s=20, wall_s=150.0)


def both(tmp_path: Path, packed: str = "good", floating: str = "good", **golden_fields: np.ndarray) -> Path:
    """A bundle with two files and golden answers for each."""
    answers = golden(packed if packed == "golden_off" else "good")
    fields = answers | {"logits_fp32": answers["logits"], "tolerance_fp32_logits": np.array(0.01, np.float32)}
    members = {"model.fp32.onnx": model_bytes(floating), "golden.npz": npz(fields | golden_fields)}
    return make_bundle(tmp_path / f"{packed}-{floating}.zip", behaviour=packed, members=members)


def blended(name: str, maker: list[onnx.NodeProto], **constants: np.ndarray) -> bytes:
    """The good model, with what `maker` makes (as `b`) worth nothing in its answer."""
    model = onnx.ModelProto()
    model.ParseFromString(model_bytes())
    last = model.graph.node[-1]
    last.output[0] = "before"
    constants |= {"nothing": np.zeros((), np.float32)}
    model.graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in constants.items())
    model.graph.node.extend(maker)
    model.graph.node.append(helper.make_node("ReduceMax", ["b"], ["most"], keepdims=0))
    model.graph.node.append(helper.make_node("Mul", ["most", "nothing"], ["part"]))
    model.graph.node.append(helper.make_node("Add", ["before", "part"], ["logits"]))
    return bytes(model.SerializeToString())


def endless() -> bytes:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Mul", ["x", "x"], ["y"])],
        "body",
        [
            helper.make_tensor_value_info("k", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [4]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [4]),
        ],
    )
    loop = helper.make_node("Loop", ["", "true", "start"], ["b"], body=body)
    return blended("endless", [loop], true=np.array(True), start=np.ones(4, np.float32))


def greedy(megabytes: int) -> bytes:
    expand = helper.make_node("Expand", ["one", "shape"], ["b"])
    return blended("greedy", [expand], one=np.ones(1, np.float32), shape=np.array([megabytes << 18], np.int64))


def test_a_good_bundle_is_proved_with_its_numbers(tmp_path: Path) -> None:
    bundle = both(tmp_path)
    proof = prove(bundle, QUICK)
    assert proof.sha256 == sha256_of_file(bundle) and proof.threads == 1
    assert [variant.variant for variant in proof.variants] == [Variant.PACKED, Variant.FLOAT]
    for variant in proof.variants:
        assert variant.passed and variant.golden == 8 and variant.agreement == 1.0 and variant.rounds >= 3
        assert 0.0 < variant.median_ms <= variant.p95_ms and variant.load_ms > 0.0
    assert "int8" in proof.said and "float" in proof.said


@pytest.mark.parametrize("bundle", factory_bundles(), ids=lambda path: path.stem)
def test_every_bundle_that_ships_is_proved_on_this_machine(bundle: Path) -> None:
    assert all(variant.passed for variant in prove(bundle, QUICK, threads=2).variants)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("always_empty", "golden set with an error"),
        ("golden_off", "golden set with an error"),
        ("nan", "NaN or infinity for 8 of 8 slots"),
        ("wrong_shape", "has the shape"),
        ("crash", "failed while running"),
        ("garbage", "not an ONNX file"),
        ("external", "file beside it"),
    ],
)
def test_fault_12_a_model_that_is_wrong_is_refused_by_name(tmp_path: Path, behaviour: str, reason: str) -> None:
    with pytest.raises(ModelFault, match=reason) as fault:
        prove(make_bundle(tmp_path / "b.zip", behaviour=behaviour), QUICK)
    assert fault.value.found.startswith("model.onnx") and fault.value.mend


def test_fault_12_a_model_that_is_too_slow_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFault, match="too slow"):
        prove(make_bundle(tmp_path / "b.zip", behaviour="slow"), ProofLimits(latency_ms=5.0, measure_s=0.05))


def test_fault_12_a_model_that_needs_too_much_memory_is_refused(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b.zip", members={"model.onnx": greedy(400)})
    with pytest.raises(ModelFault, match="more than 256 MB of memory"):
        prove(bundle, ProofLimits(memory_mb=256, measure_s=0.05))
    assert prove(bundle, ProofLimits(memory_mb=1024, measure_s=0.05)).chosen is Variant.PACKED


@pytest.mark.parametrize("family", ["yolox", "fastestdet"])
def test_a_detector_is_proved_as_a_classifier_is(tmp_path: Path, family: str) -> None:
    proof = prove(graphs.bundle(tmp_path / "d.zip", family), QUICK)
    assert proof.variants[0].golden == 1 and proof.variants[0].agreement == 1.0 and proof.variants[0].median_ms > 0.0


def test_a_detector_whose_boxes_lie_elsewhere_is_refused(tmp_path: Path) -> None:
    bundle = graphs.bundle(tmp_path / "d.zip")
    with zipfile.ZipFile(bundle) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["model.onnx"] = graphs.model_bytes("yolox", "off")
    files = {name: digest_of(raw) for name, raw in parts.items() if name != "manifest.json"}
    manifest = msgspec.structs.replace(decode_manifest(parts["manifest.json"]), files=files)
    bundle.write_bytes(zip_bytes(parts | {"manifest.json": encode_manifest(manifest)}))
    with pytest.raises(ModelFault, match="golden set with an error"):
        prove(bundle, QUICK)


def test_a_file_that_fails_is_told_and_the_other_runs(tmp_path: Path) -> None:
    wrong = prove(both(tmp_path, packed="golden_off", logits_fp32=golden()["logits"]), QUICK)
    assert wrong.chosen is Variant.FLOAT and "int8 answers its golden set with an error" in wrong.said
    failed = prove(both(tmp_path, floating="nan"), QUICK)
    assert failed.chosen is Variant.PACKED and "float fails" in failed.said


def test_a_float_file_without_answers_of_its_own_does_not_run(tmp_path: Path) -> None:
    members = {"model.fp32.onnx": model_bytes()}
    proof = prove(make_bundle(tmp_path / "b.zip", members=members), QUICK)
    assert proof.chosen is Variant.PACKED and "lacks logits_fp32" in proof.said


def test_golden_answers_of_nan_prove_nothing(tmp_path: Path) -> None:
    members = {"golden.npz": npz(golden() | {"logits": np.full((8, 4), np.nan, np.float32)})}
    with pytest.raises(ModelFault, match="golden logits holds NaN"):
        prove(make_bundle(tmp_path / "b.zip", members=members), QUICK)


def test_what_is_no_bundle_is_refused_as_such(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"no zip" * 100)
    with pytest.raises(Refused, match="not a zip"):
        prove(tmp_path / "x.zip", QUICK)
    with pytest.raises(Unavailable):
        prove(tmp_path / "absent.zip", QUICK)


def test_a_model_that_never_ends_is_stopped_by_its_processor_time(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b.zip", members={"model.onnx": endless()})
    with pytest.raises(ModelFault, match="more than 2 s of the processor while asking"):
        prove(bundle, ProofLimits(cpu_s=2))


def test_a_model_that_never_ends_is_stopped_by_the_clock_too(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b.zip", members={"model.onnx": endless()})
    with pytest.raises((ModelFault, TryAgain), match=r"1\.5 s"):  # TryAgain: this machine had no time for it
        prove(bundle, ProofLimits(wall_s=1.5))
    assert not children()


def test_nothing_is_written_and_no_process_is_left(tmp_path: Path) -> None:
    bundle = both(tmp_path, floating="crash")
    prove(bundle, QUICK)
    assert list(tmp_path.iterdir()) == [bundle] and not children()


def test_a_child_that_is_killed_is_a_fault_of_the_model(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b.zip", members={"model.onnx": endless()})
    for number in (signal.SIGKILL, signal.SIGSEGV):
        killer = threading.Thread(target=kill_child, args=(number,))
        killer.start()
        with pytest.raises(ModelFault, match="killed"):
            prove(bundle, QUICK)
        killer.join()


def test_the_child_dies_with_its_parent(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b.zip", members={"model.onnx": endless()})
    code = f"from pathlib import Path; from edge_runtime.daemon.proving import prove; prove(Path({str(bundle)!r}))"
    with subprocess.Popen([sys.executable, "-c", code]) as parent:
        child = wait_for(lambda: children(parent.pid))[0]
        parent.kill()
    wait_for(lambda: not Path(f"/proc/{child}").exists() or "Z" in state_of(child))


def children(of: int | None = None) -> list[int]:
    """Proving processes of this process, or of another."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if b"proving_child" in words and parent == (of or os.getpid()):
            found.append(int(folder.name))
    return found


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def wait_for(ask, limit_s: float = 150.0):  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + limit_s
    while not (found := ask()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def kill_child(number: int) -> None:
    """Once it is at the model: a start takes less than this of the processor."""
    child = wait_for(children)[0]
    wait_for(lambda: cpu_s(child) > 1.2)
    os.kill(child, number)


def said(*lines: bytes, status: int = 0, late: bool = False, complained: str = "") -> Heard:
    return Heard(b"".join(line + b"\n" for line in lines), complained, status, late)


STEP = b'{"type":"step","doing":"loading model.onnx"}'


@pytest.mark.parametrize(
    "heard",
    [
        said(STEP),
        said(STEP, b"[]"),
        said(STEP, b"\xff\xfe"),
        said(STEP, b'{"type":"findings","sha256":"x","found":[]}'),
        said(STEP, b'{"type":"findings","sha256":"' + b"0" * 64 + b'","found":[{"variant":"evil.onnx"}]}'),
        said(
            STEP, b'{"type":"findings","sha256":"' + b"0" * 64 + b'","found":[{"variant":"model.onnx","wall_ms":[-1]}]}'
        ),
        said(STEP, b"[" * 30_000),
        said(STEP, b'{"type":"unread","found":"x"}', STEP),
        Heard(STEP + b"\n" + b"x" * proving.MAX_SAID_BYTES, "", -9, True),
        said(STEP, status=3),
        said(STEP, status=-11),
    ],
)
def test_what_the_child_says_is_not_trusted(heard: Heard) -> None:
    with pytest.raises(ModelFault) as fault:
        judge(heard, QUICK)
    assert fault.value.found and len(str(fault.value)) < 1000


def test_a_child_that_never_started_is_not_held_against_the_model() -> None:
    with pytest.raises(TryAgain, match="did not start: no numpy"):
        judge(said(status=1, complained="no numpy"), QUICK)


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_child_that_was_told_to_stop_is_not_held_against_the_model(sign: int) -> None:
    """A shutdown must not bar a model for good."""
    with pytest.raises(TryAgain, match="from outside while loading"):
        judge(Heard(msgspec.json.encode(Step("loading model.onnx")) + b"\n", "", -sign, False), QUICK)


def test_a_child_that_had_no_processor_is_not_held_against_the_model() -> None:
    heard = Heard(STEP + b"\n", "", -9, True, cpu_s=1.0)
    with pytest.raises(TryAgain, match=r"1\.0 s of the processor in 150 s while loading .*: the device is too busy"):
        judge(heard, QUICK)
    with pytest.raises(ModelFault, match="more than 150 s while loading"):
        judge(dataclasses.replace(heard, cpu_s=30.0), QUICK)


def test_signs_of_the_terminal_are_taken_out_of_what_is_told() -> None:
    with pytest.raises(ModelFault) as fault:
        judge(said(b'{"type":"step","doing":"\\u001b[2Jx"}', status=-11), QUICK)
    assert "\x1b" not in str(fault.value) and Step("x").doing == "x"
