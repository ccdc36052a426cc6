"""Reference pictures that were taken from afar: `<state>/layouts/<camera>/`, over the layout that device.toml names.

Every one has a number and stays (KEPT of them), so that one can go back. They hold only as long as device.toml's own layout
is the one they were taken over: who commissions the camera again at the device has the last word.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from pathlib import Path
from typing import Literal

import cv2
import msgspec

from edge_runtime.errors import EdgeError, Refused, TryAgain
from edge_runtime.layout import read_layout, write_layout
from edge_runtime.records import Image, Layout, Slot
from edge_runtime.telemetry.durable import replace_durably

log = logging.getLogger(__name__)

FOLDER = "layouts"
POINTER = "current.json"
LAYOUT, REFERENCE = "layout.json", "reference.png"
KEPT = 5
MAX_BYTES = 4_096


class _Pointer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: Literal["edge-mounting/1"]
    over: str
    """Digest of the layout that device.toml names, and of its reference picture."""
    numbers: tuple[int, ...]
    """Taken one after the other; the last one holds. Empty: device.toml's own."""


class Mounting:
    """The layouts of one camera. Any thread may call it, one at a time."""

    def __init__(self, state_dir: Path, camera: str, written: Path) -> None:
        """`written`: the layout that device.toml names."""
        self._folder = state_dir / FOLDER / camera
        self._written = written

    def in_force(self) -> Path:
        """The layout.json that holds: the newest that was taken from afar and can be used, else device.toml's own."""
        numbers = self._numbers()
        if not numbers:
            return self._written
        path = self._path(numbers[-1])
        try:
            if read_layout(path).reference.is_file():
                return path
        except EdgeError as fault:
            log.warning("%s; the layout that device.toml names holds", fault)
        return self._written

    def draft(self, picture: Image, slots: tuple[Slot, ...]) -> tuple[int, Layout]:
        """Write a new reference, on the disk when this returns, which `hold` lets hold. Raises TryAgain if the disk
        fails, BadConfig if the slots do not fit the picture."""
        taken = {int(path.name) for path in self._folder.glob("[0-9]*") if path.name.isdigit()}
        number = max((0, *self._numbers(), *taken)) + 1
        path = self._path(number)
        try:
            path.parent.mkdir(parents=True)
            write_layout(path, REFERENCE, (picture.shape[1], picture.shape[0]), slots)
            found = read_layout(path)
            replace_durably(path, path.read_bytes())
            replace_durably(found.reference, cv2.imencode(".png", picture)[1].tobytes())
        except OSError as fault:
            self.discard(number)
            raise TryAgain(f"the new reference can not be kept: {fault.strerror}", "Free the device's disk") from None
        except EdgeError:
            self.discard(number)
            raise
        return number, found

    def hold(self, number: int) -> None:
        """A draft holds from now on. Raises TryAgain if the disk fails."""
        numbers = (*self._numbers(), number)[-KEPT:]
        try:
            self._point(numbers)
        except OSError as fault:
            raise TryAgain(f"the new reference can not be kept: {fault.strerror}", "Free the device's disk") from None
        for path in self._folder.glob("[0-9]*"):
            if path.name.isdigit() and int(path.name) not in numbers:
                shutil.rmtree(path, ignore_errors=True)

    def discard(self, number: int) -> None:
        """A draft that is not wanted."""
        shutil.rmtree(self._path(number).parent, ignore_errors=True)

    def go_back(self) -> Path:
        """Let the one before hold; its layout.json. Raises Refused if none was taken from afar, TryAgain for the disk."""
        numbers = self._numbers()
        if not numbers:
            raise Refused("no reference of this camera was taken from afar", "The one of device.toml holds already")
        try:
            self._point(numbers[:-1])
        except OSError as fault:
            raise TryAgain(f"that can not be kept: {fault.strerror}", "Free the device's disk") from None
        return self.in_force()

    def _numbers(self) -> tuple[int, ...]:
        try:
            with (self._folder / POINTER).open("rb") as file:
                pointer = msgspec.json.decode(file.read(MAX_BYTES), type=_Pointer)
        except FileNotFoundError:
            return ()
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as fault:
            log.warning("%s can not be read: %s", self._folder / POINTER, fault)
            return ()
        return pointer.numbers if pointer.over == self._digest() else ()

    def _point(self, numbers: tuple[int, ...]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        pointer = _Pointer("edge-mounting/1", self._digest(), numbers)
        replace_durably(self._folder / POINTER, msgspec.json.encode(pointer))

    def _digest(self) -> str:
        """Of what device.toml names; of nothing if it can not be read, so that what was taken over it does not hold."""
        digest = hashlib.sha256()
        try:
            digest.update(self._written.read_bytes())
            digest.update(read_layout(self._written).reference.read_bytes())
        except (OSError, EdgeError):
            digest.update(b"none")
        return digest.hexdigest()

    def _path(self, number: int) -> Path:
        return self._folder / str(number) / LAYOUT
