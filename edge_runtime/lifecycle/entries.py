"""The lines of `model list`: every bundle on the device and every quarantined digest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from edge_runtime.errors import EdgeError
from edge_runtime.lifecycle.bundle import read_manifest
from edge_runtime.lifecycle.chain import Chain
from edge_runtime.lifecycle.holdings import Holdings
from edge_runtime.lifecycle.origin import UNSIGNED, Origin
from edge_runtime.lifecycle.state_file import Proof, StoreState

Status = Literal["trial", "current", "previous", "shadow", "factory", "staged", "damaged", "quarantined"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of `model list`."""

    name: str
    version: str
    sha256: str
    status: Status
    """`current` is what runs, or what will run again should the one in `trial` fail."""
    reason: str = ""
    """Why it is quarantined or damaged, or who wanted it tried."""
    factory: bool = False
    origin: Origin = UNSIGNED
    proof: Proof | None = None


def list_entries(state: StoreState, holdings: Holdings, chain: Chain) -> tuple[Entry, ...]:
    """What runs or should run comes first, the quarantined last."""
    head = chain.head(state, trial=False)
    paths = {**holdings.factory, **holdings.installed()}
    entries = [
        _entry(sha256, path, state, head.sha256 if head else "", holdings, chain)
        for sha256, path in paths.items()
        if sha256 not in state.quarantined
    ]
    entries += [
        Entry(
            record.name,
            record.version,
            sha256,
            "quarantined",
            record.reason,
            sha256 in holdings.factory,
            chain.origin(state, sha256),
        )
        for sha256, record in state.quarantined.items()
    ]
    order = get_args(Status)
    return tuple(sorted(entries, key=lambda entry: order.index(entry.status)))


def _entry(sha256: str, path: Path, state: StoreState, current: str, holdings: Holdings, chain: Chain) -> Entry:
    factory, origin, held = sha256 in holdings.factory, chain.origin(state, sha256), state.bundles.get(sha256)
    try:
        manifest = read_manifest(path)
    except EdgeError as fault:
        return Entry("", "", sha256, "damaged", fault.found, factory, origin)
    status, reason = _status(sha256, state, current, factory, origin)
    return Entry(manifest.name, manifest.version, sha256, status, reason, factory, origin, held.proof if held else None)


def _status(sha256: str, state: StoreState, current: str, factory: bool, origin: Origin) -> tuple[Status, str]:
    candidate = state.candidate
    if candidate is not None and candidate.sha256 == sha256 and sha256 != current:
        return candidate.phase, candidate.reason
    if sha256 == current:
        return "current", ""
    if sha256 == state.previous:
        return "previous", ""
    if sha256 == state.current:
        if origin.kind == "unsigned":
            return "staged", "passed over: unsigned, and this is no device for development"
        return "damaged", "passed over: damaged"
    return ("factory" if factory else "staged"), ""
