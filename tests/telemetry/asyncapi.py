"""docs/asyncapi.yaml as a judge of messages."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "asyncapi.yaml"


@cache
def document() -> dict:
    yaml = pytest.importorskip("yaml", reason="pyyaml is not installed (pip install 'edge-runtime[dev]')")
    return yaml.safe_load(DOCUMENT.read_text("utf-8"))


def message_of(topic: str) -> str:
    """The name of the message that the document puts on `topic`. AssertionError if there is no such channel."""
    for channel in document()["channels"].values():
        pattern = re.sub(r"\{\w+\}", "[^/]+", channel["address"])
        if re.fullmatch(pattern, topic):
            return next(iter(channel["messages"]))
    raise AssertionError(f"the document knows no channel for {topic}")


def check(topic: str, payload: bytes) -> dict:
    """The decoded payload, if the document allows it on `topic`. Raises jsonschema.ValidationError if it does not."""
    jsonschema = pytest.importorskip(
        "jsonschema", reason="jsonschema is not installed (pip install 'edge-runtime[dev]')"
    )
    schema = {"$ref": f"#/components/schemas/{message_of(topic)}", "components": document()["components"]}
    decoded = json.loads(payload)
    jsonschema.Draft202012Validator(schema).validate(decoded)
    return decoded
