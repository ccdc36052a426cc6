"""Signed commands over a real broker: with keys, without keys, and with keys that come later."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.errors import Unavailable
from edge_runtime.fleet.local_broker import LocalBroker, find_nats_server
from edge_runtime.lifecycle.trust.command_keys import CommandKeys, encode_command_keys
from edge_runtime.lifecycle.trust.envelope import COMMAND
from tests.daemon.device import Device
from tests.daemon.operator import ROOT, Operator

pytestmark = pytest.mark.integration
signing = pytest.importorskip("edge_runtime.workshop.enrolment.signing", reason="cryptography is not installed")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[LocalBroker]:
    try:
        find_nats_server()
    except Unavailable as fault:
        pytest.skip(str(fault))
    with LocalBroker(tmp_path / "broker") as running:
        yield running


def signed(operator: Operator, key: object, verb: str, number: int, **args: object) -> dict[str, object]:
    """Send a signed command; its last receipt."""
    operator.until("status")
    now = time.time()
    record = {"id": f"c{number}", "verb": verb, "audience": "store/dev-1", "seq": int(now * 1000), "args": args}
    record |= {"issued_at": now, "expires_at": now + 60}
    raw = key.sign(COMMAND, json.dumps(record).encode())  # type: ignore[attr-defined]
    operator.client.publish(f"{ROOT}cmd/{verb}", raw, 1)
    return operator.answer(verb, number)


def test_only_what_is_signed_by_a_key_that_may_is_carried_out(tmp_path: Path, broker: LocalBroker) -> None:
    anna = signing.OperatorKey.create(tmp_path / "anna.pem", "anna")
    ben = signing.OperatorKey.create(tmp_path / "ben.pem", "ben")
    entries = (anna.public_entry(), ben.public_entry(verbs=("ping",)))
    with Device(tmp_path / "device") as device:
        keys = device.folder / "command-keys.json"
        device.extra = f'[mqtt]\nurl = "{broker.url}"\ncommands = "signed"\ncommand_keys = "{keys}"\n'
        device.start()
        operator = Operator(broker.port)
        record = device.until(lambda record: any(reason.startswith("commands:") for reason in record.reasons))
        told = next(reason for reason in record.reasons if reason.startswith("commands:"))
        assert str(keys) in told and "every command is refused" in told

        keys.write_bytes(encode_command_keys(CommandKeys(entries)))
        device.until(lambda record: record.state == "ok")
        assert signed(operator, anna, "status", 1)["state"] == "succeeded"
        assert signed(operator, ben, "ping", 2)["state"] == "succeeded"
        assert signed(operator, ben, "status", 3)["state"] == "refused"
        operator.send("ping", 4)
        refused = operator.until("resp/ping", lambda r: r["state"] == "refused")
        assert refused["reason"] in ("unsigned", "untrusted", "malformed")
        assert device.end() == 0
        operator.close()
