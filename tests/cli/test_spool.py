"""`spool show | export`, beside a daemon that writes, after it, and over files that were set aside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.cli.main import main
from edge_runtime.telemetry.spool import Entry, Grade
from edge_runtime.telemetry.sqlite_spool import SqliteSpool


def event(n: int) -> Entry:
    return Entry(f"e{n}", Grade.EVENT, "edge/v1/s/d/event/slot", json.dumps({"id": f"e{n}", "slot": "ü"}).encode())


def figure(n: int) -> Entry:
    return Entry(f"f{n}", Grade.TELEMETRY, "edge/v1/s/d/telemetry", b"\xff\x00 not JSON")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[tuple[Path, SqliteSpool]]:
    spool = SqliteSpool(tmp_path / "spool.db")
    spool.add([event(n) for n in range(600)])
    spool.add([figure(n) for n in range(3)])
    spool.begin(5)
    spool.end(["e0"], ["e1"], why="bad_topic")
    yield tmp_path, spool
    spool.close()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_show_says_what_waits_and_what_was_dropped(
    state: tuple[Path, SqliteSpool], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = state
    assert main(["spool", "show", "--state", str(folder), "--json"]) == 0
    (found,) = lines(capsys)
    assert found["entries"] == {"event": 598, "telemetry": 3}
    assert (found["accepted"], found["dropped"], found["damage"]) == (1, {"rejected_bad_topic": 1}, "")
    assert main(["spool", "show", str(folder / "spool.db")]) == 0
    assert "rejected_bad_topic" in capsys.readouterr().out


def test_export_writes_every_message_beside_a_spool_that_goes_on(
    state: tuple[Path, SqliteSpool], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, spool = state
    assert main(["spool", "export", "--state", str(folder)]) == 0
    found = lines(capsys)
    assert [line["id"] for line in found] == [*(f"e{n}" for n in range(2, 600)), "f0", "f1", "f2"]
    assert found[0]["payload"] == {"id": "e2", "slot": "ü"}
    assert found[0]["topic"] == "edge/v1/s/d/event/slot"
    assert found[-1]["payload_base64"] == "/wAgbm90IEpTT04="
    assert spool.add([event(1000)]) == 1
    assert main(["spool", "export", "--state", str(folder), "--grade", "telemetry", "--json"]) == 0
    assert [line["id"] for line in lines(capsys)] == ["f0", "f1", "f2"]


def test_a_file_that_was_set_aside_can_be_exported(
    state: tuple[Path, SqliteSpool], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, spool = state
    spool.close()
    path = folder / "spool.db"
    raw = bytearray(path.read_bytes())
    raw[0:100] = bytes(100)
    path.write_bytes(raw)
    again = SqliteSpool(path)
    assert main(["spool", "show", "--state", str(folder), "--json"]) == 0
    (shown,) = lines(capsys)
    assert shown["salvaged"] == 601
    assert shown["dropped"]["quarantined_file"] == 1
    (aside,) = shown["set_aside"]
    assert main(["spool", "export", aside]) == 1
    captured = capsys.readouterr()
    assert [json.loads(line)["id"] for line in captured.out.splitlines()][:2] == ["e2", "e3"]
    assert "damaged" in captured.err
    assert main(["spool", "show", aside]) == 1
    assert "could still be read" in capsys.readouterr().out
    assert main(["spool", "show", str(path)]) == 0
    assert "spool export" in capsys.readouterr().out
    again.close()


@pytest.mark.parametrize("verb", ["show", "export"])
def test_what_is_no_spool_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    assert main(["spool", verb, "--state", str(tmp_path)]) == 69
    assert "there is no spool" in capsys.readouterr().err
    assert main(["spool", verb, str(tmp_path)]) == 69
    capsys.readouterr()
    (tmp_path / "text").write_text("something else" * 1000)
    assert main(["spool", verb, str(tmp_path / "text")]) == 1
    assert "nothing that could be read" in capsys.readouterr().err
    (tmp_path / "empty").write_bytes(b"")
    assert main(["spool", verb, str(tmp_path / "empty")]) == 1


def test_the_place_comes_from_the_configuration(
    state: tuple[Path, SqliteSpool], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = state
    monkeypatch.delenv("EDGE_RUNTIME_CONFIG", raising=False)
    monkeypatch.chdir(folder)
    assert main(["spool", "show"]) == 2
    assert "--config" in capsys.readouterr().err
