"""One fault in device.toml, and where in the file a key stands (tomllib does not say)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""^\s*("[^"]*"|'[^']*'|[A-Za-z0-9_-]+)((?:\s*\.\s*[A-Za-z0-9_"'-]+)*)\s*=""")

Place = tuple[str, int, str]
"""(section, which of the repeated sections, key); an empty key is the section's header."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one key, and the mend."""

    file: str
    line: int
    key: str
    found: str
    expected: str
    mend: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.key}: found {self.found}; expected {self.expected}. {self.mend}"


def locate(text: str) -> Mapping[Place, int]:
    """Line numbers (from 1) of section headers and keys. Text inside a multi-line string may be taken for a key; a
    real key of that name, if it comes first, keeps its place."""
    places: dict[Place, int] = {}
    counts: dict[str, int] = {}
    section, index = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        header = _HEADER.match(line)
        if header:
            section = header[2].strip("\"' ")
            index = counts.get(section, 0)
            if header[1] == "[[":
                counts[section] = index + 1
            places.setdefault((section, index, ""), number)
        elif key := _KEY.match(line):
            name = key[1].strip("\"'")
            if not section and key[2]:
                places.setdefault((name, 0, key[2].strip(" .\"'")), number)
            places.setdefault((section, index, name), number)
    return places


def line_of(places: Mapping[Place, int], section: str, index: int, key: str) -> int:
    """The line of the key, else of its section, else 1."""
    for place in ((section, index, key), (section, index, ""), ("", 0, section), (section, 0, "")):
        if place in places:
            return places[place]
    return 1
