"""Store and inference together, as the daemon joins them: no misbehaving model gets to run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edge_runtime.errors import ModelFault
from edge_runtime.inference.probe import probe_model
from edge_runtime.lifecycle.bundle import Bundle
from edge_runtime.lifecycle.store import ModelStore

from .bundles import make_bundle

ACTIVATE = """
import sys
from pathlib import Path
from edge_runtime.errors import TryAgain
from edge_runtime.lifecycle.store import ModelStore
root, bundle = Path(sys.argv[1]), Path(sys.argv[2])
store = ModelStore(root / "state", [], allow_unsigned=True)
for _ in range(200):
    try:
        store.activate(store.install(bundle))
        break
    except TryAgain:
        continue
else:
    sys.exit("never got a turn")
"""


def probe(bundle: Bundle) -> None:
    probe_model(bundle.model, bundle.manifest, bundle.golden_arrays())


@pytest.mark.parametrize("behaviour", ["nan", "wrong_shape", "crash", "golden_off", "garbage", "external"])
def test_a_misbehaving_model_is_quarantined_and_the_old_one_runs_on(tmp_path: Path, behaviour: str) -> None:
    store = ModelStore(tmp_path / "state", [make_bundle(tmp_path / "factory-1.0.0.zip")], allow_unsigned=True)
    model = store.install(make_bundle(tmp_path / "new.zip", "1.1.0", behaviour))
    with pytest.raises(ModelFault) as fault:
        store.activate(model, probe)
    running = store.current()
    assert running and running.manifest.version == "1.0.0"
    entry = next(entry for entry in store.list() if entry.status == "quarantined")
    assert (entry.sha256, entry.reason) == (model.sha256, fault.value.found)


def test_a_good_model_passes_the_probe(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "state", [], allow_unsigned=True)
    store.activate(store.install(make_bundle(tmp_path / "new.zip", "1.1.0")), probe)
    running = store.current()
    assert running and running.manifest.version == "1.1.0"


def test_processes_that_change_the_store_at_once_leave_one_of_their_models_running(tmp_path: Path) -> None:
    bundles = [make_bundle(tmp_path / f"{n}.zip", f"1.{n}.0") for n in range(4)]
    running = [
        subprocess.Popen([sys.executable, "-c", ACTIVATE, str(tmp_path), str(path)], stderr=subprocess.PIPE, text=True)
        for path in bundles
    ]
    ended = [process.communicate(timeout=60)[1] for process in running]
    assert [process.returncode for process in running] == [0] * 4, ended
    store = ModelStore(tmp_path / "state", [], allow_unsigned=True)
    assert store.current() is not None and not store.problems
    assert sum(step.phase == "committed" for step in store.history) == 4, "no activation was overwritten by another"
