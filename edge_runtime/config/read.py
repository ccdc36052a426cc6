"""device.toml to DeviceConfig: every fault at once, each with its line and its mend."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edge_runtime.config.environment import Environment, read_environment
from edge_runtime.config.faults import Fault, Place, line_of, locate
from edge_runtime.config.kinds import Mismatch
from edge_runtime.config.schema import SECRET_WORDS, SECTIONS, Section
from edge_runtime.config.secrets import shown_url
from edge_runtime.config.values import (
    CameraConfig,
    DeviceConfig,
    ModelConfig,
    MqttConfig,
    StorageConfig,
    TelemetryConfig,
    ViewConfig,
)
from edge_runtime.errors import BadConfig

MAX_BYTES = 1_000_000
MQTT_FILES = ("password_file", "ca_file", "cert_file", "key_file", "crl_file")
_CHECK = "Mend the lines named; `edge-runtime config check` reads the file again"


def read_config(path: Path, environment: Environment | None = None) -> DeviceConfig:
    """Read and check device.toml. Raises BadConfig with every fault, also if the file is not there.

    What lies beside the file (layouts, secrets) is not opened: `check_files` does that, and the daemon runs degraded
    without it.
    """
    path = path.absolute()
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadConfig(f"{path} has more than {MAX_BYTES} bytes", "Name the device.toml of this device")
        text = path.read_bytes().decode()
    except OSError as fault:
        raise BadConfig(
            f"{path} can not be read: {fault.strerror}", "Make one with `edge-runtime config init`"
        ) from None
    except UnicodeDecodeError as fault:
        raise BadConfig(f"{path} is not UTF-8 text (byte {fault.start})", "Save it as UTF-8") from None
    return decode_config(text, path, environment)


def decode_config(text: str, path: Path, environment: Environment | None = None) -> DeviceConfig:
    """The text of a device.toml that lies at `path`. Raises BadConfig with every fault."""
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as fault:
        raise _syntax_fault(fault, path) from None
    reader = _Reader(path, locate(text), environment or read_environment())
    config = reader.device(table)
    if config is None:
        faults = tuple(str(fault) for fault in sorted(reader.faults, key=lambda fault: fault.line))
        raise BadConfig("\n".join(faults), _CHECK, faults)
    return config


def check_files(config: DeviceConfig) -> tuple[str, ...]:
    """Files that the configuration names and that are not there or can not be read, each with the mend."""
    named = [(f"camera {c.name!r}: layout", c.layout, "Make it with `camera commission`") for c in config.cameras]
    secrets: list[tuple[str, Path | None]] = [
        (f"camera {c.name!r}: credentials_file", c.credentials_file) for c in config.cameras
    ]
    if config.mqtt is not None:
        secrets += [(f"mqtt: {key}", getattr(config.mqtt, key)) for key in MQTT_FILES]
    if config.mqtt is not None and config.mqtt.command_keys is not None:
        mend = "Copy the file that `edge-runtime fleet enrol` made there; every command is refused until then"
        named.append(("mqtt: command_keys", config.mqtt.command_keys, mend))
    if config.model.root is not None:
        named.append(
            ("model: root", config.model.root, "Copy the root.json of the repository's first `repo init` there")
        )
    named += [(what, path, "Write the file, or take the key out") for what, path in secrets if path is not None]
    return tuple(f"{what} {path} {fault}. {mend}" for what, path, mend in named if (fault := _file_fault(path)))


def _file_fault(path: Path) -> str:
    try:
        with path.open("rb"):
            return ""
    except OSError as fault:
        return f"can not be read: {fault.strerror}"


def _syntax_fault(fault: Exception, path: Path) -> BadConfig:
    where = re.search(r"line (\d+)", str(fault))
    line = int(where[1]) if where else 1
    found = f"{path}:{line}: not TOML: {fault}"
    return BadConfig(found, "Texts need quotes, sections stand in [brackets], one key = value a line", (found,))


class _Reader:
    """Walks the parsed table and collects faults instead of stopping."""

    def __init__(self, path: Path, places: Mapping[Place, int], environment: Environment) -> None:
        self._path = path
        self._places = places
        self._environment = environment
        self.faults: list[Fault] = []

    def device(self, table: dict[str, Any]) -> DeviceConfig | None:
        for name in table.keys() - SECTIONS.keys():
            self._fault(name, 0, "", f"the section [{name}]", _list(SECTIONS), _suggestion(name, SECTIONS, "[{}]"))
        read = {name: tuple(self._section(name, section, table.get(name))) for name, section in SECTIONS.items()}
        self._whole_faults(table, read)
        if self.faults:
            return None
        one = {name: values[0] for name, values in read.items() if values}
        mqtt = one.get("mqtt")
        storage = {"state_dir": self._environment.state_dir or self._path.parent / "state"} | one.get("storage", {})
        return DeviceConfig(
            path=self._path,
            **one["device"],
            log_level=one.get("log", {}).get("level", "info"),
            cameras=tuple(CameraConfig(**camera) for camera in read["camera"]),
            model=ModelConfig(**one.get("model", {})),
            mqtt=MqttConfig(urls=mqtt.pop("url"), **mqtt) if mqtt else None,
            telemetry=TelemetryConfig(**one.get("telemetry", {})),
            storage=StorageConfig(**storage),
            view=ViewConfig(**one.get("view", {})),
        )

    def _section(self, name: str, section: Section, found: object) -> Iterator[dict[str, Any]]:
        shape = f"[[{name}]]" if section.repeated else f"[{name}]"
        if found is None:
            if name in ("device", "camera"):
                self._fault(name, 0, "", "nothing", f"a section {shape}", "`edge-runtime config init` writes one")
            return
        tables = found if section.repeated else [found]
        if not isinstance(tables, list) or not tables or not all(isinstance(one, dict) for one in tables):
            self._fault(name, 0, "", _shown(found), f"a section {shape}", f"Write {shape} on a line of its own")
            return
        for index, one in enumerate(tables):
            yield dict(self._keys(name, index, section, one))

    def _keys(self, name: str, index: int, section: Section, table: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        for key in section.required:
            if key not in table:
                self._fault(name, index, key, "nothing", f"the key {key!r}", f"Add {key} = ... to this section")
        for key, value in table.items():
            kind = section.keys.get(key)
            if kind is None:
                self._unknown(name, index, key, section)
                continue
            try:
                yield key, kind(value, self._path.parent, self._environment)
            except Mismatch as fault:
                self._fault(name, index, key, fault.shown or _shown(value), fault.expected, fault.mend)

    def _unknown(self, name: str, index: int, key: str, section: Section) -> None:
        typo = difflib.get_close_matches(key, section.keys, n=1, cutoff=0.8)
        if not typo and any(word in key.lower() for word in SECRET_WORDS):
            mend = f"Write it into a file that only the service can read and name that file: {_secret_key(section)}"
            self._fault(name, index, key, "a secret (not shown)", "no secrets in this file", mend)
            return
        self._fault(name, index, key, f"the key {key!r}", _list(section.keys), _suggestion(key, section.keys, "{}"))

    def _whole_faults(self, table: dict[str, Any], read: Mapping[str, tuple[dict[str, Any], ...]]) -> None:
        """Faults that only several keys together show."""
        seen: set[object] = set()
        for index, camera in enumerate(read["camera"]):
            name = camera.get("name")
            if name is not None and name in seen:
                self._fault("camera", index, "name", repr(name), "a name of its own for each camera", "Rename one")
            seen.add(name)
            source = str(camera.get("source", ""))
            if "credentials_file" in camera and "://" in source and "@" in source.split("://")[1].split("/")[0]:
                mend = "Take them out of the source"
                self._fault("camera", index, "source", "credentials here and in credentials_file", "one of both", mend)
        self._mqtt_faults(read["mqtt"], table["model"] if isinstance(table.get("model"), dict) else {})
        for model in read["model"]:
            self._together("model", model, (("repository", "root"), ("root", "repository")))
            if model.get("auto_update") and "repository" not in model:
                mend = "Add repository = ... and root = ..., or take auto_update out"
                self._fault("model", 0, "auto_update", "auto_update without a repository", "a repository", mend)

    def _mqtt_faults(self, sections: tuple[dict[str, Any], ...], model: Mapping[str, Any]) -> None:
        for mqtt in sections:
            pairs = (("cert_file", "key_file"), ("key_file", "cert_file"), ("password_file", "username"))
            self._together("mqtt", mqtt, pairs)
            url = str(mqtt.get("url", ("",))[0])
            for key in ("ca_file", "cert_file", "crl_file"):
                if key in mqtt and url.startswith("mqtt:"):
                    self._fault("mqtt", 0, key, f"{key} with mqtt://", "mqtts://", 'Write url = "mqtts://..."')
            if mqtt.get("commands") == "signed" and "command_keys" not in mqtt and "repository" not in model:
                mend = "Add command_keys = ... (the file that `edge-runtime fleet enrol` made), or [model] repository"
                self._fault("mqtt", 0, "commands", "signed commands, and no keys", "whose signatures count", mend)

    def _together(self, section: str, found: dict[str, Any], pairs: tuple[tuple[str, str], ...]) -> None:
        """Keys that mean nothing without another. One that is there and wrong is told already."""
        told = {fault.key for fault in self.faults}
        for key, other in pairs:
            if key in found and other not in found and f"[{section}] {other}" not in told:
                self._fault(section, 0, key, f"{key} alone", f"{key} together with {other}", f"Add {other} = ...")

    def _fault(self, section: str, index: int, key: str, found: str, expected: str, mend: str) -> None:
        line = line_of(self._places, section, index, key)
        name = f"[{section}] {key}".strip()
        self.faults.append(Fault(str(self._path), line, name, found, expected, mend))


def _shown(value: object) -> str:
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    text = repr(shown_url(value) if isinstance(value, str) else value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _list(names: Mapping[str, Any]) -> str:
    return f"one of {', '.join(names)}"


def _suggestion(name: str, known: Mapping[str, Any], form: str) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"Did you mean {form.format(near[0])}?" if near else "Take it out"


def _secret_key(section: Section) -> str:
    files = [key for key in section.keys if key.endswith("_file") and key != "ca_file"]
    return " or ".join(f'{key} = "/path"' for key in files) or "where a section has a key for it"
