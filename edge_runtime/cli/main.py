"""`edge-runtime`: the verbs, what they share, and how a failure is told."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import cast

from edge_runtime import __version__
from edge_runtime.cli import (
    bench,
    build,
    cameras,
    configuration,
    demo,
    doctor,
    field_bench,
    fleet,
    infer,
    models,
    replay,
    repo,
    service,
    simulator,
    spool,
)
from edge_runtime.cli.output import complain, prepare, silence
from edge_runtime.errors import EXIT_OK, EXIT_UNAVAILABLE, EdgeError

EXIT_INTERRUPTED = 130
_EPILOG = """\
first steps:
  edge-runtime demo                                          a simulated store, from camera to broker, in a minute
  edge-runtime camera commission --image shelf.jpg --rows 4 --columns 6 --out aisle-1
  edge-runtime infer --layout aisle-1/layout.json photo.jpg  what the slots are in a photograph
  edge-runtime config init > device.toml                     then edit it, then:
  edge-runtime config check device.toml && edge-runtime run --config device.toml

exit codes: 0 fine, 1 a problem was found, 2 wrong usage, 69 something needed is not there, 75 try again later,
78 wrong configuration. Every reading verb takes --json: one JSON object a line.
"""


def build_parser() -> argparse.ArgumentParser:
    """All verbs; cheap, no heavy import."""
    parser = argparse.ArgumentParser(
        prog="edge-runtime",
        description="Shelf cameras on the device: normalize the view, read every slot, publish what changed.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"edge-runtime {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for family in (
        demo,
        infer,
        replay,
        service,
        cameras,
        models,
        build,
        repo,
        fleet,
        bench,
        field_bench,
        configuration,
        spool,
        doctor,
        simulator,
    ):
        family.register(verbs)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code. Wrong usage and `--help` leave by SystemExit, as argparse does."""
    try:
        parsed = build_parser().parse_args(arguments)
        act = cast("Callable[[argparse.Namespace], int]", parsed.act)
        code = act(parsed)
        sys.stdout.flush()
    except EdgeError as fault:
        complain(str(fault))
        return fault.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        silence()
        return EXIT_OK  # the reader has what it wanted
    except OSError as fault:  # of a path that no verb foresaw: too long a name, no right to look into a folder
        complain(f"{fault.filename or 'the system'}: {fault.strerror or fault}. Check the path and its rights")
        return EXIT_UNAVAILABLE
    return code


def run() -> None:
    """The entry point of the installed command."""
    prepare()
    sys.exit(main())
