"""docs/commands.md: every command on it as an operator types it, against a real device; and nothing is missing on it."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.cli.main import main
from edge_runtime.config.overrides import BOUNDS
from edge_runtime.daemon.restarts import APART_S
from edge_runtime.errors import EXIT_OK, Unavailable
from edge_runtime.fleet.local_broker import LocalBroker, find_nats_server
from tests.daemon.device import PROGRAM, Device
from tests.daemon.operator import Operator
from tests.daemon.test_verbs import SOON

PAGE = Path(__file__).resolve().parents[2] / "docs" / "commands.md"
VERBS = (
    "ping", "status", "snapshot", "diagnostics", "model.install", "model.activate", "model.shadow", "model.commit",
    "model.rollback", "model.release", "config.set", "config.reset", "telemetry.rate", "log.level",
    "camera.recommission", "drift.rebaseline", "feedback", "restart",
)  # fmt: skip


def lines() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[LocalBroker]:
    try:
        find_nats_server()
    except Unavailable as fault:
        pytest.skip(str(fault))
    with LocalBroker(tmp_path / "broker") as running:
        yield running


@pytest.mark.integration
def test_every_command_of_the_page_works(
    tmp_path: Path, broker: LocalBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(lines()) >= 14 and all(line.startswith("edge-runtime fleet send store/dev-1 ") for line in lines())
    with Device(tmp_path / "device") as device:
        device.extra = f'[mqtt]\nurl = "{broker.url}"\ncommands = "unsigned"\n'
        device.launch(["env", "-u", "NOTIFY_SOCKET", sys.executable, "-c", SOON + PROGRAM])
        operator = Operator(broker.port)
        device.until(lambda record: record.state == "ok" and record.cameras[0].frames > 20)
        operator.until("status")
        for line in lines():
            words = shlex.split(line)[1:]
            code = main([*words, "--url", broker.url, "--unsigned"])
            said = capsys.readouterr()
            assert code == EXIT_OK, (line, said.out, said.err)
        operator.close()
        assert device.end() == 0


@pytest.mark.integration
def test_a_device_knows_the_verbs_of_the_page_and_no_other(tmp_path: Path, broker: LocalBroker) -> None:
    text = PAGE.read_text("utf-8")
    assert [verb for verb in VERBS if f"| `{verb}` |" not in text] == []
    with Device(tmp_path / "device") as device:
        device.extra = f'[mqtt]\nurl = "{broker.url}"\ncommands = "unsigned"\n'
        device.start()
        operator = Operator(broker.port)
        refused = operator.command("nothing", 1)
        assert refused["reason"] == "unknown_verb"
        assert all(verb in refused["detail"] for verb in VERBS[:4])
        for number, verb in enumerate(VERBS, start=2):
            answer = operator.command(verb, number, no_such_argument=1)
            assert answer["reason"] != "unknown_verb" and answer["state"] == "refused", answer
        operator.close()
        assert device.end() == 0


def test_the_settings_and_the_bounds_of_the_page_are_those_of_the_device() -> None:
    text = PAGE.read_text("utf-8")
    assert [key for key in BOUNDS if f"`{key}`" not in text] == []
    assert APART_S == 600.0 and "within ten minutes of the last one" in text
