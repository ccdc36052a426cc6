"""Fault 8: rollback, freeze, mix-and-match, endless data, wrong target, key compromise under the threshold, rotation: the
cases of the TUF conformance suite against this device's updater, which are tests/lifecycle/trust/test_conformance.py.

`python -m benchmarks.faults.conformance` prints the rows.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from benchmarks.faults.row import Row

ROOT = Path(__file__).resolve().parents[2]
SUITE = "tests/lifecycle/trust/test_conformance.py"
FAMILIES = {
    "recovery from driven-up versions": ("fast_forward",),
    "rollback": ("rollback", "removed_from_the_snapshot"),
    "freeze and expiration": ("expire", "freeze"),
    "mix and match": ("says", "served_as_another"),
    "endless data and lying sizes": ("endless", "length", "bytes_than", "ceiling"),
    "wrong target": (
        "search",
        "swap",
        "changes_to_a_target",
        "downloaded",
        "release_that",
        "small_file",
        "unusual_target",
        "without_a_sha256",
    ),
    "keys, thresholds, rotation": ("key", "threshold", "rotation", "signature"),
    "delegations": ("graph", "delegat", "role"),
    "malformed metadata": ("malformed", "invalid"),
}
"""Family -> words in the names of its cases; the first that fits. The rest is the plain way of an update."""


def campaign(quick: bool) -> Iterable[Row]:
    """One row a family; quick is all of it, too: it takes some seconds."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", SUITE]
        subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
        cases = list(ElementTree.parse(report).iter("testcase"))
    points: dict[str, int] = defaultdict(int)
    failed: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        family = _family(case.get("name", ""))
        points[family] += 1
        if len(case):
            failed[family].append(case.get("name", ""))
    for family, count in points.items():
        yield Row(8, f"TUF conformance: {family}", count, count - len(failed[family]), ", ".join(failed[family]))


def _family(name: str) -> str:
    plain = name.partition("[")[0]
    return next((f for f, words in FAMILIES.items() if any(word in plain for word in words)), "a plain update")


if __name__ == "__main__":
    for row in campaign("--quick" in sys.argv):
        print(f"{row.fault:>3}  {row.held}/{row.points}  {row.what}: {row.note}", flush=True)
