from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from .conftest import Run, Site, shelf

EVENT_KEYS = ["t", "camera", "slot", "from", "to", "confidence", "id"]


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty stills with a camera's noise; from the eighth on, slot r1s2 is empty."""
    folder = tmp_path_factory.mktemp("stills")
    pictures = [shelf(), shelf(("r1s2",))]
    draw = np.random.default_rng(3)
    for number in range(20):
        noise = draw.normal(0, 2, pictures[0].shape).astype(np.int16)
        seen = np.clip(pictures[number >= 8] + noise, 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number:03d}.jpg"), seen)
    return folder


def check(lines: list[dict[str, object]], camera: str) -> None:
    *events, last = lines
    assert list(last) == ["summary"]
    summary = last["summary"]
    assert isinstance(summary, dict)
    assert (summary["frames"], summary["usable"], summary["events"]) == (20, 20, len(events))
    changes = [event for event in events if event["slot"] == "r1s2" and event["to"] == "empty"]
    assert len(changes) == 1
    assert list(changes[0]) == EVENT_KEYS
    assert changes[0]["camera"] == camera
    assert 8 <= float(str(changes[0]["t"])) <= 18
    assert len({event["id"] for event in events}) == len(events)


def test_a_folder_of_stills_gives_one_line_an_event_then_the_summary(run: Run, site: Site, stills: Path) -> None:
    ran = run("replay", stills, "--layout", site.layout, "--model", site.bundle, "--json", "--camera", "bay-3")
    assert ran.code == 0, ran.err
    check(ran.lines, "bay-3")


def test_the_same_recording_gives_the_same_events(run: Run, site: Site, stills: Path) -> None:
    call = ("replay", stills, "--layout", site.layout, "--model", site.bundle, "--json")
    assert run(*call).lines[:-1] == run(*call).lines[:-1]


@pytest.mark.integration
def test_a_video_as_ffmpeg_writes_it(
    run: Run, site: Site, stills: Path, program: Callable[[str, str], str], tmp_path: Path
) -> None:
    video = tmp_path / "day.mp4"
    ffmpeg = program("ffmpeg", "ffmpeg")
    source = [ffmpeg, "-loglevel", "error", "-framerate", "1", "-i", f"{stills}/%03d.jpg", "-r", "4"]
    subprocess.run([*source, "-c:v", "libx264", "-pix_fmt", "yuv420p", str(video)], check=True)
    ran = run("replay", video, "--layout", site.layout, "--model", site.bundle, "--interval", 1, "--json")
    assert ran.code == 0, ran.err
    check(ran.lines, "recording")


def test_a_bad_still_is_told_and_the_others_go_on(run: Run, site: Site, stills: Path, tmp_path: Path) -> None:
    for name in ("000.jpg", "001.jpg"):
        (tmp_path / name).write_bytes((stills / name).read_bytes())
    (tmp_path / "0005.jpg").write_bytes(b"nothing")
    ran = run("replay", tmp_path, "--layout", site.layout, "--model", site.bundle, "--json")
    assert ran.code == 1
    assert "0005.jpg" in ran.err
    assert ran.lines[-1]["summary"]["skipped"] == 1
    assert ran.lines[-1]["summary"]["frames"] == 2


def test_a_person_gets_a_sentence(run: Run, site: Site, stills: Path) -> None:
    ran = run("replay", stills, "--layout", site.layout, "--model", site.bundle)
    assert "-> empty" in ran.out
    assert "20 frames, 20 usable" in ran.out


def truth_of(stills: Path) -> Path:
    """What the stills show, written beside them."""
    path = stills.parent / "truth.csv"
    rows = ["frame,condition,severity,slot,state,covered"]
    for number in range(20):
        for slot in ("r0s0", "r1s2"):
            state = "empty" if slot == "r1s2" and number >= 8 else "stocked"
            rows.append(f"{number:03d},day,0,{slot},{state},0")
    path.write_text("\n".join(rows) + "\n")
    return path


def test_with_the_truth_the_summary_says_how_well_the_day_was_told(run: Run, site: Site, stills: Path) -> None:
    call = ("replay", stills, "--layout", site.layout, "--model", site.bundle, "--truth", truth_of(stills))
    *events, last = run(*call, "--json").lines
    summary = last["summary"]
    told = [event for event in events if event["slot"] in ("r0s0", "r1s2")]
    assert summary["events_by_kind"].get("slot", 0) >= len(told) > 0
    assert 0.0 < summary["availability"] <= 1.0
    day = summary["day"]
    assert (day["captures"], day["captures_without_truth"], day["events_true"]) == (20, 0, 1)
    assert day["event_recall"] == 1.0
    assert 1 <= day["captures_to_detect_median"] <= 10
    text = run(*call).out
    assert "event recall" in text
    assert "{" not in text and "None" not in text, "people are shown no Python"


def test_a_truth_that_is_none_is_told(run: Run, site: Site, stills: Path, tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text("nothing")
    ran = run("replay", stills, "--layout", site.layout, "--model", site.bundle, "--truth", tmp_path / "truth.csv")
    assert ran.code not in (0, 2)
    assert "truth.csv" in ran.err
