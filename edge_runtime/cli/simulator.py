"""`edge-runtime simulator fleet`: virtual devices, for whoever tests a broker or a rollout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.cli.output import add_verb
from edge_runtime.simulator.fleet import command

if TYPE_CHECKING:
    from edge_runtime.cli.output import Verbs


def register(verbs: Verbs) -> None:
    example = "  edge-runtime simulator fleet --url mqtt://127.0.0.1:1883 --devices 500"
    family = add_verb(verbs, "simulator", "virtual devices", "Virtual devices.", example)
    kinds = family.add_subparsers(metavar="WHAT", required=True)
    fleet = add_verb(kinds, "fleet", command.ABOUT, f"{command.ABOUT[0].upper()}{command.ABOUT[1:]}.", example)
    command.add_arguments(fleet)
    fleet.set_defaults(act=command.run_command)
