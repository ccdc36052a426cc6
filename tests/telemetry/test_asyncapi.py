"""docs/asyncapi.yaml: an AsyncAPI 3 document by its official schema, and the same thing as the code says.

The official schema is that of @asyncapi/specs 6.11.1 (AsyncAPI Initiative, Apache-2.0), without the white space.
"""

from __future__ import annotations

import base64
import copy
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from edge_runtime.fleet.commands import Command
from edge_runtime.fleet.desired import Desired, DesiredModel, decode_desired
from edge_runtime.lifecycle.trust import envelope
from edge_runtime.telemetry import messages
from edge_runtime.telemetry.topics import Topics, command_root
from telemetry.asyncapi import channel_of, check, closed, document, faults, follow, is_retained, judge

OFFICIAL = Path(__file__).with_name("asyncapi-3.0.0.schema.json")
TOPICS = Topics("lyon", "box-1", ("canary",))
RECORDS: Mapping[str, type[msgspec.Struct]] = {
    "availability": messages.Availability,
    "info": messages.Info,
    "status": messages.Status,
    "shelf": messages.Shelf,
    "event": messages.EventMessage,
    "telemetry": messages.TelemetryMessage,
    "snapshot": messages.Snapshot,
    "response": messages.Response,
    "reported": messages.Reported,
    "diagnostics": messages.Diagnostics,
    "ack": messages.Ack,
    "command": Command,
    "desired": Desired,
    "envelope": envelope._Envelope,
}
Schema = Any


CODE = {name: msgspec.json.schema(record) for name, record in RECORDS.items()}


def resolved(schema: Schema, code: Schema | None = None) -> Schema:
    """Without references and without what `allOf` adds in words."""
    while "$ref" in schema or "allOf" in schema:
        if "allOf" in schema:
            schema = schema["allOf"][0]
        elif schema["$ref"].startswith("#/$defs/"):
            assert code is not None
            schema = code["$defs"][schema["$ref"].rpartition("/")[2]]
        else:
            schema = follow(schema["$ref"])
    return schema


def alternatives(schema: Schema, code: Schema | None) -> list[Schema]:
    """The schemas of which one holds, but for null."""
    schema = resolved(schema, code)
    found = [resolved(s, code) for s in schema.get("anyOf", schema.get("oneOf", [schema]))]
    return [s for s in found if s.get("type") != "null" and s.get("enum") != [None]]


def kinds(schema: Schema, code: Schema | None) -> set[str]:
    """The JSON types that it allows, but for null: a field that is not measured is left out."""
    found: set[str] = set()
    for each in alternatives(schema, code):
        kind = each.get("type")
        named = kind if isinstance(kind, list) else [kind] if kind else []
        named = named or [{str: "string", int: "integer", bool: "boolean"}[type(v)] for v in each.get("enum", [])]
        named = named or (["string"] if isinstance(each.get("const"), str) else [])
        found |= set(named) - {"null"}
    return found - {"integer"} if "number" in found else found


def words(schema: Schema, code: Schema | None) -> set[str] | None:
    """The closed list of words, if there is one."""
    found = [each for each in alternatives(schema, code) if "enum" in each or "const" in each]
    return {word for each in found for word in each.get("enum", [each.get("const")])} if found else None


def differences(told: Schema, said: Schema, code: Schema, path: str) -> Iterator[str]:
    """Where the document (`told`) and the code (`said`) do not agree."""
    if kinds(told, None) != kinds(said, code):
        yield f"{path}: the document has {sorted(kinds(told, None))}, the code {sorted(kinds(said, code))}"
        return
    if words(said, code) is not None and words(told, None) != words(said, code):
        yield f"{path}: the document lists {words(told, None)}, the code {words(said, code)}"
    for one, other in zip(alternatives(told, None), alternatives(said, code), strict=False):
        yield from _inside(one, other, code, path)


def _inside(told: Schema, said: Schema, code: Schema, path: str) -> Iterator[str]:
    if "properties" in said:
        yield from _fields(told, said, path)
        for name in said["properties"].keys() & told.get("properties", {}).keys():
            yield from differences(told["properties"][name], said["properties"][name], code, f"{path}.{name}")
    elif isinstance(said.get("additionalProperties"), dict):
        for name, value in {**told.get("properties", {}), "*": told.get("additionalProperties")}.items():
            if isinstance(value, dict):
                yield from differences(value, said["additionalProperties"], code, f"{path}.{name}")
    elif said.get("type") == "array":
        for index, item in enumerate(said.get("prefixItems", [said["items"]] if said.get("items") else [])):
            yield from differences(told["items"], item, code, f"{path}[{index}]")


def _fields(told: Schema, said: Schema, path: str) -> Iterator[str]:
    fields, named = said["properties"], told.get("properties", {})
    if fields.keys() != named.keys():
        yield f"{path}: only one of them has {sorted(fields.keys() ^ named.keys())}"
    required = set(said.get("required", ())) ^ set(told.get("required", ()))
    if required:
        yield f"{path}: required in one of them: {sorted(required)}"
    strict = said.get("additionalProperties") is False
    if strict is not (told.get("additionalProperties") is False):
        yield f"{path}: the {'code' if strict else 'document'} refuses unknown fields, the other does not"


def test_no_message_of_the_code_is_left_out() -> None:
    assert set(get_args(messages.Message)) <= set(RECORDS.values())


@pytest.mark.parametrize("name", RECORDS)
def test_the_document_and_the_code_say_the_same(name: str) -> None:
    told, said = document()["components"]["schemas"][name], CODE[name]
    assert list(differences(told, said, said, name)) == []


def broken(schemas: dict) -> Iterator[tuple[str, dict]]:
    """Documents that have drifted from the code, one at a time."""
    for name, change in {
        "status": lambda s: s["properties"].pop("uptime_s"),
        "shelf": lambda s: s["properties"].update(mood={"type": "string"}),
        "event": lambda s: s["required"].remove("kind"),
        "availability": lambda s: s["properties"]["state"]["enum"].append("asleep"),
        "reported": lambda s: s["properties"].update(seq={"type": "string"}),
        "command": lambda s: s.pop("additionalProperties"),
        "ack": lambda s: s["properties"]["ids"].update(items={"type": "integer"}),
        "telemetry": lambda s: s["properties"]["cameras"].update(additionalProperties={"type": "string"}),
    }.items():
        drifted = copy.deepcopy(schemas[name])
        change(drifted)  # type: ignore[no-untyped-call]
        yield name, drifted


def test_a_document_that_drifted_is_found() -> None:
    for name, drifted in broken(document()["components"]["schemas"]):
        assert list(differences(drifted, CODE[name], CODE[name], name)), name


def official() -> Any:
    jsonschema = pytest.importorskip("jsonschema", reason="pip install 'edge-runtime[dev]'")
    return jsonschema.Draft7Validator(json.loads(OFFICIAL.read_text("utf-8")))


def test_it_is_an_asyncapi_document() -> None:
    assert [f"{fault.json_path}: {fault.message[:200]}" for fault in official().iter_errors(document())] == []


@pytest.mark.parametrize(
    "path",
    [
        "info.title",
        "channels.status.address",
        "operations.sayStatus.action",
        "operations.sayStatus.channel",
        "asyncapi",
    ],
)
def test_the_official_schema_would_find_a_fault(path: str) -> None:
    spoiled = copy.deepcopy(document())
    *steps, last = path.split(".")
    place = spoiled
    for step in steps:
        place = place[step]
    place[last] = 7
    assert not official().is_valid(spoiled)


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_reference_leads_somewhere_and_nothing_lies_about_unused() -> None:
    used = set(references(document()))
    assert all(follow(reference) for reference in used)
    for kind, entries in document()["components"].items():
        if kind != "schemas":
            assert {name for name in entries if f"#/components/{kind}/{name}" not in used} == set()
    unused = {n for n in document()["components"]["schemas"] if f"#/components/schemas/{n}" not in used}
    assert unused == set()


def test_every_channel_has_its_parameters_and_an_operation() -> None:
    used = {operation["channel"]["$ref"].rpartition("/")[2] for operation in document()["operations"].values()}
    assert used == set(document()["channels"])
    for channel in document()["channels"].values():
        assert set(re.findall(r"\{(\w+)\}", channel["address"])) == set(channel.get("parameters", {}))


def test_every_operation_says_how_it_goes_over_mqtt() -> None:
    for operation in document()["operations"].values():
        bindings = operation["bindings"]["mqtt"]
        assert bindings["qos"] in (0, 1)
        assert isinstance(bindings["retain"], bool)


@pytest.mark.parametrize(
    ("topic", "channel", "retained"),
    [
        (TOPICS.availability, "availability", True),
        (TOPICS.info, "info", True),
        (TOPICS.status, "status", True),
        (TOPICS.shelf("cam"), "shelf", True),
        (TOPICS.reported, "reported", True),
        (TOPICS.desired, "desired", True),
        (TOPICS.ack, "ack", False),
        (TOPICS.event("slot"), "event", False),
        (TOPICS.telemetry, "telemetry", False),
        (TOPICS.snapshot("cam"), "snapshot", False),
        (TOPICS.response("ping"), "response", False),
        (TOPICS.response("ping") + "/7", "responseElsewhere", False),
        (TOPICS.command("ping"), "command", False),
        (command_root("lyon/_all") + "/ping", "siteCommand", False),
        (command_root("_group/canary") + "/ping", "groupCommand", False),
    ],
)
def test_the_document_has_every_topic(topic: str, channel: str, retained: bool) -> None:
    assert channel_of(topic) == channel
    assert is_retained(topic) is retained


EXAMPLES = [
    (name, example["name"], example["payload"])
    for name, message in document()["components"]["messages"].items()
    for example in message.get("examples", ())
]


@pytest.mark.parametrize(("name", "case", "payload"), EXAMPLES, ids=[f"{name}-{case}" for name, case, _ in EXAMPLES])
def test_every_example_is_one_that_a_device_would_send_or_take(name: str, case: str, payload: dict) -> None:
    assert list(judge(name).iter_errors(payload)) == []
    raw = json.dumps(payload).encode()
    if name in ("unsignedCommand", "signedCommand"):
        inner = base64.b64decode(payload["payload"]) if name == "signedCommand" else raw
        msgspec.json.decode(inner, type=Command)
    elif name in ("unsignedDesired", "signedDesired"):
        decode_desired(base64.b64decode(payload["payload"]) if name == "signedDesired" else raw)
    elif name in RECORDS:
        assert json.loads(messages.encode(messages.decode(raw))) == payload


def test_every_message_has_an_example() -> None:
    assert {name for name, _, _ in EXAMPLES} == set(document()["components"]["messages"])


def test_the_payload_types_of_envelopes_are_those_of_the_code() -> None:
    schemas = document()["components"]["schemas"]
    for name, kind in (("signedCommand", envelope.COMMAND), ("signedDesired", envelope.DESIRED)):
        assert schemas[name]["allOf"][1]["properties"]["payloadType"]["const"] == kind


def test_what_a_newer_device_says_besides_is_allowed_by_the_document_and_found_by_the_tests() -> None:
    example = next(payload for name, _, payload in EXAMPLES if name == "status") | {"mood": "good"}
    schema = {**document()["components"]["messages"]["status"]["payload"], "components": document()["components"]}
    jsonschema = pytest.importorskip("jsonschema", reason="pip install 'edge-runtime[dev]'")
    assert jsonschema.Draft7Validator(schema).is_valid(example)
    assert list(faults(TOPICS.status, json.dumps(example).encode()))
    with pytest.raises(AssertionError, match="mood"):
        check(TOPICS.status, json.dumps(example).encode())


def test_what_the_device_must_take_whole_is_closed_in_the_document_too() -> None:
    for name in ("command", "desired", "desiredModel", "envelope"):
        schema = document()["components"]["schemas"][name]
        assert schema["additionalProperties"] is False
        assert closed(schema) == schema or name == "envelope"


def test_the_parts_of_a_desired_state_are_those_of_the_code() -> None:
    told = document()["components"]["schemas"]["desiredModel"]["properties"]
    assert set(told) == {field.name for field in msgspec.structs.fields(DesiredModel)}


BASELINE = Path(__file__).with_name("messages-1.json")


def flattened(name: str) -> dict[str, str]:
    """Path -> types, and the closed words where there are some: what a reader of this version relies on."""

    def walk(schema: Schema, path: str) -> Iterator[tuple[str, str]]:
        closed_words = words(schema, None)
        yield path, " ".join([*sorted(kinds(schema, None)), *([f"of {sorted(closed_words)}"] if closed_words else [])])
        for each in alternatives(schema, None):
            for field, value in each.get("properties", {}).items():
                yield from walk(value, f"{path}.{field}")
            for key, step in (("additionalProperties", "*"), ("items", "[]")):
                if isinstance(each.get(key), dict):
                    yield from walk(each[key], f"{path}.{step}")

    return dict(walk(document()["components"]["schemas"][name], name))


def said_by_devices() -> dict[str, str]:
    found: dict[str, str] = {}
    for name, record in RECORDS.items():
        if record in get_args(messages.Message):
            found |= flattened(name)
    return found


def test_nothing_is_taken_away_within_a_version() -> None:
    """Readers of the first version rely on it. What must change all the same becomes edge/<kind>/2.

    `python -c "from telemetry.test_asyncapi import write_baseline; write_baseline()"` in tests/ takes up what was added.
    """
    promised, now = json.loads(BASELINE.read_text("utf-8")), said_by_devices()
    gone = {path: (told, now.get(path, "gone")) for path, told in promised.items() if now.get(path) != told}
    assert gone == {}


def write_baseline() -> None:
    """Promise what the document says now."""
    BASELINE.write_text(json.dumps(said_by_devices(), indent=1, sort_keys=True) + "\n", "utf-8")
