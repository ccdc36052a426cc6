"""Whose commands count here: public keys, each with the verbs and audiences that it may use.

The file is `command-keys.json`: a target of the model repository (then TUF vouches for it), or a file that enrolment
pinned. This module only knows what it says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from edge_runtime.errors import Refused, Unavailable
from edge_runtime.lifecycle.trust.signatures import public_fault

TARGET = "command-keys.json"
FORMAT: Literal["edge-command-keys/1"] = "edge-command-keys/1"
MAX_KEYS_BYTES = 65_536
MAX_KEYS = 64
KEYID_DIGITS = 32

_Pattern = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_Patterns = Annotated[tuple[_Pattern, ...], msgspec.Meta(min_length=1, max_length=32)]


class CommandKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One operator's public key."""

    keyid: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
    public: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    """Ed25519, raw, in hex."""
    verbs: _Patterns = ("*",)
    audiences: _Patterns = ("*",)
    """`lyon/*` is every device of the site lyon and `lyon/_all`; `_group/canary` that group. Only * is special."""

    def may(self, verb: str, audience: str) -> bool:
        """Whether this key may ask that of them."""
        return any(matches(pattern, verb) for pattern in self.verbs) and any(
            matches(pattern, audience) for pattern in self.audiences
        )

    @property
    def public_bytes(self) -> bytes:
        return bytes.fromhex(self.public)


class KeyList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    format: Literal["edge-command-keys/1"]
    keys: Annotated[tuple[CommandKey, ...], msgspec.Meta(max_length=MAX_KEYS)]
    serial: Annotated[int, msgspec.Meta(ge=1, le=2**53)] = 1
    """Counts up with every change; a device never goes back to a lower one."""


class CommandKeys:
    """The keys of a fleet, by id. An empty one lets nobody command."""

    def __init__(self, keys: tuple[CommandKey, ...] = ()) -> None:
        """Raises Refused for a key that is none, has another's id, or stands there twice."""
        self._keys: dict[str, CommandKey] = {}
        for key in keys:
            if fault := _key_fault(key) or ("it is listed twice" if key.keyid in self._keys else ""):
                raise Refused(f"the command key {key.name!r} ({key.keyid}) can not be used: {fault}", "Enrol it again")
            self._keys[key.keyid] = key

    def __iter__(self) -> Iterator[CommandKey]:
        return iter(self._keys.values())

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, keyid: str) -> CommandKey | None:
        return self._keys.get(keyid)


def keyid_of(public: bytes) -> str:
    """The name of a public key: the first 32 hex digits of the SHA-256 over its raw bytes."""
    return hashlib.sha256(public).hexdigest()[:KEYID_DIGITS]


def decode_key_list(raw: bytes, whence: str = TARGET) -> KeyList:
    """What a key file says. Raises Refused if it is not whole and right; `whence` names it then."""
    try:
        if len(raw) > MAX_KEYS_BYTES:
            raise Refused(f"it has more than {MAX_KEYS_BYTES} bytes")
        found = msgspec.json.decode(raw, type=KeyList)
        CommandKeys(found.keys)
        return found
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        said = str(fault)
    except Refused as fault:
        said = fault.found
    raise Refused(f"{whence} is no file of command keys: {said}", "Make it with `edge-runtime fleet init`")


def decode_command_keys(raw: bytes, whence: str = TARGET) -> CommandKeys:
    """The keys in a key file. Raises as `decode_key_list`."""
    return CommandKeys(decode_key_list(raw, whence).keys)


def encode_command_keys(keys: CommandKeys, serial: int = 1) -> bytes:
    """The file, readable by people. Raises Refused for one that no device would read, which would end all commands."""
    raw = msgspec.json.format(msgspec.json.encode(KeyList(FORMAT, tuple(keys), serial)), indent=2) + b"\n"
    decode_key_list(raw)
    return raw


def read_command_keys(path: Path) -> CommandKeys:
    """A pinned key file. Raises Unavailable if it can not be read, Refused if it is wrong."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_KEYS_BYTES + 1)
    except OSError as fault:
        raise Unavailable(
            f"the command keys {path} can not be read: {fault.strerror}", "Copy the file that `fleet init` made there"
        ) from None
    return decode_command_keys(raw, str(path))


def matches(pattern: str, text: str) -> bool:
    """Whether `text` is what `pattern` says, in which * stands for anything, also for /. Takes linear time."""
    first, *rest = pattern.split("*")
    if not rest:
        return text == pattern
    *middle, last = rest
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


def _key_fault(key: CommandKey) -> str:
    if fault := public_fault(key.public_bytes):
        return fault
    expected = keyid_of(key.public_bytes)
    return "" if key.keyid == expected else f"its id should be {expected}"
