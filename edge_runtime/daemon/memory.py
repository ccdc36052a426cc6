"""What drift has learned about each camera, kept over a restart: `<state>/drift/<camera>.json`."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from edge_runtime.drift.monitor import DriftMonitor

log = logging.getLogger(__name__)

MAX_BYTES = 1_000_000


class _File(msgspec.Struct, frozen=True):
    model: str
    learned: dict[str, object]


def save_drift(state_dir: Path, camera: str, monitor: DriftMonitor, model: str) -> None:
    """Replace the file. Raises OSError; the old one then stays. Not synced: an older one is as good.

    `model` is the digest of the model under which it was learned.
    """
    folder = state_dir / "drift"
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f"{camera}.json.new"
    beside.write_bytes(msgspec.json.encode({"model": model, "learned": monitor.to_dict()}))
    beside.replace(folder / f"{camera}.json")


def restore_drift(state_dir: Path, camera: str, monitor: DriftMonitor, model: str) -> bool:
    """Go on where the last run ended; False if there is nothing to go on from, which is no fault.

    Of what was learned under another model only what the rail says is kept.
    """
    path = state_dir / "drift" / f"{camera}.json"
    try:
        with path.open("rb") as file:
            saved = msgspec.json.decode(file.read(MAX_BYTES), type=_File)
        monitor.restore(saved.learned)
        if saved.model != model:
            monitor.change_model()
    except FileNotFoundError:
        return False
    except (OSError, ValueError, RecursionError) as fault:
        log.warning("drift of camera %s begins anew: %s", camera, fault)
        return False
    return True
