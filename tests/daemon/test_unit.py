"""The systemd unit: valid, tight, and not tighter than the runtime can live with."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemon.rig import write_shelf
from tests.lifecycle.bundles import make_bundle

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "systemd" / "edge-runtime.service"
MOST_EXPOSURE = 20
"""Of 100, as `systemd-analyze security` counts; a service without any hardening has 96."""
REFUSED_EXEC_GAIN = """
import ctypes, sys
from pathlib import Path
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):
    sys.exit(77)
import numpy as np
from edge_runtime.camera.still import decode_still
from edge_runtime.daemon.compose import load_pipeline
from edge_runtime.records import Frame
_, _, pipeline = load_pipeline(Path(sys.argv[1]), Path(sys.argv[2]), stateless=True)
outcome = pipeline.step(Frame("a", 1, decode_still(Path(sys.argv[3])), 0.0, 0.0))
print(outcome.readings[0].state)
"""


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit as it is, but for a program that is there."""
    text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text(), flags=re.MULTILINE)
    path = tmp_path / UNIT.name
    path.write_text(text)
    return path


def test_the_unit_is_valid(unit: Path, program: Callable[[str, str], str]) -> None:
    analyze = program("systemd-analyze", "systemd")
    folder = unit.with_name(f"{unit.name}.d")
    folder.mkdir()
    (folder / "credentials.conf").write_bytes((ROOT / "systemd" / "credentials.conf").read_bytes())
    done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_is_tight(unit: Path, program: Callable[[str, str], str]) -> None:
    analyze = program("systemd-analyze", "systemd")
    command = [analyze, "security", "--offline=true", f"--threshold={MOST_EXPOSURE}", "--no-pager", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-400:] + done.stderr


def test_every_credential_of_the_drop_in_is_one_that_device_toml_can_name() -> None:
    names = re.findall(r"^LoadCredential=([^:]+):", (ROOT / "systemd" / "credentials.conf").read_text(), re.MULTILINE)
    example = (ROOT / "deploy" / "device" / "device.toml").read_text()
    assert names and all(f'"credential:{name}"' in example for name in names)


def test_the_runtime_works_where_memory_may_not_become_executable(tmp_path: Path) -> None:
    """What MemoryDenyWriteExecute= does, by prctl(PR_SET_MDWE) where the kernel knows it."""
    layout = write_shelf(tmp_path / "shelf")
    bundle = make_bundle(tmp_path / "shelf-test-1.0.0.zip")
    arguments = [str(layout), str(bundle), str(layout.with_name("reference.png"))]
    command = [sys.executable, "-c", REFUSED_EXEC_GAIN, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    if done.returncode == 77:
        pytest.skip("this kernel has no PR_SET_MDWE (Linux 6.3)")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "stocked"
