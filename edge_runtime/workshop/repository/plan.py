"""Who signs what, and for how long: the two layouts that `repo init` makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

TOP_ROLES = ("root", "timestamp", "snapshot", "targets")


@dataclass(frozen=True, slots=True)
class Delegation:
    """A role that speaks about some paths, and nobody else does."""

    role: str
    paths: tuple[str, ...]


MODELS = Delegation("models", ("models/*/*",))
DESIRED = Delegation("desired", ("desired/*/*",))
COMMAND_KEYS = Delegation("command-keys", ("command-keys.json",))


@dataclass(frozen=True, slots=True)
class Plan:
    """`days`: how long a signature of a role is good."""

    root_keys: int
    root_threshold: int
    one_key: bool
    """One key for all roles."""
    delegations: tuple[Delegation, ...]
    days: Mapping[str, int] = field(default_factory=dict)

    def days_of(self, role: str) -> int:
        return self.days.get(role, self.days["targets"])


NEWCOMER = Plan(1, 1, True, (), {"root": 730, "targets": 365, "snapshot": 90, "timestamp": 90})
"""Nothing has to run every day: who publishes or refreshes four times a year stays in time."""
FLEET = Plan(
    3, 2, False, (MODELS, DESIRED, COMMAND_KEYS), {"root": 730, "targets": 365, "snapshot": 30, "timestamp": 14}
)
"""A device that is kept from news notices within a fortnight; `repo refresh` runs every day."""
