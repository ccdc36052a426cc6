"""A model version that a repository offers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

import msgspec

from edge_runtime.errors import Refused

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,31}")
_PART = re.compile(r"[0-9A-Za-z_][0-9A-Za-z._+@-]{0,127}")
MAX_PARTS = 8


@dataclass(frozen=True, slots=True)
class Release:
    """One line of a repository. `release` numbers the versions of one name in the order in which they were published."""

    name: str
    version: str
    release: int
    sha256: str
    bytes: int
    target: str
    """The path in the repository."""


@dataclass(frozen=True, slots=True)
class Target:
    """One file that a repository vouches for."""

    path: str
    sha256: str
    bytes: int
    custom: object = None
    """What the repository says about it beside; as JSON gives it."""


class _Custom(msgspec.Struct, frozen=True):
    name: Annotated[str, msgspec.Meta(pattern=f"^{NAME.pattern}$")]
    version: Annotated[str, msgspec.Meta(pattern=f"^{VERSION.pattern}$")]
    release: Annotated[int, msgspec.Meta(ge=1, lt=2**53)]


def model_path(name: str, version: str) -> str:
    """Where a model version lies in every repository. Raises Refused for a name or version that no path can hold."""
    if not NAME.fullmatch(name) or not VERSION.fullmatch(version):
        raise Refused(
            f"{name!r} {version!r} can not be published",
            "A name has small letters, digits and -, a version letters, digits, dots, +, _ and -",
        )
    return f"models/{name}/{name}-{version}.zip"


def release_of(target: Target) -> Release:
    """What a target under `models/` is. Raises Refused if its description is malformed or is not its path's."""
    try:
        custom = msgspec.convert(target.custom, _Custom)
    except msgspec.ValidationError as fault:
        raise Refused(f"{target.path} is no release: {fault}", "Publish it with `edge-runtime repo publish`") from None
    if target.path != model_path(custom.name, custom.version):
        raise Refused(
            f"{target.path} says that it is {custom.name} {custom.version}",
            "Publish it with `edge-runtime repo publish`",
        )
    return Release(custom.name, custom.version, custom.release, target.sha256, target.bytes, target.path)


def require_plain_path(path: str) -> None:
    """Raises Refused for a target path that could mean another file to a disk or a web server than to the repository."""
    parts = path.split("/")
    if len(parts) > MAX_PARTS or not all(_PART.fullmatch(part) for part in parts):
        raise Refused(
            f"the target path {path[:200]!r} is not plain", "Paths are names of letters, digits and ._+@- joined by /"
        )
