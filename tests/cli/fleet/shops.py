"""Real devices for rollouts: the daemon as a process of its own, enrolled at mosquitto with TLS, at a signed repository."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import msgspec

from edge_runtime.assets import demo_layout, factory_bundles
from edge_runtime.cli.main import main
from edge_runtime.lifecycle.bundle import read_bundle
from edge_runtime.lifecycle.store import ModelStore
from edge_runtime.manifest import Manifest
from edge_runtime.workshop.pack import write_bundle
from tests.daemon.rig import noisy
from tests.fleet.deployments import MosquittoFleet

ROOT = Path(__file__).resolve().parents[3]
CLI = [sys.executable, "-m", "edge_runtime.cli"]
PICTURES, VIEWS = 4_000, 24
_DEVICE = """
[[camera]]
name = "aisle"
source = "{pictures}"
layout = "{layout}"
interval_s = 0.8
[model]
name = "shelf-occupancy"
repository = "{repository}"
root = "{repository}/root.json"
shadow_s = 1
trial_s = 1
trial_frames = 1
[telemetry]
interval_s = 1
[storage]
state_dir = "state"
[view]
enabled = false
"""


def camera(folder: Path) -> Path:
    """A folder that does not run dry: some views of one shelf with the noise of a sensor, again and again."""
    folder.mkdir()
    reference = cv2.imread(str(demo_layout().with_name("reference.jpg")))
    assert reference is not None
    for number in range(PICTURES):
        path, seen = folder / f"{number:04}.jpg", folder / f"{number % VIEWS:04}.jpg"
        if number < VIEWS:
            cv2.imwrite(str(path), noisy(reference, number))
        else:
            os.link(seen, path)
    return folder


class Models:
    """A signed repository; what is published are the shipped model's own bytes, under another version or manifest."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._made = folder, folder.with_name("made")
        assert main(["repo", "init", str(folder)]) == 0

    def publish(self, version: str, **changes: object) -> None:
        """`changes`: fields of the manifest; the golden proof passes, for it asks for what the graph answers."""
        bundle = read_bundle(factory_bundles()[-1])
        manifest: Manifest = msgspec.structs.replace(bundle.manifest, version=version, **changes)
        files = {"model.onnx": bundle.model, "golden.npz": bundle.golden, "reference.npz": bundle.reference}
        path = write_bundle(
            self._made, manifest, {**files, "model.fp32.onnx": bundle.fp32 or b"", "LICENSE": bundle.licence}
        )
        assert main(["repo", "publish", str(self.folder), str(path)]) == 0


class Shop:
    """One device: what `fleet enrol` made for it, a camera, and the daemon."""

    def __init__(self, broker: MosquittoFleet, name: str, pictures: Path, models: Models) -> None:
        self.name, self.folder = name, broker.fleet.enrol(name)
        self.config = self.folder / "device.toml"
        with self.config.open("a") as file:
            file.write(_DEVICE.format(pictures=pictures, layout=demo_layout(), repository=models.folder))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        with (self.folder / "log").open("ab") as log:
            command = [*CLI, "run", "--config", str(self.config)]
            self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            process.wait(20)

    @property
    def store(self) -> ModelStore:
        """The models of the device itself: not what it says of them to the broker. Reading changes nothing."""
        return ModelStore(self.folder / "state", factory_bundles())

    def has(self, version: str) -> str:
        """The status of a version on its disk; empty if it is not there."""
        return next((entry.status for entry in self.store.list() if entry.version == version), "")

    def floor(self) -> int:
        """The least release that it would install."""
        return self.store.floor_of("shelf-occupancy")

    def runs(self) -> str:
        """The version that is current on its disk, and whether something is on its way in."""
        found = {str(entry.status): entry.version for entry in self.store.list()}
        return found["current"] + "".join(f" {phase}" for phase in ("shadow", "trial") if phase in found)
