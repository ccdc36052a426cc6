"""`python -m edge_runtime.simulator dataset|serve|commission`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2

from edge_runtime.simulator.dataset import Recipe, render_dataset


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 for a wrong call."""
    chosen = _parser().parse_args(arguments)
    cv2.setNumThreads(1)
    _dataset(chosen)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m edge_runtime.simulator", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    dataset = verbs.add_parser("dataset", help="render a labelled dataset (field-dataset/1); goes on where it stopped")
    dataset.add_argument("--out", type=Path, required=True)
    dataset.add_argument("--seed", type=int, required=True)
    dataset.add_argument("--shelves", type=int, required=True)
    dataset.add_argument("--plan", choices=("train", "bench"), default="train")
    dataset.add_argument("--packs", choices=("train", "heldout"), default="train")
    dataset.add_argument("--workers", type=int, default=1)
    dataset.add_argument(
        "--frames", type=int, help="train: frames per shelf (24); bench: per condition and severity (1)"
    )
    dataset.add_argument(
        "--swaps", type=float, default=0.0, help="chance that another product stands in a stocked slot"
    )
    dataset.add_argument("--size", type=int, nargs=2, default=(960, 720), metavar=("WIDTH", "HEIGHT"))
    dataset.add_argument("--severities", type=int, nargs="+", default=(1, 2, 3, 4, 5), help="bench only")
    return parser


def _dataset(chosen: argparse.Namespace) -> None:
    recipe = Recipe(
        seed=chosen.seed,
        plan=chosen.plan,
        packs=chosen.packs,
        frames=chosen.frames or (24 if chosen.plan == "train" else 1),
        size=tuple(chosen.size),
        swaps=chosen.swaps,
        severities=tuple(chosen.severities),
    )
    render_dataset(chosen.out, recipe, chosen.shelves, chosen.workers, _told)


def _told(done: int, total: int) -> None:
    if sys.stderr.isatty() or done == total:
        sys.stderr.write(f"\r{done}/{total} shelves" + ("\n" if done == total else ""))


if __name__ == "__main__":
    raise SystemExit(main())
