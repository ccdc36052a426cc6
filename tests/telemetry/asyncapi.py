"""docs/asyncapi.yaml as a judge of messages.

The document leaves objects open, because readers must bear what a newer device says besides. Here they are closed: what
this version sends is exactly what the document describes.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "asyncapi.yaml"
ROOTS = ("edge/v1/", "homeassistant/")
"""Of the topics that the document speaks of."""


@cache
def document() -> dict:
    yaml = pytest.importorskip("yaml", reason="pyyaml is not installed (pip install 'edge-runtime[dev]')")
    return yaml.load(DOCUMENT.read_text("utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def follow(reference: str) -> dict:
    """What a `#/...` of the document leads to. KeyError if it leads nowhere."""
    found: dict = document()
    for step in reference.removeprefix("#/").split("/"):
        found = found[step.replace("~1", "/").replace("~0", "~")]
    return found


@cache
def _addresses() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Fixed levels before parameters: `_all` is no device."""
    channels = [(channel["address"], name) for name, channel in document()["channels"].items()]
    ordered = sorted(channels, key=lambda item: (item[0].count("{"), item[0]))
    return tuple((re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(address))), name) for address, name in ordered)


@cache
def channel_of(topic: str) -> str:
    """The name of the channel that `topic` belongs to. AssertionError if there is no such channel."""
    for pattern, name in _addresses():
        if pattern.fullmatch(topic):
            return name
    raise AssertionError(f"the document knows no channel for {topic}")


def messages_of(topic: str) -> tuple[str, ...]:
    """The names of the messages that the document puts on `topic`."""
    return tuple(document()["channels"][channel_of(topic)]["messages"])


def closed(schema: object) -> object:
    """The same schema with no room for what it does not name."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: value if key in ("allOf", "examples") else closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        found.setdefault("additionalProperties", False)
    return found


@cache
def judge(name: str) -> Any:
    """A validator of one message, by its name in the document."""
    return judge_of(document()["components"]["messages"][name]["payload"])


def judge_of(schema: dict) -> Any:
    """A validator of one schema of the document."""
    jsonschema = pytest.importorskip(
        "jsonschema", reason="jsonschema is not installed (pip install 'edge-runtime[dev]')"
    )
    return jsonschema.Draft7Validator({**schema, "components": _closed_components()})


@cache
def _closed_components() -> object:
    return {"schemas": closed(document()["components"]["schemas"])}


def faults(topic: str, payload: bytes, retained: bool | None = None) -> Iterator[str]:
    """Why the document does not allow `payload` on `topic`; nothing if it does."""
    reasons = []
    for name in messages_of(topic):
        plain = document()["components"]["messages"][name].get("contentType") == "text/plain"
        decoded = payload.decode() if plain else json.loads(payload)
        found = next(judge(name).iter_errors(decoded), None) or next(_sealed_faults(name, decoded), None)
        if found is None:
            break
        reasons.append(f"{name}: {found.json_path}: {found.message[:300]}")
    else:
        yield f"{topic}: {'; '.join(reasons)}: {payload[:300]!r}"
    if retained is not None and retained is not is_retained(topic):
        yield f"{topic}: retain is {retained}, the document says otherwise"


def _sealed_faults(name: str, envelope: dict) -> Iterator[Any]:
    """Of what is in a signed envelope: it must be what may go unsigned on a closed network."""
    if name.startswith("signed"):
        inner = json.loads(base64.b64decode(envelope["payload"]))
        yield from judge(name.replace("signed", "unsigned")).iter_errors(inner)


def is_retained(topic: str) -> bool:
    """Whether the document has the messages of `topic` retained."""
    here = {"$ref": f"#/channels/{channel_of(topic)}"}
    return any(
        operation["bindings"]["mqtt"]["retain"]
        for operation in document()["operations"].values()
        if operation["channel"] == here
    )


def check(topic: str, payload: bytes) -> dict:
    """The decoded payload, if the document allows it on `topic`. AssertionError if it does not."""
    found = next(faults(topic, payload), None)
    assert found is None, found
    return json.loads(payload)
