"""A whole device, a real broker and an operator's signed wishes: asleep, awake, killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.errors import Unavailable
from edge_runtime.fleet.desired import Desired, DesiredModel, encode_desired
from edge_runtime.fleet.local_broker import LocalBroker, find_nats_server
from edge_runtime.lifecycle.trust.command_keys import CommandKeys, encode_command_keys
from edge_runtime.lifecycle.trust.envelope import DESIRED
from edge_runtime.workshop.enrolment.signing import OperatorKey
from tests.daemon.device import Device
from tests.daemon.operator import Operator

pytestmark = pytest.mark.integration
TOPIC = "edge/v1/store/dev-1/desired"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[LocalBroker]:
    try:
        find_nats_server()
    except Unavailable as fault:
        pytest.skip(str(fault))
    with LocalBroker(tmp_path / "broker") as running:
        yield running


def signed(key: OperatorKey, seq: int, version: str) -> bytes:
    model = DesiredModel(name="shelf-test", version=version)
    desired = Desired(audience="store/dev-1", seq=seq, issued_at=1.0, model=model)
    return key.sign(DESIRED, encode_desired(desired))


def test_a_device_that_was_asleep_finds_its_newest_wish_and_ends_there(tmp_path: Path, broker: LocalBroker) -> None:
    key, stranger = OperatorKey.create(tmp_path / "k.pem", "ops"), OperatorKey.create(tmp_path / "s.pem", "stranger")
    (tmp_path / "keys.json").write_bytes(encode_command_keys(CommandKeys((key.public_entry(),))))
    with Device(tmp_path / "device") as device:
        device.extra = (
            f'[model]\nname = "shelf-test"\n[mqtt]\nurl = "{broker.url}"\ncommands = "signed"\n'
            f'command_keys = "{tmp_path / "keys.json"}"\n'
        )
        reader = Operator(broker.port)

        def wish(payload: bytes) -> None:
            reader.client.publish(TOPIC, payload, 1, True)

        wish(signed(key, 10, "9.9.9"))  # three wishes while it sleeps: only the last is there when it wakes
        wish(signed(key, 20, "8.8.8"))
        wish(signed(key, 30, "1.0.0"))
        device.start()
        done = reader.until("reported", lambda record: record.get("state") == "converged")
        assert (done["seq"], done["model"]["version"]) == (30, "1.0.0")

        wish(signed(stranger, 99, "1.1.0"))
        wish(b"")
        wish(signed(key, 25, "1.1.0"))  # a broker that is taken over goes back
        wish(signed(key, 40, "7.7.7"))
        failed = reader.until("reported", lambda record: record.get("seq") == 40 and record["state"] == "failed")
        assert failed["reason"] == "refused" and "no model repository" in failed["detail"]
        assert failed["model"]["version"] == "1.0.0"

        assert device.process is not None
        device.process.kill()
        device.process.wait()
        device.start()
        again = reader.until(
            "availability", lambda record: record["state"] == "online" and record["session"] > done["session"]
        )
        kept = reader.until("reported", lambda record: record["session"] == again["session"])
        assert (kept["seq"], kept["state"], kept["reason"]) == (40, "failed", "refused")
        assert device.end() == 0
        reader.close()
