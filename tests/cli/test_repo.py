"""`repo …`: what an operator types, from the first key to a device that installs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from lifecycle.bundles import make_bundle
from lifecycle.trust.web import serving

from edge_runtime.lifecycle.trust.updater import Updater

from .conftest import Run


@pytest.fixture
def store(run: Run, tmp_path: Path) -> Path:
    assert run("repo", "init", tmp_path / "store").code == 0
    return tmp_path / "store"


def test_two_commands_from_nothing_to_a_device(run: Run, tmp_path: Path) -> None:
    folder, bundle = tmp_path / "store", make_bundle(tmp_path / "b.zip")
    began = run("repo", "init", folder)
    assert began.code == 0 and "sha256" in began.out and "repo publish" in began.out and "device.toml" in began.out
    assert "as release 1" in run("repo", "publish", folder, bundle).out
    with serving(folder) as server:
        updater = Updater(tmp_path / "state", server.url, (folder / "root.json").read_bytes())
        assert updater.fetch(updater.releases("shelf-test")[0]).read_bytes() == bundle.read_bytes()


def test_show_and_verify_speak_to_programs(run: Run, store: Path, tmp_path: Path) -> None:
    run("repo", "publish", store, make_bundle(tmp_path / "b.zip"))
    (shown,) = run("repo", "show", store, "--json").lines
    assert shown["releases"][0]["release"] == 1 and {role["role"] for role in shown["roles"]} >= {"root", "targets"}
    (found,) = run("repo", "verify", store, "--json").lines
    assert (found["ok"], found["files"], found["faults"]) == (True, 1, [])
    assert "shelf-test" in run("repo", "show", store).out and "whole" in run("repo", "verify", store).out


def test_verify_names_a_spoiled_file_and_exits_1(run: Run, store: Path, tmp_path: Path) -> None:
    run("repo", "publish", store, make_bundle(tmp_path / "b.zip"))
    (target,) = (store / "targets").rglob("*.zip")
    raw = bytearray(target.read_bytes())
    raw[100] ^= 1
    target.write_bytes(raw)
    ran = run("repo", "verify", store)
    assert ran.code == 1 and target.name in ran.err and "not usable" in ran.out
    assert run("repo", "verify", store, "--json").lines[0]["ok"] is False


def test_a_life_of_a_repository(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "fleet"
    assert run("repo", "init", folder, "--fleet", "--days", "timestamp=3").code == 0
    bundle, file = make_bundle(tmp_path / "b.zip"), tmp_path / "d.json"
    file.write_text("{}")
    for words in (
        ("publish", folder, bundle),
        ("put", folder, "desired/lyon/till-3.json", file),
        ("refresh", folder),
        ("rotate", folder, "--role", "all"),
        ("withdraw", folder, "shelf-test", "1.0.0"),
        ("verify", folder),
        ("show", folder),
    ):
        ran = run("repo", *words)
        assert ran.code == 0, (words, ran.err)
    (shown,) = run("repo", "show", folder, "--json").lines
    assert {role["role"]: role["days_left"] for role in shown["roles"]}["timestamp"] in (2, 3)


def test_refresh_says_which_keys_are_not_here(run: Run, store: Path) -> None:
    (key,) = Path(f"{store}.keys").glob("*.pem")
    key.unlink()
    ran = run("repo", "refresh", store)
    assert ran.code == 1 and "timestamp needs 1 of its 1 keys, 0" in ran.err and "--keys" in ran.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("publish", "nothing", "b.zip"), 69, "no repository"),
        (("verify", "nothing"), 69, "no repository"),
        (("show", "nothing"), 69, "no repository"),
        (("init", "x", "--days", "mirror=3"), 2, "ROLE=N"),
        (("init", "x", "--days", "root=none"), 2, "ROLE=N"),
        (("init", "x", "--passphrase-file", "absent"), 69, "passphrase"),
        (("rotate", "x"), 2, "--role"),
        (("init", "/"), 2, "folder of its own"),
    ],
)
def test_what_is_wrong_is_said(run: Run, tmp_path: Path, words: tuple[str, ...], code: int, said: str) -> None:
    named = [str(tmp_path / word) if word in ("nothing", "x", "b.zip", "absent") else word for word in words]
    ran = run("repo", *named)
    assert ran.code == code and said in ran.err


def test_a_passphrase_from_a_file(run: Run, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("correct horse\n")
    folder, bundle = tmp_path / "r", make_bundle(tmp_path / "b.zip")
    assert run("repo", "init", folder, "--passphrase-file", secret).code == 0
    ran = run("repo", "publish", folder, bundle)
    assert ran.code == 1 and "--passphrase-file" in ran.err
    assert run("repo", "publish", folder, bundle, "--passphrase-file", secret).code == 0


def test_without_cryptography_signing_says_what_to_install_and_reading_works(store: Path) -> None:
    code = """
import sys, json
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "cryptography":
            raise ImportError(name)
sys.meta_path.insert(0, Block())
from edge_runtime.cli.main import main
sys.exit(main(json.loads(sys.argv[1])))
"""

    def call(*words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, json.dumps([str(word) for word in words])]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    for words in (("init", store.parent / "other"), ("refresh", store), ("rotate", store, "--role", "root")):
        ran = call("repo", *words)
        assert ran.returncode == 69 and "pip install 'edge-runtime[build]'" in ran.stderr, ran.stderr
    assert call("repo", "verify", store).returncode == 0
    assert call("repo", "show", store).returncode == 0
