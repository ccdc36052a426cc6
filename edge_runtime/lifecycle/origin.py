"""Where a bundle on this device came from: what decides whether it may run at all."""

from __future__ import annotations

from typing import Literal

import msgspec


class Origin(msgspec.Struct, frozen=True):
    """Said by whoever installs a bundle, and kept with it."""

    kind: Literal["repository", "factory", "unsigned"]
    """`repository`: its digest stands in signed metadata; `factory`: came with the runtime; `unsigned`: neither."""
    release: int = 0
    """The repository's release number of this model name, which only grows; 0 where there is no repository."""
    source: str = ""
    """Repository, path or person, for people to read."""


UNSIGNED = Origin("unsigned")
FACTORY = Origin("factory")


def stronger(known: Origin | None, said: Origin) -> Origin:
    """What counts when the same bytes are installed again: a signed word over none, the highest release."""
    if known is None or known.kind == "unsigned":
        return said
    if said.kind == "unsigned" or known.release > said.release:
        return known
    return said
