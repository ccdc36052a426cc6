"""`camera list | probe | snapshot | commission`: look at cameras before they are trusted."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli import commission
from edge_runtime.cli.output import add_json, add_verb, complain, emit, say, table
from edge_runtime.errors import EXIT_OK, EXIT_PROBLEM, Unavailable, Usage

if TYPE_CHECKING:
    from edge_runtime.cli.output import Verbs

_URI_HELP = "/dev/video0, rtsp://, http(s):// (MJPEG or still), a video file or a folder"


def register(verbs: Verbs) -> None:
    """Add the verbs of this file."""
    parser = add_verb(
        verbs,
        "camera",
        "list, probe, snapshot or commission cameras",
        "Look at a camera, then record its reference picture and slots once it is mounted.",
        "  edge-runtime camera list\n"
        "  edge-runtime camera probe rtsp://user:password@10.0.0.9/main\n"
        "  edge-runtime camera commission --source /dev/video0 --rows 4 --columns 6 --out aisle-1",
    )
    kinds = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    listing = add_verb(
        kinds,
        "list",
        "the capture devices of this machine",
        "Lists video devices (V4L2). Network cameras are not searched for.",
        "  edge-runtime camera list --json",
    )
    add_json(listing)
    listing.set_defaults(act=_list)
    probing = add_verb(
        kinds,
        "probe",
        "open a camera and measure size, frame rate and the time to the first picture",
        "Opens a camera for a few seconds and measures it.",
        "  edge-runtime camera probe rtsp://10.0.0.9/main --seconds 5",
    )
    probing.add_argument("source", metavar="URI", help=_URI_HELP)
    probing.add_argument("--seconds", type=float, default=3.0, help="how long to look (%(default)s)")
    add_json(probing)
    probing.set_defaults(act=_probe)
    shot = add_verb(
        kinds,
        "snapshot",
        "save one picture of a camera",
        "Saves one picture, upright and without EXIF.",
        "  edge-runtime camera snapshot http://10.0.0.9/stream.mjpg --out shelf.jpg",
    )
    shot.add_argument("source", metavar="URI", help=_URI_HELP)
    shot.add_argument("--out", type=Path, required=True, metavar="FILE", help="the JPEG to write")
    add_json(shot)
    shot.set_defaults(act=_snapshot)
    commission.register(kinds)


def _list(args: argparse.Namespace) -> int:
    import dataclasses

    from edge_runtime.camera.devices import enumerate_devices

    devices = enumerate_devices()
    if args.json:
        for device in devices:
            emit(dataclasses.asdict(device))
    elif devices:
        rows = [(d.path, d.name, d.driver, "yes" if d.capture else "no", "yes" if d.usable else "no") for d in devices]
        say(table(("device", "name", "driver", "captures", "may be opened"), rows))
    if not devices:
        complain("no video device on this machine. Plug a camera in, or use an rtsp:// or http:// address")
        return EXIT_PROBLEM
    return EXIT_OK


def _probe(args: argparse.Namespace) -> int:
    import dataclasses

    from edge_runtime.camera.probe import probe

    if not 0.0 < args.seconds <= 600.0:
        raise Usage(f"--seconds {args.seconds}", "Give more than 0 and at most 600")
    report = probe(args.source, args.seconds)
    if args.json:
        emit(dataclasses.asdict(report))
    elif report.pictures:
        say(
            f"{report.source}: {report.width}x{report.height} {report.codec}, {report.fps:.1f} pictures a second, "
            f"first after {report.first_frame_ms:.0f} ms, decoding {report.decode_ms:.1f} ms"
        )
    if report.fault and not args.json:
        complain(report.fault)
    if report.pictures:
        return EXIT_PROBLEM if report.refused else EXIT_OK
    return report.exit_code or EXIT_PROBLEM


def _snapshot(args: argparse.Namespace) -> int:
    from edge_runtime.camera.probe import snapshot
    from edge_runtime.web.annotate import encode_jpeg

    pixels = snapshot(args.source)
    try:
        args.out.write_bytes(encode_jpeg(pixels, 95))
    except OSError as fault:
        raise Unavailable(
            f"{args.out} can not be written: {fault.strerror}", "Name a writable file with --out"
        ) from None
    height, width = pixels.shape[:2]
    if args.json:
        emit({"file": str(args.out), "width": width, "height": height})
    else:
        say(f"{args.out}: {width}x{height}")
    return EXIT_OK
