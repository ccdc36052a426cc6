"""Faults 6 and 9: every byte of every metadata file changed, every length cut, by the repository and on the device's own
disk; and an old repository for a device that has lost all that it trusted.

`python -m benchmarks.faults.metadata [--quick]` prints the rows.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tuf.api.metadata import Metadata

from benchmarks.faults.row import Row
from benchmarks.faults.trust_scene import NAME, HeldRepository, Scene, content, make_scene, memory_disk
from edge_runtime.errors import EdgeError, Refused
from edge_runtime.lifecycle.trust.updater import Updater

QUICK_STRIDE = 61
FLIPS = (0x01, 0x20, 0x80)
"""A neighbouring sign, the other case, no ASCII: each at every byte, where it is the first time that it is read."""
_MEANINGLESS = "without meaning (in a spare signature, or the case of a hex digit or of a date's T and Z: what is signed is the same)"
METADATA = (
    "metadata/2.root.json",
    "metadata/timestamp.json",
    "metadata/*.snapshot.json",
    "metadata/*.targets.json",
    "metadata/*.models.json",
)


def campaign(quick: bool, stride: int = QUICK_STRIDE) -> Iterable[Row]:
    """Rows of faults 6 and 9. Quick is every `stride`-th byte and length."""
    with tempfile.TemporaryDirectory(dir=memory_disk()) as folder:
        scene = make_scene(Path(folder))
        stride = stride if quick else 1
        for pattern in METADATA:
            yield _offered(scene, Path(folder), pattern, stride)
        content(scene.device(Path(folder) / "old-state", HeldRepository(scene.old)))
        for pattern in METADATA:
            yield _offered(scene, Path(folder), pattern, stride, Path(folder) / "old-state")
        yield _stored(scene, Path(folder), stride)
        yield _lost(scene, Path(folder))


def mutations(raw: bytes, stride: int, flips: tuple[int, ...] = FLIPS) -> Iterator[tuple[str, bytes]]:
    """Every byte changed in some ways, every truncation, and the file zeroed or followed by more."""
    for place in range(0, len(raw), stride):
        for flip in flips:
            yield f"byte {place} ^ {flip:#04x}", raw[:place] + bytes([raw[place] ^ flip]) + raw[place + 1 :]
        yield f"cut at {place}", raw[:place]
    yield "zeroed", bytes(len(raw))
    yield "followed by more", raw + b"{}"


def _offered(scene: Scene, folder: Path, pattern: str, stride: int, trusted: Path | None = None) -> Row:
    """The repository offers a changed file to a new device, or to one that has trusted its older self."""
    whole = HeldRepository(scene.new)
    path = max((p for p in whole.files if Path(p).match(pattern)), key=_version)
    expected = content(scene.device(folder / "expected", whole))
    said, first_bad, points = Counter[str](), "", 0
    state = folder / "offered"
    for what, raw in mutations(whole.files[path], stride, FLIPS[:1] if trusted else FLIPS):
        shutil.rmtree(state, ignore_errors=True)
        if trusted:
            shutil.copytree(trusted, state)
        offered = HeldRepository(scene.new)
        offered.files[path] = raw
        verdict = _verdict(scene.device(state, offered), expected, whole.files[path], raw)
        if trusted and _goes_on(lambda: _require(content(scene.device(state, whole)) == expected), None):
            verdict = "what was trusted before is not good any more"
        points, said[verdict] = points + 1, said[verdict] + 1
        if verdict not in ("refused", "same content") and not first_bad:
            first_bad = f"{path} {what}: {verdict}"
    role = path.removeprefix("metadata/").split(".")[-2]
    who = "a device that trusts its older self" if trusted else "a new device"
    told = f"{said['refused']} refused, {said['same content']} {_MEANINGLESS}, 0 accepted"
    held = said["refused"] + said["same content"]
    return Row(
        6, f"every byte and every length of the repository's {role}, offered to {who}", points, held, first_bad or told
    )


def _verdict(updater: Updater, expected: tuple[bytes, ...], whole: bytes, raw: bytes) -> str:
    """Accepted means that a device believed anything that the signers had not said."""
    try:
        found = content(updater)
    except EdgeError as fault:
        return "refused" if fault.mend else f"no mend in {fault}"
    except Exception as fault:  # noqa: BLE001 - a traceback is what is looked for
        return f"traceback {type(fault).__name__}: {fault}"
    if found != expected:
        return "accepted other content"
    same = Metadata[Any].from_bytes(raw).signed == Metadata[Any].from_bytes(whole).signed
    return "same content" if same else "accepted other words"


def _stored(scene: Scene, folder: Path, stride: int) -> Row:
    """The device's own file is changed: it starts, fetches again, and believes the same; an old repository stays refused."""
    repository, old = HeldRepository(scene.new), HeldRepository(scene.old)
    state = folder / "stored"
    expected = content(scene.device(state, repository))
    file = state / "trust" / "metadata.json"
    whole, points, held, first_bad = file.read_bytes(), 0, 0, ""
    for what, raw in mutations(whole, stride, FLIPS[:1]):
        points += 1
        file.write_bytes(raw)
        bad = _goes_on(lambda: scene.device(state, old).refresh(), Refused) or _goes_on(
            lambda: _require(content(scene.device(state, repository)) == expected), None
        )
        held += not bad
        first_bad = first_bad or (f"{what}: {bad}" if bad else "")
    note = first_bad or "an old repository refused by the floors, the new one fetched again"
    return Row(6, "every byte and every length of the device's own trusted metadata", points, held, note)


def _lost(scene: Scene, folder: Path) -> Row:
    """Fault 9: all trusted metadata lost in some way, and one copy of the floors too; then the old repository comes."""
    repository, old, held, points, first_bad = HeldRepository(scene.new), HeldRepository(scene.old), 0, 0, ""
    ways: dict[str, Callable[[Path], object]] = {
        "removed": Path.unlink,
        "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
        "emptied": lambda path: path.write_bytes(b""),
        "replaced by an old one": lambda path: shutil.copy(folder / "old-state" / "trust" / "metadata.json", path),
    }
    for way, spoil in ways.items():
        for copy_lost in (None, 0, 1):
            for root_known in (True, False):
                points += 1
                bad = _old_is_refused(scene, folder / "lost", spoil, copy_lost, repository, old, root_known)
                held += not bad
                first_bad = first_bad or (f"{way}, copy {copy_lost}: {bad}" if bad else "")
    note = first_bad or "refused by the floor of the root, and where that is unknown by the floor of the release"
    return Row(
        9, "all trusted metadata lost, one copy of the floors damaged, an old repository offered", points, held, note
    )


def _old_is_refused(
    scene: Scene,
    state: Path,
    spoil: Callable[[Path], object],
    copy_lost: int | None,
    repository: HeldRepository,
    old: HeldRepository,
    root_known: bool,
) -> str:
    shutil.rmtree(state, ignore_errors=True)
    device = scene.device(state, repository)
    device.refresh()
    device.floors.raise_release(NAME, 2)
    spoil(state / "trust" / "metadata.json")
    if copy_lost is not None:
        device.floors.paths[copy_lost].write_bytes(b"\0" * 64)
    device = scene.device(state, old)
    if not root_known:
        device._anchor = "another enrolment"
    refused = _goes_on(lambda: device.fetch(device.releases(NAME)[0]), Refused)
    return refused or _goes_on(lambda: content_of_newest(scene.device(state, repository)), None)


def content_of_newest(updater: Updater) -> bytes:
    """The newest release's bytes."""
    return updater.fetch(updater.releases(NAME)[0]).read_bytes()


def _goes_on(step: Callable[[], object], expected: type[EdgeError] | None) -> str:
    """What went wrong, in words: another end than the expected one."""
    try:
        step()
    except EdgeError as fault:
        return "" if expected and isinstance(fault, expected) and fault.mend else str(fault)
    except Exception as fault:  # noqa: BLE001 - a traceback is what is looked for
        return f"traceback {type(fault).__name__}: {fault}"
    return "" if expected is None else "accepted"


def _require(condition: bool) -> None:
    if not condition:
        raise Refused("other content than before")


def _version(path: str) -> int:
    number = Path(path).name.split(".")[0]
    return int(number) if number.isdecimal() else 0


if __name__ == "__main__":
    for row in campaign("--quick" in sys.argv):
        print(f"{row.fault:>3}  {row.held}/{row.points}  {row.what}: {row.note}", flush=True)
