"""Why something drifts, from which signals moved: first version, by group."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from edge_runtime.drift.signals import SIGNALS, Group

_GROUP = {signal.name: signal.group for signal in SIGNALS}


class Cause(StrEnum):
    NONE = ""
    ENVIRONMENT = "environment"
    """Camera or light: what does not sell moved. A model must not be blamed for it."""
    PRODUCT = "product"
    """Only the slots moved: other products, other sales, or the model."""


def cause_of(moved: Collection[str]) -> Cause:
    """The cause behind the names of the signals that moved. Raises KeyError for a name that is no signal.

    A changed camera or lamp moves the slots' scores as well, so one rail signal decides; new packs never move a rail.
    """
    groups = {_GROUP[name] for name in moved}
    if Group.RAIL in groups:
        return Cause.ENVIRONMENT
    return Cause.PRODUCT if groups else Cause.NONE
