"""The whole device against a real broker: states and events come out, commands come in, nothing is lost over a restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.errors import Unavailable
from edge_runtime.fleet.local_broker import LocalBroker, find_nats_server
from edge_runtime.records import Image
from tests.daemon.device import Device
from tests.daemon.operator import Operator
from tests.daemon.rig import shelf_picture

pytestmark = pytest.mark.integration
ROOT = "edge/v1/store/dev-1/"


def emptied() -> Image:
    """The shelf with its second slot bare, as the test model sees it."""
    picture = shelf_picture().copy()
    picture[35:195, 90:150] = 255 - picture[35:195, 90:150]
    return np.ascontiguousarray(picture)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[LocalBroker]:
    try:
        find_nats_server()
    except Unavailable as fault:
        pytest.skip(str(fault))
    with LocalBroker(tmp_path / "broker") as running:
        yield running


def test_a_device_speaks_listens_and_loses_nothing_over_a_brokers_restart(tmp_path: Path, broker: LocalBroker) -> None:
    with Device(tmp_path / "device") as device:
        reader = Operator(broker.port)
        device.extra = f'[mqtt]\nurl = "{broker.url}"\ncommands = "unsigned"\n[telemetry]\ninterval_s = 1\n'
        device.start()
        assert reader.until("availability")["state"] == "online"
        assert reader.until("info")["cameras"]["a"]["slots"] == 4
        reader.until("status", lambda record: record["state"] == "ok")
        reader.until("shelf/a", lambda record: record["counts"] == {"stocked": 4})
        reader.until("telemetry", lambda record: record["cameras"]["a"]["usable"] >= 3)

        device.camera.pixels = emptied()
        event = reader.until("event/slot")
        assert (event["slot"], event["was"], event["now"]) == ("s1", "stocked", "empty")

        assert reader.command("ping", 1)["state"] == "succeeded"
        shot = reader.command("snapshot", 2, camera="a")
        assert shot["state"] == "succeeded" and reader.until("snapshot/a")["width"] == shot["result"]["width"]
        assert reader.command("snapshot", 3, camera="b")["state"] == "refused"
        rolled = reader.command("model.rollback", 4, why="test")
        assert rolled["result"]["version"] == "1.0.0"
        assert reader.until("event/model")["now"] == "1.0.0"

        broker.kill()
        device.until(lambda record: any(reason.startswith("broker") for reason in record.reasons))
        device.camera.pixels = shelf_picture()
        device.until(lambda record: {slot.state for slot in record.cameras[0].slots} == {"stocked"})
        broker.start()
        back = reader.until("event/slot", lambda record: record["now"] == "stocked")
        assert back["slot"] == "s1"

        device.until(lambda record: record.state == "ok")
        assert device.end() == 0
        assert reader.until("availability", lambda record: record["state"] == "offline")["reason"] == "stopped"
        events = [record["id"] for name, record in reader.heard if name == "event/slot"]
        assert len(set(events)) == 2
        reader.close()
