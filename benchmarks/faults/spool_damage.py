"""Fault 22: a spool file, its journal or the session number damaged in every way.

What must hold: the spool starts, takes the next event, hands out nothing that is not as it was given, counts a file
that it set aside, and loses at most the rows that the damage is in.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.faults.row import Row
from benchmarks.faults.spool_scene import EVENTS, FIGURES, NAME, SpoolScene, event, new_spool_scene, whole
from edge_runtime.errors import EdgeError
from edge_runtime.telemetry.session import next_session
from edge_runtime.telemetry.spool import QUARANTINED_FILE, Entry
from edge_runtime.telemetry.sqlite_spool import SqliteSpool

QUICK_STRIDE = 509
JOURNAL = f"{NAME}-wal"
ALL = EVENTS + FIGURES
Damage = Callable[[Path], None]


def campaign(quick: bool) -> Iterator[Row]:
    stride = QUICK_STRIDE if quick else 1
    with new_spool_scene() as scene:
        yield flip_row(scene, "closed", NAME, stride)
        yield flip_row(scene, "crashed", NAME, stride)
        yield flip_row(scene, "crashed", JOURNAL, stride * 7)
        yield cut_row(scene, "closed", NAME, stride * 3)
        yield cut_row(scene, "crashed", JOURNAL, stride * 7)
        yield thing_row(scene)
        yield session_row(scene.root)


def flip_row(scene: SpoolScene, picture: str, name: str, stride: int) -> Row:
    """Every `stride`-th byte of the file turned over, one at a time: at most the row that it is in is lost.

    The journal is longer, and tried at every seventh.
    """
    scene.restore(picture)
    size = (scene.folder / name).stat().st_size

    def flip(at: int) -> Damage:
        def damage(path: Path) -> None:
            with path.open("r+b") as file:
                file.seek(at)
                byte = file.read(1)
                file.seek(at)
                file.write(bytes([byte[0] ^ 0xFF]))

        return damage

    tries = [(f"byte {at}", flip(at)) for at in range(0, size, stride)]
    what = f"a byte of a {picture} spool's {_kind(name)} changed, anywhere: at most the row that it is in is lost"
    return _row(scene, picture, name, tries, what, may_lose=1)


def cut_row(scene: SpoolScene, picture: str, name: str, stride: int) -> Row:
    """The file cut at every `stride`-th length."""
    scene.restore(picture)
    size = (scene.folder / name).stat().st_size

    def cut(length: int) -> Damage:
        return lambda path: path.write_bytes(path.read_bytes()[:length])

    tries = [(f"length {n}", cut(n)) for n in range(0, size, stride)]
    what = f"a {picture} spool's {_kind(name)} cut at any length"
    return _row(scene, picture, name, tries, what, may_lose=ALL)


def thing_row(scene: SpoolScene) -> Row:
    """Zeros, noise, text, an empty file, a folder, a pipe in the place of the file, its journal and its index."""

    def folder(path: Path) -> None:
        path.unlink(missing_ok=True)
        path.mkdir()
        (path / "of somebody").write_text("keep")

    def pipe(path: Path) -> None:
        path.unlink(missing_ok=True)
        os.mkfifo(path)

    things: dict[str, Damage] = {
        "zeros": lambda path: path.write_bytes(bytes(20_000)),
        "a zeroed page": lambda path: (
            path.write_bytes(bytes(4_096) + path.read_bytes()[4_096:]) if path.exists() else None
        ),
        "text": lambda path: path.write_bytes(b"something else\n" * 900),
        "0xff": lambda path: path.write_bytes(b"\xff" * 20_000),
        "nothing": lambda path: path.write_bytes(b""),
        "a folder": folder,
        "a pipe": pipe,
        "no file": lambda path: path.unlink(missing_ok=True),
    }
    rows = [
        _row(scene, picture, f"{NAME}{tail}", list(things.items()), "", may_lose=ALL)
        for picture in ("closed", "crashed")
        for tail in ("", "-wal", "-shm")
    ]
    wrong = next((row.note for row in rows if row.held < row.points), "")
    what = "zeros, text, 0xff, nothing, a folder, a pipe in the place of the spool, its journal, its index"
    return Row(22, what, sum(row.points for row in rows), sum(row.held for row in rows), wrong)


def session_row(folder: Path) -> Row:
    """Any bit of one of the two session files, and each length of it: the number goes up by one."""
    with TemporaryDirectory(dir=folder) as place:
        path = Path(place, "session")
        last = next_session(path, lambda: 1.8e9)
        points, held, first = 0, 0, ""
        for which in ("session", "session.copy"):
            raw = Path(place, which).read_bytes()
            damaged = [bytes([*raw[:n], raw[n] ^ 1 << bit, *raw[n + 1 :]]) for n in range(len(raw)) for bit in range(8)]
            for content in (*damaged, *(raw[:n] for n in range(len(raw))), bytes(len(raw))):
                Path(place, which).write_bytes(content)
                number = next_session(path, lambda: 0.0)
                points, held = points + 1, held + (number == last + 1)
                first = first or ("" if number == last + 1 else f"{content!r}: {number} after {last}")
                last = number
    return Row(
        22,
        "any bit of a session file changed, any length of it, a clock of 1970: the number goes on",
        points,
        held,
        first,
    )


def _row(scene: SpoolScene, picture: str, name: str, tries: list[tuple[str, Damage]], what: str, may_lose: int) -> Row:
    first, held, lost, aside = "", 0, 0, 0
    for told, damage in tries:
        scene.restore(picture)
        damage(scene.folder / name)
        fault, missing, set_aside = _start(scene.folder / NAME, may_lose)
        held += not fault
        lost += missing
        aside += set_aside
        first = first or (f"{told} of the {_kind(name)}: {fault}" if fault else "")
    note = f"{aside} files set aside, {lost:,} of {ALL * len(tries):,} entries lost"
    return Row(22, what, len(tries), held, first or note)


def _start(path: Path, may_lose: int) -> tuple[str, int, int]:
    """What does not hold, how many entries are lost, whether a file was set aside."""
    try:
        spool = SqliteSpool(path)
        spool.add([event(900)])
        seen: list[Entry] = []
        while batch := spool.begin(50):
            seen += batch
            spool.end([entry.id for entry in batch])
        counts = spool.counts()
        spool.close()
    except (EdgeError, OSError) as fault:
        return f"{type(fault).__name__}: {fault}", ALL, 0
    ids = {entry.id for entry in seen} - {"e900"}
    aside = counts.dropped.get(QUARANTINED_FILE, 0)
    lost = ALL - len(ids)
    fault = ""
    if any(not whole(entry) for entry in seen):
        fault = "an entry is not as it was given"
    elif len(seen) != len(ids) + 1:
        fault = "an entry comes twice, or the next event is not taken"
    elif lost > may_lose:
        fault = f"{lost} entries lost"
    elif aside != len(list(path.parent.glob(f"{NAME}.corrupt-[0-9]"))) and aside != 1:
        fault = f"{aside} files are counted as set aside"
    return fault, lost, aside


def _kind(name: str) -> str:
    return {NAME: "file", JOURNAL: "journal"}.get(name, "index")
