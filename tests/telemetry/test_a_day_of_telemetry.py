"""What one camera costs in a day at the defaults, both ways, with something to remark all day: at most 1.5 MB of MQTT.

`pytest tests/telemetry/test_a_day_of_telemetry.py --log-cli-level=INFO` shows the figures.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge_runtime.drift.cause import Cause
from edge_runtime.drift.monitor import DriftReport, DriftState
from edge_runtime.drift.signals import NAMES
from edge_runtime.fleet.samples import EVERY_S
from edge_runtime.records import Event, Layout, Remark, State
from edge_runtime.telemetry.builders import CameraHealth, Health, Stamp, availability, info
from edge_runtime.telemetry.messages import ModelRef, Reported, encode
from edge_runtime.telemetry.observer import Telemetry
from edge_runtime.telemetry.spool import Entry, SpoolCounts
from edge_runtime.telemetry.topics import Topics
from edge_runtime.telemetry.uplink import UplinkCounts
from telemetry import outcomes

log = logging.getLogger(__name__)

SLOTS = 24
FRAME_S = 5.0
CHANGES = 150
"""Slot events in the day: six a slot, which is a busy shelf."""
DAY_S = 86_400.0
MAX_BYTES = 1_500_000
PACKET_BYTES = 1 + 2 + 2 + 2
"""Of a PUBLISH beside topic and payload: type, length in two bytes, length of the topic, packet id of QoS 1."""
PUBACK_BYTES = 4
KEEPALIVE_S = 30
PING_BYTES = 2 + 2
READ_BACKS = int(DAY_S / EVERY_S)
"""Of state and figures: one topic at a time is subscribed to, comes back, and is left alone again."""
SUBSCRIBING_BYTES = 2 * (2 + 2 + 2 + 60 + 1) + 5 + 4


class Meter:
    def __init__(self) -> None:
        self.bytes: Counter[str] = Counter()
        self.messages: Counter[str] = Counter()
        self.newest: dict[str, int] = {}

    def _count(self, topic: str, payload: bytes) -> None:
        kind = topic.split("/")[4]
        size = len(topic) + len(payload) + PACKET_BYTES
        self.bytes[kind] += size
        self.bytes["acknowledged"] += PUBACK_BYTES
        self.messages[kind] += 1
        self.newest[kind] = size
        if kind == "event":
            self.bytes["echo"] += size

    def offer(self, entry: Entry) -> None:
        self._count(entry.topic, entry.payload)

    def retain(self, topic: str, payload: bytes, first: bool = False) -> None:
        self._count(topic, payload)

    def counts(self) -> UplinkCounts:
        return UplinkCounts(0, 0, 0, 0, SpoolCounts(events=1, bytes=500))


def connecting(stamp: Stamp) -> int:
    """What is said once a connection: CONNECT with the will, SUBSCRIBE, birth, info, what is reported."""
    will = encode(availability(stamp, 1_760_000_000, 1, "offline", "lost"))
    said = Reported(**stamp.head(1_760_000_000), state="none", model=ModelRef("shelf-occupancy", "1.0.0", "ab" * 32))
    layout = Layout(Path("l"), Path("r"), (1280, 960), ())
    born = info(stamp, 1_760_000_000, {"aisle-4-left": layout}, {"aisle-4-left": 5.0}, 1_760_000_000, "signed")
    return 2 * len(will) + len(encode(said)) + len(encode(born)) + 8 * (PACKET_BYTES + 60)


def read_back_bytes(newest: Mapping[str, int], stamp: Stamp) -> int:
    """What comes back on average: status, shelf, figures, and the three that are said once, in turn."""
    return sum(newest[kind] for kind in ("status", "shelf", "telemetry")) // 6 + connecting(stamp) // 6


def test_a_day_of_one_camera_fits_in_its_budget() -> None:
    chance = random.Random(1)
    meter = Meter()
    clock = {"now": 0.0}
    report = DriftReport("cam", 1.0, DriftState.STEADY, Cause.NONE, {}, {name: chance.gauss(0, 1) for name in NAMES})
    stamp = Stamp(Topics("store-0815", "box-0001"), 1_760_000_123)
    telemetry = Telemetry(
        stamp,
        meter,
        ("aisle-4-left",),
        drift=lambda: {"aisle-4-left": report},
        wall=lambda: 1_760_000_000 + clock["now"],
        monotonic=lambda: clock["now"],
        rss_mb=lambda: 118.4,
    )
    states = {f"r{n // 8}c{n % 8:02}": State.STOCKED for n in range(SLOTS)}
    moments = sorted(chance.uniform(0, DAY_S) for _ in range(CHANGES))
    frame = outcomes.usable(states, camera="aisle-4-left", remarks=tuple(Remark), packs_px=12.34)
    while clock["now"] < DAY_S:
        clock["now"] += FRAME_S
        events: tuple[Event, ...] = ()
        while moments and moments[0] < clock["now"]:
            slot = chance.choice(sorted(states))
            was, states[slot] = states[slot], chance.choice([s for s in State if s is not states[slot]])
            key = f"{chance.getrandbits(128):032x}"
            why = {"frames": 3.0, "model": "shelf-occupancy-1.0.0"}
            at = 1_760_000_000 + moments.pop(0)
            events += (Event(key, "slot", "aisle-4-left", at, slot, was, states[slot], 0.97, why),)
        if events:
            frame = outcomes.usable(states, camera="aisle-4-left", remarks=tuple(Remark), packs_px=12.34)
        ms = {stage: value * float(np.exp(chance.gauss(0, 0.1))) for stage, value in outcomes.MS.items()}
        telemetry.observe(replace(frame, events=events, ms=ms))
        telemetry.report_health(
            Health("ok", (), outcomes.MODEL, {"aisle-4-left": CameraHealth("ok", "", 1_760_000_000 + clock["now"])})
        )
    assert not any(kind in meter.bytes for kind in ("read back", "kept alive", "connect"))
    meter.bytes["read back"] = READ_BACKS * (read_back_bytes(meter.newest, stamp) + SUBSCRIBING_BYTES)
    meter.bytes["kept alive"] = int(DAY_S / KEEPALIVE_S) * PING_BYTES
    meter.bytes["connect"] = connecting(stamp)
    total = sum(meter.bytes.values())
    for kind, size in meter.bytes.items():
        log.info("%-10s %5d messages %9d bytes", kind, meter.messages[kind], size)
    log.info("%-10s %24d bytes a day", "together", total)
    assert meter.messages["event"] == CHANGES
    assert total <= MAX_BYTES
