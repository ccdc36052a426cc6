"""On which terms a candidate was let in: `<state>/models/terms.json`, beside the store's own state.

Whoever activates a model may give terms of its own; they must reach the daemon, which may be another process, and
outlive a restart in the middle of a trial. If the file is lost the terms of device.toml apply.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import msgspec

log = logging.getLogger(__name__)

MAX_BYTES = 4096
_Seconds = Annotated[float, msgspec.Meta(ge=0.0, le=1e9)]


class Terms(msgspec.Struct, frozen=True):
    """How long a new model is looked at before it stays."""

    shadow_s: _Seconds = 600.0
    """It runs beside the current model for so long first; 0: it does not."""
    trial_s: _Seconds = 14_400.0
    """Then in its place, watched, for so long at least ..."""
    trial_frames: Annotated[int, msgspec.Meta(ge=1)] = 100
    """... and for so many frames."""


class _File(msgspec.Struct, frozen=True):
    sha256: str
    terms: Terms


def write_terms(state_dir: Path, sha256: str, terms: Terms) -> None:
    """Replace the file. Raises OSError. Not synced: after a power cut those of device.toml are as good."""
    folder = state_dir / "models"
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / "terms.json.new"
    beside.write_bytes(msgspec.json.encode(_File(sha256, terms)))
    beside.replace(folder / "terms.json")


def read_terms(state_dir: Path, sha256: str, otherwise: Terms) -> Terms:
    """The terms on which the bundle `sha256` was let in; `otherwise` if none were given."""
    try:
        with (state_dir / "models" / "terms.json").open("rb") as file:
            found = msgspec.json.decode(file.read(MAX_BYTES), type=_File)
    except FileNotFoundError:
        return otherwise
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        log.warning("the terms of the trial can not be read, those of device.toml apply: %s", fault)
        return otherwise
    return found.terms if found.sha256 == sha256 else otherwise
