"""A mend that names a command names one that exists, with options that it takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .conftest import Run

PACKAGE = Path(__file__).resolve().parents[2] / "edge_runtime"
NAMED = sorted(
    {
        (match[1], match[2] or "")
        for path in PACKAGE.rglob("*.py")
        for match in re.finditer(r"`edge-runtime build (\w+)([^`]*)`", path.read_text())
    }
)


@pytest.mark.parametrize(("verb", "rest"), NAMED)
def test_a_named_build_command_exists(run: Run, verb: str, rest: str) -> None:
    ran = run("build", verb, "--help")
    assert ran.code == 0, f"there is no `build {verb}`"
    for option in re.findall(r"--[a-z0-9-]+", rest):
        assert option in ran.out, f"`build {verb}` has no {option}"
