"""`camera commission`: the reference picture of a mounted camera and its slots, checked and written."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.cli.output import add_json, add_verb, emit, say
from edge_runtime.errors import EXIT_OK, BadConfig, Unavailable, Usage

if TYPE_CHECKING:
    from edge_runtime.cli.output import Verbs
    from edge_runtime.records import Image, Point, Quad, Slot

REFERENCE = "reference.jpg"
LAYOUT = "layout.json"
OVERLAY = "overlay.jpg"
_MARGIN = 0.02
_SLOTS_MEND = 'Give a list of {"id", "sku", "polygon": [[x, y] x 4]}, or another layout.json'


def register(kinds: Verbs) -> None:
    """Add `commission` to the camera verbs."""
    verb = add_verb(
        kinds,
        "commission",
        "record the reference picture and the slots of a mounted camera",
        "Records how the shelf looks now, well stocked and well lit, and where its slots are. Of a live camera the\n"
        "median of several pictures is taken, which removes people who walk by. Writes layout.json, reference.jpg and\n"
        "overlay.jpg (for your eyes) into the folder --out.",
        "  edge-runtime camera commission --source rtsp://10.0.0.9/main --rows 4 --columns 6 --out aisle-1\n"
        "  edge-runtime camera commission --image shelf.jpg --slots slots.json --out aisle-1\n"
        '  edge-runtime camera commission --image shelf.jpg --rows 4 --columns 6 --area "50,40 900,30 890,700 60,690" --out aisle-1',
    )
    origin = verb.add_mutually_exclusive_group(required=True)
    origin.add_argument("--source", metavar="URI", help="a live camera, a video file or a folder")
    origin.add_argument("--image", type=Path, metavar="FILE", help="a photograph taken by the mounted camera")
    verb.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write; made if it is not there")
    verb.add_argument(
        "--frames", type=int, default=7, help="pictures of a live camera to take the median of (%(default)s)"
    )
    verb.add_argument("--slots", type=Path, metavar="FILE", help="slots as JSON: a list, or another layout.json")
    verb.add_argument("--rows", type=int, help="instead of --slots: so many boards ...")
    verb.add_argument("--columns", type=int, help="... with so many facings each")
    verb.add_argument("--area", metavar="CORNERS", help="the grid's four corners from the top left clockwise, pixels")
    verb.add_argument("--force", action="store_true", help="replace an existing layout in --out")
    add_json(verb)
    verb.set_defaults(act=_commission)


def _commission(args: argparse.Namespace) -> int:
    from edge_runtime.layout import read_layout, write_layout
    from edge_runtime.web.annotate import draw_layout, encode_jpeg

    _check_call(args)
    picture = _photograph(args.image) if args.image else _median_of(args.source, args.frames)
    size = (picture.shape[1], picture.shape[0])
    slots = read_slots(args.slots, size) if args.slots else grid(args.rows, args.columns, area_of(args.area, size))
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        draft = args.out / f".{LAYOUT}"
        try:
            write_layout(draft, REFERENCE, size, slots)
            read_layout(draft)
            (args.out / REFERENCE).write_bytes(encode_jpeg(picture, 95))
            (args.out / OVERLAY).write_bytes(encode_jpeg(draw_layout(picture, slots)))
            draft.replace(args.out / LAYOUT)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as fault:
        raise Unavailable(
            f"{args.out} can not be written: {fault.strerror}", "Name a writable folder with --out"
        ) from None
    if args.json:
        emit({"layout": str(args.out / LAYOUT), "image_size": list(size), "slots": len(slots)})
    else:
        say(
            f"{args.out / LAYOUT}: {len(slots)} slots in a picture of {size[0]}x{size[1]}; look at {args.out / OVERLAY}"
        )
    return EXIT_OK


def _check_call(args: argparse.Namespace) -> None:
    if args.slots is None and (args.rows is None or args.columns is None):
        raise Usage(
            "neither --slots nor --rows with --columns was given", "Say where the slots are in one of both ways"
        )
    if args.slots is not None and (args.rows is not None or args.columns is not None or args.area):
        raise Usage("--slots was given together with --rows, --columns or --area", "Use one of both ways")
    if args.slots is None and not (1 <= args.rows <= 64 and 1 <= args.columns <= 64):
        raise Usage(f"a grid of {args.rows} x {args.columns}", "Give 1 to 64 rows and 1 to 64 columns")
    if not 1 <= args.frames <= 99:
        raise Usage(f"--frames {args.frames}", "Give 1 to 99; 5 to 9 is plenty")
    if (args.out / LAYOUT).exists() and not args.force:
        raise Usage(f"{args.out / LAYOUT} is already there", "Name another folder, or replace it with --force")


def _photograph(path: Path) -> Image:
    from edge_runtime.camera.still import decode_still

    return decode_still(path)


def _median_of(uri: str, count: int) -> Image:
    """The median of up to `count` pictures, half a second apart on a live camera."""
    import numpy as np

    from edge_runtime.cli.frames import take

    pictures = take(uri, count, interval_s=0.5)
    shape = pictures[0].pixels.shape
    alike = [picture.pixels for picture in pictures if picture.pixels.shape == shape]
    return alike[0] if len(alike) == 1 else np.median(np.stack(alike), axis=0).astype(np.uint8)


def grid(rows: int, columns: int, area: Quad) -> tuple[Slot, ...]:
    """Equal slots in an area, row by row, ids `r0s0`; perspective is kept by a homography of the unit square."""
    import cv2
    import numpy as np

    from edge_runtime.records import Slot

    unit = np.asarray([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    lift = cv2.getPerspectiveTransform(unit, np.asarray(area, np.float32))

    def corner(column: int, row: int) -> Point:
        x, y = cv2.perspectiveTransform(np.asarray([[[column / columns, row / rows]]], np.float64), lift)[0, 0]
        return round(float(x), 2), round(float(y), 2)

    return tuple(
        Slot(f"r{r}s{c}", "", (corner(c, r), corner(c + 1, r), corner(c + 1, r + 1), corner(c, r + 1)))
        for r in range(rows)
        for c in range(columns)
    )


def area_of(text: str | None, size: tuple[int, int]) -> Quad:
    """The corners that --area names; without it the picture less a small margin. Raises Usage."""
    if text is None:
        left, top = _MARGIN * size[0], _MARGIN * size[1]
        right, bottom = size[0] - 1 - left, size[1] - 1 - top
        return ((left, top), (right, top), (right, bottom), (left, bottom))
    try:
        numbers = [float(part) for part in text.replace(",", " ").split()]
        a, b, c, d = zip(numbers[::2], numbers[1::2], strict=True)
    except ValueError:
        raise Usage(f"--area {text!r} is not four corners", 'Write it as "x,y x,y x,y x,y"') from None
    return (a, b, c, d)


def read_slots(path: Path, size: tuple[int, int]) -> tuple[Slot, ...]:
    """Slots from a JSON list, or from a layout.json (scaled when its picture has another size)."""
    import json

    try:
        found = json.loads(path.read_bytes())
    except OSError as fault:
        raise Unavailable(f"slots {path} can not be read: {fault.strerror}", _SLOTS_MEND) from None
    except (ValueError, RecursionError) as fault:
        raise BadConfig(f"{path} is not JSON: {fault}", _SLOTS_MEND) from None
    scale = (1.0, 1.0)
    if isinstance(found, dict):
        from edge_runtime.layout import read_layout

        known = read_layout(path)
        if known.image_size == size:
            return known.slots
        scale = (size[0] / known.image_size[0], size[1] / known.image_size[1])
        found = found["slots"]
    if not isinstance(found, list):
        raise BadConfig(f"{path} holds no list of slots", _SLOTS_MEND)
    return tuple(_slot(path, number, one, scale) for number, one in enumerate(found))


def _slot(path: Path, number: int, record: Any, scale: tuple[float, float]) -> Slot:
    from edge_runtime.records import Slot

    try:
        a, b, c, d = ((float(x) * scale[0], float(y) * scale[1]) for x, y in record["polygon"])
        return Slot(str(record["id"]), str(record.get("sku", "")), (a, b, c, d))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BadConfig(f"{path}: slot {number} has no id, or no polygon of four corners", _SLOTS_MEND) from None
