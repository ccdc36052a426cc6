"""The brokers' rules for every admitted identity, as files: mosquitto's `acl` and NATS's `permissions.conf`."""

from __future__ import annotations

from collections.abc import Iterable

from edge_runtime.workshop.enrolment.identity import parse
from edge_runtime.workshop.enrolment.permissions import permissions
from edge_runtime.workshop.enrolment.register import Entry

_HEAD = "# Written by `edge-runtime fleet enrol` and `fleet revoke`, which write it anew: a change made here is lost.\n"


def mosquitto_acl(entries: Iterable[Entry]) -> str:
    """`acl_file` of mosquitto. A user is the common name of a certificate; who is not listed may do nothing."""
    parts = [_HEAD]
    for entry in entries:
        may = permissions(parse(entry.identity), entry.groups)
        both = [topic for topic in may.writes if topic in may.reads]
        parts.append(f"\nuser {entry.identity}\n")
        parts.extend(f"topic write {topic}\n" for topic in may.writes if topic not in both)
        parts.extend(f"topic read {topic}\n" for topic in may.reads if topic not in both)
        parts.extend(f"topic readwrite {topic}\n" for topic in both)
    return "".join(parts)


def nats_permissions(entries: Iterable[Entry], name_of: dict[str, str]) -> str:
    """The `users` of the account. `name_of`: identity -> the URI in its certificate, which is the user's name."""
    lines = [_HEAD, "users: [\n"]
    for entry in entries:
        may = permissions(parse(entry.identity), entry.groups)
        publish = _listed(subject(topic) for topic in may.writes)
        subscribe = _listed(name for topic in may.reads for name in subscribed(topic))
        deny = "" if may.writes else '{deny: ">"}'
        lines.append(
            f'  {{user: "{name_of[entry.identity]}", allowed_connection_types: ["MQTT"], permissions: '
            f"{{publish: {deny or publish}, subscribe: {subscribe}}}}}\n"
        )
    lines.append("]\n")
    return "".join(lines)


def subject(topic: str) -> str:
    """The NATS subject of an MQTT topic or filter (without white space): `/` is `.`, `.` is `//`, `+` is `*`, `#` is `>`."""
    return ".".join(_token(level) for level in topic.split("/"))


def subscribed(topic: str) -> tuple[str, ...]:
    """What NATS subscribes to for a filter: `a/#` means `a` too."""
    whole = subject(topic)
    return (whole, whole.removesuffix(".>")) if whole.endswith(".>") else (whole,)


def _token(level: str) -> str:
    return {"+": "*", "#": ">"}.get(level, level.replace(".", "//"))


def _listed(subjects: Iterable[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in subjects) + "]"
