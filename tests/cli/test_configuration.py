from __future__ import annotations

from pathlib import Path

from edge_runtime.config import TelemetryConfig

from .conftest import Run, Site

GOOD = """
[device]
id = "bay-7"
site = "store-1"
[[camera]]
name = "aisle-1"
source = "rtsp://admin:hunter2@10.0.0.9/main"
layout = "{layout}"
[view]
port = 0
"""


def written(tmp_path: Path, site: Site) -> Path:
    file = tmp_path / "device.toml"
    file.write_text(GOOD.format(layout=site.layout))
    return file


def test_init_writes_a_file_that_check_accepts_once_it_is_filled_in(run: Run, site: Site, tmp_path: Path) -> None:
    file = tmp_path / "device.toml"
    assert run("config", "init", "--source", "rtsp://10.0.0.9/main", "--camera", "a", "--out", file).code == 0
    missing = run("config", "check", file)
    assert (missing.code, "layout" in missing.err) == (1, True)
    (tmp_path / "a").mkdir()
    for name in ("layout.json", "reference.jpg"):
        (tmp_path / "a" / name).write_bytes((site.folder / name).read_bytes())
    assert run("config", "check", file).code == 0


def test_init_to_standard_output_is_the_file(run: Run, tmp_path: Path) -> None:
    ran = run("config", "init", "--device", "bay-7")
    assert 'id = "bay-7"' in ran.out
    (tmp_path / "device.toml").write_text(ran.out)
    assert "source" in run("config", "check", tmp_path / "device.toml").err, "the source is to be filled in"


def test_init_never_overwrites(run: Run, tmp_path: Path) -> None:
    (tmp_path / "device.toml").write_text("mine")
    ran = run("config", "init", "--out", tmp_path / "device.toml")
    assert (ran.code, (tmp_path / "device.toml").read_text()) == (2, "mine")


def test_check_for_programs(run: Run, site: Site, tmp_path: Path) -> None:
    good = run("config", "check", written(tmp_path, site), "--json")
    assert (good.code, good.lines[0]["ok"]) == (0, True)
    (tmp_path / "device.toml").write_text("[device]\nid = 3\ncolour = 1\n")
    bad = run("config", "check", tmp_path / "device.toml", "--json")
    assert bad.code == 78
    assert len(bad.lines[0]["faults"]) >= 3, "all faults at once"


def test_check_looks_into_the_layouts(run: Run, site: Site, tmp_path: Path) -> None:
    (tmp_path / "layout.json").write_text("{}")
    file = tmp_path / "device.toml"
    file.write_text(GOOD.format(layout="layout.json"))
    ran = run("config", "check", file)
    assert (ran.code, "aisle-1" in ran.err) == (1, True)


def test_show_fills_in_defaults_and_hides_secrets(run: Run, site: Site, tmp_path: Path) -> None:
    file = written(tmp_path, site)
    record = run("config", "show", file, "--json").lines[0]
    assert record["cameras"][0]["source"] == "rtsp://***@10.0.0.9/main"
    assert record["view"]["port"] == 0
    assert record["telemetry"]["interval_s"] == TelemetryConfig().interval_s
    text = run("config", "show", file)
    assert "hunter2" not in text.out
    assert f"interval_s = {TelemetryConfig().interval_s:g}" in text.out


def test_a_certificate_that_is_none_is_found_before_the_daemon_finds_it(run: Run, site: Site, tmp_path: Path) -> None:
    file = written(tmp_path, site)
    (tmp_path / "ca.crt").write_text("no certificate")
    file.write_text(file.read_text() + '[mqtt]\nurl = "mqtts://broker.example.com"\nca_file = "ca.crt"\n')
    found = run("config", "check", file)
    assert (found.code, "ca.crt" in found.err) == (1, True)
