"""What a bundle is called and says of itself: name, version, and the model card, from options and a small TOML file."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.config.faults import line_of, locate
from edge_runtime.errors import BadConfig, Unavailable, Usage

HEADINGS = ("intended_use", "limits", "training_data", "how_measured")
"""Sections of a model card (Mitchell et al. 2019, in what a shelf needs of it)."""
MAX_TEXT = 4000
NOT_STATED = "Not stated by whoever packed this bundle."
NOT_RECORDED = "not recorded"
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
VERSION = re.compile(r"[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}")
_EXAMPLE = 'limits = "Trained on canned food; not tried on hanging goods."'


@dataclass(frozen=True, slots=True)
class Identity:
    """The part of the manifest that people choose."""

    name: str
    version: str
    created: str
    description: str
    licence: str
    runtime: tuple[str, str]


def check_identity(name: str, version: str, runtime: tuple[str, str] | None) -> None:
    """Before minutes of work, not after them; `runtime` as it was asked for. Raises Usage for what no device would take."""
    if not NAME.fullmatch(name):
        raise Usage(
            f"the name {name!r}; 1 to 63 small letters, digits and '-' were expected, no '-' at the front",
            "Write for example shelf-crops",
        )
    for what, text in (("the version", version), *(("--runtime", text) for text in runtime or ())):
        if not VERSION.fullmatch(text):
            raise Usage(f"{what} {text!r}; three numbers with dots were expected", "Write for example 1.0.0")
    if runtime and not _numbers(runtime[0]) < _numbers(runtime[1]):
        raise Usage(
            f"--runtime {runtime[0]} {runtime[1]} is empty: the first runtime that may run it must come before the first"
            " that may not",
            "Leave it out, or write for example --runtime 0.1.0 2.0.0",
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def read_card(path: Path) -> dict[str, str]:
    """A card.toml: one text a heading. Raises Unavailable, or BadConfig with every fault and its line."""
    try:
        text = path.read_text("utf-8")
        found = tomllib.loads(text)
    except OSError as fault:
        raise Unavailable(f"card {path} can not be read: {fault.strerror}", f"Write a line like {_EXAMPLE}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise BadConfig(f"{path} is not TOML: {fault}", f"Write a line like {_EXAMPLE}") from None
    places = locate(text)
    faults = [
        f"{path.name}:{line_of(places, '', 0, key)}: {told}"
        for key, value in found.items()
        if (told := _fault(key, value))
    ]
    if faults:
        raise BadConfig("\n".join(faults), f"Write a line like {_EXAMPLE}", tuple(faults))
    return {key: str(value).strip() for key, value in found.items()}


def _fault(key: str, value: object) -> str:
    if key not in HEADINGS:
        return f"{key}: no heading of a card; {', '.join(HEADINGS)} were expected"
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_TEXT:
        return f"{key}: a text of 1 to {MAX_TEXT} characters was expected"
    return ""


def whole_card(given: dict[str, str], facts: dict[str, str]) -> dict[str, str]:
    """Every heading: what the author wrote, else what packing knows; where both are silent the card says so."""
    found = {heading: given.get(heading) or facts.get(heading) or NOT_STATED for heading in HEADINGS}
    return {heading: re.sub(r"\s+", " ", text).strip() for heading, text in found.items()}
