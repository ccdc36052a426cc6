"""An errand: one operation of the model desk, in a process of its own: `python -m edge_runtime.daemon.errand`.

The daemon sends one for whatever takes longer than a frame: asking a repository, fetching, verifying signatures in pure
Python, proving. The inference loop keeps its processor (the child is nice), its memory (python-tuf stays in the child)
and its life. The errand comes on standard input as JSON, what came of it goes out the same way.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from edge_runtime.config import DeviceConfig
from edge_runtime.daemon.model_desk import ModelDesk, Source
from edge_runtime.daemon.terms import Terms
from edge_runtime.errors import EdgeError, ModelFault, Refused, TryAgain, Unavailable
from edge_runtime.records import ModelId
from edge_runtime.telemetry.messages import Scalar

if TYPE_CHECKING:
    from edge_runtime.lifecycle.trust.updater import Updater

log = logging.getLogger("edge_runtime.daemon.errand")  # __name__ is __main__ in the child

NICENESS = 10
MAX_SAID_BYTES = 65_536
_FAMILIES: Mapping[str, type[EdgeError]] = {
    family.__name__: family for family in (Refused, Unavailable, TryAgain, ModelFault, EdgeError)
}


class Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The device whose models are meant, as a process that has no device.toml must be told."""

    state_dir: str
    name: str
    """Of the device's own model."""
    repository: str = ""
    root: str = ""
    """Path of the root file whose signatures count."""
    threads: int = 1
    development: bool = False
    """Unsigned bundles may be installed and run."""
    terms: Terms = Terms()
    """Of a new model for which nobody gives others."""


def place_of(config: DeviceConfig, development: bool = False) -> Place:
    """The device of a device.toml."""
    model = config.model
    return Place(
        str(config.storage.state_dir),
        model.name,
        model.repository or "",
        str(model.root or ""),
        model.threads,
        development,
        Terms(model.shadow_s, model.trial_s, model.trial_frames),
    )


class Errand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to do there."""

    place: Place
    verb: Literal["install", "activate", "commit", "release", "update", "keys"]
    name: str = ""
    version: str = ""
    sha256: str = ""
    why: str = ""
    terms: Terms | None = None


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What came of it: a result, or an error by its family's name."""

    result: dict[str, Scalar] = {}
    fault: str = ""
    found: str = ""
    mend: str = ""

    def unwrap(self) -> dict[str, Scalar]:
        """The result. Raises the error if it is one."""
        if self.fault:
            raise _FAMILIES.get(self.fault, EdgeError)(self.found, self.mend)
        return self.result


def open_desk(
    place: Place, tell: Callable[[str], None] = log.info, progress: Callable[[int, int], None] | None = None
) -> ModelDesk:
    """The desk of a device, with everything real behind it. Opens nothing yet. `tell`, `progress`: as `ModelDesk`."""
    from edge_runtime.assets import factory_bundles
    from edge_runtime.daemon.proving import prove
    from edge_runtime.lifecycle.store import ModelStore

    state_dir = Path(place.state_dir)
    store = ModelStore(state_dir, factory_bundles(place.name), allow_unsigned=place.development)
    proof = partial(prove, threads=place.threads)
    return ModelDesk(store, state_dir, place.name, proof, lambda: open_source(place), place.repository, tell, progress)


def open_source(place: Place) -> Source:
    """As `open_updater`, for the desk."""
    return open_updater(place)


def open_updater(place: Place) -> Updater:
    """The repository that the device trusts. Raises Unavailable if it has none, or if its root can not be read."""
    from edge_runtime.lifecycle.trust.updater import Updater

    if not place.repository or not place.root:
        raise Unavailable(
            "this device has no model repository",
            "Give [model] repository and root in device.toml, or on the command line",
        )
    try:
        root = Path(place.root).read_bytes()
    except OSError as fault:
        raise Unavailable(
            f"the root file {place.root} can not be read: {fault.strerror}",
            "Copy the repository's first root.json there",
        ) from None
    return Updater(Path(place.state_dir), place.repository, root)


def perform(errand: Errand, desk: ModelDesk) -> dict[str, Scalar]:
    """Do it, here and now. Raises what the desk raises."""
    if errand.verb == "install":
        return _named(desk.install_release(errand.name, errand.version))
    if errand.verb == "update":
        return _update(errand, desk)
    if errand.verb == "commit":
        return _named(desk.commit(errand.why))
    entry = desk.find(errand.sha256, errand.name, errand.version)
    if errand.verb == "release":
        desk.release(entry.sha256)
        return {"name": entry.name, "version": entry.version, "sha256": entry.sha256}
    began = desk.activate(entry, errand.terms or errand.place.terms, errand.why)
    return _named(began.model) | {"phase": began.phase, "variant": began.variant, "said": began.said}


def _update(errand: Errand, desk: ModelDesk) -> dict[str, Scalar]:
    model = desk.newest()
    if model is None:
        return {"name": "", "version": "", "sha256": ""}
    began = desk.activate(desk.find(model.sha256), errand.terms or errand.place.terms, errand.why or "a new release")
    return _named(model) | {"phase": began.phase, "variant": began.variant, "said": began.said}


def _named(model: ModelId) -> dict[str, Scalar]:
    return {"name": model.name, "version": model.version, "sha256": model.sha256}


def attempt(errand: Errand, desk: ModelDesk) -> Outcome:
    """As `perform`, with an error as a value."""
    try:
        return Outcome(perform(errand, desk))
    except EdgeError as fault:
        return Outcome({}, type(fault).__name__, fault.found, fault.mend)


def renew_keys(place: Place) -> Outcome:
    """Ask the repository whose commands count; the daemon sees the file that it leaves."""
    from edge_runtime.lifecycle.trust.key_ring import fetch_command_keys

    try:
        return Outcome({"changed": fetch_command_keys(open_updater(place), Path(place.state_dir))})
    except EdgeError as fault:
        return Outcome({}, type(fault).__name__, fault.found, fault.mend)


def main(parent: int) -> int:
    """Read one errand, do it, say what came of it."""
    from edge_runtime.daemon.confine import die_with

    die_with(parent)
    os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    errand = msgspec.json.decode(sys.stdin.buffer.read(MAX_SAID_BYTES), type=Errand)
    outcome = renew_keys(errand.place) if errand.verb == "keys" else attempt(errand, open_desk(errand.place))
    sys.stdout.buffer.write(msgspec.json.encode(outcome) + b"\n")
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
