"""field-dataset/1 as the bench needs it: all faults of a truth table at once, with their lines."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from edge_runtime.errors import BadConfig, Unavailable, Usage
from edge_runtime.layout import read_layout
from edge_runtime.records import Layout
from edge_runtime.workshop.field_bench.verdicts import LAB, STATES, UNKNOWN, Truths

COLUMNS = ("frame", "condition", "severity", "slot", "state", "covered")
MAX_SEVERITY = 9
MAX_FAULTS_NAMED = 20
_FORM = "A field dataset is dataset.json and shelves/<id>/{layout.json,reference.jpg,frames/*.jpg,truth.csv}"


@dataclass(frozen=True, slots=True)
class TruthRow:
    frame: str
    condition: str
    severity: int
    slot: str
    state: str


@dataclass(frozen=True, slots=True, eq=False)
class BenchShelf:
    """One shelf: its layout, and its truth in the order of the file."""

    folder: Path
    layout: Layout
    rows: tuple[TruthRow, ...]

    @property
    def name(self) -> str:
        return self.folder.name

    def picture(self, frame: str) -> Path:
        """The file of a frame."""
        return self.folder / "frames" / f"{frame}.jpg"

    @property
    def frames(self) -> tuple[str, ...]:
        """Every frame once, in the order of the file."""
        return tuple(dict.fromkeys(row.frame for row in self.rows))


class _DatasetFile(msgspec.Struct, frozen=True):
    format: str


def read_bench(folder: Path, shelves: int | None = None) -> tuple[BenchShelf, ...]:
    """The first `shelves` shelves of a dataset by name (None: all), checked before anything is inferred.

    Raises Unavailable if the dataset or a table is not there, BadConfig naming every fault of the first wrong table,
    Usage if fewer than one shelf is asked for. A shelf that is still being rendered (`*.part`) is left out.
    """
    if shelves is not None and shelves < 1:
        raise Usage(f"--shelves {shelves}: a number from 1 was expected", "Leave it out for all shelves")
    _check_head(folder)
    found = sorted(path for path in folder.glob("shelves/*") if path.is_dir() and path.suffix != ".part")
    if not found:
        raise Unavailable(f"{folder / 'shelves'} holds no shelf, at least one was expected", _FORM)
    return tuple(_read_shelf(path) for path in found[:shelves])


def truths_of(shelves: Sequence[BenchShelf]) -> Truths:
    """The truth of all shelves as arrays; cells by severity, then by name."""
    frames = {path: k for k, path in enumerate(s.picture(f) for s in shelves for f in s.frames)}
    keys = {(row.condition, row.severity) for shelf in shelves for row in shelf.rows}
    cells = {key: k for k, key in enumerate(sorted(keys, key=lambda key: (key[1], key[0])))}
    rows = [(number, shelf, row) for number, shelf in enumerate(shelves) for row in shelf.rows]
    places = [{slot.id: k for k, slot in enumerate(shelf.layout.slots)} for shelf in shelves]
    return Truths(
        shelves=tuple(shelf.name for shelf in shelves),
        frames=tuple(frames),
        cells=tuple(cells),
        shelf=np.array([number for number, _, _ in rows], np.int32),
        frame=np.array([frames[shelf.picture(row.frame)] for _, shelf, row in rows], np.int32),
        cell=np.array([cells[row.condition, row.severity] for _, _, row in rows], np.int32),
        slot=np.array([places[number][row.slot] for number, _, row in rows], np.int32),
        sku=np.array([shelf.layout.slots[places[number][row.slot]].sku for number, shelf, row in rows], np.str_),
        state=np.array([STATES.index(row.state) for _, _, row in rows], np.int8),
    )


def _check_head(folder: Path) -> None:
    path = folder / "dataset.json"
    if not folder.is_dir():
        raise Unavailable(f"{folder} is not a folder, a field dataset was expected", _FORM)
    try:
        head = msgspec.json.decode(path.read_bytes(), type=_DatasetFile)
    except OSError as fault:
        raise Unavailable(f"{path} can not be read: {fault.strerror}", _FORM) from None
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as fault:
        raise BadConfig(f"{path} is not a dataset's head: {fault}", 'Write {"format":"field-dataset/1"}') from None
    if head.format != "field-dataset/1":
        raise BadConfig(f"{path} has the format {head.format!r}, 'field-dataset/1' was expected", _FORM)


def _read_shelf(folder: Path) -> BenchShelf:
    layout = read_layout(folder / "layout.json")
    table = folder / "truth.csv"
    try:
        with table.open(newline="", encoding="utf-8") as lines:
            reader = csv.DictReader(lines)
            columns = tuple(reader.fieldnames or ())
            raw = [(reader.line_num, row) for row in reader]
    except OSError as fault:
        raise Unavailable(f"{table} can not be read: {fault.strerror}", _FORM) from None
    except (csv.Error, UnicodeDecodeError) as fault:
        raise BadConfig(f"{table} is not a table: {fault}", "Write it as UTF-8, with commas") from None
    if not set(COLUMNS[:5]) <= set(columns):
        raise BadConfig(
            f"{table} has the columns {', '.join(columns) or 'none'}; {', '.join(COLUMNS)} were expected",
            "Put the names into its first line",
        )
    if not raw:
        raise BadConfig(f"{table} holds no row, one for every slot of every frame was expected", "Write the truth")
    return _checked(folder, layout, table, raw)


def _checked(folder: Path, layout: Layout, table: Path, raw: list[tuple[int, dict[str, str | None]]]) -> BenchShelf:
    faults: list[str] = []
    rows: list[TruthRow] = []
    context = _Seen(folder / "frames", {slot.id for slot in layout.slots}, {}, set())
    for line, fields in raw:
        fault = context.fault({name: fields.get(name) or "" for name in COLUMNS})
        if fault:
            faults.append(f"{table}:{line}: {fault}")
        else:
            rows.append(_row({name: fields[name] or "" for name in COLUMNS[:5]}))
    if faults:
        more = len(faults) - MAX_FAULTS_NAMED
        named = faults[:MAX_FAULTS_NAMED] + ([f"and {more} more lines"] if more > 0 else [])
        raise BadConfig("\n".join(named), "Mend these lines, or take the shelf out of the dataset", tuple(faults))
    return BenchShelf(folder, layout, tuple(rows))


def _row(fields: Mapping[str, str]) -> TruthRow:
    """Of fields that were checked."""
    return TruthRow(fields["frame"], fields["condition"], int(fields["severity"]), fields["slot"], fields["state"])


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is known while a table is read."""

    pictures: Path
    slots: set[str]
    frames: dict[str, tuple[str, str]]
    """Frame -> condition and severity."""
    pairs: set[tuple[str, str]]

    def fault(self, row: Mapping[str, str]) -> str:
        """What is wrong with a row; empty if nothing is."""
        frame, slot = row["frame"], row["slot"]
        if row["state"] not in STATES[:UNKNOWN]:
            return f"the state is {row['state']!r}; one of {', '.join(STATES[:UNKNOWN])} was expected"
        if slot not in self.slots:
            return f"the slot {slot!r} is not in layout.json, which has {_some(self.slots)}"
        if (frame, slot) in self.pairs:
            return f"slot {slot!r} of frame {frame!r} is given twice, once was expected"
        self.pairs.add((frame, slot))
        return self._frame_fault(row)

    def _frame_fault(self, row: Mapping[str, str]) -> str:
        frame, key = row["frame"], (row["condition"], row["severity"])
        if frame in self.frames:
            if self.frames[frame] != key:
                return f"frame {frame!r} is {' S'.join(key)} here and {' S'.join(self.frames[frame])} before"
            return ""
        severity = row["severity"]
        if not (severity.isascii() and severity.isdigit() and int(severity) <= MAX_SEVERITY):
            return f"the severity is {severity!r}; a whole number from 0 to {MAX_SEVERITY} was expected"
        if not row["condition"] or (row["condition"] == LAB[0]) != (int(severity) == LAB[1]):
            return f"the condition is {row['condition']!r} at severity {severity}; lab, and only lab, is severity 0"
        self.frames[frame] = key  # known from here on: a missing picture is told once, not for each of its slots
        if not frame or Path(frame).name != frame or not (self.pictures / f"{frame}.jpg").is_file():
            return f"there is no picture frames/{frame}.jpg"
        return ""


def _some(names: set[str]) -> str:
    first = sorted(names)[:4]
    return ", ".join(first) + (f" and {len(names) - len(first)} others" if len(names) > len(first) else "")
