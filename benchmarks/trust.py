"""What trust costs a device: import, memory, a first refresh, one that brings nothing new, and one over a change of keys,
with signatures verified by compiled code and by pure Python.

`python -m benchmarks.trust` builds a fleet repository (2-of-3 root, one rotation) in a temporary folder and asks it
from fresh processes, alternating, the median of several.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.faults.trust_scene import make_scene

ROUNDS = 7
_BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "cryptography":
            raise ImportError(name)
sys.meta_path.insert(0, Block())
"""
_DEVICE = """
import json, sys, time
from pathlib import Path
def memory():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1]) / 1024
from edge_runtime.lifecycle.trust.updater import Updater
scene, state = Path(sys.argv[1]), Path(sys.argv[2])
root = (scene / "old/metadata/1.root.json").read_bytes()
marks, before = {}, memory()
def timed(name, step):
    began = time.perf_counter()
    step()
    marks[name] = (time.perf_counter() - began) * 1000
def load():
    import edge_runtime.lifecycle.trust.session
timed("import", load)
marks["memory of the import (MB)"] = memory() - before
timed("first refresh", lambda: Updater(state, str(scene / "old"), root).refresh())
timed("nothing new", lambda: Updater(state, str(scene / "old"), root).refresh())
updater = Updater(state, str(scene / "new"), root)
timed("change of keys", updater.refresh)
timed("list releases", lambda: updater.releases("shelf"))
print(json.dumps(marks))
"""


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        make_scene(Path(folder))
        found: dict[str, dict[str, list[float]]] = {"compiled": {}, "pure Python": {}}
        for turn in range(ROUNDS):
            for way, code in (("compiled", _DEVICE), ("pure Python", _BLOCK + _DEVICE)):
                command = [sys.executable, "-c", code, folder, f"{folder}/state-{turn}-{way[0]}"]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                for name, value in json.loads(done.stdout).items():
                    found[way].setdefault(name, []).append(value)
    print(f"{'(ms, median of ' + str(ROUNDS) + ')':28}{'compiled':>10}{'pure Python':>14}")
    for name in found["compiled"]:
        values = [statistics.median(found[way][name]) for way in ("compiled", "pure Python")]
        print(f"{name:28}{values[0]:10.1f}{values[1]:14.1f}")


if __name__ == "__main__":
    main()
