"""What the document says of commands is what the handlers take: every verb, every argument, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from edge_runtime.errors import Refused
from edge_runtime.fleet.command_form import Command
from edge_runtime.fleet.command_queue import Handler
from edge_runtime.fleet.device_handlers import device_handlers
from edge_runtime.fleet.handlers import standard_handlers
from edge_runtime.telemetry.builders import Stamp
from edge_runtime.telemetry.topics import Topics
from telemetry.asyncapi import document, follow, judge_of


class Anybody:
    """Does whatever it is asked, and nothing comes of it."""

    def settings(self) -> dict[str, object]:
        return {"telemetry.interval_s": 60}

    def diagnose(self) -> tuple[dict[str, dict[str, object]], tuple[str, ...]]:
        return {}, ()

    def rollback(self, why: str) -> None:
        return None

    def feedback(self, camera: str, slot: str, state: Any) -> Any:
        return state

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **named: {}


STAMP = Stamp(Topics("lyon", "box-1"), 1)


class Carrier(Anybody):
    """Takes every message."""

    def publish(self, *message: object) -> Any:
        return type("Receipt", (), {"delivery": staticmethod(lambda: "acknowledged")})()


def handlers() -> dict[str, Handler]:
    anybody: Any = Anybody()
    carrier: Any = Carrier()
    standard = standard_handlers(STAMP, carrier, anybody, anybody, taker=anybody)
    return standard | device_handlers(STAMP, carrier, anybody, anybody, anybody)


def arguments() -> dict[str, dict[str, Any]]:
    listed = document()["components"]["schemas"]["arguments"]["properties"]
    return {verb: follow(schema["$ref"]) for verb, schema in listed.items()}


def ask(verb: str, args: Mapping[str, Any]) -> object:
    return handlers()[verb](Command("c-1", verb, "lyon/box-1", 1, 1.0, 2.0, "", dict(args)))


CASES = [(verb, args) for verb, schema in arguments().items() for args in schema["examples"]]


def test_the_document_has_the_verbs_of_the_device() -> None:
    assert set(arguments()) == set(handlers())


@pytest.mark.parametrize(("verb", "args"), CASES, ids=[f"{verb}-{n}" for n, (verb, _) in enumerate(CASES)])
def test_every_example_is_taken(verb: str, args: dict[str, Any]) -> None:
    assert list(judge_of(arguments()[verb]).iter_errors(args)) == []
    ask(verb, args)


@pytest.mark.parametrize("verb", arguments())
def test_what_the_document_does_not_name_is_refused(verb: str) -> None:
    args = arguments()[verb]["examples"][-1] | {"colour": "red"}
    if verb == "config.set":  # any dotted key may stand there; which are known is for the desk to say
        args = {"key": "log.level", "value": "debug", "colour": "red"}
    with pytest.raises(Refused, match="colour"):
        ask(verb, args)


REQUIRED = [(verb, name) for verb, schema in arguments().items() for name in schema.get("required", ())]


@pytest.mark.parametrize(("verb", "name"), REQUIRED)
def test_what_the_document_requires_is_required(verb: str, name: str) -> None:
    args = {key: value for key, value in arguments()[verb]["examples"][0].items() if key != name}
    with pytest.raises(Refused):
        ask(verb, args)


@pytest.mark.parametrize("verb", arguments())
def test_every_argument_of_the_document_is_known_to_the_handler(verb: str) -> None:
    """A value of a wrong type is refused for that, or taken, but never as an argument that the verb does not have."""
    example = arguments()[verb]["examples"][0]
    for name in arguments()[verb].get("properties", {}):
        if name in ("event", "right", "key", "value"):
            continue  # one of two forms; both are among the examples
        try:
            ask(verb, example | {name: example.get(name, 0)})
        except Refused as fault:
            assert " takes " not in str(fault), f"{verb} does not know {name}"


BAD = [
    ("telemetry.rate", {"interval_s": 0.5, "for_s": 10}),
    ("telemetry.rate", {"interval_s": 5, "for_s": 3_601}),
    ("log.level", {"level": "loud", "for_s": 10}),
    ("feedback", {"camera": "a", "slot": "s", "state": "unknown"}),
    ("model.activate", {"sha256": "xyz"}),
    ("model.install", {"name": "Shelf", "version": "1"}),
    ("camera.recommission", {"camera": "a", "undo": "yes"}),
]


@pytest.mark.parametrize(("verb", "args"), BAD)
def test_the_bounds_of_the_document_are_those_of_the_handlers(verb: str, args: dict[str, Any]) -> None:
    assert list(judge_of(arguments()[verb]).iter_errors(args))
    with pytest.raises(Refused):
        ask(verb, args)
