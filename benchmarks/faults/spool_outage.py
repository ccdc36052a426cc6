"""Fault 19: 72 h without a network, in accelerated time: what is kept, what is dropped and why, and how it comes back.

The device is one camera at the default rates (figures every 120 s, 6 slot events a slot and day), with the spool on the
disk; the broker is in memory and takes all. Order: the newest retained state, then what is new, then the backlog.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.faults.row import Row
from edge_runtime.telemetry.courier import CourierSettings
from edge_runtime.telemetry.publisher import Delivery
from edge_runtime.telemetry.spool import Entry, Grade, SpoolLimits
from edge_runtime.telemetry.sqlite_spool import SqliteSpool
from edge_runtime.telemetry.uplink import Uplink

OUTAGE_S = 72 * 3600.0
FIGURES_S, EVENTS_A_DAY = 120.0, 150
FIGURE_BYTES, EVENT_BYTES = 1_000, 350
FRESH_S = 20.0
"""Between two new events while the backlog goes out."""
LIMITS = {"the default spool": SpoolLimits(), "a spool of 1 MB": SpoolLimits(max_bytes=1_000_000)}
SEED = 19


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class Done:
    def delivery(self) -> Delivery:
        return Delivery.ACKNOWLEDGED


@dataclass
class Broker:
    """Takes all, and knows when."""

    clock: Clock
    connected: bool = False
    seen: list[tuple[float, str, bytes]] = field(default_factory=list)
    callbacks: list[object] = field(default_factory=list)

    def on_connect(self, callback: object) -> None:
        self.callbacks.append(callback)

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> Done:
        self.seen.append((self.clock.now_s, topic, payload))
        return Done()


@dataclass(frozen=True)
class Outage:
    """What came of one."""

    offered: dict[str, int]
    waited: dict[str, int]
    dropped: dict[str, int]
    most_bytes: int
    seen: list[tuple[float, str, str]]
    """Seconds after the connect, topic, payload up to its padding."""
    fresh_wait_s: float
    """The longest that a new event waited while the backlog went out."""
    backlog_s: float
    left: int


def run(limits: SpoolLimits, outage_s: float = OUTAGE_S) -> Outage:
    """Live through an outage and what follows, until the spool is empty."""
    clock = Clock()
    broker = Broker(clock)
    with TemporaryDirectory(prefix="faults-") as folder:
        spool = SqliteSpool(Path(folder, "spool.db"), limits, clock)
        uplink = Uplink(broker, spool, clock=clock)
        offered, most = _without_network(uplink, clock, outage_s)
        before = spool.counts()
        broker.connected = True
        began_s = clock.now_s
        fresh = _with_network(uplink, spool, clock)
        after = spool.counts()
        uplink.stop(0.0)
    seen = [(at_s - began_s, topic, payload.decode().rstrip(".")) for at_s, topic, payload in broker.seen]
    said = {payload: at_s for at_s, _, payload in seen}
    return Outage(
        offered,
        {"event": before.events, "telemetry": before.telemetry},
        dict(after.dropped),
        most,
        seen,
        max((said.get(key, float("inf")) - (at_s - began_s) for key, at_s in fresh.items()), default=0.0),
        max((at_s for at_s, _, payload in seen if payload[0] in "ef"), default=0.0),
        after.events + after.telemetry,
    )


def _without_network(uplink: Uplink, clock: Clock, outage_s: float) -> tuple[dict[str, int], int]:
    draw = random.Random(SEED)
    offered, most = {"event": 0, "telemetry": 0}, 0
    for n in range(int(outage_s / FIGURES_S)):
        clock.now_s += FIGURES_S
        uplink.retain("t/shelf", f"shelf {n}".encode())
        uplink.retain("t/status", f"status {n}".encode(), first=True)
        uplink.offer(Entry(f"f{n}", Grade.TELEMETRY, "t/telemetry", _padded(f"f{n}", FIGURE_BYTES)))
        offered["telemetry"] += 1
        if draw.random() < EVENTS_A_DAY * FIGURES_S / 86_400.0:
            uplink.offer(_event("e", offered["event"]))
            offered["event"] += 1
        uplink.step()
        most = max(most, uplink.counts().spool.bytes)
    return offered, most


def _with_network(uplink: Uplink, spool: SqliteSpool, clock: Clock) -> dict[str, float]:
    """Until nothing waits: when each of the new events was offered."""
    fresh: dict[str, float] = {}
    next_s = clock.now_s
    until_s = clock.now_s + 3_600.0
    while clock.now_s < until_s and (spool.counts().events + spool.counts().telemetry or len(fresh) < 3):
        if clock.now_s >= next_s:
            next_s += FRESH_S
            fresh[f"n{len(fresh)}"] = clock.now_s
            uplink.offer(_event("n", len(fresh) - 1))
        clock.now_s += max(0.01, min(uplink.step(), next_s - clock.now_s))
    for _ in range(100):  # the last of the new ones
        clock.now_s += uplink.step()
    return fresh


def _event(letter: str, n: int) -> Entry:
    return Entry(f"{letter}{n}", Grade.EVENT, "t/event", _padded(f"{letter}{n}", EVENT_BYTES))


def _padded(text: str, size: int) -> bytes:
    return text.encode().ljust(size, b".")


def faults_of(outage: Outage, limits: SpoolLimits) -> dict[str, str]:
    """Each thing that must hold -> why it does not; empty texts for what does."""
    backlog = [(at_s, payload) for at_s, _, payload in outage.seen if payload[0] in "ef"]
    events = [payload for _, payload in backlog if payload[0] == "e"]
    figures = [payload for _, payload in backlog if payload[0] == "f"]
    kept = outage.offered["telemetry"] - outage.dropped.get("telemetry_full", 0)
    first_figure = next((n for n, (_, payload) in enumerate(backlog) if payload[0] == "f"), len(backlog))
    settings = CourierSettings()
    most = {
        "e": settings.backlog_events_per_s, "f": settings.backlog_telemetry_per_s, "": settings.live_per_s,
    }  # fmt: skip
    rates = {
        letter: _rate([at_s for at_s, payload in backlog if payload[0] == letter], settings.window) for letter in "ef"
    }
    last = int(outage.offered["telemetry"]) - 1
    checks = {
        "bounded": outage.most_bytes <= limits.max_bytes,
        "newest status first": [payload for _, _, payload in outage.seen[:2]] == [f"status {last}", f"shelf {last}"],
        "every event, in order, once": events == [f"e{n}" for n in range(outage.offered["event"])],
        "the newest figures, in order, once": figures == [f"f{n}" for n in range(last + 1 - kept, last + 1)],
        "figures after events": first_figure == len(events),
        "drops are counted by reason": set(outage.dropped) <= {"telemetry_full"},
        "new events do not wait": outage.fresh_wait_s < 1.0,
        "limited rate of events": rates["e"] <= most["e"] * 1.001,
        "limited rate of figures": rates["f"] <= most["f"] * 1.001,
        "nothing is left": not outage.left,
    }
    return {what: "" if held else f"not so: {what}" for what, held in checks.items()}


def _rate(times: list[float], burst: int) -> float:
    """Messages a second after the first burst, over the whole time."""
    if len(times) <= burst + 1 or times[-1] == times[0]:
        return 0.0
    return (len(times) - burst) / (times[-1] - times[0])


def campaign(quick: bool) -> Iterator[Row]:
    for name, limits in LIMITS.items():
        outage = run(limits, OUTAGE_S / 6 if quick else OUTAGE_S)
        faults = faults_of(outage, limits)
        wrong = [fault for fault in faults.values() if fault]
        offered, seen = outage.offered, [payload for _, _, payload in outage.seen]
        note = (
            f"{offered['event']} events and {offered['telemetry']} figures; at most {outage.most_bytes / 1e6:.2f} MB; "
            f"sent {sum(p[0] == 'e' for p in seen)} and {sum(p[0] == 'f' for p in seen)} in {outage.backlog_s:.0f} s; "
            f"dropped {outage.dropped or 'nothing'}; a new event waited {outage.fresh_wait_s:.2f} s at most"
        )
        yield Row(19, f"72 h without a network, {name}", len(faults), len(faults) - len(wrong), (wrong or [note])[0])
