from __future__ import annotations

from pathlib import Path

from lifecycle.bundles import make_bundle

from edge_runtime.assets import factory_bundles

from .conftest import Run, Site


def test_verify_a_whole_bundle(run: Run, site: Site) -> None:
    ran = run("model", "verify", site.bundle, "--json")
    assert ran.code == 0, ran.err
    assert ran.lines[0]["ok"] is True
    assert "whole" in run("model", "verify", site.bundle).out


def test_verify_finds_one_flipped_byte(run: Run, site: Site, tmp_path: Path) -> None:
    raw = bytearray(site.bundle.read_bytes())
    raw[len(raw) // 2] ^= 1
    bad = tmp_path / "bad.zip"
    bad.write_bytes(raw)
    ran = run("model", "verify", site.bundle, bad, "--json")
    assert ran.code == 1
    assert [line["ok"] for line in ran.lines] == [True, False]
    assert run("model", "verify", bad).code == 1


def test_show_says_what_a_model_wants_and_where_it_comes_from(run: Run, site: Site) -> None:
    record = run("model", "show", site.bundle, "--json").lines[0]
    assert (record["name"], record["version"], record["task"]) == ("shelf-test", "1.0.0", "classify-slots")
    assert "shelf-test 1.0.0" in run("model", "show", site.bundle).out


def test_show_tells_the_card(run: Run) -> None:
    said = run("model", "show", factory_bundles()[-1]).out
    assert "\nintended use\n" in said
    assert "Trained on rendered shelves alone" in said
    assert max(map(len, said.splitlines()[-12:])) <= 110


def test_list_has_the_factory_bundles_and_those_of_a_store(run: Run, tmp_path: Path) -> None:
    if factory_bundles():
        assert {line["status"] for line in run("model", "list", "--json").lines} <= {"current", "factory", "previous"}
    else:
        assert run("model", "list").code == 69
    refused = run("model", "list", "--state", tmp_path / "nowhere")
    assert (refused.code, "state_dir" in refused.err) == (69, True)


def test_list_shows_an_installed_bundle(run: Run, tmp_path: Path) -> None:
    from edge_runtime.lifecycle.store import ModelStore

    ModelStore(tmp_path, factory_bundles(), allow_unsigned=True).install(make_bundle(tmp_path / "b.zip", "9.8.7"))
    lines = run("model", "list", "--state", tmp_path, "--json").lines
    assert "9.8.7" in {line["version"] for line in lines}
    assert "9.8.7" in run("model", "list", "--state", tmp_path).out
