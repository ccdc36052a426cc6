"""Lines, tables and colours: JSON for programs, tables for people, progress only where somebody looks."""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from edge_runtime.errors import Unavailable

if TYPE_CHECKING:
    Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

_CODES = {"green": 32, "yellow": 33, "red": 31, "blue": 34, "grey": 90, "bold": 1}
_OWN = re.compile(r"(\x1b\[(?:0|1|3[1-4]|90)m|\n|\t)")
"""What `paint` and our own sentences put into a line."""
_MEDDLING = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
STATE_COLOURS = {"stocked": "green", "low": "yellow", "empty": "red", "blocked": "blue", "unknown": "grey"}


def add_verb(verbs: Verbs, name: str, summary: str, detail: str, examples: str) -> argparse.ArgumentParser:
    """A verb's parser, in the one form that all verbs have: what it does, then examples."""
    return verbs.add_parser(
        name,
        help=summary,
        description=detail,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`, as every reading verb has it."""
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for programs")


def emit(record: Mapping[str, object]) -> None:
    """One JSON object as a line, at once: in ASCII, so that it is whole whatever the locale and the names of files."""
    _write(json.dumps(record, separators=(",", ":"), allow_nan=False))


def say(text: str = "") -> None:
    """A line for a person on standard output."""
    _write(harmless(text))


def complain(text: str) -> None:
    """A line for a person on standard error."""
    print(harmless(text), file=sys.stderr, flush=True)


def harmless(text: str) -> str:
    """`text` as a terminal may show it: what would move its cursor, rename its window or turn the line around is `?`.

    Devices, brokers and files say much of what is shown here. Colours stay, and the ends of lines.
    """
    if text.isprintable():
        return text
    return "".join(part if _OWN.fullmatch(part) else _MEDDLING.sub("?", part) for part in _OWN.split(text))


def watched() -> bool:
    """True if standard output is a terminal: only then are there colours and things that move."""
    return sys.stdout.isatty()


def paint(text: str, colour: str) -> str:
    """`text` in a colour, if somebody watches and NO_COLOR is not set."""
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if _coloured() else text


def table(header: Sequence[str], rows: Iterable[Sequence[str]], colours: Mapping[str, str] | None = None) -> str:
    """Aligned columns; a cell whose text is a key of `colours` is painted."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(header))]
    shown = []
    for number, line in enumerate(lines):
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        cells[-1] = cells[-1].rstrip()
        if number == 0:
            cells = [paint(cell, "bold") for cell in cells]
        elif colours:
            cells = [
                paint(cell, colours[text]) if text in colours else cell for cell, text in zip(cells, line, strict=True)
            ]
        shown.append("  ".join(cells))
    return "\n".join(shown)


def prepare() -> None:
    """Make both outputs fit for any text and any caller: a sign that the locale lacks is escaped, a closed output is void.

    Python leaves None for a closed one, and then prints the complaints among the answers.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - until this process ends
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def silence() -> None:
    """Send the rest of standard output nowhere, so that Python does not complain again when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as fault:
        silence()
        raise Unavailable(
            f"standard output can not be written: {fault.strerror}", "Make room, or write somewhere else"
        ) from None


def _coloured() -> bool:
    if not watched():
        return False
    from edge_runtime.config.environment import read_environment

    return not read_environment().no_color
