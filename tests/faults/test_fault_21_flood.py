"""Fault 21, 2,000 a second: the flood is stopped at the broker, what the device tells still arrives, and it obeys after."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fleet.brokers import wait_until

from benchmarks.faults import hostile_brokers
from benchmarks.faults.hostile_mint import TOPICS, Mint
from edge_runtime.fleet.link import MqttLink
from edge_runtime.fleet.rate_limit import Limits
from edge_runtime.fleet.session import Incoming
from edge_runtime.fleet.settings import MqttSettings
from edge_runtime.fleet.valve import HEARING, Valve
from edge_runtime.telemetry.builders import Stamp
from edge_runtime.telemetry.publisher import Delivery

PER_S = 2_000
FLOOD_S = 2.0
ROOT = Path(__file__).resolve().parents[2]


class Device(hostile_brokers.Listening):
    """As the daemon composes it: the valve first, then the limits as they ship."""

    def __init__(self, port: int, folder: Path, mint: Mint) -> None:
        link = MqttLink(MqttSettings(f"mqtt://127.0.0.1:{port}", client_id="store-box"), Stamp(TOPICS, 1))
        super().__init__(hostile_brokers.Target(folder / "state", mint, Limits(), link), link)
        self.valve = Valve(link.hush, TOPICS.command_filters)

    def hear(self, message: Incoming) -> None:
        if self.valve.admits(message.topic):
            super().hear(message)


@pytest.mark.integration
@pytest.mark.undocumented("hostile messages")
@pytest.mark.parametrize("name", ["nats-server", "mosquitto"])
def test_a_flood_through_a_real_broker(name: str, tmp_path: Path, program: Callable[[str, str], str]) -> None:
    if name == "mosquitto":
        program("mosquitto", "mosquitto")
    with hostile_brokers.brokers()[name](tmp_path / "broker") as port:
        mint = Mint(tmp_path / "keys", 5, time.time())
        mint.seen.append(mint.honest())
        device = Device(port, tmp_path, mint)
        device.start()
        try:
            wait_until(lambda: device.link.connected, "online")
            _flooded(device, port, tmp_path, mint)
        finally:
            device.stop()


def _flooded(device: Device, port: int, folder: Path, mint: Mint) -> None:
    messages = folder / "messages"
    messages.write_text("\n".join(mint.payload().hex() for _ in range(100)))
    command = [sys.executable, "-m", "benchmarks.flood.flooder", str(port), str(PER_S)]
    flooder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert flooder.stdin is not None
    flooder.stdin.write(f"{TOPICS.command('ping')} {messages}\n")
    flooder.stdin.flush()
    wait_until(lambda: device.valve.floods, "the valve shuts")
    ends_s = time.monotonic() + FLOOD_S
    while time.monotonic() < ends_s:
        told = device.link.publish(f"{TOPICS.base}/event/probe", b"{}", 1, False)
        wait_until(lambda told=told: told.delivery() is Delivery.ACKNOWLEDGED, "an event arrives during the flood")
        time.sleep(0.05)
    sent = int(flooder.communicate(timeout=20)[0])
    assert sent > PER_S * FLOOD_S / 2
    assert device.arrived + device.valve.dropped < sent, "most of it never reached the device"
    assert device.arrived <= HEARING.burst + HEARING.per_s * 2 * FLOOD_S + 10
    assert not device.target.done
    operator = hostile_brokers._client("operator", port)
    mint.now = time.time()
    honest = mint.honest()

    def obeyed() -> bool:
        operator.publish(honest.topic, honest.payload, 1).wait_for_publish(10)
        time.sleep(0.2)
        return bool(device.target.done)

    wait_until(obeyed, "a command after the flood", 60)
    assert len(device.target.done) == 1
    operator.disconnect()
    operator.loop_stop()
