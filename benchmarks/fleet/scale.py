"""`python -m benchmarks.fleet.scale --devices 2000`: a virtual fleet on a three-node cluster, on this machine.

Phases: all devices come; a bad model is rolled out, halts in the canary ring and is taken back there; a good one goes to
everybody, while its operator is killed and another goes on; one node is killed; all are killed at once. Each phase is one
line in FOLDER/results.jsonl as soon as it is over; called again with the same folder, phases that are there are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.fleet.extrapolate import said, table, units_of
from benchmarks.fleet.world import BAD, FIRST, GOOD, MODEL, OPERATOR_S, Scale, World
from edge_runtime.errors import Unavailable
from edge_runtime.fleet.operator.connection import Connection, Reach
from edge_runtime.fleet.operator.directory import STATE_FILTERS, Directory
from edge_runtime.fleet.operator.survey import survey
from edge_runtime.simulator.fleet.share import Figures

SETTLE_S = 900.0
STEADY_S = 30.0
WHOLE_S = 120.0
"""After everything is said; a birth that the broker may not have kept is said again within half a minute."""
FIGURES_LATE_S = 2.0
"""What the devices' processes say of themselves is that old at most."""
Finding = dict[str, Any]


def come(world: World) -> Finding:
    """From nothing to all devices connected, with all retained state at the broker."""
    devices = world.scale.devices
    online_s = world.fleet.until(lambda figures: figures.connected == devices, SETTLE_S)
    world.fleet.until(lambda figures: figures.settled == devices, SETTLE_S)
    counts = world.fleet.figures.counts
    return {
        "all_online_s": round(online_s, 1),
        "all_said_s": round(time.monotonic() - world.began_s, 1),
        "broker_empty_mb": round(world.empty_mb, 1),
        "connect_ms_mean": round(counts.get("connect_ms", 0) / max(1, counts.get("connects", 1)), 1),
        "retained_seen": seen_by_an_operator(world),
    }


def steady(world: World) -> Finding:
    """Half a minute in which nothing happens but what always does."""
    time.sleep(STEADY_S)
    return {}


def bad(world: World) -> Finding:
    """The worse model: it must not come further than the canaries, and must leave them again."""
    operator = world.rollout("start", "bad", "--model", MODEL, "--version", BAD, *_terms(world))
    most = _await(world, operator, BAD)
    code = operator.wait(OPERATOR_S)
    world.fleet.until(lambda figures: figures.models == {FIRST: world.scale.devices}, SETTLE_S)
    last = world.said("bad")[-1]
    return {
        "exit_code": code,
        "phase": last.get("phase"),
        "ring": last.get("ring"),
        "note": last.get("note"),
        "ran_it_at_once_at_most": most,
        "held": code == 1 and last.get("ring") == "canary" and most <= world.scale.canary,
    }


def good(world: World) -> Finding:
    """The better model: to every device; the operator is killed half way, and another goes on."""
    operator = world.rollout("start", "good", "--model", MODEL, "--version", GOOD, *_terms(world))
    half = world.scale.devices // 5
    _until_at(world, operator, GOOD, half)
    operator.send_signal(signal.SIGKILL)
    operator.wait()
    killed_at = world.fleet.figures.models.get(GOOD, 0)
    operator = world.rollout("resume", "good")
    code = operator.wait(OPERATOR_S)
    world.fleet.until(lambda figures: figures.models == {GOOD: world.scale.devices}, SETTLE_S)
    last = world.said("good")[-1]
    return {
        "exit_code": code,
        "phase": last.get("phase"),
        "operator_killed_at": killed_at,
        "held": code == 0,
    }


def storm_one(world: World) -> Finding:
    """The node dies that leads the stream of sessions, without which nobody connects; its devices go to the others.

    Then it comes back.
    """
    leaders = world.leaders()
    number = next(n for n, node in enumerate(world.cluster.nodes) if node.name == leaders.get("$MQTT_sess"))
    led = sum(leader == world.cluster.nodes[number].name for leader in leaders.values())
    lost = _after(world, lambda: world.cluster.kill(number))
    world.cluster.start_node(number)
    world.cluster.wait_healthy()
    return {"streams_led": led, **lost}


def storm_all(world: World) -> Finding:
    """All nodes die at once, and come again: every device connects anew."""

    def blackout() -> None:
        for number in range(3):
            world.cluster.kill(number)
        time.sleep(2.0)
        for number in range(3):
            world.cluster.start_node(number, wait=False)

    found = _after(world, blackout)
    world.cluster.wait_healthy()
    return found


PHASES: dict[str, Callable[[World], Finding]] = {
    "come": come,
    "steady": steady,
    "bad": bad,
    "good": good,
    "storm_one": storm_one,
    "storm_all": storm_all,
}


def seen_by_an_operator(world: World) -> dict[str, float]:
    """What somebody who comes new gets to see of the fleet, and how soon."""
    directory, began_s = Directory(), time.monotonic()
    with Connection(Reach(world.cluster.urls), "bench", STATE_FILTERS) as connection:
        survey(connection, directory.hear, 60.0)
    found = list(directory)
    return {
        "devices": len(found),
        "online": sum(device.online for device in found),
        "with_status": sum(device.status is not None for device in found),
        "with_reported": sum(device.reported is not None for device in found),
        "seconds": round(time.monotonic() - began_s, 1),
    }


def measured(world: World, name: str) -> Finding:
    """A phase with what it cost."""
    before, nodes = world.fleet.figures, world.nodes()
    began_s = time.monotonic()
    with world.meter() as meter, world.watch():
        finding = PHASES[name](world)
    seconds = time.monotonic() - began_s
    after, nodes_after = world.fleet.figures, world.nodes()
    return {
        "phase_name": name,
        "devices": world.scale.devices,
        "seconds": round(seconds, 1),
        "load": round(os.getloadavg()[0], 1),
        "cpu_s": {kind: round(reading.cpu_s, 1) for kind, reading in meter.readings.items()},
        "peak_mb": {kind: round(reading.peak_mb, 1) for kind, reading in meter.readings.items()},
        "messages": {key: after.counts.get(key, 0) - before.counts.get(key, 0) for key in _COUNTED},
        "failures": {k: v for k, v in after.counts.items() if k.startswith("failed_")},
        "nodes": nodes_after,
        "nodes_delta": {key: nodes_after[key] - nodes[key] for key in ("in_msgs", "out_msgs", "in_bytes", "out_bytes")},
        "finding": finding,
    }


_COUNTED = ("sent", "received", "acknowledged", "bytes_sent", "bytes_received", "births", "events", "wishes")


def _terms(world: World) -> list[str]:
    """A rollout in minutes: rings as in the field, watches as short as the figures allow."""
    soak_s = 3.5 * world.scale.telemetry_s
    return [
        "--rings", "canary=@canary,10%,100%", "--soak", f"{soak_s:.0f}", "--settle", "300", "--patience", "300",
        "--grace", "60", "--shadow", "3", "--trial", "6",
    ]  # fmt: skip


def _await(world: World, operator: Any, version: str) -> int:
    """Until the operator ends; the most devices that ever ran the version at one moment."""
    most = 0
    while operator.poll() is None:
        most = max(most, world.fleet.figures.models.get(version, 0))
        time.sleep(0.5)
    return most


def _until_at(world: World, operator: Any, version: str, count: int) -> None:
    while world.fleet.figures.models.get(version, 0) < count:
        if operator.poll() is not None:
            raise Unavailable(f"the rollout ended by itself: {world.said('good')[-1:]}")
        time.sleep(0.5)


def _after(world: World, blow: Callable[[], None]) -> Finding:
    """Times until the fleet is whole again after a blow."""
    devices, before = world.scale.devices, world.fleet.figures.counts.get("connects", 0)
    began_s = away_s = time.monotonic()
    blow()
    time.sleep(1.5)
    least = world.fleet.figures.connected

    def settled(figures: Figures) -> bool:
        nonlocal away_s, least
        if figures.connected < devices:
            away_s, least = time.monotonic(), min(least, figures.connected)
        return figures.settled == devices

    world.fleet.until(settled, SETTLE_S)
    said_s = time.monotonic() - began_s
    world.fleet.until(_delivered_since(began_s + said_s, devices), SETTLE_S)
    caught_up_s = time.monotonic() - began_s
    seen = _seen_whole(world, began_s + caught_up_s + WHOLE_S)
    return {
        "connected_at_least": least,
        "reconnects": world.fleet.figures.counts.get("connects", 0) - before,
        "all_online_s": round(away_s - began_s, 1),
        "all_said_s": round(said_s, 1),
        "events_caught_up_s": round(caught_up_s, 1),
        "whole_for_a_new_reader_s": round(time.monotonic() - began_s, 1),
        "retained_seen": seen,
        "held": _whole(seen, devices),
    }


def _seen_whole(world: World, ends_s: float) -> dict[str, float]:
    """What somebody who comes new sees; looked at again until it is all, or the time is over."""
    while True:
        seen = seen_by_an_operator(world)
        if _whole(seen, world.scale.devices) or time.monotonic() > ends_s:
            return seen
        time.sleep(2.0)


def _whole(seen: dict[str, float], devices: int) -> bool:
    return all(seen[what] == devices for what in ("online", "with_status", "with_reported"))


def _delivered_since(moment_s: float, devices: int) -> Callable[[Figures], bool]:
    """No event waits that happened before that moment, and no more than one device in a hundred has a newer one."""

    def holds(figures: Figures) -> bool:
        since_s = time.monotonic() - FIGURES_LATE_S - moment_s
        return figures.oldest_s < since_s and figures.waiting <= devices // 100

    return holds


def machine() -> Finding:
    return {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}


def run(folder: Path, scale: Scale, names: list[str]) -> list[Finding]:
    """The phases that are not in the results yet, in one world."""
    results = folder / "results.jsonl"
    done = {line["phase_name"]: line for line in _read(results) if line["scale"] == asdict(scale)}
    open_ones = [name for name in names if name not in done]
    if open_ones:
        with World(folder / time.strftime("world-%Y%m%d-%H%M%S"), scale) as world:
            if "come" not in open_ones:
                come(world)
            for name in open_ones:
                line = {**measured(world, name), "scale": asdict(scale), "machine": machine()}
                done[name] = line
                with results.open("a", encoding="utf-8") as out:
                    out.write(json.dumps(line) + "\n")
                print(_row(line), file=sys.stderr, flush=True)
    return [done[name] for name in names]


def _read(path: Path) -> list[Finding]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


HEADER = (
    "| Phase | Devices | Time s | Broker CPU s | Devices CPU s | Operator CPU s | Broker MB | Devices MB |"
    " Sent | Acknowledged | Received | MB sent | Outcome |\n" + "| --- " * 13 + "|"
)


def _row(line: Finding) -> str:
    cpu, peak, count = line["cpu_s"], line["peak_mb"], line["messages"]
    skip = ("retained_seen", "note")
    outcome = ", ".join(f"{key} {value}" for key, value in line["finding"].items() if key not in skip)
    cells = [
        line["phase_name"], line["devices"], line["seconds"], cpu["broker"], cpu["devices"], cpu["operator"],
        peak["broker"], peak["devices"], count["sent"], count["acknowledged"], count["received"],
        round(count["bytes_sent"] / 1e6, 1), outcome,
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


PAGE = Path(__file__).resolve().parents[2] / "docs/scale.md"


def with_figures(text: str, lines: list[Finding]) -> str:
    """The page with the measured table and what follows from it between its marks."""
    units = units_of(lines)
    for mark, told in (
        ("measured", "\n".join([_conditions(lines), "", said(units), "", HEADER, *map(_row, lines)])),
        ("computed", table(units)),
    ):
        head, begin, rest = text.partition(f"<!-- {mark} -->\n")
        _, end, tail = rest.partition(f"<!-- end of {mark} -->")
        text = f"{head}{begin}{told}\n{end}{tail}"
    return text


def _conditions(lines: list[Finding]) -> str:
    """Under which they were measured, in a sentence."""
    first = lines[0]
    loads = [line["load"] for line in lines if "load" in line]
    load = f"; load average at the end of the phases {min(loads)} to {max(loads)}" if loads else ""
    every = f", telemetry every {first['scale']['telemetry_s']:.0f} s" if "scale" in first else ""
    cpus = f", {first['machine']['cpus']} processors" if "machine" in first else ""
    return f"{first['devices']:,} devices{every}{cpus}{load}."


def _terminated(number: int, frame: object) -> None:
    raise SystemExit(128 + number)  # so that the world is taken down


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet.scale", description=__doc__)
    parser.add_argument("--devices", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--canary", type=int, default=0, help="devices in the canary group (1 %% of all, 20 at least)")
    parser.add_argument("--telemetry", type=float, default=15.0, metavar="S")
    parser.add_argument("--folder", type=Path, help="goes on where it stopped there")
    parser.add_argument("--only", action="append", choices=PHASES, help="phases to run; repeatable")
    parser.add_argument("--page", action="store_true", help="write the tables into docs/scale.md")
    parser.add_argument("--json", action="store_true", help="one object a phase instead of a table")
    args = parser.parse_args(arguments)
    scale = Scale(
        args.devices,
        args.processes,
        args.seed,
        args.telemetry,
        canary=args.canary or min(max(20, args.devices // 100), args.devices // 4),
    )
    signal.signal(signal.SIGTERM, _terminated)
    folder = args.folder or Path(tempfile.mkdtemp(prefix="fleet-scale-"))
    folder.mkdir(parents=True, exist_ok=True)
    lines = run(folder, scale, args.only or list(PHASES))
    if args.page:
        PAGE.write_text(with_figures(PAGE.read_text("utf-8"), lines), "utf-8")
    print("\n".join(json.dumps(line) for line in lines) if args.json else "\n".join([HEADER, *map(_row, lines)]))
    return int(not all(line["finding"].get("held", True) for line in lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
