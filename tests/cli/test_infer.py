from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from .conftest import SIZE, Run, Site, shelf, slots

KEYS = ["image", "usable", "reason", "registration", "light", "slots", "model", "ms"]


def test_one_line_an_image_with_exactly_the_keys_of_the_contract(run: Run, site: Site) -> None:
    ran = run("infer", "--layout", site.layout, site.full, site.gap, "--model", site.bundle, "--json")
    assert ran.code == 0, ran.err
    full, gap = ran.lines
    assert [full["image"], gap["image"]] == [str(site.full), str(site.gap)]
    for line in (full, gap):
        assert list(line) == KEYS
        assert list(line["registration"]) == ["status", "homography", "inliers", "residual_px", "packs_px", "remarks"]
        assert np.asarray(line["registration"]["homography"]).shape == (3, 3)
        assert list(line["model"]) == ["name", "version", "sha256"]
        assert [slot["id"] for slot in line["slots"]] == [slot.id for slot in slots()]
        for slot in line["slots"]:
            assert list(slot) == ["id", "state", "confidence", "scores", "reason"]
            assert list(slot["scores"]) == ["stocked", "low", "empty"]
            assert sum(slot["scores"].values()) == pytest.approx(1, abs=1e-5)
        assert {"decode", "infer", "total"} <= set(line["ms"])
    assert {slot["state"] for slot in full["slots"]} == {"stocked"}
    assert next(slot for slot in gap["slots"] if slot["id"] == "r0s1")["state"] == "empty"


def test_a_folder_stands_for_its_pictures(run: Run, site: Site) -> None:
    ran = run("infer", "--layout", site.layout, site.full.parent, "--model", site.bundle, "--json")
    assert [Path(line["image"]).name for line in ran.lines] == ["full.jpg", "gap.jpg"]


def test_the_raw_mode_does_not_register(run: Run, site: Site) -> None:
    ran = run("infer", "--layout", site.layout, site.full, "--model", site.bundle, "--json", "--no-normalize")
    assert ran.lines[0]["registration"]["status"] == "off"


def test_a_photograph_of_another_size_is_read_all_the_same(run: Run, site: Site, tmp_path: Path) -> None:
    small = tmp_path / "small.jpg"
    cv2.imwrite(str(small), cv2.resize(shelf(), (SIZE[0] // 2, SIZE[1] // 2), interpolation=cv2.INTER_AREA))
    (line,) = run("infer", "--layout", site.layout, small, "--model", site.bundle, "--json").lines
    assert line["usable"], line
    assert line["registration"]["homography"][0][0] == pytest.approx(0.5, abs=0.02)


def test_a_picture_of_another_shelf_is_the_wrong_scene_and_every_slot_unknown(
    run: Run, site: Site, tmp_path: Path
) -> None:
    other = tmp_path / "other.jpg"
    draw = np.random.default_rng(99)
    cv2.imwrite(
        str(other), cv2.resize(draw.integers(0, 255, (60, 80, 3), np.uint8), SIZE, interpolation=cv2.INTER_NEAREST)
    )
    ran = run("infer", "--layout", site.layout, other, "--model", site.bundle, "--json")
    (line,) = ran.lines
    assert ran.code == 0
    assert (line["usable"], line["reason"]) == (False, "wrong_scene")
    assert line["registration"]["homography"] is None
    assert {slot["state"] for slot in line["slots"]} == {"unknown"}


def test_a_person_gets_a_table_and_a_picture(run: Run, site: Site, tmp_path: Path) -> None:
    ran = run("infer", "--layout", site.layout, site.gap, "--model", site.bundle, "--annotate", tmp_path / "seen")
    assert "5 stocked, 1 empty" in ran.out
    assert "\x1b" not in ran.out, "no colours where nobody watches"
    assert cv2.imread(str(tmp_path / "seen" / "gap.jpg")) is not None


def test_pictures_of_the_same_name_are_annotated_apart(run: Run, site: Site, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    assert run("infer", "--layout", site.layout, *[site.gap] * 3, "--model", site.bundle, "--annotate", seen).code == 0
    assert sorted(path.name for path in seen.iterdir()) == ["gap-2.jpg", "gap-3.jpg", "gap.jpg"]
