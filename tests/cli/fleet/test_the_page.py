"""docs/fleet.md: its commands run as they are printed, one after the other, and what it lists is what there is."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_runtime.cli.fleet import rows
from edge_runtime.fleet.operator.rollouts.defaults import DEFAULT_RINGS, GATES

from .conftest import Town

PAGE = Path(__file__).resolve().parents[3] / "docs" / "fleet.md"
COMMANDS = re.findall(r"^\$ (edge-runtime .*)$", PAGE.read_text("utf-8"), re.MULTILINE)


@pytest.mark.integration
def test_every_command_of_the_page_runs(town: Town, tmp_path: Path) -> None:
    (tmp_path / "fleet").symlink_to(town.folder)
    left = []
    for line in COMMANDS:
        arguments = shlex.split(line.removesuffix(" &"))[1:]
        command = [sys.executable, "-m", "edge_runtime.cli", *arguments]
        environment = os.environ | {"PYTHONPATH": str(PAGE.parents[1])}
        if line.endswith(" &"):
            child = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
            assert child.stdout is not None
            child.stdout.readline()
            left.append(child)
            time.sleep(1.0)
            continue
        ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=150)
        assert ran.returncode == 0, f"{line}\n{ran.stdout}\n{ran.stderr}"
    assert [child.wait(60) for child in left] == [75]


def test_the_page_has_every_gate_with_its_limit_and_every_column() -> None:
    page = PAGE.read_text("utf-8")
    for gate, limit in GATES.items():
        assert f"| `{gate}` | {limit:g} |" in page
    assert DEFAULT_RINGS in page
    for column in rows.HEADER[1:]:
        assert column in page, column
