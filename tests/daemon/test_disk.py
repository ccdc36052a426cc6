"""A disk that is full, or read-only, from the first second: states are still known, published, and the trouble is told."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_runtime.fleet.local_broker import LocalBroker
from tests.daemon.device import PROGRAM, Device
from tests.daemon.operator import Operator
from tests.daemon.test_broker import broker, emptied

__all__ = ["broker"]
pytestmark = pytest.mark.integration

FULL = (
    "mount -t tmpfs -o size=4m tmpfs {state} && cp -r {kept}/. {state} && (head -c 8M /dev/zero > {state}/fill || true)"
)
READ_ONLY = "mount -t tmpfs -o size=4m tmpfs {state} && cp -r {kept}/. {state} && mount -o remount,ro {state}"


@pytest.mark.parametrize("trouble", [FULL, READ_ONLY], ids=["full", "read-only"])
def test_the_device_goes_on_without_its_disk(
    tmp_path: Path, broker: LocalBroker, trouble: str, program: Callable[[str, str], str]
) -> None:
    unshare = program("unshare", "util-linux")
    with Device(tmp_path / "device") as device:
        device.extra = f'[mqtt]\nurl = "{broker.url}"\n[telemetry]\ninterval_s = 1\n'
        device.write_config()
        kept = device.state_dir.rename(device.folder / "kept")
        device.state_dir.mkdir()
        prepare = trouble.format(state=shlex.quote(str(device.state_dir)), kept=shlex.quote(str(kept)))
        if subprocess.run([unshare, "-m", "sh", "-c", prepare], capture_output=True).returncode:
            pytest.skip("this user may not mount a file system")
        reader = Operator(broker.port)
        device.launch([unshare, "-m", "sh", "-c", f'{prepare} && exec "$@"', "sh", sys.executable, "-c", PROGRAM])
        reader.until("shelf/a", lambda record: record["counts"] == {"stocked": 4})
        status = reader.until("status", lambda record: any("storage" in reason for reason in record["reasons"]))
        assert status["state"] == "degraded" and status["model"]["version"] == "1.1.0"
        reader.until("status", lambda record: any(reason.startswith("spool:") for reason in record["reasons"]))
        reader.until("telemetry", lambda record: record["cameras"]["a"]["usable"] >= 3)
        device.camera.pixels = emptied()
        event = reader.until("event/slot")
        assert (event["slot"], event["now"]) == ("s1", "empty")
        assert device.end() == 0
        assert "Traceback" not in device.log.read_text()
        reader.close()
