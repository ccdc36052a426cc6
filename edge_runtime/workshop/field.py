"""field-dataset/1 on disk: shelves with a layout, frames and the truth of every slot."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge_runtime.errors import BadConfig, Unavailable
from edge_runtime.workshop.labels import LABELS

COLUMNS = ("frame", "condition", "severity", "slot", "state", "covered")


@dataclass(frozen=True, slots=True)
class SlotTruth:
    slot: str
    state: str
    covered: float


@dataclass(frozen=True, slots=True)
class FramePicture:
    """One frame of a shelf and what its slots really were."""

    path: Path
    condition: str
    severity: int
    truth: tuple[SlotTruth, ...]


@dataclass(frozen=True, slots=True)
class ShelfPictures:
    name: str
    layout: Path
    frames: tuple[FramePicture, ...]


class _DatasetFile(msgspec.Struct, frozen=True):
    format: str


def read_field(folder: Path) -> tuple[ShelfPictures, ...]:
    """All whole shelves of a dataset, by name. Raises Unavailable, or BadConfig naming the file that is wrong.

    A shelf that is still being rendered (`*.part`) is left out.
    """
    try:
        head = msgspec.json.decode((folder / "dataset.json").read_bytes(), type=_DatasetFile)
    except OSError as fault:
        raise Unavailable(f"no dataset in {folder}: {fault.strerror}", "Name a folder with a dataset.json") from None
    except (msgspec.DecodeError, msgspec.ValidationError) as fault:
        raise BadConfig(f"{folder / 'dataset.json'} is not readable: {fault}", "Render the dataset again") from None
    if head.format != "field-dataset/1":
        raise BadConfig(f"{folder} has the format {head.format!r}; field-dataset/1 was expected", "Render it again")
    shelves = sorted(path for path in folder.glob("shelves/*") if path.is_dir() and path.suffix != ".part")
    if not shelves:
        raise Unavailable(f"{folder / 'shelves'} holds no shelf", "Render the dataset again")
    return tuple(_read_shelf(shelf) for shelf in shelves)


def dataset_digest(folders: tuple[Path, ...]) -> str:
    """sha256 over the names and bytes of every file: truth tables, layouts, references and frames."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                with path.open("rb") as file:
                    body = hashlib.file_digest(file, "sha256").digest()
                digest.update(str(path.relative_to(folder)).encode() + b"\0" + body)
    return digest.hexdigest()


def _read_shelf(folder: Path) -> ShelfPictures:
    table = folder / "truth.csv"
    try:
        frames = _read_truth(table)
    except OSError as fault:
        raise Unavailable(f"{table} can not be read: {fault.strerror}", "Render it again") from None
    except (csv.Error, ValueError) as fault:
        raise BadConfig(f"{table} is not a truth table: {fault}", "Render it again") from None
    pictures = tuple(
        FramePicture(folder / "frames" / f"{name}.jpg", condition, severity, tuple(truth))
        for name, (condition, severity, truth) in frames.items()
    )
    return ShelfPictures(folder.name, folder / "layout.json", pictures)


def _read_truth(table: Path) -> dict[str, tuple[str, int, list[SlotTruth]]]:
    """Frame -> condition, severity and slots. Raises ValueError for a number or text that is none."""
    frames: dict[str, tuple[str, int, list[SlotTruth]]] = {}
    with table.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise BadConfig(f"{table} has the columns {reader.fieldnames}; {COLUMNS} were expected", "Render it again")
        for row in reader:
            if row["state"] not in LABELS:
                raise BadConfig(f"{table} holds the state {row['state']!r}; {LABELS} were expected", "Render it again")
            entry = frames.setdefault(row["frame"], (row["condition"], int(row["severity"]), []))
            entry[2].append(SlotTruth(row["slot"], row["state"], float(row["covered"] or "")))
    return frames
