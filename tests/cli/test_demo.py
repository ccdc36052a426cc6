"""The demo, for real and short: every process, the broker, the daemon, the subscriber, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_runtime.assets import factory_bundles
from edge_runtime.errors import Unavailable
from edge_runtime.fleet.local_broker import find_nats_server

from .conftest import Run, Site

SUMMARY_KEYS = {
    "frames",
    "events",
    "events_published",
    "events_received",
    "messages_published",
    "messages_received",
    "accuracy",
    "balanced_accuracy",
    "coverage",
    "p95_ms",
    "rss_mb",
    "model",
    "duration_s",
}


@pytest.fixture(autouse=True)
def broker() -> None:
    try:
        find_nats_server()
    except Unavailable as fault:
        pytest.skip(str(fault))


def alive_in(folder: Path) -> list[str]:
    """Command lines of processes that work in a folder or name it."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(folder) in words or str(folder) in str((entry / "cwd").readlink()):
                found.append(words)
        except OSError:
            continue
    return found


def started(folder: Path, site: Site, *arguments: str) -> subprocess.Popen[str]:
    """The demo with the shipped model, or with the tests' own where none is built yet."""
    model = [] if factory_bundles() else ["--model", str(site.bundle)]
    return subprocess.Popen(
        [sys.executable, "-m", "edge_runtime.cli", "demo", *arguments, *model],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )


@pytest.mark.integration
def test_the_demo_ends_by_itself_loses_no_event_and_leaves_nothing_behind(site: Site, tmp_path: Path) -> None:
    with started(tmp_path, site, "--duration", "10", "--json") as demo:
        out, err = demo.communicate(timeout=120)
    assert demo.returncode == 0, err
    summary = json.loads(out.splitlines()[-1])
    assert set(summary) >= SUMMARY_KEYS
    assert summary["frames"] >= 5
    assert summary["events_received"] == summary["events_published"]
    assert summary["messages_received"] > 0
    assert summary["accuracy"] > 0.8 or not factory_bundles()
    assert "the local page: http://127.0.0.1:" in err
    assert list(tmp_path.iterdir()) == []
    assert alive_in(tmp_path) == []


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_ends_it_cleanly_with_a_summary(site: Site, tmp_path: Path, number: signal.Signals) -> None:
    with started(tmp_path, site, "--duration", "600", "--no-view", "--json") as demo:
        ends = time.monotonic() + 60
        while time.monotonic() < ends and not list(tmp_path.glob("edge-runtime-demo-*/state/status.json")):
            time.sleep(0.1)
        demo.send_signal(number)
        out, err = demo.communicate(timeout=60)
    assert demo.returncode in (0, 1), err
    assert "Traceback" not in err
    assert set(json.loads(out.splitlines()[-1])) >= SUMMARY_KEYS
    assert list(tmp_path.iterdir()) == []
    assert alive_in(tmp_path) == []


@pytest.mark.integration
def test_a_port_that_is_taken_is_told_and_the_demo_goes_on_without_its_page(site: Site, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with started(tmp_path, site, "--duration", "5", "--json", "--port", port) as demo:
            out, err = demo.communicate(timeout=120)
    assert f"127.0.0.1:{port}: Address already in use. Choose another port" in err
    assert set(json.loads(out.splitlines()[-1])) >= SUMMARY_KEYS


@pytest.mark.integration
def test_an_upgrade_goes_from_a_signed_repository_to_committed_while_frames_flow(tmp_path: Path) -> None:
    pytest.importorskip("edge_runtime.workshop.repository.changes")
    if len(factory_bundles("shelf-occupancy")) < 2:
        pytest.skip("an upgrade needs two shipped models (make bundle)")
    command = [sys.executable, "-m", "edge_runtime.cli", "demo", "--upgrade", "--duration", "2", "--no-view", "--json"]
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=500, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    assert ran.returncode == 0, ran.stderr
    summary = json.loads(ran.stdout.splitlines()[-1])
    upgrade = summary["upgrade"]
    assert upgrade["from"] != upgrade["to"] == summary["model"]
    assert list(upgrade["took_s"]) == ["before", "installing", "proving", "shadow", "trial", "after"]
    assert upgrade["frames"] > 10 and upgrade["install_to_committed_s"] > 0
    assert list(tmp_path.iterdir()) == [] and alive_in(tmp_path) == []


def test_an_upgrade_of_a_named_bundle_is_wrong_usage(run: Run, site: Site) -> None:
    assert run("demo", "--upgrade", "--model", site.bundle).code == 2


def test_a_model_that_is_not_there_is_told_before_anything_starts(run: Run, tmp_path: Path) -> None:
    ran = run("demo", "--model", tmp_path / "none.zip")
    assert (ran.code, ran.out) == (69, "")


@pytest.mark.parametrize("arguments", [("--duration", "0"), ("--duration", "nan"), ("--port", "70000")])
def test_figures_out_of_range_are_wrong_usage(run: Run, arguments: tuple[str, ...]) -> None:
    ran = run("demo", *arguments)
    assert (ran.code, arguments[0] in ran.err) == (2, True)
