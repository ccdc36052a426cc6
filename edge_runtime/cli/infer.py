"""`infer`: what the slots are in photographs, one line an image."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.output import STATE_COLOURS, add_json, add_verb, complain, emit, paint, say, table
from edge_runtime.errors import EXIT_OK, EXIT_PROBLEM, EdgeError, Refused, Unavailable, Usage

if TYPE_CHECKING:
    from edge_runtime.cli.output import Verbs
    from edge_runtime.records import Frame, Image, Layout, ModelId, Outcome

UNREADABLE = "unreadable"
_NO_KNOWLEDGE = 1.0 / 3.0
_DIGITS = 6
_ANSWERS = ("stocked", "low", "empty")


def register(verbs: Verbs) -> None:
    """Add the verbs of this file."""
    verb = add_verb(
        verbs,
        "infer",
        "say what every slot is in photographs",
        "Normalizes each photograph against the layout's reference picture and says what every slot is.\n"
        "Each image stands on its own; states over time are what `replay` and `run` are for.",
        "  edge-runtime infer --layout aisle-1/layout.json photo.jpg\n"
        "  edge-runtime infer --layout aisle-1/layout.json photos/ --json > readings.jsonl\n"
        "  edge-runtime infer --layout aisle-1/layout.json photo.jpg --annotate looked-at/\n\n"
        "An image that can not be read or used is a line with usable = false and the reason; the others go on.\n"
        "Exit code 1 if any image could not be read.",
    )
    verb.add_argument("--layout", type=Path, required=True, metavar="FILE", help="layout.json of the camera")
    verb.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="picture files, or folders of them")
    verb.add_argument("--model", type=Path, metavar="BUNDLE", help="a bundle; default: the newest that is installed")
    verb.add_argument(
        "--no-normalize", action="store_true", help="feed the raw slot crops: the `before` of a comparison"
    )
    verb.add_argument("--annotate", type=Path, metavar="DIR", help="write an annotated picture of each image there")
    add_json(verb)
    verb.set_defaults(act=_infer)


def _infer(args: argparse.Namespace) -> int:
    from edge_runtime.daemon.compose import load_pipeline

    layout, _, pipeline = load_pipeline(args.layout, args.model, raw=args.no_normalize, stateless=True)
    assert pipeline.model is not None, "load_pipeline always loads a model"
    model = pipeline.model.id
    if args.annotate:
        _make_folder(args.annotate)
    unread, used = 0, set[str]()
    for number, path in enumerate(expand(args.images)):
        try:
            pixels, decode_ms = _decode(path)
        except EdgeError as fault:
            unread += 1
            record = unread_record(path, layout, model, str(fault))
        else:
            outcome = pipeline.step(_frame(number, pixels, decode_ms))
            record = record_of(path, outcome, model)
            if args.annotate:
                _annotate(_free_name(args.annotate, path.stem, used), outcome, layout)
        detail = str(record.pop("detail"))
        if record["reason"] == UNREADABLE:
            complain(detail)
        if args.json:
            emit(record)
        elif record["reason"] != UNREADABLE:
            _say(record, detail)
    return EXIT_PROBLEM if unread else EXIT_OK


def expand(paths: list[Path]) -> Iterator[Path]:
    """Files as they are, folders as the pictures in them by name. Raises Refused for a folder without any."""
    from edge_runtime.camera.still import SUFFIXES

    for path in paths:
        try:
            single = not path.is_dir()
        except OSError:
            single = True  # whoever reads it says why it can not be read
        if single:
            yield path
            continue
        inside = sorted(one for one in path.iterdir() if one.suffix.lower() in SUFFIXES and one.is_file())
        if not inside:
            raise Refused(
                f"{path} holds no picture", "Name a picture, or a folder of JPEG, PNG, WebP, BMP or TIFF files"
            )
        yield from inside


def record_of(image: Path, outcome: Outcome, model: ModelId) -> dict[str, object]:
    """One image's line: exactly the keys of the contract, and `detail` for people."""
    from edge_runtime.records import Unusable

    view = outcome.view
    registration, light = view.registration, view.light
    unusable = view if isinstance(view, Unusable) else None
    return {
        "image": str(image),
        "usable": unusable is None,
        "reason": unusable.reason.value if unusable else "",
        "detail": unusable.detail if unusable else "",
        "registration": {
            "status": registration.status.value,
            "homography": None if registration.homography is None else registration.homography.tolist(),
            "inliers": registration.inliers,
            "residual_px": _number(registration.residual_px, 3),
            "packs_px": _number(registration.packs_px, 2),
            "remarks": [remark.value for remark in registration.remarks],
        },
        "light": {
            "applied": light.applied,
            "gain": [_number(g, 4) for g in light.gain],
            "residual_before": _number(light.residual_before, 4),
            "residual_after": _number(light.residual_after, 4),
            "agreement": _number(light.agreement, 4),
            "decision": light.decision.value,
            "usable": _number(light.usable, 4),
            "scatter": _number(light.scatter, 2),
            "detail": light.detail,
        },
        "slots": [
            {
                "id": reading.slot,
                "state": reading.state.value,
                "confidence": round(reading.confidence, _DIGITS),
                "scores": _scores(reading.scores),
                "reason": reading.reason,
            }
            for reading in outcome.readings
        ],
        "model": _model(model),
        "ms": {stage: round(ms, 3) for stage, ms in {"decode": outcome.frame.decode_ms, **outcome.ms}.items()},
    }


def unread_record(image: Path, layout: Layout, model: ModelId, detail: str) -> dict[str, object]:
    """The line of an image that could not be read: all slots unknown."""
    slots = [
        {"id": slot.id, "state": "unknown", "confidence": 0.0, "scores": _scores({}), "reason": UNREADABLE}
        for slot in layout.slots
    ]
    return {
        "image": str(image),
        "usable": False,
        "reason": UNREADABLE,
        "detail": detail,
        "registration": {
            "status": "refused",
            "homography": None,
            "inliers": 0,
            "residual_px": None,
            "packs_px": 0.0,
            "remarks": [],
        },
        "light": {
            "applied": False,
            "gain": [1.0, 1.0, 1.0],
            "residual_before": 0.0,
            "residual_after": 0.0,
            "agreement": 1.0,
            "decision": "off",
            "usable": 1.0,
            "scatter": 0.0,
            "detail": "",
        },
        "slots": slots,
        "model": _model(model),
        "ms": {},
    }


def _number(value: float | None, digits: int) -> float | None:
    """Short; None for what was not measured, because JSON knows no NaN."""
    return None if value is None or not math.isfinite(value) else round(value, digits)


def _scores(scores: Mapping[str, float]) -> dict[str, float]:
    """Probabilities of the three answers; equal where nothing was computed."""
    if not scores:
        return dict.fromkeys(_ANSWERS, _NO_KNOWLEDGE)
    return {state: round(float(scores[state]), _DIGITS) for state in _ANSWERS}


def _model(model: ModelId) -> dict[str, str]:
    return {"name": model.name, "version": model.version, "sha256": model.sha256}


def _decode(path: Path) -> tuple[Image, float]:
    from edge_runtime.camera.still import decode_still

    began = time.perf_counter()
    pixels = decode_still(path)
    return pixels, 1e3 * (time.perf_counter() - began)


def _frame(number: int, pixels: Image, decode_ms: float) -> Frame:
    from edge_runtime.records import Frame

    return Frame("camera", number, pixels, time.time(), time.monotonic(), decode_ms)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise Usage(f"--annotate {folder} can not be made: {fault.strerror}", "Name a writable folder") from None


def _free_name(folder: Path, stem: str, used: set[str]) -> Path:
    """A file for this picture, apart from those of pictures with the same name in other folders."""
    name, count = stem, 1
    while name in used:
        count += 1
        name = f"{stem}-{count}"
    used.add(name)
    return folder / f"{name}.jpg"


def _annotate(path: Path, outcome: Outcome, layout: Layout) -> None:
    from edge_runtime.web.annotate import draw_sheet, encode_jpeg

    try:
        path.write_bytes(encode_jpeg(draw_sheet(outcome, layout), 90))
    except OSError as fault:
        raise Unavailable(f"{path} can not be written: {fault.strerror}", "Make room, or name another folder") from None


def _say(record: dict[str, object], detail: str) -> None:
    slots = record["slots"]
    assert isinstance(slots, list)
    counts = ", ".join(
        f"{sum(s['state'] == state for s in slots)} {state}"
        for state in STATE_COLOURS
        if any(s["state"] == state for s in slots)
    )
    say(f"{paint(str(record['image']), 'bold')}: {counts}")
    if not record["usable"]:
        say(f"  not usable: {record['reason']}. {detail}")
        return
    rows = [(f"  {s['id']}", s["state"], f"{s['confidence']:.0%}", s["reason"]) for s in slots]
    say(table(("  slot", "state", "confidence", "why"), rows, STATE_COLOURS))
