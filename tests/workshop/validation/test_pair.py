"""Both files read the same views; figures are those of the field bench."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.errors import ModelFault
from edge_runtime.manifest import Thresholds
from edge_runtime.pipeline import Model
from edge_runtime.records import Image, Layout, ModelId, Scores, View
from edge_runtime.workshop.field_bench.dataset import read_bench
from edge_runtime.workshop.validation.figures import judge
from edge_runtime.workshop.validation.pair import Subject, run_pair
from workshop.conftest import SPEC


class Told:
    """Says what the truth of the dataset is not: the same for every slot."""

    def __init__(self, best: int, views: list[int] | None = None) -> None:
        self.id = ModelId("told", "0.0.0", "0" * 64)
        self._best, self._views = best, views

    def infer(self, view: View) -> Scores:
        if self._views is not None:
            self._views.append(id(view))
        shares = np.full((len(view.crops), 3), 0.05, np.float32)
        shares[:, self._best] = 0.9
        return Scores(self.id, shares, np.zeros(len(view.crops), np.float32), {})


class Broken(Told):
    def infer(self, view: View) -> Scores:
        raise ModelFault("the model answered NaN", "Fall back")


def subject(packed: Model, float32: Model | None) -> Subject:
    def bound(model: Model):  # type: ignore[no-untyped-def]
        return lambda layout, crops: model

    return Subject(SPEC, Thresholds(0.5, 0.5), bound(packed), bound(float32) if float32 else None)


def test_both_see_the_same_views_and_differences_are_counted(dataset: Path) -> None:
    views: list[int] = []
    paired = run_pair(read_bench(dataset), subject(Told(0, views), Told(2)))
    assert len(views) == 8
    assert not paired.alike[paired.seen].any()
    assert paired.gap[paired.seen] == pytest.approx(0.85)
    judged = judge(paired)
    lab = next(line for line in judged.pooled if line.condition == "lab")
    assert lab.packed.value == lab.float32.value == pytest.approx(1 / 3)
    assert lab.changed == int(paired.seen[paired.truths.severity == 0].sum())
    assert judged.figures["agreement_percent"] == 0.0
    assert judged.figures["lab_loss_points"] == pytest.approx(0.0)


def test_one_file_alone_has_no_difference(dataset: Path) -> None:
    judged = judge(run_pair(read_bench(dataset, 1), subject(Told(1), None)))
    assert judged.figures["agreement_percent"] == 100.0
    assert judged.figures["condition_loss_points"] == 0.0
    assert np.isnan(judged.figures["condition_sure_loss_points"])
    assert {line.name for line in judged.pooled} == {"lab", "exposure S1-S3"}


def test_a_model_that_fails_ends_the_run(dataset: Path) -> None:
    with pytest.raises(ModelFault, match="NaN"):
        run_pair(read_bench(dataset, 1), subject(Broken(0), None))


def test_a_picture_that_can_not_be_read_is_told_and_counts_as_unknown(dataset: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "set"
    shutil.copytree(dataset, copy)
    shelf = read_bench(copy, 1)[0]
    shelf.picture(shelf.frames[0]).write_bytes(b"no picture")
    paired = run_pair((shelf,), subject(Told(0), None))
    assert len(paired.unread) == 1
    assert not paired.seen[paired.truths.frame == 0].any()
    assert paired.seen[paired.truths.frame == 1].all()


def test_layouts_bind_the_models(dataset: Path) -> None:
    seen: list[tuple[int, tuple[int, ...]]] = []

    def bind(layout: Layout, crops: Image) -> Model:
        seen.append((len(layout.slots), crops.shape))
        return Told(0)

    run_pair(read_bench(dataset), replace(subject(Told(0), None), packed=bind))
    assert seen == [(15, (15, 64, 64, 3))] * 2
