"""Every command of docs/bring-your-own-model.md, in its order, in one folder, on a smaller drawing of the same shelves."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, compose, helper, numpy_helper

from edge_runtime.cli.main import main
from edge_runtime.workshop.export.interface import PREPROCESS
from edge_runtime.workshop.export.receipt import read_receipt

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "bring-your-own-model.md").read_text()
SMALLER = {
    "--shelves 100": "--shelves 5",
    "--shelves 2": "--shelves 1",
    "--shelves 4": "--shelves 1",
    "--severities 1 3": "--severities 1",
    "build quantize": "build quantize --method minmax",
}
BUNDLE = ROOT / "models" / "bundles" / "shelf-occupancy-1.1.0.zip"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def commands() -> list[str]:
    return [line for block in blocks("bash") for line in block.splitlines() if line.strip()]


def classifier_of_someone() -> onnx.ModelProto:
    """The shipped float network as a stranger would hand it over: torchvision's RGB floats in planes, free batch."""
    with zipfile.ZipFile(BUNDLE) as bundle:
        network = onnx.ModelProto.FromString(bundle.read("model.fp32.onnx"))
    _, mean, std = PREPROCESS["imagenet"]
    numbers = {"mean": np.reshape(mean, (3, 1, 1)), "std": np.reshape(std, (3, 1, 1)), "low": 0.0, "high": 255.0}
    weights = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in numbers.items()]
    weights.append(numpy_helper.from_array(np.array([2, 1, 0]), "turned"))
    nodes, inputs, outputs = [], [], []
    for name in ("current", "reference"):
        steps = [("Mul", "std"), ("Add", "mean"), ("Round", None), ("Clip", None), ("Gather", "turned"), ("Cast", None)]
        last = f"{name}_float"
        for kind, other in steps:
            extra = {"Clip": ["low", "high"]}.get(kind, [other] if other else [])
            options = {"Cast": {"to": TensorProto.UINT8}, "Gather": {"axis": 1}}.get(kind, {})
            nodes.append(helper.make_node(kind, [last, *extra], [f"{name}_{kind}"], **options))
            last = f"{name}_{kind}"
        nodes.append(helper.make_node("Transpose", [last], [f"{name}_pixels"], perm=[0, 2, 3, 1]))
        inputs.append(helper.make_tensor_value_info(f"{name}_float", TensorProto.FLOAT, ["n", 3, 80, 80]))
        outputs.append(helper.make_tensor_value_info(f"{name}_pixels", TensorProto.UINT8, ["n", 80, 80, 3]))
    front = helper.make_model(
        helper.make_graph(nodes, "front", inputs, outputs, weights), opset_imports=list(network.opset_import)
    )
    front.ir_version = network.ir_version
    whole = compose.merge_models(
        front, network, io_map=[("current_pixels", "current"), ("reference_pixels", "reference")]
    )
    for entry, name in zip(whole.graph.input, ("current", "reference"), strict=True):
        for node in whole.graph.node:
            node.input[:] = [name if taken == entry.name else taken for taken in node.input]
        entry.name = name
    return whole


def run(line: str, folder: Path) -> None:
    for large, small in SMALLER.items():
        line = line.replace(large, small)
    words = shlex.split(line)
    if words[0] == "python":
        done = subprocess.run([sys.executable, *words[1:]], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return
    assert words[0] == "edge-runtime"
    assert main(words[1:]) == 0, line


@pytest.mark.timeout(600)  # half a minute of work, but on a busy machine
def test_every_command_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (script,) = blocks("python")
    assert script.count("\n") <= 20
    (tmp_path / "fit.py").write_text(script)
    onnx.save(classifier_of_someone(), tmp_path / "crops.onnx")
    for line in commands():
        run(line, tmp_path)
    assert read_receipt(tmp_path / "shelf.onnx").features == "grid/1"
    assert read_receipt(tmp_path / "crops-checked.onnx").parity.agreement == 1.0
    for name in ("shelf-grid-0.1.0.zip", "shelf-crops-0.1.0.zip"):
        frame = next((tmp_path / "check" / "shelves").glob("*/frames/*.jpg"))
        layout = frame.parents[1] / "layout.json"
        assert main(["infer", "--layout", str(layout), str(frame), "--model", name, "--json"]) == 0
        assert main(["model", "verify", name]) == 0


def test_the_page_names_what_there_is() -> None:
    for name in re.findall(r"\]\(([^)#:]+\.md)", PAGE):
        assert name == "repository.md" or (ROOT / "docs" / name).is_file(), name
    for name in PREPROCESS:
        assert f"| `{name}` |" in PAGE


def test_inline_commands_are_ones_that_the_parser_takes(capsys: pytest.CaptureFixture[str]) -> None:
    inline = re.findall(r"`(edge-runtime [^`]+)`", PAGE)
    assert inline
    for line in inline:
        family = [word for word in shlex.split(line)[1:3] if not word.startswith("-")]
        with pytest.raises(SystemExit) as left:
            main([*family[: 2 if family[0] == "build" else 1], "--help"])
        assert left.value.code == 0
        offered = capsys.readouterr().out
        assert all(word in offered for word in shlex.split(line) if word.startswith("--")), line
