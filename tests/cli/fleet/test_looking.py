"""`fleet ls`, `show`, `watch`, `send` and `collect` over a real broker with virtual devices."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ..conftest import Run
from .conftest import DEVICES, Town

pytestmark = pytest.mark.integration
CLI = [sys.executable, "-m", "edge_runtime.cli", "fleet"]


def test_ls_has_every_device_in_order_and_filters_them(run: Run, town: Town) -> None:
    ran = run("fleet", "ls", "--fleet", town.folder, "--json")
    assert ran.code == 0
    names = [(line["site"], line["device"]) for line in ran.lines]
    assert names == sorted(names)
    assert len(names) == DEVICES
    assert all(line["online"] and line["model"] == "shelf-1.0.0" for line in ran.lines)
    canaries = run("fleet", "ls", "--fleet", town.folder, "--group", "canary", "--json").lines
    assert len(canaries) == 3
    assert len(run("fleet", "ls", "v001", "--fleet", town.folder, "--json").lines) == 4
    assert run("fleet", "ls", "--offline", "--fleet", town.folder, "--json").lines == []


def test_ls_is_a_table_for_people(run: Run, town: Town) -> None:
    ran = run("fleet", "ls", "v000/*", "--url", town.broker.url)
    assert ran.out.splitlines()[0].split()[:3] == ["DEVICE", "ONLINE", "SEEN"]
    assert "v000/d00003" in ran.out
    assert ran.out.rstrip().endswith("4 devices, 0 offline")


def test_show_tells_one_device_and_refuses_one_that_is_not_there(run: Run, town: Town) -> None:
    ran = run("fleet", "show", "v000/d00001", "--fleet", town.folder)
    assert "no problems" in ran.out and "shelf 1.0.0" in ran.out
    detail = run("fleet", "show", "v000/d00001", "--fleet", town.folder, "--json").lines[0]
    assert detail["cameras"]
    assert detail["found"] == []
    ran = run("fleet", "show", "v000/nobody", "--fleet", town.folder)
    assert ran.code == 1
    assert "knows no device" in ran.err


def test_watch_gives_programs_every_message(run: Run, town: Town) -> None:
    lines = run("fleet", "watch", "v000/*", "--fleet", town.folder, "--json", "--duration", "3").lines
    assert {line["device"] for line in lines} == {f"d{n:05d}" for n in range(4)}
    assert {"status", "telemetry", "availability"} <= {line["kind"] for line in lines}
    assert all(line["message"]["schema"].startswith("edge/") for line in lines if line["message"])


def test_send_waits_for_the_receipt(run: Run, town: Town) -> None:
    ran = run("fleet", "send", "v000/d00001", "ping", "--fleet", town.folder, "--json")
    assert ran.code == 0, ran.err
    assert ran.lines[0]["state"] == "succeeded"
    ran = run("fleet", "send", "v000/d00001", "model.install", "version=", "--fleet", town.folder)
    assert ran.code == 1
    assert "failed" in ran.out or "refused" in ran.out


def test_send_to_many_asks_for_yes_and_hears_each(run: Run, town: Town) -> None:
    ran = run("fleet", "send", "v001/*", "ping", "--fleet", town.folder)
    assert ran.code == 2
    assert "--yes" in ran.err
    for target, number in (("v001/*", 4), ("v001/_all", 4), ("_group/canary", 3)):
        ran = run("fleet", "send", target, "ping", "--yes", "--fleet", town.folder, "--json")
        assert ran.code == 0, ran.err
        assert len(ran.lines) == number


def test_the_same_id_is_sent_again_and_not_done_again(run: Run, town: Town) -> None:
    arguments = ("fleet", "send", "v000/d00002", "ping", "--id", "once-1", "--fleet", town.folder, "--json")
    first, second = run(*arguments), run(*arguments)
    assert first.code == second.code == 0
    assert first.lines == second.lines, "the receipt that the device has kept"
    other = run("fleet", "send", "v000/d00002", "status", "--id", "once-1", "--fleet", town.folder)
    assert other.code == 1
    assert "was used for" in other.err


def test_send_says_what_is_missing(run: Run, town: Town, tmp_path: Path) -> None:
    url = ("--url", town.broker.url)
    assert "no key" in run("fleet", "send", "v000/d00001", "ping", *url).err
    ran = run("fleet", "send", "v000/d00001", "ping", *url, "--unsigned", "--wait", "1")
    assert ran.code in (1, 75)
    assert "knows no device" in run("fleet", "send", "v000/nobody", "ping", "--fleet", town.folder).err
    assert run("fleet", "send", "v000/d00001", "ping", "version", "--fleet", town.folder).code == 2
    assert run("fleet", "ls").code == 2
    ran = run("fleet", "ls", "--url", "mqtt://127.0.0.1:1")
    assert ran.code == 69
    assert "can not be reached" in ran.err
    ran = run("fleet", "ls", "--fleet", tmp_path)
    assert ran.code == 69
    assert "fleet init" in ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("", "ping"), "TARGET is empty"),
        (("v000/d00001", ""), "'' is no verb"),
        (("v000/d00001", "../ping"), "'../ping' is no verb"),
        (("v000/d00001", "ping", "--wait", "-5"), "--wait -5"),
        (("v000/d00001", "ping", "--wait", "nan"), "--wait nan"),
    ],
)
def test_what_is_no_command_is_not_sent(run: Run, town: Town, words: tuple[str, ...], said: str) -> None:
    ran = run("fleet", "send", *words, "--fleet", town.folder)
    assert ran.code == 2
    assert said in ran.err and not ran.out


def test_a_group_of_nobody_is_told_so(run: Run, town: Town) -> None:
    ran = run("fleet", "send", "_group/canari", "ping", "--wait", "1", "--fleet", town.folder)
    assert ran.code == 75
    assert "knows no device of '_group/canari'" in ran.err


def test_a_key_that_may_not_is_told_so(run: Run, town: Town, tmp_path: Path) -> None:
    from edge_runtime.workshop.enrolment.signing import OperatorKey

    OperatorKey.create(tmp_path / "other.pem", "other")
    (tmp_path / "fleet.toml").write_text(f'urls = ["{town.broker.url}"]\ncommand_key = "other.pem"\n')
    ran = run("fleet", "send", "v000/d00001", "ping", "--fleet", tmp_path, "--wait", "3", "--json")
    assert ran.code in (1, 75)
    assert all(line["state"] != "succeeded" for line in ran.lines)


def test_collect_writes_each_event_once_through_kills(town: Town, tmp_path: Path) -> None:
    target = tmp_path / "events.jsonl"
    command = [*CLI, "collect", "--to", str(target), "--fleet", str(town.folder), "--name", f"c{time.time_ns()}"]
    for _ in range(3):
        before = target.stat().st_size if target.exists() else 0
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ends = time.monotonic() + 40.0
        while (not target.exists() or target.stat().st_size <= before) and time.monotonic() < ends:
            time.sleep(0.1)
        child.kill()
        child.wait()
        with target.open("ab") as torn:
            torn.write(b'{"schema":"edge/event/1","site":"v0')
    last = subprocess.run([*command, "--duration", "3", "--json"], capture_output=True, text=True, check=True)
    assert json.loads(last.stdout.splitlines()[-1])["summary"]
    events = [json.loads(line) for line in target.read_text().splitlines()]
    ids = [(event["site"], event["device"], event["id"]) for event in events]
    assert len(ids) == len(set(ids)) > 3


def test_collect_ends_at_ctrl_c_with_its_counts(town: Town, tmp_path: Path) -> None:
    target = tmp_path / "events.jsonl"
    command = [*CLI, "collect", "--to", str(target), "--fleet", str(town.folder), "--name", "brief"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert "collecting into" in child.stdout.readline()
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=30)
    assert child.returncode == 0
    assert "events written" in said
