"""`simulator fleet`: what it takes on a command line, and how it runs."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_runtime.simulator.fleet.plan import FleetPlan
    from edge_runtime.simulator.fleet.share import Figures

ABOUT = "virtual devices that speak the device's real protocol with a broker, for load and rollout tests"
_HEADER = "    s  online  births  sent/s   recv/s    kB/s  events  cpu_s  rss_mb  desired / models"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of a fleet; the defaults are those of `plan.FleetPlan`."""
    add = parser.add_argument
    add("--url", required=True, help="mqtt://host:port; several nodes of one cluster with commas between")
    add("--devices", type=int, default=100)
    add("--processes", type=int, default=1)
    add("--duration", type=float, default=0.0, metavar="S", help="0: until Ctrl-C")
    add("--seed", type=int, default=1)
    add("--site", default="v", help="how the names of the sites begin")
    add("--site-size", type=int, default=50)
    add("--canary", type=int, default=0, metavar="N", help="devices in the group canary, spread over the sites")
    add("--spread", type=float, default=20.0, metavar="S", help="births are spread over so long")
    add("--telemetry", type=float, default=30.0, metavar="S", help="between two messages of figures of a device")
    add("--events", type=float, default=120.0, metavar="S", help="between two events of a device, in the mean")
    add("--model", default="shelf", help="what all devices run at first ...")
    add("--model-version", default="1.0.0", help="... in this version")
    add("--bad", action="append", default=[], metavar="VERSION", help="a version that is worse in the field")
    add("--guard", type=float, default=0.8, metavar="P", help="chance that a device itself takes a bad model out")
    add("--shadow", type=float, default=5.0, metavar="S", help="shadow run of a new model, unless the wish says other")
    add("--trial", type=float, default=10.0, metavar="S", help="trial of a new model, unless the wish says other")
    add("--download", type=float, default=5.0, metavar="S", help="mean time of a download")
    add("--trouble", type=float, default=0.0, metavar="SHARE", help="devices that crash, vanish, lag or refuse")
    add("--command-keys", default="", metavar="FILE", help="whose signatures count; without it none is needed")
    add("--json", action="store_true", help="one object a second")


def plan_of(args: argparse.Namespace) -> FleetPlan:
    """Raises Usage for what no fleet can be."""
    import msgspec

    from edge_runtime.errors import Usage
    from edge_runtime.simulator.fleet.plan import FleetPlan

    found = {
        "urls": tuple(args.url.split(",")),
        "devices": args.devices,
        "seed": args.seed,
        "site": args.site,
        "site_size": args.site_size,
        "canary": args.canary,
        "spread_s": args.spread,
        "telemetry_s": args.telemetry,
        "event_s": args.events,
        "model": args.model,
        "version": args.model_version,
        "bad": tuple(args.bad),
        "guard": args.guard,
        "shadow_s": args.shadow,
        "trial_s": args.trial,
        "download_s": args.download,
        "trouble": args.trouble,
        "command_keys": args.command_keys,
    }
    try:
        return msgspec.convert(found, FleetPlan)
    except msgspec.ValidationError as fault:
        raise Usage(f"this can be no fleet: {fault}", "See --help") from None


def run_command(args: argparse.Namespace) -> int:
    """Until the duration is over, Ctrl-C or SIGTERM; then every device says goodbye."""
    import signal
    import time

    from edge_runtime.simulator.fleet.run import Fleet

    ended: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda caught, frame: ended.append(caught))
    fleet, began_s = Fleet(plan_of(args), args.processes), time.monotonic()
    if not args.json:
        _write(_HEADER)
    before = None
    with fleet:
        while not ended and not fleet.troubles:
            time.sleep(1.0)
            gone_s, now = time.monotonic() - began_s, fleet.figures
            _write(_json(gone_s, now) if args.json else _line(gone_s, now, before))
            before = now
            if args.duration and gone_s >= args.duration:
                break
        troubles = fleet.troubles
    for trouble in troubles:
        sys.stderr.write(f"{trouble}\n")
    return 1 if troubles else 0


def _json(gone_s: float, figures: Figures) -> str:
    import msgspec

    return msgspec.json.encode({"t_s": round(gone_s, 1), **msgspec.to_builtins(figures)}).decode()


def _line(gone_s: float, now: Figures, before: Figures | None) -> str:
    """Rates over the last second."""

    def rate(key: str) -> int:
        return now.counts.get(key, 0) - (before.counts.get(key, 0) if before is not None else 0)

    states = ", ".join(f"{state} {n}" for state, n in sorted(now.states.items()))
    models = ", ".join(f"{version} {n}" for version, n in sorted(now.models.items()))
    kilobytes = (rate("bytes_sent") + rate("bytes_received")) // 1000
    return (
        f"{gone_s:5.0f} {now.connected:7d} {now.counts.get('births', 0):7d} {rate('sent'):7d} {rate('received'):8d}"
        f" {kilobytes:7d} {now.counts.get('events', 0):7d} {now.cpu_s:6.1f} {now.rss_mb:7.1f}  {states} / {models}"
    )


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
