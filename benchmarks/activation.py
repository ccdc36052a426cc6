"""From `model.install` to committed on a device that runs: seconds by phase, frames lost, and what it costs a frame.

usage: python -m benchmarks.activation [--fps 10] [--shadow 15] [--trial 15] [--runs 1]

The demo's stage (simulator, nats-server, daemon, an operator over MQTT, a signed repository in a folder), with the older
of the two shipped models in charge at first. Figures depend on the machine and on what else it does: what counts is the
ratio of each phase's p95 to that before, in the same run, and that no picture of the camera is lost.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from edge_runtime.cli.stage import DEVICE, SITE, Stage, StagePlan
from edge_runtime.cli.upgrade import UpgradePlan, carry_out
from edge_runtime.fleet.operator.one_device import Operator

WARM_FRAMES = 30


def run_once(fps: float, plan: UpgradePlan) -> dict[str, object]:
    """One device, one upgrade."""
    stage_plan = StagePlan(view=False, fps=fps, commands="unsigned", telemetry_s=1.0, prepare=plan.prepare)
    with tempfile.TemporaryDirectory() as folder, Stage(Path(folder), stage_plan) as stage:
        while sum(int(camera["frames"]) for camera in stage.status().get("cameras", ())) < WARM_FRAMES:
            stage.check()
            time.sleep(0.1)
        with Operator(stage.broker, SITE, DEVICE) as operator:
            upgrade = carry_out(stage, operator, plan)
    before = upgrade.p95_ms.get("before", 0.0)
    ratios = {name: round(ms / before, 2) for name, ms in upgrade.p95_ms.items() if before and name != "before"}
    return upgrade.record() | {"p95_ratio": ratios, "fps": fps}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fps", type=float, default=10.0)
    parser.add_argument("--shadow", type=float, default=15.0)
    parser.add_argument("--trial", type=float, default=15.0)
    parser.add_argument("--runs", type=int, default=1)
    asked = parser.parse_args()
    plan = UpgradePlan(asked.shadow, asked.trial, 30, before_s=15.0)
    for _ in range(asked.runs):
        print(json.dumps(run_once(asked.fps, plan)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
