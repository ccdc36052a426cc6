"""The runtime talks to nobody but its owner's broker and repository: no library may report home behind its back."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from lifecycle.bundles import make_bundle

LOAD = (
    "import sys, time; from pathlib import Path\n"
    "from edge_runtime.daemon.compose import load_model\n"
    "from edge_runtime.lifecycle.bundle import read_bundle\n"
    "load_model(read_bundle(Path(sys.argv[1]))); time.sleep(float(sys.argv[2]))\n"
)


def environment(folder: Path) -> dict[str, str]:
    """As on a device: nothing in it switches a library's reports off."""
    kept = {k: v for k, v in os.environ.items() if k != "CI" and "TELEMETRY" not in k and not k.startswith("XDG_")}
    return kept | {"TMPDIR": str(folder), "HOME": str(folder)}


def test_loading_a_model_writes_no_file_of_a_reporting_library(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    bundle = make_bundle(tmp_path / "b.zip")
    subprocess.run([sys.executable, "-c", LOAD, str(bundle), "0"], env=environment(home), check=True)
    assert list(home.rglob("*")) == []


@pytest.mark.integration
def test_loading_a_model_opens_no_connection(tmp_path: Path, program: Callable[[str, str], str]) -> None:
    strace = program("strace", "strace")
    calls = tmp_path / "calls"
    bundle = make_bundle(tmp_path / "b.zip")
    trace = [strace, "-f", "-e", "trace=connect", "-o", str(calls)]
    subprocess.run([*trace, sys.executable, "-c", LOAD, str(bundle), "2"], env=environment(tmp_path), check=True)
    assert [line for line in calls.read_text().splitlines() if "AF_INET" in line] == []
