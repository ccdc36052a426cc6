"""`fleet`: the operator's verbs."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from edge_runtime.cli.fleet import collect, enrol, init, ls, rollout, send, show, watch
from edge_runtime.cli.output import add_verb

if TYPE_CHECKING:
    from edge_runtime.cli.output import Verbs

_VERBS: tuple[ModuleType, ...] = (init, enrol, ls, show, watch, send, rollout, collect)
"""Each has `register(verbs)`."""


def register(verbs: Verbs) -> None:
    """Add the verbs of this folder, each file its own."""
    parser = add_verb(
        verbs,
        "fleet",
        "all devices of a broker: set up, look at, command, and bring a new model to",
        "Reads and writes the broker only: there is no server of its own. Where the broker is and which keys are used\n"
        "says the folder made by `fleet init` (--fleet DIR), or --url for a broker on the loopback.",
        "  edge-runtime fleet ls --fleet fleet\n  edge-runtime fleet watch --fleet fleet 'lyon/*'",
    )
    kinds = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for module in _VERBS:
        module.register(kinds)
