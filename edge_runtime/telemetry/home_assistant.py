"""Home Assistant: what its MQTT discovery is told of one device (the device form, since release 2024.11). Pure.

The entities read the device's own retained topics, so that nothing is published for Home Assistant but this one message.
Templates are Jinja over `value_json`; a field that holds its default is left out of our messages, so each has a default.
Source: https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

import msgspec

from edge_runtime import __version__
from edge_runtime.errors import Refused
from edge_runtime.telemetry.topics import Topics

PREFIX = "homeassistant"
BIRTH_TOPIC = f"{PREFIX}/status"
"""Home Assistant says `online` here when it starts, and wants to be told again."""
MAX_BYTES = 262_144
STATES = ("starting", "ok", "degraded", "stopping")
EVENT_TYPES = ("out_of_stock", "restocked", "changed")

Entity = dict[str, object]


def node_of(topics: Topics) -> str:
    """The device's name in ids and in the topic: letters, digits, _ and -; other devices have other names."""
    digest = hashlib.sha256(f"{topics.site}/{topics.device}".encode()).hexdigest()[:8]
    return f"edge_{_plain(topics.site)}_{_plain(topics.device)}_{digest}"


def config_topic(topics: Topics) -> str:
    """Where the announcement is retained; an empty message there takes the device away."""
    return f"{PREFIX}/device/{node_of(topics)}/config"


def announcement(topics: Topics, cameras: Iterable[str]) -> bytes:
    """The discovery payload. Raises Refused for so many cameras that it gets too large."""
    node = node_of(topics)
    entities = {**_device_entities(topics), **_camera_entities(topics, tuple(cameras))}
    message = {
        "dev": {
            "ids": [node],
            "name": f"Shelf cameras {topics.site} {topics.device}",
            "mf": "edge-runtime",
            "mdl": "Shelf camera device",
            "sw": __version__,
            "sa": topics.site,
        },
        "o": {"name": "edge-runtime", "sw": __version__},
        "avty": [
            {
                "t": topics.availability,
                "val_tpl": "{{ value_json.state }}",
                "pl_avail": "online",
                "pl_not_avail": "offline",
            }
        ],
        "qos": 1,
        "cmps": {key: {**entity, "uniq_id": f"{node}_{key}"} for key, entity in entities.items()},
    }
    raw = msgspec.json.encode(message)
    if len(raw) > MAX_BYTES:
        raise Refused(
            f"the announcement for Home Assistant has {len(raw)} bytes, at most {MAX_BYTES} are sent",
            "Write home_assistant = false under [mqtt], or give the device fewer cameras",
        )
    return raw


def _device_entities(topics: Topics) -> dict[str, Entity]:
    return {
        "state": {
            "p": "sensor",
            "name": "State",
            "dev_cla": "enum",
            "ops": list(STATES),
            "ent_cat": "diagnostic",
            "stat_t": topics.status,
            "val_tpl": "{{ value_json.state }}",
            "json_attr_t": topics.status,
            "json_attr_tpl": "{{ {'reasons': value_json.reasons | default([])} | tojson }}",
        },
        "model": {
            "p": "sensor",
            "name": "Model",
            "ic": "mdi:brain",
            "ent_cat": "diagnostic",
            "stat_t": topics.status,
            "val_tpl": "{{ value_json.model.name ~ ' ' ~ value_json.model.version "
            "if value_json.model is defined else 'none' }}",
        },
        "waiting": {
            "p": "sensor",
            "name": "Messages waiting",
            "ic": "mdi:tray-full",
            "ent_cat": "diagnostic",
            "stat_cla": "measurement",
            "stat_t": topics.status,
            "val_tpl": "{% set spool = value_json.spool | default({}) %}"
            "{{ spool.get('events', 0) + spool.get('telemetry', 0) }}",
        },
    }


def _camera_entities(topics: Topics, cameras: tuple[str, ...]) -> dict[str, Entity]:
    found: dict[str, Entity] = {}
    for camera in cameras:
        key = f"{_plain(camera)}_{hashlib.sha256(camera.encode()).hexdigest()[:6]}"
        shelf = topics.shelf(camera)
        found |= {
            f"{key}_availability": _availability(camera, shelf),
            f"{key}_empty": _count(camera, shelf, "empty", "mdi:package-variant-remove"),
            f"{key}_unknown": _count(camera, shelf, "unknown", "mdi:help-box-outline"),
            f"{key}_problem": _problem(camera, topics.status),
            f"{key}_stock": _stock(camera, topics.event("slot")),
        }
    return found


def _availability(camera: str, shelf: str) -> Entity:
    """Share of the answered slots that have something to sell; unknown while none is answered."""
    return {
        "p": "sensor",
        "name": f"{camera} on-shelf availability",
        "ic": "mdi:storefront-outline",
        "unit_of_meas": "%",
        "stat_cla": "measurement",
        "sug_dsp_prc": 0,
        "stat_t": shelf,
        "val_tpl": "{% set n = value_json.counts | default({}) %}"
        "{% set there = n.get('stocked', 0) + n.get('low', 0) %}{% set all = there + n.get('empty', 0) %}"
        "{{ (100 * there / all) | round(1) if all else 'None' }}",
    }


def _count(camera: str, shelf: str, state: str, icon: str) -> Entity:
    return {
        "p": "sensor",
        "name": f"{camera} {state} slots",
        "ic": icon,
        "stat_cla": "measurement",
        "stat_t": shelf,
        "val_tpl": f"{{{{ (value_json.counts | default({{}})).get('{state}', 0) }}}}",
        "json_attr_t": shelf,
        "json_attr_tpl": f"{{{{ {{'slots': (value_json.not_stocked | default({{}})).get('{state}', [])}} | tojson }}}}",
    }


def _problem(camera: str, status: str) -> Entity:
    mine = f"(value_json.cameras | default({{}})).get({_literal(camera)}, {{}})"
    return {
        "p": "binary_sensor",
        "name": f"{camera} problem",
        "dev_cla": "problem",
        "stat_t": status,
        "val_tpl": f"{{{{ 'OFF' if {mine}.get('state', 'ok') in ('ok', 'starting') else 'ON' }}}}",
        "json_attr_t": status,
        "json_attr_tpl": f"{{{{ {{'state': {mine}.get('state', ''), 'reason': {mine}.get('reason', '')}} | tojson }}}}",
    }


def _stock(camera: str, events: str) -> Entity:
    """Slot events of this camera; what renders to nothing is passed over."""
    return {
        "p": "event",
        "name": f"{camera} stock",
        "ic": "mdi:package-variant",
        "evt_typ": list(EVENT_TYPES),
        "stat_t": events,
        "val_tpl": f"{{% if value_json.camera | default('') == {_literal(camera)} %}}"
        "{{ {'event_type': 'out_of_stock' if value_json.now | default('') == 'empty' else "
        "'restocked' if value_json.was | default('') == 'empty' and value_json.now | default('') in ('stocked', 'low') "
        "else 'changed', 'slot': value_json.slot | default(''), 'sku': value_json.sku | default(''), "
        "'was': value_json.was | default(''), 'now': value_json.now | default(''), 'id': value_json.id} | tojson }}"
        "{% endif %}",
    }


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]+", "_", name).strip("_")[:32] or "x"


def _literal(name: str) -> str:
    """A string of Jinja that means `name` and has no sign that could end it or begin anything."""
    return "'" + "".join(c if (c.isalnum() and c.isascii()) or c in "-_." else f"\\U{ord(c):08x}" for c in name) + "'"
