"""`python -m benchmarks.faults`: run the fault campaigns and write their table into docs/faults.md.

Exit code 1 if any point did not hold. `--quick` samples each campaign and leaves the page alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import importlib.util
import json
import sys
import time
from collections.abc import Iterator

from benchmarks.faults.row import Row
from benchmarks.faults.table import PAGE, with_rows

CAMPAIGNS = (
    "store_kill",
    "store_power",
    "store_errno",
    "store_damage",
    "store_crashes",
    "metadata",
    "conformance",
    "trust_kill",
    "clocks",
    "hostile",
    "bundle_mutations",
    "onnx_mutations",
    "link_flaps",
    "link_reconnects",
    "cluster_kills",
    "broker_kills",
    "spool_kill",
    "spool_power",
    "spool_errno",
    "spool_damage",
    "spool_outage",
)
"""Modules of this package; each is a campaign of its own."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a sample of each campaign; writes nothing")
    parser.add_argument("--only", action="append", metavar="NAME", help="campaign, or number of a fault; repeatable")
    parser.add_argument("--json", action="store_true", help="one line of JSON per row")
    args = parser.parse_args(arguments)
    wanted = args.only or []
    numbers = {int(word) for word in wanted if word.isdigit()}
    names = [name for name in CAMPAIGNS if not wanted or numbers or name in wanted]
    fell = False
    for name in names:
        rows = []
        for row in _rows(name, args.quick):
            if not numbers or row.fault in numbers or name in wanted:
                rows.append(row)
                _tell(row, name, args.json)
        fell |= any(row.held < row.points for row in rows)
        if rows and not args.quick and not numbers:
            PAGE.write_text(with_rows(PAGE.read_text(encoding="utf-8"), {name: rows}), encoding="utf-8")
    return int(fell)


def _rows(name: str, quick: bool) -> Iterator[Row]:
    module = f"{__package__}.{name}"
    if importlib.util.find_spec(module) is None:
        print(f"{name}: there is no such campaign yet, nothing is run for it", file=sys.stderr)
        return
    began = time.monotonic()
    yield from importlib.import_module(module).campaign(quick)
    print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)


def _tell(row: Row, name: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"campaign": name, **dataclasses.asdict(row)}), flush=True)
        return
    mark = "FELL " if row.held < row.points else "held " if row.points else "empty"
    print(f"{mark} {row.held:>7,} of {row.points:>7,}  fault {row.fault}: {row.what}  {row.note}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
