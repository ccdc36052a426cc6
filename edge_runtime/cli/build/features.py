"""`build features`: a labelled dataset to a table that scikit-learn fits on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.build.export import crop_size
from edge_runtime.cli.build.extra import require_build
from edge_runtime.cli.build.writing import bar, check_out, wipe, write_whole
from edge_runtime.cli.output import add_json, add_verb, emit, say
from edge_runtime.errors import EXIT_OK, Usage

if TYPE_CHECKING:
    from edge_runtime.cli.output import Verbs

_DETAIL = """\
Cuts every slot of every frame of a field dataset as the device cuts it (registered, relit), and writes one row of features
for each: `features`, `state`, `shelf`, `condition`, `severity`. Beside it, in table.crops.npz, some of the crops themselves,
for `export --samples` and `quantize --calibration`. The exported graph computes the same features, so nothing on the device
has to change."""


def register(verbs: Verbs) -> None:
    """Add the verb."""
    parser = add_verb(
        verbs,
        "features",
        "a labelled dataset to a table for scikit-learn",
        _DETAIL,
        "  edge-runtime build features field/ --out table.npz\n"
        "  edge-runtime build features field/ --out table.csv --features grid-alone/1",
    )
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="a folder of the format field-dataset/1")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="table.npz or table.csv")
    parser.add_argument("--features", default="grid/1", metavar="NAME", help="grid/1 (default) or grid-alone/1")
    parser.add_argument("--size", type=crop_size, default=(80, 80), metavar="WxH", help="crop size (80x80)")
    parser.add_argument(
        "--margin", type=float, default=0.2, help="shelf to see around the slot, as a share of it (0.2)"
    )
    parser.add_argument("--force", action="store_true", help="replace what is there")
    add_json(parser)
    parser.set_defaults(act=_features)


def _features(args: argparse.Namespace) -> int:
    require_build()
    crops = _check(args)
    from edge_runtime.records import CropSpec
    from edge_runtime.workshop.features import feature_set
    from edge_runtime.workshop.features_table import make_table

    try:
        table = make_table(args.dataset, feature_set(args.features), CropSpec(args.size, args.margin), bar())
    finally:
        wipe()
    write_whole(crops, table.crops())
    write_whole(args.out, table.csv() if args.out.suffix == ".csv" else table.npz())
    states = {str(state): int((table.state == state).sum()) for state in sorted(set(table.state.tolist()))}
    if args.json:
        emit(
            {
                "path": str(args.out),
                "crops": str(crops),
                "rows": len(table.state),
                "features": table.chosen.name,
                "states": states,
            }
        )
    else:
        counted = ", ".join(f"{count} {state}" for state, count in states.items())
        say(f"{args.out}: {len(table.state)} rows of {table.chosen.width} features ({table.chosen.name}): {counted}")
    return EXIT_OK


def _check(args: argparse.Namespace) -> Path:
    """Where the crops go."""
    if args.out.suffix not in (".npz", ".csv"):
        raise Usage(f"--out {args.out} ends in neither .npz nor .csv", "Name the table to write")
    if not 0.0 <= args.margin <= 1.0:
        raise Usage(f"--margin {args.margin:g}; a share from 0 to 1 was expected", "Leave it out")
    crops: Path = args.out.with_suffix(".crops.npz")
    for path in (args.out, crops):
        check_out(path, args.force)
    return crops
