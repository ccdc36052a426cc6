"""Build the wheel, install it alone in a new environment, and run the main job from an empty folder.

What the checkout lends by accident (packs, bundles, the demo layout) is missing there. Called by `make wheel-test`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
QUIET = ["--quiet", "--disable-pip-version-check"]


def call(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        call(sys.executable, "-m", "pip", "wheel", *QUIET, "--no-deps", "--wheel-dir", name, str(ROOT), cwd=folder)
        wheel = next(folder.glob("*.whl"))
        call(sys.executable, str(ROOT / "deploy" / "setup" / "ensure_venv.py"), str(folder / "venv"), cwd=folder)
        python = str(folder / "venv" / "bin" / "python")
        constraints = str(ROOT / "constraints.txt")
        call(python, "-m", "pip", "install", *QUIET, "-c", constraints, f"{wheel}[demo]", cwd=folder)
        empty = folder / "empty"
        empty.mkdir()
        command = str(folder / "venv" / "bin" / "edge-runtime")
        lines = call(command, "demo", "--duration", "20", "--no-view", "--json", cwd=empty).splitlines()
        summary = json.loads(lines[-1])
        left = sorted(p.name for p in empty.iterdir())
        problems = [f"{key} is {summary.get(key)}" for key in ("frames", "messages_received") if not summary.get(key)]
        if summary.get("accuracy", 0) < 0.9:
            problems.append(f"accuracy is {summary.get('accuracy')}")
        if left:
            problems.append(f"left behind: {left}")
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB; demo outside the checkout: {json.dumps(summary)}")
        if problems:
            sys.exit("; ".join(problems))
    return 0


if __name__ == "__main__":
    sys.exit(main())
