"""The simulator's commands: render datasets, record days, serve the demo camera and commission it, be a whole fleet."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import cv2

from edge_runtime.errors import EXIT_UNAVAILABLE, EdgeError
from edge_runtime.layout import MAX_SIDE_PX
from edge_runtime.simulator.conditions import SINGLE
from edge_runtime.simulator.dataset import Recipe, render_dataset
from edge_runtime.simulator.demo import SEED, SIZE, commission, demo_day
from edge_runtime.simulator.feed import WORST_FPS
from edge_runtime.simulator.fleet import command as fleet
from edge_runtime.simulator.plans import BENCH_SEVERITIES
from edge_runtime.simulator.record import record_day
from edge_runtime.simulator.server import serve
from edge_runtime.simulator.trading import store_day

Number = TypeVar("Number", int, float)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, 2 for a wrong call, or that of an EdgeError, which is written to stderr; 69 if a file can not be."""
    chosen = _parser().parse_args(arguments)
    cv2.setNumThreads(1)
    try:
        if chosen.verb == "dataset":
            return _dataset(chosen)
        if chosen.verb == "fleet":
            return fleet.run_command(chosen)
        if chosen.verb == "day":
            day = store_day(chosen.seed, chosen.hours, tuple(chosen.size))
            record_day(chosen.out, day, chosen.interval, day.length_s, _told)
            return 0
        day = demo_day(chosen.seed, getattr(chosen, "speed", 1.0), tuple(chosen.size))
        if chosen.verb == "commission":
            commission(chosen.out, day)
            return 0
        return serve(day, chosen.fps, chosen.port, not chosen.keep_running)
    except EdgeError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code
    except OSError as fault:
        sys.stderr.write(f"{fault.filename or 'the result'} can not be written: {fault.strerror}\n")
        return EXIT_UNAVAILABLE


def _within(kind: type[Number], low: Number, high: Number) -> Callable[[str], Number]:
    """An argparse type: a number from `low` to `high`."""

    def read(text: str) -> Number:
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is outside {low} .. {high}")
        return value

    read.__name__ = kind.__name__
    return read


_SIDE = _within(int, 32, MAX_SIDE_PX)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m edge_runtime.simulator", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    _dataset_arguments(verbs.add_parser("dataset", help="render a labelled dataset; goes on where it stopped"))
    camera = verbs.add_parser("serve", help="be a network camera on loopback until stdin closes or SIGTERM")
    camera.add_argument(
        "--port", type=_within(int, 0, 65535), default=0, help="0 chooses a free one; see the JSON line on stdout"
    )
    camera.add_argument("--fps", type=_within(float, WORST_FPS, 120.0), default=2.0)
    camera.add_argument("--speed", type=_within(float, 0.001, 1000.0), default=1.0, help="script seconds per second")
    camera.add_argument("--keep-running", action="store_true", help="do not end when stdin closes")
    _day_arguments(verbs.add_parser("day", help="record hours of trade with their truth, for `replay --truth`"))
    fleet.add_arguments(verbs.add_parser("fleet", help=fleet.ABOUT))
    technician = verbs.add_parser("commission", help="write the demo camera's layout.json and reference.jpg")
    technician.add_argument("--out", type=Path, required=True)
    for verb in (camera, technician):
        verb.add_argument("--seed", type=_within(int, 0, 2**63), default=SEED)
        verb.add_argument("--size", type=_SIDE, nargs=2, default=SIZE, metavar=("WIDTH", "HEIGHT"))
    return parser


def _day_arguments(day: argparse.ArgumentParser) -> None:
    day.add_argument("--out", type=Path, required=True)
    day.add_argument("--seed", type=_within(int, 0, 2**63), required=True)
    day.add_argument("--hours", type=_within(float, 0.05, 24.0), default=4.0)
    day.add_argument("--interval", type=_within(float, 0.1, 3600.0), default=45.0, help="seconds between two pictures")
    day.add_argument("--size", type=_SIDE, nargs=2, default=(960, 720), metavar=("WIDTH", "HEIGHT"))


def _dataset_arguments(dataset: argparse.ArgumentParser) -> None:
    dataset.add_argument("--out", type=Path, required=True)
    dataset.add_argument("--seed", type=_within(int, 0, 2**63), required=True)
    dataset.add_argument("--shelves", type=_within(int, 1, 100_000), required=True)
    dataset.add_argument("--plan", choices=("train", "bench"), default="train")
    dataset.add_argument("--packs", choices=("train", "heldout"), default="train")
    dataset.add_argument("--workers", type=_within(int, 1, 256), default=1)
    dataset.add_argument(
        "--frames",
        type=_within(int, 1, 100_000),
        help="train: frames per shelf (24); bench: per condition and severity (1)",
    )
    dataset.add_argument(
        "--swaps",
        type=_within(float, 0.0, 1.0),
        default=0.0,
        help="chance that another product stands in a stocked slot",
    )
    dataset.add_argument("--size", type=_SIDE, nargs=2, default=(960, 720), metavar=("WIDTH", "HEIGHT"))
    dataset.add_argument(
        "--left-out", choices=SINGLE, nargs="+", default=(), help="train only: families of conditions never shown"
    )
    dataset.add_argument(
        "--severities", type=int, choices=BENCH_SEVERITIES, nargs="+", default=BENCH_SEVERITIES, help="bench only"
    )


def _dataset(chosen: argparse.Namespace) -> int:
    recipe = Recipe(
        seed=chosen.seed,
        plan=chosen.plan,
        packs=chosen.packs,
        frames=chosen.frames or (24 if chosen.plan == "train" else 1),
        size=tuple(chosen.size),
        swaps=chosen.swaps,
        severities=tuple(chosen.severities),
        left_out=tuple(chosen.left_out),
    )
    render_dataset(chosen.out, recipe, chosen.shelves, chosen.workers, _told)
    return 0


def _told(done: int, total: int) -> None:
    if sys.stderr.isatty() or done == total:
        sys.stderr.write(f"\r{done}/{total}" + ("\n" if done == total else ""))


if __name__ == "__main__":
    raise SystemExit(main())
