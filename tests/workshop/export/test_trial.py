from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.errors import Refused
from edge_runtime.workshop.export import trial
from edge_runtime.workshop.export.trial import run_apart

from .graphs import SIDE, classifier

FEEDS = {"pixels": np.random.default_rng(0).normal(size=(7, 3, SIDE, SIDE)).astype(np.float32)}


def test_the_rows_come_back_in_order_however_many_are_fed_at_once() -> None:
    model = classifier().SerializeToString()
    whole = run_apart(model, FEEDS, 7)["scores"]
    for rows in (1, 3):
        assert np.allclose(run_apart(model, FEEDS, rows)["scores"], whole, atol=1e-6)


def test_what_the_runtime_says_is_passed_on_in_one_line() -> None:
    with pytest.raises(Refused, match="onnxruntime does not run the model: ") as caught:
        run_apart(b"\x08\x07nonsense", FEEDS, 1)
    assert "\n" not in caught.value.found
    assert caught.value.mend


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "died of SIGSEGV"),
        ("while True: pass", "within 2 s"),
    ],
)
def test_a_graph_that_kills_or_never_answers_does_not_take_the_command_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, said: str
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{code}'\n")
    python.chmod(0o755)
    monkeypatch.setattr(trial.sys, "executable", str(python))
    with pytest.raises(Refused, match=said):
        run_apart(b"", FEEDS, 1, limit_s=2.0)
