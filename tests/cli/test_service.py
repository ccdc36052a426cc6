from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.lifecycle.origin import Origin
from edge_runtime.lifecycle.store import ModelStore

from .conftest import Run, Site

CONFIG = """
[device]
id = "bay-7"
site = "store-1"
[[camera]]
name = "aisle-1"
source = "{source}"
layout = "{layout}"
interval_s = 0.1
[storage]
state_dir = "state"
[view]
port = {port}
{more}
"""


def configured(folder: Path, site: Site, source: object = "", port: int = 0, more: str = "") -> Path:
    """A device with the site's model installed, looking at the site's full shelf."""
    store = ModelStore(folder / "state", ())
    store.activate(store.install(site.bundle, Origin("repository", 1, "tests")))
    file = folder / "device.toml"
    file.write_text(CONFIG.format(source=source or site.full, layout=site.layout, port=port, more=more))
    return file


@contextmanager
def running(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    call = [sys.executable, "-m", "edge_runtime.cli", "run", "--config", str(config)]
    with (config.parent / "log").open("wb") as log, subprocess.Popen(call, stdout=log, stderr=log) as started:
        try:
            yield started
        finally:
            started.kill()


def until(run: Run, config: Path, there: Callable[[dict[str, Any]], object], limit_s: float = 30.0) -> dict[str, Any]:
    """`status --json` once it fulfils a condition."""
    ends = time.monotonic() + limit_s
    last: object = None
    while time.monotonic() < ends:
        ran = run("status", "--config", config, "--json")
        last = ran.out or ran.err
        if ran.out and there(ran.lines[0]["status"]):
            return dict(ran.lines[0])
        time.sleep(0.1)
    raise AssertionError(f"{last}\n{(config.parent / 'log').read_text()}")


def seen(status: dict[str, Any]) -> bool:
    return all(camera["slots"] for camera in status["cameras"])


def test_status_of_a_running_daemon_then_a_clean_stop(run: Run, site: Site, tmp_path: Path) -> None:
    config = configured(tmp_path, site)
    with running(config) as daemon:
        record = until(run, config, seen)
        assert record["running"] is True
        status = record["status"]
        assert (status["device"], status["model"]["name"], status["pid"]) == ("bay-7", "shelf-test", daemon.pid)
        assert status["view"].startswith("http://127.0.0.1:")
        text = run("status", "--state", tmp_path / "state").out
        assert "store-1/bay-7" in text
        assert "r0s1" in text
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(20) == 0, (tmp_path / "log").read_text()
    stopped = run("status", "--config", config)
    assert (stopped.code, "was stopped" in stopped.err) == (69, True)


def test_status_where_no_daemon_has_ever_run(run: Run, tmp_path: Path) -> None:
    ran = run("status", "--state", tmp_path)
    assert (ran.code, "Is the daemon running" in ran.err) == (69, True)


def test_status_after_a_kill(run: Run, site: Site, tmp_path: Path) -> None:
    config = configured(tmp_path, site)
    with running(config) as daemon:
        until(run, config, seen)
        daemon.kill()
        daemon.wait(10)
    ran = run("status", "--config", config, "--json")
    assert (ran.code, ran.lines[0]["running"]) == (69, False)
    assert "ended without a word" in ran.err


def test_a_daemon_that_hangs_does_not_pass_for_running(run: Run, site: Site, tmp_path: Path) -> None:
    config = configured(tmp_path, site)
    with running(config) as daemon:
        until(run, config, seen)
        daemon.kill()
        daemon.wait(10)
    file = tmp_path / "state" / "status.json"
    record = json.loads(file.read_text()) | {"pid": os.getpid(), "written_at": time.time() - 600}
    file.write_text(json.dumps(record))
    ran = run("status", "--config", config)
    assert (ran.code, "10 min ago" in ran.err) == (69, True)


@pytest.mark.parametrize("trouble", ["port", "broker", "camera", "layout"])
def test_what_is_missing_is_told_and_the_rest_goes_on(run: Run, site: Site, tmp_path: Path, trouble: str) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        more = '[mqtt]\nurl = "mqtt://127.0.0.1:9"\n' if trouble == "broker" else ""
        if trouble == "camera":
            more = f'[[camera]]\nname = "gone"\nsource = "http://127.0.0.1:9/a.mjpg"\nlayout = "{site.layout}"\n'
        if trouble == "layout":
            more = f'[[camera]]\nname = "gone"\nsource = "{site.full}"\nlayout = "no.json"\n'
        config = configured(tmp_path, site, port=taken if trouble == "port" else 0, more=more)
        words = {"port": "can not listen", "broker": "127.0.0.1:9", "camera": "camera gone", "layout": "no.json"}
        with running(config):
            record = until(
                run,
                config,
                lambda status: (
                    any(words[trouble] in reason for reason in status["reasons"]) and status["cameras"][0]["slots"]
                ),
            )
    assert record["status"]["state"] == "degraded"


def test_run_refuses_a_bad_configuration_at_the_start(run: Run, tmp_path: Path) -> None:
    (tmp_path / "device.toml").write_text("[device]\nid = 1\n")
    assert run("run", "--config", tmp_path / "device.toml").code == 78
    assert run("run", "--config", tmp_path / "none.toml").code == 78
