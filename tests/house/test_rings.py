"""What may be loaded where: measured in a fresh interpreter, because an import hides in another import."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

OFF_DEVICE = {"onnx", "skl2onnx", "sklearn", "scipy", "torch", "edge_runtime.workshop", "edge_runtime.simulator"}
HEAVY = {"numpy", "cv2", "onnxruntime", "PIL", "paho", "sqlite3", "msgspec", "http.server"}
DEVICE_MODULES = [
    "edge_runtime.pipeline",
    "edge_runtime.daemon.compose",
    "edge_runtime.daemon.run",
    "edge_runtime.fleet.link",
    "edge_runtime.fleet.handlers",
    "edge_runtime.telemetry.uplink",
    "edge_runtime.lifecycle.store",
    "edge_runtime.lifecycle.trust.session",
    "edge_runtime.lifecycle.trust.updater",
    "edge_runtime.inference.classifier",
    "edge_runtime.normalize.view",
    "edge_runtime.camera.live",
    "edge_runtime.drift.monitor",
    "edge_runtime.web.server",
]


def loaded_by(module: str) -> set[str]:
    """Names in sys.modules after importing one module in a new interpreter."""
    code = f"import sys, json, {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("module", DEVICE_MODULES)
def test_a_device_module_loads_nothing_of_the_workshop(module: str) -> None:
    assert not loaded_by(module) & OFF_DEVICE


def test_the_command_line_starts_without_the_heavy_libraries() -> None:
    assert not loaded_by("edge_runtime.cli.main") & HEAVY


def test_help_of_every_verb_needs_no_heavy_library() -> None:
    code = (
        "import sys, json, contextlib, io\n"
        "from edge_runtime.cli.main import main\n"
        "out = io.StringIO()\n"
        "with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):\n"
        "    main(['--help'])\n"
        "print(json.dumps([out.getvalue(), sorted(sys.modules)]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text, modules = json.loads(done.stdout)
    assert "infer" in text
    assert not set(modules) & HEAVY
