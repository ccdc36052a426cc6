"""`edge-runtime simulator fleet`: virtual devices, for whoever tests a broker or a rollout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.simulator.fleet import command

if TYPE_CHECKING:
    from edge_runtime.cli.output import Verbs


def register(verbs: Verbs) -> None:
    family = verbs.add_parser("simulator", help="virtual devices", description="Virtual devices.")
    kinds = family.add_subparsers(metavar="WHAT", required=True)
    fleet = kinds.add_parser("fleet", help=command.ABOUT, description=f"{command.ABOUT[0].upper()}{command.ABOUT[1:]}.")
    command.add_arguments(fleet)
    fleet.set_defaults(act=command.run_command)
