"""`model install`, `activate`, `shadow`, `rollback`, `commit`, `release` as somebody at the device uses them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from lifecycle.bundles import make_bundle

from .conftest import Run

changes = pytest.importorskip("edge_runtime.workshop.repository.changes")


@dataclass
class Bench:
    """A device's state folder, and a repository that it trusts."""

    folder: Path
    repository: Path

    @property
    def device(self) -> tuple[str, ...]:
        return ("--config", str(self.folder / "device.toml"))

    def publish(self, version: str, behaviour: str = "good") -> None:
        from edge_runtime.workshop.repository.keys import KeyFolders

        path = make_bundle(self.folder / f"shelf-test-{version}.zip", version, behaviour)
        changes.publish(self.repository, [path], KeyFolders([self.folder / "keys"]))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    from edge_runtime.workshop.repository.keys import KeyFolders
    from edge_runtime.workshop.repository.plan import NEWCOMER

    made = Bench(tmp_path, tmp_path / "repository")
    changes.init(made.repository, NEWCOMER, KeyFolders([tmp_path / "keys"]))
    (tmp_path / "device.toml").write_text(
        '[device]\nid = "d"\nsite = "s"\n[[camera]]\nname = "a"\nsource = "a.mp4"\nlayout = "l.json"\n'
        '[model]\nname = "shelf-test"\nrepository = "repository"\nroot = "repository/root.json"\nshadow_s = 0\n'
    )
    return made


def statuses(run: Run, bench: Bench) -> dict[str, str]:
    return {line["version"]: line["status"] for line in run("model", "list", *bench.device, "--json").lines}


def test_from_the_repository_to_the_current_model_and_back(run: Run, bench: Bench) -> None:
    for version in ("1.0.0", "1.1.0"):
        bench.publish(version)
        ran = run("model", "install", *bench.device, "--json")
        assert (ran.code, ran.lines[-1]["version"], ran.lines[-1]["phase"]) == (0, version, "staged"), ran.err
        ran = run("model", "activate", version, *bench.device, "--json")
        assert (ran.code, ran.lines[-1]["phase"], ran.lines[-1]["variant"]) == (0, "trial", "model.onnx"), ran.err
        assert statuses(run, bench)[version] == "trial"
        assert run("model", "commit", *bench.device).code == 0
    assert statuses(run, bench) == {"1.1.0": "current", "1.0.0": "previous"}
    shown = run("model", "list", *bench.device).out
    assert "repository" in shown and "model.onnx" in shown
    ran = run("model", "rollback", *bench.device, "--why", "too many empties", "--json")
    assert (ran.code, ran.lines[-1]["version"]) == (0, "1.0.0")
    assert statuses(run, bench)["1.0.0"] == "current"
    assert run("model", "rollback", *bench.device).code in (0, 1)


def test_a_shadow_run_first_where_there_is_a_current_model(run: Run, bench: Bench) -> None:
    bench.publish("1.0.0")
    assert run("model", "install", *bench.device).code == 0
    assert run("model", "activate", "1.0.0", *bench.device, "--no-trial").code == 0
    bench.publish("1.1.0")
    assert run("model", "install", "shelf-test", "--version", "1.1.0", *bench.device).code == 0
    ran = run("model", "shadow", "shelf-test-1.1.0", "--for", "60", *bench.device)
    assert ran.code == 0 and "runs beside the current one for 60 s" in ran.out
    assert statuses(run, bench) == {"1.0.0": "current", "1.1.0": "shadow"}
    assert run("model", "commit", *bench.device).code == 1, "nothing is on trial yet"


def test_a_model_that_fails_its_proof_is_quarantined_and_released_only_by_hand(run: Run, bench: Bench) -> None:
    bench.publish("1.0.0", "nan")
    assert run("model", "install", *bench.device).code == 0
    ran = run("model", "activate", "1.0.0", *bench.device)
    assert ran.code == 1 and "NaN" in ran.err
    line = run("model", "list", *bench.device, "--json").lines[-1]
    assert line["status"] == "quarantined" and "NaN" in line["reason"]
    ran = run("model", "activate", "1.0.0", *bench.device)
    assert ran.code == 1 and "quarantined" in ran.err
    ran = run("model", "release", line["sha256"][:12], *bench.device)
    assert ran.code == 0 and "It was barred for" in ran.out


def test_a_bundle_file_is_for_development_only_and_loud(run: Run, bench: Bench) -> None:
    path = make_bundle(bench.folder / "shelf-test-9.0.0.zip", "9.0.0")
    ran = run("model", "install", path, *bench.device)
    assert ran.code == 2 and "nobody vouches for it" in ran.err and "repo publish" in ran.err
    ran = run("model", "install", path, *bench.device, "--development")
    assert ran.code == 0 and "UNSIGNED" in ran.err
    assert "model activate 9.0.0 --config" in ran.out and "--development" in ran.out
    refused = run("model", "activate", "9.0.0", *bench.device)
    assert refused.code == 1 and "unsigned" in refused.err
    assert run("model", "activate", "9.0.0", *bench.device, "--development", "--json").lines[-1]["phase"] == "trial"


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("install", "--state", "{state}"), 69, "no model repository"),
        (("install", "another", "{device}"), 69, "no release of another"),
        (("install", "shelf-test", "--version", "7.0.0", "{device}"), 69, "no release"),
        (("install", "--state", "{state}", "--repository", "repository"), 2, "--root"),
        (("activate", "1.0.0", "{device}"), 1, "is not on this device"),
        (("activate", "abc", "{device}"), 1, "is not on this device"),
        (("activate", "1.0.0", "{device}", "--trial", "-5"), 1, ""),
        (("shadow", "1.0.0", "{device}", "--for", "0"), 2, "out of range"),
        (("rollback", "{device}"), 1, "roll"),
        (("commit", "{device}"), 1, "no model is in trial"),
        (("release", "0123456789ab", "{device}"), 1, "is not on this device"),
        (("install", "--config", "none.toml"), 78, "none.toml"),
    ],
)
def test_what_can_not_be_is_told_with_its_mend(
    run: Run, bench: Bench, arguments: tuple[str, ...], code: int, told: str
) -> None:
    words: list[str] = []
    for word in arguments:
        words += bench.device if word == "{device}" else [word.replace("{state}", str(bench.folder / "state"))]
    ran = run("model", *words)
    assert (ran.code, told in ran.err) == (code, True), ran.err
    assert "Traceback" not in ran.err


def test_what_install_says_to_do_next_can_be_done_for_a_model_of_another_name(run: Run, bench: Bench) -> None:
    bench.publish("1.0.0")
    state = ("--state", str(bench.folder / "another"))
    source = ("--repository", str(bench.repository), "--root", str(bench.repository / "root.json"))
    ran = run("model", "install", "shelf-test", *state, *source)
    assert ran.code == 0 and "model activate shelf-test-1.0.0 --state" in ran.out, ran.err
    assert run("model", "activate", "shelf-test-1.0.0", *state, "--no-trial").code == 0
    ran = run("model", "activate", "1.0.0", *state)
    assert ran.code == 1 and "shelf-test 1.0.0" in ran.err and "name-version" in ran.err


def test_the_root_of_another_repository_is_named_as_what_to_look_at(run: Run, bench: Bench) -> None:
    from edge_runtime.workshop.repository.keys import KeyFolders
    from edge_runtime.workshop.repository.plan import NEWCOMER

    bench.publish("1.0.0")
    other = bench.folder / "other"
    changes.init(other, NEWCOMER, KeyFolders([bench.folder / "other-keys"]))
    source = ("--repository", str(bench.repository), "--root", str(other / "root.json"))
    ran = run("model", "install", "shelf-test", "--state", str(bench.folder / "state"), *source)
    assert ran.code == 1 and "[model] root is this very repository's root.json" in ran.err
