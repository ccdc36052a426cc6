"""gate.toml (`model-gate/1`): what must hold before a model is packed or published. Read with all its faults at once.

format = "model-gate/1"
[accuracy]                 # of model.onnx, per cent, on each dataset
lab_percent = 95.0
[int8]                     # model.onnx beside model.fp32.onnx
agreement_percent = 99.5
[[condition]]              # one condition of the datasets
name = "store"
severity = 3
accuracy_percent = 90.0
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.config.faults import line_of, locate
from edge_runtime.errors import BadConfig, Unavailable

FORMAT = "model-gate/1"
AT_LEAST, AT_MOST = ">=", "<="
SECTIONS: dict[str, dict[str, str]] = {
    "accuracy": {
        "lab_percent": AT_LEAST,
        "field_percent": AT_LEAST,
        "store_percent": AT_LEAST,
        "coverage_percent": AT_LEAST,
        "blocked_percent": AT_LEAST,
        "abstained_percent": AT_LEAST,
    },
    "int8": {
        "agreement_percent": AT_LEAST,
        "lab_loss_points": AT_MOST,
        "field_loss_points": AT_MOST,
        "condition_loss_points": AT_MOST,
        "condition_sure_loss_points": AT_MOST,
        "speedup": AT_LEAST,
    },
    "confidence": {"ece_lab_percent": AT_MOST, "ece_field_percent": AT_MOST},
    "device": {"p95_ms": AT_MOST, "peak_mb": AT_MOST, "file_mb": AT_MOST},
}
"""Section -> figure -> how it is compared. `device` and `speedup` are of the machine, all others of each dataset."""
CONDITION = {"accuracy_percent": AT_LEAST, "loss_points": AT_MOST}
_MEND = "docs/validation.md names every key"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One figure that must hold."""

    figure: str
    relation: str
    limit: float
    section: str
    condition: tuple[str, int] | None = None

    @property
    def mark(self) -> str:
        """As it is told."""
        if self.condition is None:
            return f"{self.section}.{self.figure}"
        return f"{self.condition[0]} S{self.condition[1]}: {self.figure}"

    def holds(self, found: float) -> bool:
        """False too where nothing was measured."""
        if math.isnan(found):
            return False
        return found >= self.limit if self.relation == AT_LEAST else found <= self.limit


@dataclass(frozen=True, slots=True)
class Mark:
    """One figure, found and wanted."""

    wanted: Wanted
    found: float
    where: str
    """The dataset that is worst, or `here` for a figure of the machine."""

    @property
    def met(self) -> bool:
        return self.wanted.holds(self.found)


def read_gate(path: Path) -> tuple[Wanted, ...]:
    """Raises Unavailable if the file is not there, BadConfig with every fault and its line."""
    try:
        text = path.read_text("utf-8")
        raw = tomllib.loads(text)
    except OSError as fault:
        raise Unavailable(f"gate {path} can not be read: {fault.strerror}", "Name a gate.toml") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise BadConfig(f"{path} is not TOML: {fault}", _MEND) from None
    places = locate(text)
    found = list(_entries(raw))
    faults = sorted({(line_of(places, *place), told) for place, told in found if isinstance(told, str)})
    if faults:
        told = tuple(f"{path.name}:{line}: {what}" for line, what in faults)
        raise BadConfig("\n".join(told), _MEND, told)
    return tuple(wanted for _, wanted in found if isinstance(wanted, Wanted))


def weigh(
    gate: Sequence[Wanted],
    datasets: Mapping[str, Mapping[str, float]],
    cells: Mapping[str, Mapping[tuple[str, int], tuple[float, float]]],
    machine: Mapping[str, float],
) -> tuple[Mark, ...]:
    """Every mark with the worst that was found. `cells`: dataset -> (condition, severity) -> (accuracy %, loss in points)."""
    return tuple(_weighed(wanted, datasets, cells, machine) for wanted in gate)


def _weighed(
    wanted: Wanted,
    datasets: Mapping[str, Mapping[str, float]],
    cells: Mapping[str, Mapping[tuple[str, int], tuple[float, float]]],
    machine: Mapping[str, float],
) -> Mark:
    if wanted.condition is not None:
        column = list(CONDITION).index(wanted.figure)
        found = {name: held[wanted.condition][column] for name, held in cells.items() if wanted.condition in held}
    elif wanted.figure in machine:
        found = {"here": machine[wanted.figure]}
    else:
        found = {name: figures.get(wanted.figure, math.nan) for name, figures in datasets.items()}
    measured = {name: value for name, value in found.items() if not math.isnan(value)}
    if not measured:
        return Mark(wanted, math.nan, "not measured")
    pick = min if wanted.relation == AT_LEAST else max
    where = pick(measured, key=lambda name: measured[name])
    return Mark(wanted, measured[where], where)


Place = tuple[str, int, str]


def _entries(raw: Mapping[str, object]) -> Iterator[tuple[Place, Wanted | str]]:
    """Every entry with its place: what is wanted, or what is wrong."""
    if raw.get("format") != FORMAT:
        yield ("", 0, "format"), f"format is {raw.get('format')!r}; {FORMAT!r} was expected"
    for section, held in raw.items():
        if section in SECTIONS and isinstance(held, dict):
            yield from _section(section, held)
        elif section == "condition" and isinstance(held, list):
            for number, entry in enumerate(held):
                yield from _condition(number, entry)
        elif section != "format":
            yield (section, 0, ""), f"{section}: {_unknown(section, (*SECTIONS, 'condition', 'format'))}"
    if not any(raw.get(key) for key in (*SECTIONS, "condition")):
        yield ("", 0, "format"), "nothing is asked for; at least one figure was expected"


def _section(section: str, held: Mapping[str, object]) -> Iterator[tuple[Place, Wanted | str]]:
    for key, value in held.items():
        place = (section, 0, key)
        if key not in SECTIONS[section]:
            yield place, f"{section}.{key}: {_unknown(key, SECTIONS[section])}"
        elif fault := _number_fault(key, value):
            yield place, f"{section}.{key}: {fault}"
        else:
            yield place, Wanted(key, SECTIONS[section][key], float(str(value)), section)


def _condition(number: int, entry: object) -> Iterator[tuple[Place, Wanted | str]]:
    if not isinstance(entry, dict):
        yield ("condition", number, ""), "condition: a table was expected"
        return
    name, severity = entry.get("name"), entry.get("severity")
    if not isinstance(name, str) or not name:
        yield ("condition", number, "name"), f"condition.name is {name!r}; the name of a condition was expected"
    if not isinstance(severity, int) or isinstance(severity, bool) or not 0 <= severity <= 9:
        yield (
            ("condition", number, "severity"),
            f"condition.severity is {severity!r}; a whole number 0 to 9 was expected",
        )
    asked = {key: value for key, value in entry.items() if key not in ("name", "severity")}
    if not asked:
        yield ("condition", number, ""), f"condition: nothing is asked for; {' or '.join(CONDITION)} was expected"
    for key, value in asked.items():
        place = ("condition", number, key)
        if key not in CONDITION:
            yield place, f"condition.{key}: {_unknown(key, ('name', 'severity', *CONDITION))}"
        elif fault := _number_fault(key, value):
            yield place, f"condition.{key}: {fault}"
        elif isinstance(name, str) and isinstance(severity, int):
            yield place, Wanted(key, CONDITION[key], float(str(value)), "condition", (name, severity))


def _number_fault(key: str, value: object) -> str:
    high = 100.0 if key.endswith(("_percent", "_points")) else 1e6
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= high:
        return f"{value!r} was found; a number from 0 to {high:g} was expected"
    return ""


def _unknown(key: str, known: Sequence[str] | Mapping[str, str]) -> str:
    close = difflib.get_close_matches(key, list(known), 1)
    return f"no such key; {f'did you mean {close[0]}' if close else 'there are ' + ', '.join(known)}?"
