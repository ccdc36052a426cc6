"""The arguments of a command, read strictly: what a verb does not know or can not take is refused with what it expects."""

from __future__ import annotations

from edge_runtime.errors import Refused
from edge_runtime.fleet.command_form import Command
from edge_runtime.telemetry.builders import clipped
from edge_runtime.telemetry.messages import Scalar
from edge_runtime.telemetry.topics import segment_fault


def only(command: Command, known: tuple[str, ...]) -> None:
    """Raise Refused for arguments that the verb does not know."""
    extra = sorted(set(command.args) - set(known))
    if extra:
        expected = ", ".join(known) or "none"
        raise Refused(f"args has {', '.join(map(clipped, extra[:4]))}; {command.verb} takes {expected}")


def why(command: Command) -> str:
    """args.why, or the command's id."""
    found = command.args.get("why", "")
    if not isinstance(found, str):
        raise Refused("args.why is not text")
    return clipped(found) or f"command {command.id}"


def camera(command: Command) -> str:
    """args.camera: a name that may be one of a camera."""
    return word(command, "camera", "the name of a camera")


def word(command: Command, key: str, what: str) -> str:
    """A text that could stand in a topic."""
    found = command.args.get(key)
    if not isinstance(found, str) or segment_fault(found):
        raise Refused(f"args.{key} is {found!r:.80}, {what} was expected")
    return found


def number(command: Command, key: str, low: float, high: float, default: float | None = None) -> float:
    """args.<key>, a finite number within its bounds."""
    found = command.args.get(key, default)
    if isinstance(found, int | float) and not isinstance(found, bool) and low <= found <= high:
        return float(found)
    raise Refused(f"args.{key} is {found!r:.80}; a number from {low:.10g} to {high:.10g} was expected")


def flag(command: Command, key: str, default: bool = False) -> bool:
    """args.<key>, true or false."""
    found: Scalar = command.args.get(key, default)
    if not isinstance(found, bool):
        raise Refused(f"args.{key} is {found!r:.80}; true or false was expected")
    return found


def choice(command: Command, key: str, choices: tuple[str, ...]) -> str:
    """args.<key>, one of the words."""
    found = command.args.get(key)
    if not isinstance(found, str) or found not in choices:
        raise Refused(f"args.{key} is {found!r:.80}; one of {', '.join(choices)} was expected")
    return found
