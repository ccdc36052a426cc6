"""Every command of the README, in the README's order, as a newcomer types it: against a simulated camera."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from edge_runtime.assets import factory_bundles
from edge_runtime.lifecycle.bundle import read_bundle
from edge_runtime.workshop.pack import write_bundle

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
README = (ROOT / "README.md").read_text()


def commands() -> list[str]:
    """The lines of the README's bash blocks, without comments and without the assignment of CAMERA."""
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("CAMERA=")]


@pytest.fixture
def camera() -> Iterator[str]:
    command = [sys.executable, "-m", "edge_runtime.simulator", "serve", "--port", "0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"] + "/stream.mjpg"
        process.terminate()


def call(command: str, folder: Path, camera: str) -> subprocess.CompletedProcess[str]:
    words = [camera if word == "$CAMERA" else word for word in shlex.split(command)]
    words[0] = str(BIN / words[0])
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


def wait_for_results(folder: Path, camera: str) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        done = call("edge-runtime status --config device.toml --json", folder, camera)
        if done.returncode in (0, 1) and json.loads(done.stdout.splitlines()[-1]):
            return
        time.sleep(0.5)
    pytest.fail("the daemon of the README never reported a status")


def make_new_version(folder: Path) -> None:
    """The bundle that somebody has trained: here the shipped one under another version."""
    bundle = read_bundle(factory_bundles()[-1])
    manifest = msgspec.structs.replace(bundle.manifest, version="1.2.0")
    files = {"model.onnx": bundle.model, "golden.npz": bundle.golden, "reference.npz": bundle.reference}
    write_bundle(folder, manifest, {**files, "model.fp32.onnx": bundle.fp32 or b"", "LICENSE": bundle.licence})


def test_every_command_of_the_readme_works_in_its_order(camera: str, tmp_path: Path) -> None:
    lines = commands()
    make_new_version(tmp_path)
    running = next(k for k, line in enumerate(lines) if " run " in line)
    for line in lines[:running]:
        done = call(line, tmp_path, camera)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    text = (tmp_path / "device.toml").read_text()
    (tmp_path / "device.toml").write_text(text.replace("#port = 8780", "port = 0"))
    words = shlex.split(lines[running])
    daemon = subprocess.Popen([str(BIN / words[0]), *words[1:]], cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        wait_for_results(tmp_path, camera)
        for line in lines[running + 1 :]:
            done = call(line, tmp_path, camera)
            looks = (0, 1) if re.search("status|doctor", line) else (0,)  # a device that starts has something to say
            assert done.returncode in looks, f"{line}\n{done.stdout}\n{done.stderr}"
            assert "Traceback" not in done.stderr
    finally:
        daemon.send_signal(signal.SIGINT)
        assert daemon.wait(timeout=20) == 0


def test_every_file_the_readme_points_to_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert not [link for link in links if not (ROOT / link).exists()]


def test_the_make_targets_of_the_readme_exist() -> None:
    made = (ROOT / "Makefile").read_text()
    targets = re.findall(r"`?make ([a-z-]+)`?", README)
    assert {"demo", "test"} <= set(targets)
    assert not [target for target in targets if not re.search(rf"^{target}:", made, re.MULTILINE)]
