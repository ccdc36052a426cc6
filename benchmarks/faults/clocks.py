"""Fault 17, the trust layer's part: the wall clock goes back, forward, or begins at 1970. Nothing is installed below the
time floor, nothing expired is believed, the floor follows only a clock that the repository bears out, and a clock that
is set right is enough to go on.

`python -m benchmarks.faults.clocks [--quick]` prints the rows.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from benchmarks.faults.row import Row
from benchmarks.faults.trust_scene import HeldRepository, Scene, SetClock, content, make_scene, memory_disk
from edge_runtime.errors import EdgeError, Refused, TryAgain
from edge_runtime.lifecycle.trust.ceilings import CEILINGS

DAY_S = 86_400.0
YEAR_S = 365.25 * DAY_S
NAMED = {
    "back a year": -YEAR_S,
    "forward five years": 5 * YEAR_S,
    "1970 at boot": None,
    "back a minute": -60.0,
    "forward a minute": 60.0,
    "forward thirteen days": 13 * DAY_S,
    "the year 9999": 7_973 * YEAR_S,
}
STEPS = 400


def campaign(quick: bool) -> Iterable[Row]:
    """Rows of fault 17."""
    with tempfile.TemporaryDirectory(dir=memory_disk()) as folder:
        scene = make_scene(Path(folder))
        bench = ClockBench(scene, Path(folder))
        for name, offset_s in NAMED.items():
            wall_s = 0.0 if offset_s is None else scene.wall_s + offset_s
            bad, said = bench.try_clock(wall_s)
            yield Row(17, f"clock: {name}", 1, int(not bad), bad or said)
        step = 10 if quick else 1
        offsets = [(k - STEPS / 2) / STEPS * 20 * YEAR_S for k in range(0, STEPS, step)]
        offsets += [k * DAY_S / 4 for k in range(-80, 80, step)]
        outcomes = [bench.try_clock(scene.wall_s + offset) for offset in offsets]
        first = next((bad for bad, _ in outcomes if bad), "")
        said = Counter(said for bad, said in outcomes if not bad)
        held = sum(not bad for bad, _ in outcomes)
        note = first or ", ".join(f"{count} {what}" for what, count in said.most_common())
        yield Row(
            17, "clock: anywhere within ten years, and every six hours within three weeks", len(outcomes), held, note
        )


class ClockBench:
    """A device that has refreshed at the right time, then meets another."""

    def __init__(self, scene: Scene, folder: Path) -> None:
        self.scene, self.state, self.picture = scene, folder / "state", folder / "picture"
        self.repository = HeldRepository(scene.new)
        self.expected = content(scene.device(self.picture, self.repository))

    def try_clock(self, wall_s: float) -> tuple[str, str]:
        """What went wrong (empty if nothing did), and what the device said."""
        shutil.rmtree(self.state, ignore_errors=True)
        shutil.copytree(self.picture, self.state)
        clock = SetClock(wall_s)
        device = self.scene.device(self.state, self.repository, clock)
        floor_s = device.floors.time_s
        try:
            said = "installs" if content(device) == self.expected else "other content"
        except TryAgain as fault:
            said = "waits for the clock" if "clock" in fault.mend else f"no mend: {fault}"
        except Refused as fault:
            said = "refuses what has expired" if "expired" in fault.found and fault.mend else f"other: {fault}"
        except EdgeError as fault:
            said = f"other: {fault}"
        return self._fault(wall_s, floor_s, said), said

    def _fault(self, wall_s: float, floor_s: float, said: str) -> str:
        clock = SetClock(wall_s)
        now_s = self.scene.device(self.state, self.repository, clock).floors.time_s
        below = wall_s < floor_s - CEILINGS.clock_slack_s
        expired = max(wall_s, floor_s) >= self._expires_s()
        wanted = "waits for the clock" if below else "refuses what has expired" if expired else "installs"
        if said != wanted:
            return f"{wall_s:.0f}: {said}, expected: {wanted}"
        if now_s < floor_s or now_s > max(floor_s, min(wall_s, self._expires_s())):
            return f"{wall_s:.0f}: the floor went from {floor_s:.0f} to {now_s:.0f}"
        if said == "installs" and now_s > self.scene.wall_s + CEILINGS.clock_slack_s:
            return ""  # the repository bore that clock out; a right one waits until then, a fortnight at most
        clock.wall_s = self.scene.wall_s + 1
        try:
            content(self.scene.device(self.state, self.repository, clock))
        except EdgeError as fault:
            return f"{wall_s:.0f}: after the clock was set right: {fault}"
        return ""

    def _expires_s(self) -> float:
        device = self.scene.device(self.picture, self.repository)
        device.refresh()
        assert device._session is not None
        return device._session.rules.expires_s


if __name__ == "__main__":
    for row in campaign("--quick" in sys.argv):
        print(f"{row.fault:>3}  {row.held}/{row.points}  {row.what}: {row.note}", flush=True)
