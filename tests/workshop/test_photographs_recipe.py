"""The recipe that trains on photographs (edge-runtime[train]): from a drawn folder of them to a bundle that runs."""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the recipe trains with PyTorch: pip install -e '.[train]'")

RECIPE = Path(__file__).parents[2] / "models" / "shelf-photographs"
torch.set_num_threads(1)
sys.path.insert(0, str(RECIPE))

from jitter import Jitter  # noqa: E402
from learning import Teacher, learn  # noqa: E402
from lite0 import Lite0  # noqa: E402
from lite0_graph import COLUMNS, lite0_graph, multiply_adds, void_head_graph  # noqa: E402
from plan import PhotoRecipe, read_plan  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402

from edge_runtime.cli.main import main as edge_runtime  # noqa: E402
from edge_runtime.errors import BadConfig, Unavailable  # noqa: E402
from edge_runtime.layout import write_layout  # noqa: E402
from edge_runtime.lifecycle.bundle import read_bundle  # noqa: E402
from edge_runtime.records import Slot  # noqa: E402
from edge_runtime.workshop.head import merge  # noqa: E402
from edge_runtime.workshop.photo_crops import PhotoCrops, cut_photographs  # noqa: E402
from edge_runtime.workshop.photographs import quad, read_photographs, slots_of  # noqa: E402
from edge_runtime.workshop.run import Graph  # noqa: E402
from tests.workshop.photo_set import SIDE, write_photographs  # noqa: E402

SIZE = 32


@pytest.fixture
def recipe() -> PhotoRecipe:
    shipped = read_plan(RECIPE / "recipe.toml")
    crop = msgspec.structs.replace(shipped.crop, size=SIZE, stored_size=48)
    plan = msgspec.structs.replace(shipped.train, epochs=2, batch=32, frozen_blocks=2)
    quantize = msgspec.structs.replace(shipped.quantize, crops=32)
    return msgspec.structs.replace(
        shipped,
        crop=crop,
        train=plan,
        quantize=quantize,
        hold=msgspec.structs.replace(shipped.hold, share=0.3),
        head=msgspec.structs.replace(shipped.head, penalties=(0.003,)),
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("photos"), 12, 3)


@pytest.fixture
def stored(recipe: PhotoRecipe, photos: Path) -> PhotoCrops:
    return cut_photographs(read_photographs(photos, "train"), recipe.crop.stored)


@pytest.mark.parametrize(("blocks", "width"), [(16, 1280), (4, 24)])
def test_the_graph_says_what_the_network_says_and_takes_the_devices_pixels(blocks: int, width: int) -> None:
    torch.manual_seed(0)
    network = Lite0(64, blocks, width)
    network.train()
    network(torch.randn(8, 3, 64, 64))
    network.eval()
    graph = Graph(lite0_graph(network.folded(), 64))
    crops = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    planes = torch.from_numpy(crops[..., ::-1].copy()).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        expected = network((planes - 128) / 128).numpy()
    assert np.abs(graph(crops) - expected).max() < 1e-3


def test_the_cost_of_lite0_is_what_the_page_says() -> None:
    assert 70e6 < multiply_adds(Lite0(96).folded(), 96) < 76e6


def test_the_head_gives_three_columns_of_which_low_never_wins() -> None:
    rng = np.random.default_rng(0)
    network = Lite0(SIZE).eval()
    crops = rng.integers(0, 256, (40, SIZE, SIZE, 3), dtype=np.uint8)
    backbone = lite0_graph(network.folded(), SIZE)
    embeddings = Graph(backbone)(crops)
    void = rng.random(40) < 0.5
    head = LogisticRegression().fit(embeddings, void)
    logits = Graph(merge(backbone, void_head_graph(head, 0.5)))(crops)
    assert logits.shape == (40, len(COLUMNS)) == (40, 3)
    assert np.allclose(logits[:, 2] - logits[:, 0], head.decision_function(embeddings) + 0.5, atol=1e-3)
    assert not (logits.argmax(1) == COLUMNS.index("low")).any()


def test_training_goes_on_where_it_stopped(recipe: PhotoRecipe, stored: PhotoCrops, tmp_path: Path) -> None:
    rows = np.arange(64)
    few, held = stored.only(rows), stored.only(np.arange(64, 80))

    def begun() -> Lite0:
        torch.manual_seed(1)
        return Lite0(SIZE)

    for name in ("whole", "halves"):
        (tmp_path / name).mkdir()
    whole = learn(recipe, begun(), few, held, tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("learning.judged", _stop)
        with pytest.raises(KeyboardInterrupt):
            learn(recipe, begun(), few, held, tmp_path / "halves")
    halves = learn(recipe, begun(), few, held, tmp_path / "halves")
    for name, value in whole.state_dict().items():
        assert torch.allclose(value.float(), halves.state_dict()[name].float(), atol=1e-5), name


def _stop(*_: object) -> dict[str, float]:
    raise KeyboardInterrupt


def test_a_short_network_learns_from_a_larger_ones_answers(
    recipe: PhotoRecipe, stored: PhotoCrops, tmp_path: Path
) -> None:
    backbone = lite0_graph(_seeded().folded(), SIZE)
    large = cut_like(stored, SIZE)
    head = LogisticRegression(C=0.01).fit(Graph(backbone)(large), stored.void)
    teacher = Teacher(merge(backbone, void_head_graph(head, 0.0)))
    crop = msgspec.structs.replace(recipe.crop, size=16)
    short = msgspec.structs.replace(recipe, crop=crop)
    few = stored.only(np.arange(64))
    network = learn(short, Lite0(16, 4, 24), few, few, tmp_path, teacher)
    assert teacher.size == SIZE
    assert Graph(lite0_graph(network.body.folded(), 16))(cut_like(few, 16)).shape == (64, 24)


def cut_like(crops: PhotoCrops, side: int) -> np.ndarray:
    return np.stack([cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA) for crop in crops.crops])


def test_the_compact_network_keeps_within_eight_million_multiply_adds() -> None:
    recipe = read_plan(RECIPE / "recipe-compact.toml")
    network = Lite0(recipe.crop.size, recipe.network.blocks, recipe.network.embedding)
    assert multiply_adds(network.folded(), recipe.crop.size) <= 8_000_000


def test_jittered_crops_are_pixels_and_repeat_with_the_seed(recipe: PhotoRecipe, stored: PhotoCrops) -> None:
    some = torch.from_numpy(stored.crops[:16])
    made = [Jitter(recipe.crop, 0.05, 0.1, torch.Generator().manual_seed(4))(some) for _ in range(2)]
    assert made[0].shape == (16, 3, SIZE, SIZE)
    assert made[0].min() >= 0
    assert made[0].max() <= 255
    assert torch.equal(*made)


def test_without_jitter_a_crop_stays_as_the_device_cuts_it(
    recipe: PhotoRecipe, stored: PhotoCrops, photos: Path
) -> None:
    device = cut_photographs(read_photographs(photos, "train"), recipe.crop.device)
    plain = Jitter(recipe.crop, 0.05, 0.1, torch.Generator()).plain(torch.from_numpy(stored.crops))
    back = plain.flip(1).permute(0, 2, 3, 1).numpy()
    assert np.abs(back - device.crops).mean() < 12


def test_a_recipe_whose_crop_the_network_can_not_take_is_refused(tmp_path: Path) -> None:
    text = (RECIPE / "recipe.toml").read_text()
    bad = tmp_path / "recipe.toml"
    bad.write_text(text.replace("size = 96", "size = 80", 1))
    with pytest.raises(BadConfig, match="a multiple of 32 was expected"):
        read_plan(bad)
    bad.write_text(text + "\nunknown = 1\n")
    with pytest.raises(BadConfig, match="is not a recipe"):
        read_plan(bad)
    with pytest.raises(Unavailable):
        read_plan(tmp_path / "none.toml")


def test_from_photographs_to_a_bundle_that_infer_runs(
    recipe: PhotoRecipe, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = _shop()
    monkeypatch.setattr(shop, "pretrained", _seeded)
    (tmp_path / "small.toml").write_text((RECIPE / "recipe.toml").read_text())
    made = shop.Workshop(tmp_path / "small.toml", photos, tmp_path / "var")
    made.recipe = msgspec.structs.replace(recipe, train=msgspec.structs.replace(recipe.train, epochs=1))
    made.run()
    bundle = read_bundle(made.work / f"{recipe.name}-{recipe.version}.zip")
    assert str(bundle.manifest.provenance["note"]).startswith("local, not for shipping")
    assert bundle.manifest.input.reference is None
    held = str(bundle.manifest.provenance["held_out_photographs"]).split()
    assert held
    assert set(held) < {each.name for each in read_photographs(photos, "train")}
    assert read_bundle(made.work / f"{recipe.name}-fp32-{recipe.version}.zip").manifest.output.labels == COLUMNS
    assert _inferred(photos, bundle.path, tmp_path) <= {"stocked", "empty", "unknown"}


def _inferred(photos: Path, bundle: Path, folder: Path) -> set[str]:
    photograph = read_photographs(photos, "val")[0]
    picture = cv2.imread(str(photograph.picture))
    cv2.imwrite(str(folder / "reference.png"), picture)
    slots = tuple(Slot(f"s{k}", "any", quad(box)) for k, box in enumerate(slots_of(photograph, SIDE, SIDE).boxes))
    write_layout(folder / "layout.json", "reference.png", (SIDE, SIDE), slots)
    out = io.StringIO()
    with redirect_stdout(out):
        words = ["--layout", str(folder / "layout.json"), str(folder / "reference.png"), "--model", str(bundle)]
        assert edge_runtime(["infer", *words, "--json"]) == 0
    (line,) = out.getvalue().splitlines()
    return {slot["state"] for slot in json.loads(line)["slots"]}


def _seeded(*_: int) -> Lite0:
    """In the place of the ImageNet weights, which are a package that need not be installed."""
    torch.manual_seed(2)
    network = Lite0(SIZE)
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 0.5
    for _ in range(3):
        network(torch.randn(16, 3, SIZE, SIZE))
    return network


def _shop() -> object:
    """make.py of this recipe; another recipe's has the same name."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("shelf_photographs_make", RECIPE / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
