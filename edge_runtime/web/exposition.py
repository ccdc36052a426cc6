"""The text format that Prometheus reads (version 0.0.4), written without its client library. Pure.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_LABEL = 120
"""Characters of a label's value; what is longer is cut."""

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sample:
    """One line: the family's name and `suffix`, the labels, the value."""

    value: float
    labels: Labels = field(default_factory=dict)
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """Samples of one name. A family without samples is left out."""

    name: str
    kind: Literal["counter", "gauge", "histogram", "summary"]
    help: str
    samples: Sequence[Sample]


def render(families: Iterable[Family]) -> bytes:
    """The page that a scrape gets."""
    lines: list[str] = []
    for family in families:
        if not family.samples:
            continue
        lines.append(f"# HELP {family.name} {_escaped(family.help, quotes=False)}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        lines += [_line(family.name, sample) for sample in family.samples]
    return ("\n".join(lines) + "\n").encode()


def one(value: float, **labels: str) -> list[Sample]:
    """The samples of a family that has one."""
    return [Sample(value, labels)]


def which(now: str, states: Iterable[str], label: str, **labels: str) -> list[Sample]:
    """A sample for every state, 1 for the one that holds; one that is not listed is added."""
    known = dict.fromkeys((*states, now))
    return [Sample(float(state == now), {**labels, label: state}) for state in known if state]


def _line(name: str, sample: Sample) -> str:
    labels = ",".join(f'{key}="{_escaped(value[:MAX_LABEL])}"' for key, value in sample.labels.items())
    return (
        f"{name}{sample.suffix}{{{labels}}} {_number(sample.value)}"
        if labels
        else f"{name}{sample.suffix} {_number(sample.value)}"
    )


def _escaped(text: str, quotes: bool = True) -> str:
    text = text.encode("utf-8", "replace").decode().replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quotes else text


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))
