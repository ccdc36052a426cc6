"""Fault 7: bytes of an installed bundle change. Fault 14: bundles, state files and floors are damaged together."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.faults.row import Row
from benchmarks.faults.scene import LATER, NAME, Scene, new_scene
from edge_runtime.errors import EdgeError
from edge_runtime.lifecycle.floors import Floors

SEED = 14
QUICK_STRIDE = 37
_STATES, _FLOORS = ("models/state.json", "model-state.json"), ("models/floors.json", "floors.json")
_CHAIN = ("1.3.0", "1.2.0", "1.1.0", "1.0.0")
"""In the order of preference while 1.3.0 is in trial; the last is the factory's."""


def campaign(quick: bool) -> Iterator[Row]:
    stride = QUICK_STRIDE if quick else 1
    with new_scene() as scene:
        for version, picture, instead in (("1.2.0", "settled", "1.1.0"), ("1.3.0", "trial", "1.2.0")):
            yield bytes_row(scene, version, picture, instead, stride)
        yield together_row(scene, stride)


def bytes_row(scene: Scene, version: str, picture: str, instead: str, stride: int = 1) -> Row:
    """Change each byte of an installed bundle, cut it at each length, lengthen it: the next of the chain runs."""
    draw = random.Random(SEED)
    scene.restore(picture)
    path = scene.state / "models" / f"{scene.models[version].sha256}.zip"
    whole = path.read_bytes()
    changed = (_with_byte(whole, place, draw) for place in range(0, len(whole), stride))
    cut = (whole[:length] for length in range(0, len(whole), stride))
    longer = (whole + bytes(length) for length in range(1, 65, stride))
    first, held, points = "", 0, 0
    for raw in itertools.chain(changed, cut, longer):
        path.write_bytes(raw)
        store = scene.store()
        runs = scene.version(store)
        good = runs == instead and bool(store.problems)
        points, held = points + 1, held + good
        first = first or ("" if good else f"{runs} runs with {len(raw)} bytes, point {points}: {store.problems}")
    return Row(7, f"each byte of the bundle changed, cut or added: {version}, {picture}", points, held, first)


def together_row(scene: Scene, stride: int = 1) -> Row:
    """Every set of {four bundles, two state files, two floors}, each set damaged in five ways."""
    draw = random.Random(SEED)
    parts = (*_CHAIN, *_STATES, *_FLOORS)
    sets = [chosen for count in range(1, len(parts) + 1) for chosen in itertools.combinations(parts, count)]
    plans = [(chosen, how) for chosen in sets for how in _WAYS][::stride]
    factory = scene.paths["1.0.0"].read_bytes()
    first, held, safe = "", 0, 0
    for chosen, how in plans:
        scene.restore("trial")
        for part in chosen:
            _WAYS[how](_path(scene, part), draw)
        fault = _fault_of(scene, frozenset(chosen))
        safe += _expected(frozenset(chosen)) == "none"
        scene.paths["1.0.0"].write_bytes(factory)
        held += not fault
        first = first or (f"{how} {', '.join(chosen)}: {fault}" if fault else "")
    what = "every set of bundles (in trial, current, previous, factory), state files and floors damaged together"
    return Row(14, what, len(plans), held, first or f"{safe} of them end in safe mode and come back by an install")


def _expected(damaged: frozenset[str]) -> str:
    known = _CHAIN if not damaged.issuperset(_STATES) else _CHAIN[-1:]
    return next((version for version in known if version not in damaged), "none")


def _fault_of(scene: Scene, damaged: frozenset[str]) -> str:
    try:
        return _start(scene, damaged) or _install(scene)
    except (EdgeError, OSError) as fault:
        return f"{type(fault).__name__}: {fault}"


def _start(scene: Scene, damaged: frozenset[str]) -> str:
    store = scene.store()
    if (runs := scene.version(store)) != _expected(damaged):
        return f"{runs} runs, not {_expected(damaged)}"
    store.note_start()
    if (runs := scene.version(scene.store())) != _expected(damaged):
        return f"{runs} runs after the start"
    state_left = not damaged.issuperset(_STATES)
    if (state_left or not damaged.issuperset(_FLOORS)) and Floors(scene.state).release(NAME) != 2:
        return "the release floor is lost"
    barred = {entry.version for entry in store.list() if entry.status == "quarantined"}
    return "a quarantine is lost" if state_left and "1.2.5" not in barred else ""


def _install(scene: Scene) -> str:
    store = scene.store()
    if store.candidate is not None:
        store.rollback("asked for", quarantine=True, running=store.candidate.sha256)
    scene.deploy(store, "1.9.0")
    floor = Floors(scene.state).release(NAME)
    return "" if scene.version(scene.store()) == "1.9.0" and floor == LATER else "an install does not bring it back"


def _path(scene: Scene, part: str) -> Path:
    if part == "1.0.0":
        return scene.paths[part]
    return scene.state / (f"models/{scene.models[part].sha256}.zip" if part in _CHAIN else part)


def _with_byte(whole: bytes, place: int, draw: random.Random) -> bytes:
    return whole[:place] + bytes([whole[place] ^ draw.randint(1, 255)]) + whole[place + 1 :]


_WAYS: dict[str, Callable[[Path, random.Random], object]] = {
    "gone": lambda path, draw: path.unlink(),
    "empty": lambda path, draw: path.write_bytes(b""),
    "zeroed": lambda path, draw: path.write_bytes(bytes(path.stat().st_size)),
    "halved": lambda path, draw: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "one byte changed": lambda path, draw: path.write_bytes(
        _with_byte(path.read_bytes(), draw.randrange(path.stat().st_size), draw)
    ),
}
