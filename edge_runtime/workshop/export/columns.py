"""Which column of a model means which slot state: parsed from `--labels`, checked against what the model has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edge_runtime.errors import Refused, Usage
from edge_runtime.workshop.labels import LABELS

_STATES = ", ".join(LABELS)
_EXAMPLE = "Write for example --labels full=stocked,thin=low,out=empty,covered=blocked"
_FIRST = LABELS[:3]


def parse_labels(text: str) -> dict[str, str]:
    """`a=stocked,b=low` or `stocked,low` to class -> state, in the order given; a bare state stands for itself.

    Raises Usage for an entry that is no state, or a class or state that is given twice.
    """
    mapping: dict[str, str] = {}
    for entry in text.split(","):
        name, equals, state = (part.strip() for part in entry.rpartition("="))
        name = name if equals else state
        if state not in LABELS or not name:
            raise Usage(f"--labels has the entry {entry.strip()!r}; CLASS=STATE with {_STATES} was expected", _EXAMPLE)
        if name in mapping or state in mapping.values():
            twice = name if name in mapping else state
            raise Usage(f"--labels gives {twice!r} twice; each class and each state counts once", _EXAMPLE)
        mapping[name] = state
    return mapping


def columns_of(classes: Sequence[object], mapping: Mapping[str, str]) -> tuple[str, ...]:
    """The state of each class of an estimator, in the estimator's order.

    Without a mapping the classes must be states themselves. Raises Refused for a class without a state, a mapped class
    that the estimator lacks, or a set of states that no slot model may have.
    """
    names = [str(name) for name in classes]
    chosen = mapping or {state: state for state in LABELS if state in names}
    without = [name for name in names if name not in chosen]
    absent = [name for name in chosen if name not in names]
    if without or absent:
        said = [f"no state is given for {', '.join(map(repr, without))}"] if without else []
        said += [f"--labels names {', '.join(map(repr, absent))}, which it lacks"] if absent else []
        raise Refused(f"the estimator's classes are {', '.join(map(repr, names))}; {'; '.join(said)}", _EXAMPLE)
    return complete(tuple(chosen[name] for name in names))


def columns_in_order(mapping: Mapping[str, str], count: int) -> tuple[str, ...]:
    """The states of an ONNX file's columns, in the order of `--labels`. Raises Refused if the counts differ."""
    if len(mapping) != count:
        raise Refused(
            f"the model answers {count} columns, --labels names {len(mapping)}",
            "Name the state of every column, from left to right; retrain a model that has classes of another kind",
        )
    return complete(tuple(mapping.values()))


def complete(columns: tuple[str, ...]) -> tuple[str, ...]:
    """The columns, if a slot model may have them. Raises Refused if stocked, low or empty is missing."""
    missing = [state for state in _FIRST if state not in columns]
    if missing:
        raise Refused(
            f"no column means {', '.join(missing)}; stocked, low and empty were expected, and blocked if it is known",
            "Train with examples of every state; a class that can not occur still needs a column",
        )
    return columns
