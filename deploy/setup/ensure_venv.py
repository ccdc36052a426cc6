"""Make a virtual environment, or say the exact command that makes it possible.

Debian ships Python without `venv`; then an installed virtualenv serves as well.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

MINIMUM = (3, 11)


def main(target: str) -> int:
    have = sys.version_info[:2]
    if have < MINIMUM:
        print(
            f"Python {have[0]}.{have[1]} was found, {MINIMUM[0]}.{MINIMUM[1]} or newer is needed. Try: make PYTHON=python3.11 test",
            file=sys.stderr,
        )
        return 69
    if (Path(target) / "bin" / "pip").exists():
        return 0
    failed = False
    for module in ("venv", "virtualenv"):
        needs = ("venv", "ensurepip") if module == "venv" else (module,)
        if all(importlib.util.find_spec(name) for name in needs):
            made = subprocess.run([sys.executable, "-m", module, target], check=False)
            if made.returncode == 0:
                return 0
            failed = True
    if failed:
        print(
            f"{target} could not be made: the lines above say why. Call make again, perhaps with VENV=folder",
            file=sys.stderr,
        )
        return 69
    print(
        f"No virtual environment could be made: this Python has neither venv nor virtualenv.\n"
        f"Install one of them, then call make again:\n"
        f"  apt-get install python{have[0]}.{have[1]}-venv     (Debian, Ubuntu)\n"
        f"  {sys.executable} -m pip install --user virtualenv",
        file=sys.stderr,
    )
    return 69


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
