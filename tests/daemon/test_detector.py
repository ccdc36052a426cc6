"""A detector in charge of a device, in the place of a classifier and back: registration, states and health go on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge_runtime.daemon.models import load_model, load_proven
from edge_runtime.inference.detect.detector import Detector
from edge_runtime.lifecycle.bundle import read_bundle
from edge_runtime.records import Image, State, View
from tests.daemon.rig import Rig, noisy, shelf_picture
from tests.inference.detect import graphs


class DetectorRig(Rig):
    """Its one bundle is a detector of dark and bright cells."""

    def make_bundles(self, behaviours: tuple[str, ...]) -> list[Path]:
        folder = self.folder / "factory"
        folder.mkdir(parents=True, exist_ok=True)
        return [graphs.bundle(folder / "dark-and-bright-1.0.0.zip", "yolox", score=0.9)]


def with_gap() -> Image:
    picture = shelf_picture()
    picture[40:190, 95:145] = 12
    return picture


def test_a_device_runs_a_detector(tmp_path: Path) -> None:
    rig = DetectorRig(tmp_path)
    daemon = rig.daemon()
    daemon.open()
    for seed in range(6):
        rig.turns(daemon, 1, noisy(with_gap(), seed))
    health = daemon.health()
    assert (health.state, health.reasons) == ("ok", ())
    assert health.model is not None and health.model.name == "dark-and-bright"
    assert isinstance(rig.roster.stations["a"].parts.pipeline.model, Detector)
    outcome = rig.roster.stations["a"].outcome
    assert outcome is not None
    assert [status.state for status in outcome.statuses if status.slot == "s1"] == [State.EMPTY]


def test_the_golden_set_is_asked_before_a_detector_is_in_charge(tmp_path: Path) -> None:
    bundle = read_bundle(graphs.bundle(tmp_path / "dark-and-bright-1.0.0.zip", "yolov8"))
    assert load_proven(bundle).manifest.task == "detect"


def test_a_detector_takes_over_from_a_classifier_and_gives_back(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    daemon = rig.daemon()
    daemon.open()
    rig.turns(daemon, 2, noisy(shelf_picture(), 1))
    station = rig.roster.stations["a"]
    classifier = rig.deck.loaded
    detector = load_model(read_bundle(graphs.bundle(tmp_path / "dark-and-bright-1.0.0.zip")))
    for loaded, canvas in ((detector, True), (classifier, False)):
        station.use(loaded)
        rig.turns(daemon, 1, noisy(with_gap(), 2 + canvas))
        outcome = station.outcome
        assert outcome is not None and isinstance(outcome.view, View) and outcome.scores is not None
        assert (outcome.view.canvas is not None) is canvas
        assert loaded is not None and outcome.scores.model == loaded.id
        assert np.isfinite(outcome.scores.probabilities).all()
