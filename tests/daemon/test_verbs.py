"""Every verb about the device itself, over a real broker and a device process."""

from __future__ import annotations

import base64
import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.errors import Unavailable
from edge_runtime.fleet.local_broker import LocalBroker, find_nats_server
from edge_runtime.layout import read_layout
from tests.daemon.device import PROGRAM, Device
from tests.daemon.operator import ROOT, Operator
from tests.daemon.rig import shelf_picture
from tests.daemon.test_broker import emptied

pytestmark = pytest.mark.integration
SOON = "import edge_runtime.daemon.settings_trial as s; s.WATCH_S = 2.0; "
"""New settings prove themselves in two seconds."""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[LocalBroker]:
    try:
        find_nats_server()
    except Unavailable as fault:
        pytest.skip(str(fault))
    with LocalBroker(tmp_path / "broker") as running:
        yield running


@pytest.fixture
def operator(broker: LocalBroker) -> Iterator[Operator]:
    found = Operator(broker.port)
    yield found
    found.close()


@pytest.fixture
def device(tmp_path: Path, broker: LocalBroker) -> Iterator[Device]:
    with Device(tmp_path / "device") as made:
        made.extra = f'[mqtt]\nurl = "{broker.url}"\ncommands = "unsigned"\n[telemetry]\ninterval_s = 600\n'
        yield made


def begin(device: Device, program: str = SOON + PROGRAM) -> None:
    device.launch([sys.executable, "-c", program])
    device.until(lambda record: record.state == "ok" and bool(record.cameras[0].slots))


def test_what_a_device_says_of_itself_when_it_is_asked(device: Device, operator: Operator) -> None:
    begin(device)
    operator.until("status", lambda record: record["state"] == "ok")
    said = len(operator.all("status"))
    answer = operator.command("status", 1)
    assert answer["result"]["state"] == "ok" and answer["result"]["cameras_ok"] == 1
    operator.until("status", lambda record: len(operator.all("status")) > said)

    found = operator.command("diagnostics", 2)
    message = operator.until("diagnostics", lambda record: record["id"] == "c2")
    assert found["result"]["topic"] == f"{ROOT}diagnostics"
    sections = message["sections"]
    assert sections["link"]["state"] == "online" and sections["camera a"]["state"] == "ok"
    assert sections["disk"]["free_mb"] > 0 and sections["memory"]["rss_mb"] > 0
    assert sections["model"]["version"] == "1.1.0" and sections["commands"]["taken"] == 2
    assert any("unsigned" in line for line in message["warnings"])

    assert not operator.all("telemetry")
    assert operator.command("telemetry.rate", 3, interval_s=1, for_s=600)["state"] == "succeeded"
    operator.until("telemetry", lambda record: record["interval_s"] < 600)
    assert operator.command("telemetry.rate", 4, interval_s=1, for_s=0)["state"] == "succeeded"

    assert operator.command("log.level", 5, level="debug", for_s=600)["state"] == "succeeded"
    for number, (verb, args) in enumerate(
        (
            ("status", {"all": True}),
            ("diagnostics", {"deep": 1}),
            ("telemetry.rate", {"interval_s": 0.1, "for_s": 10}),
            ("telemetry.rate", {"interval_s": 1, "for_s": 1e6}),
            ("log.level", {"level": "loud", "for_s": 10}),
            ("log.level", {"level": "debug"}),
            ("drift.rebaseline", {"camera": "b"}),
            ("drift.rebaseline", {"camera": 3}),
            ("restart", {"now": True}),
        ),
        start=10,
    ):
        refused = operator.command(verb, number, **args)
        assert (refused["state"], refused["reason"]) == ("refused", "handler"), (verb, args)
        assert refused["detail"]
    assert operator.command("drift.rebaseline", 30, camera="a")["result"] == {"camera": "a"}
    assert device.end() == 0


def test_a_person_says_whether_an_event_was_right(device: Device, operator: Operator) -> None:
    begin(device)
    device.until(lambda record: record.cameras[0].frames > 20)  # what one picture alone shows is not known yet
    device.camera.pixels = emptied()
    event = operator.until("event/slot")
    right = operator.command("feedback", 1, event=event["id"], right=True)
    assert right["result"] == {"camera": "a", "slot": "s1", "said": "empty", "right": True, "counted": True}
    again = operator.command("feedback", 2, event=event["id"], right=True)
    assert again["result"]["counted"] is False
    assert "before" in operator.command("feedback", 3, event=event["id"], right=False)["detail"]
    assert operator.command("feedback", 4, event="nobody-knows", right=True)["state"] == "refused"
    assert operator.command("feedback", 5, event=event["id"])["state"] == "refused"
    assert operator.command("feedback", 6, event=event["id"], right=True, slot="s1")["state"] == "refused"

    device.signal(signal.SIGHUP)
    device.until(lambda record: record.uptime_s < 2 and bool(record.cameras[0].slots))
    assert operator.command("feedback", 7, event=event["id"], right=True)["result"]["counted"] is False
    operator.command("telemetry.rate", 8, interval_s=1, for_s=60)
    operator.until("telemetry", lambda record: record.get("feedback") == {"right": 1})
    assert device.end() == 0


def picture_of(record: dict[str, str]) -> np.ndarray:
    found = cv2.imdecode(np.frombuffer(base64.b64decode(record["data"]), np.uint8), cv2.IMREAD_COLOR)
    assert found is not None
    return found


def test_a_snapshot_shows_what_the_policy_allows_and_settings_can_only_make_it_less(
    device: Device, operator: Operator
) -> None:
    device.extra = device.extra.replace('"unsigned"\n', '"unsigned"\nsnapshots = "whole"\n')
    begin(device)
    assert operator.command("snapshot", 1, camera="a")["result"]["policy"] == "whole"
    whole = picture_of(operator.until("snapshot/a", lambda record: record["id"] == "c1"))
    assert float(np.abs(whole.astype(int) - shelf_picture()).mean()) < 12

    assert operator.command("config.set", 2, key="mqtt.snapshots", value="slots")["state"] == "succeeded"
    assert operator.command("snapshot", 3, camera="a")["result"]["policy"] == "slots"
    slots = picture_of(operator.until("snapshot/a", lambda record: record["id"] == "c3"))
    assert float(np.abs(slots[:20].astype(int) - 114).max()) < 12  # above the shelf all is grey
    assert float(np.abs(slots[60:180, 40:70].astype(int) - shelf_picture()[60:180, 40:70]).mean()) < 12

    assert operator.command("config.set", 4, **{"mqtt.snapshots": "off"})["state"] == "succeeded"
    assert "allows no pictures" in operator.command("snapshot", 5, camera="a")["detail"]
    assert operator.command("config.reset", 6)["state"] == "succeeded"
    assert operator.command("snapshot", 7, camera="a")["result"]["policy"] == "whole"
    assert device.end() == 0


def test_settings_prove_themselves_and_a_reload_shows_nobody_that_the_device_was_away(
    device: Device, operator: Operator
) -> None:
    begin(device)
    assert operator.until("availability")["state"] == "online"
    session = operator.until("status")["session"]
    done = operator.command("config.set", 1, **{"telemetry.interval_s": 5, "camera.a.interval_s": 0.2})
    assert operator.states("config.set", 1) == ["accepted", "running", "succeeded"]
    assert done["result"] == {"telemetry.interval_s": 5, "camera.a.interval_s": 0.2}
    operator.until("info", lambda record: record["cameras"]["a"]["interval_s"] == 0.2)
    operator.until("telemetry", lambda record: record["session"] == session)
    operator.until("reported", lambda record: record.get("config", {}).get("telemetry.interval_s") == 5)

    for number, args in enumerate(
        (
            {},
            {"key": "mqtt.url", "value": "mqtt://elsewhere"},
            {"telemetry.interval_s": 0},
            {"telemetry.interval_s": None},
            {"camera.b.interval_s": 5},
            {"mqtt.snapshots": "whole"},
            {"key": "log.level"},
            {"model.auto_update": True},
        ),
        start=10,
    ):
        assert operator.command("config.set", number, **args)["state"] == "refused", args
    assert operator.command("config.reset", 20, key="log.level")["state"] == "refused"
    assert operator.command("config.reset", 21, key="telemetry.interval_s")["result"] == {"camera.a.interval_s": 0.2}

    assert [record["state"] for record in operator.all("availability")] == ["online"]
    assert device.end() == 0


def test_settings_under_which_the_process_dies_are_taken_back_and_the_sender_hears_of_it(
    device: Device, operator: Operator
) -> None:
    begin(device, PROGRAM)
    operator.send("config.set", 1, **{"telemetry.interval_s": 5})
    operator.answer("config.set", 1, "running")
    operator.until("info", lambda record: len(operator.all("info")) > 1)  # the new settings are in force
    device.signal(signal.SIGKILL)
    device.wait()
    device.start()
    assert "taken back" in operator.answer("config.set", 1, "failed")["detail"]
    record = device.until(lambda record: bool(record.reasons))
    assert "taken back" in " ".join(record.reasons)
    assert json.loads((device.state_dir / "overrides.json").read_text())["overrides"] == {}
    assert device.end() == 0


def test_what_was_answered_is_answered_the_same_after_a_reload_and_after_a_kill(
    device: Device, operator: Operator
) -> None:
    begin(device)
    raw = operator.send("ping", 1)
    first = operator.answer("ping", 1)
    for disturb in (signal.SIGHUP, signal.SIGKILL):
        device.signal(disturb)
        if disturb is signal.SIGKILL:
            device.wait()
            device.start()
            operator.until("availability", lambda record: record["session"] > first["session"])
        device.until(lambda record: bool(record.cameras[0].slots) and record.uptime_s < 3)
        heard = len(operator.all("resp/ping"))
        operator.client.publish(f"{ROOT}cmd/ping", raw, 1)
        operator.until("resp/ping", lambda record, heard=heard: len(operator.all("resp/ping")) > heard)
        assert operator.all("resp/ping")[-1] == first
    assert device.end() == 0


@pytest.mark.parametrize("supervised", [True, False])
def test_a_restart_is_answered_by_the_next_process(device: Device, operator: Operator, supervised: bool) -> None:
    """Under systemd it ends, and is started again; else it begins anew by itself."""
    program = [] if supervised else ["env", "-u", "NOTIFY_SOCKET"]
    device.launch([*program, sys.executable, "-c", PROGRAM])
    device.until(lambda record: bool(record.cameras[0].slots))
    session = operator.until("availability")["session"]
    operator.send("restart", 1, why="to see")
    if supervised:
        assert device.wait() == 0
        assert operator.states("restart", 1) == ["accepted", "running"]
        device.start()
    assert operator.answer("restart", 1)["state"] == "succeeded"
    later = operator.until("availability", lambda record: record["session"] > session)
    assert later["state"] == "online"
    soon = operator.command("restart", 2)
    assert soon["state"] == "refused" and "ago" in soon["detail"]
    assert device.process is not None and device.process.poll() is None
    assert device.end() == 0


def test_a_camera_that_was_pushed_gets_a_new_reference_and_the_old_one_back(device: Device, operator: Operator) -> None:
    begin(device)
    device.camera.pixels = shifted()
    time.sleep(1.0)
    done = operator.command("camera.recommission", 1, camera="a", why="it was pushed")
    assert done["state"] == "succeeded", done
    layout = read_layout(Path(done["result"]["layout"]))
    assert layout.path.is_relative_to(device.state_dir) and [slot.id for slot in layout.slots] == [
        "s0", "s1", "s2", "s3"
    ]  # fmt: skip
    x, y = layout.slots[0].polygon[0]
    assert abs(x - 36) < 2 and abs(y - 44) < 2
    device.until(lambda record: record.state == "ok" and record.cameras[0].frames > 3 and record.uptime_s < 30)
    operator.until("event/camera", lambda record: record["now"] == "recommissioned")

    undone = operator.command("camera.recommission", 2, camera="a", undo=True)
    assert undone["result"]["layout"] == str(device.folder / "shelf" / "layout.json")
    assert operator.command("camera.recommission", 3, camera="a", undo=True)["state"] == "refused"
    assert operator.command("camera.recommission", 4, camera="z")["state"] == "refused"
    assert device.end() == 0


def shifted() -> np.ndarray:
    """The shelf as a camera sees it that was pushed by a few pixels."""
    move = np.array([[1, 0, 6], [0, 1, 4]], np.float64)
    return np.ascontiguousarray(
        cv2.warpAffine(shelf_picture(), move, (320, 240), borderMode=cv2.BORDER_REFLECT), np.uint8
    )
