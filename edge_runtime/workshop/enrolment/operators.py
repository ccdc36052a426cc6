"""Operators' keys for commands: made beside their certificates, and listed in the fleet's command-keys.json."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.lifecycle.trust.command_keys import TARGET as COMMAND_KEYS
from edge_runtime.lifecycle.trust.command_keys import (
    CommandKey,
    CommandKeys,
    decode_key_list,
    encode_command_keys,
)
from edge_runtime.workshop.enrolment.folder import SECRET, Folder, need, put, read
from edge_runtime.workshop.enrolment.signing import OperatorKey

COMMAND_KEY = "command.pem"


@dataclass(frozen=True, slots=True)
class Rights:
    """What an operator may ask of whom; patterns as `CommandKey` has them. `passphrase` protects the key."""

    verbs: tuple[str, ...] = ("*",)
    audiences: tuple[str, ...] = ("*",)
    passphrase: bytes | None = None


def add_key(folder: Folder, place: Path, name: str, rights: Rights) -> bool:
    """A key for commands in `place`, if there is none, and its line in the list; whether the list changed."""
    path = place / COMMAND_KEY
    if not path.exists():
        beside = path.with_name(f".{COMMAND_KEY}.fresh")
        beside.unlink(missing_ok=True)
        OperatorKey.create(beside, name, rights.passphrase)
        put(path, need(beside), SECRET)
        beside.unlink()
    entry = OperatorKey.load(path, rights.passphrase, name).public_entry(rights.verbs, rights.audiences)
    listed = _listed(folder)
    if any(key.keyid == entry.keyid for key in listed):
        return False
    _write(folder, [*listed, entry])
    return True


def drop_keys(folder: Folder, names: Iterable[str]) -> bool:
    """Operators whose commands count no more; whether the list changed."""
    gone = set(names)
    listed = _listed(folder)
    kept = [key for key in listed if key.name not in gone]
    if len(kept) == len(listed):
        return False
    _write(folder, kept)
    return True


def retire_key(place: Path) -> None:
    """Put the key in `place` aside, so that whoever is enrolled again there gets another."""
    path = place / COMMAND_KEY
    if path.exists():
        path.replace(path.with_name(f"{COMMAND_KEY}.revoked"))


def fleet_toml(urls: Sequence[str], name: str, files: dict[str, str]) -> str:
    """The text of a fleet.toml. `files`: its other keys, whose values are names relative to it."""
    lines = [
        "# Where this fleet's brokers are, and who looks at it or commands it. Files are named from this folder.",
        f"urls = {json.dumps(list(urls))}",
        f'name = "{name}"',
        *(f'{key} = "{value}"' for key, value in files.items()),
    ]
    return "\n".join(lines) + "\n"


def _listed(folder: Folder) -> tuple[CommandKey, ...]:
    raw = read(folder / COMMAND_KEYS)
    return decode_key_list(raw, str(folder / COMMAND_KEYS)).keys if raw is not None else ()


def _write(folder: Folder, keys: Sequence[CommandKey]) -> None:
    raw = read(folder / COMMAND_KEYS)
    serial = decode_key_list(raw).serial + 1 if raw is not None else 1
    put(folder / COMMAND_KEYS, encode_command_keys(CommandKeys(tuple(keys)), serial))
