"""Pictures for people: the captured frame and the normalized shelf, with every slot outlined in the colour of its state.

Pure: outcomes in, pictures out. Text is drawn by Pillow, whose own font is legible at small sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from edge_runtime.records import ANSWERS, Image, Layout, Outcome, Quad, Registration, Slot, State, Unusable, View

COLOURS: Mapping[str, tuple[int, int, int]] = {
    State.STOCKED: (46, 170, 96),
    State.LOW: (238, 164, 0),
    State.EMPTY: (226, 55, 55),
    State.BLOCKED: (116, 107, 230),
    State.UNKNOWN: (140, 147, 158),
}
"""RGB by state; the page's style sheet uses the same."""
_INK = (24, 27, 31)
_PAPER = (255, 255, 255)
_LABELLED = (State.LOW, State.EMPTY, State.BLOCKED, State.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Tag:
    """What is written into one slot: its state and how sure."""

    state: State
    confidence: float


def tags_of(outcome: Outcome) -> dict[str, Tag]:
    """The published state of every slot, or the single frame's reading where nothing is published yet."""
    tags = {r.slot: Tag(r.state, r.confidence) for r in outcome.readings}
    return tags | {s.slot: Tag(s.state, s.confidence) for s in outcome.statuses}


def readings_of(outcome: Outcome) -> dict[str, Tag]:
    """What this frame alone says about every slot."""
    return {r.slot: Tag(r.state, r.confidence) for r in outcome.readings}


def draw_frame(outcome: Outcome, layout: Layout, tags: Mapping[str, Tag], max_side: int = 1280) -> Image:
    """The picture as captured, at most `max_side` pixels wide or high; slots where registration found them.

    Without a registration the picture is returned without outlines.
    """
    pixels = outcome.frame.pixels
    scale = min(1.0, max_side / max(pixels.shape[:2]))
    canvas = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else pixels.copy()
    homography = outcome.view.registration.homography
    if homography is None:
        return _image(canvas)
    to_canvas = np.diag([scale, scale, 1.0]) @ homography
    return draw_slots(_image(canvas), layout.slots, tags, _projector(to_canvas))


def draw_view(outcome: Outcome, layout: Layout, tags: Mapping[str, Tag], max_side: int = 1280) -> Image | None:
    """The frame brought back to the commissioned angle and light; None if it could not be registered."""
    registration = outcome.view.registration
    if registration.homography is None:
        return None
    canvas = _straight(outcome, registration, layout.image_size)
    scale = min(1.0, max_side / max(layout.image_size))
    if scale < 1:
        canvas = _image(cv2.resize(canvas, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    return draw_slots(canvas, layout.slots, tags, _projector(np.diag([scale, scale, 1.0])))


def draw_slots(
    canvas: Image, slots: Iterable[Slot], tags: Mapping[str, Tag], place: Callable[[Quad], NDArray[np.float64]]
) -> Image:
    """Outline and tint every slot on `canvas` (written to, and returned); `place` maps a polygon to canvas pixels."""
    tint = canvas.copy()
    placed = [(slot, tags.get(slot.id, Tag(State.UNKNOWN, 0.0)), place(slot.polygon)) for slot in slots]
    for _, tag, corners in (entry for entry in placed if entry[1].state in _LABELLED):
        cv2.fillPoly(tint, [_fixed(corners)], _bgr(tag.state), cv2.LINE_AA, 4)
    cv2.addWeighted(tint, 0.22, canvas, 0.78, 0, dst=canvas)
    width = max(1, round(max(canvas.shape[:2]) / 480))
    for _, tag, corners in placed:
        cv2.polylines(canvas, [_fixed(_inset(corners, width))], True, _bgr(tag.state), width, cv2.LINE_AA, 4)
    return _write_labels(canvas, [(_label(tag), tag.state, corners) for _, tag, corners in placed])


def draw_layout(picture: Image, slots: Iterable[Slot]) -> Image:
    """A reference picture with the outline and the id of every slot: what a technician checks after commissioning."""
    canvas = picture.copy()
    width = max(1, round(max(canvas.shape[:2]) / 480))
    placed = [(slot, np.asarray(slot.polygon, np.float64)) for slot in slots]
    for _, corners in placed:
        cv2.polylines(canvas, [_fixed(_inset(corners, width))], True, _bgr(State.STOCKED), width, cv2.LINE_AA, 4)
    return _write_labels(canvas, [(slot.id, State.BLOCKED, corners) for slot, corners in placed])


def draw_sheet(outcome: Outcome, layout: Layout) -> Image:
    """What one frame led to, for a report: as captured beside as normalized, with a caption and a legend."""
    tags = readings_of(outcome)
    left = draw_frame(outcome, layout, {} if isinstance(outcome.view, Unusable) else tags, 960)
    right = draw_view(outcome, layout, tags, 960)
    if right is None:
        right = _nothing(left.shape[:2], outcome)
    height = min(left.shape[0], right.shape[0], 720)
    panes = [_image(cv2.resize(p, (round(p.shape[1] * height / p.shape[0]), height))) for p in (left, right)]
    gap = np.full((height, 16, 3), 255, np.uint8)
    body = np.concatenate([panes[0], gap, panes[1]], 1)
    return _framed(body, panes[0].shape[1] + 16, _caption(outcome), _counts(tags, layout))


def encode_jpeg(picture: Image, quality: int = 82) -> bytes:
    """JPEG bytes of a BGR picture."""
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done, "encoding an in-memory picture as JPEG does not fail"
    return data.tobytes()


def _image(pixels: NDArray[np.generic]) -> Image:
    return np.ascontiguousarray(pixels, np.uint8)


def _bgr(state: State) -> tuple[int, int, int]:
    red, green, blue = COLOURS[state]
    return blue, green, red


def _fixed(corners: NDArray[np.float64]) -> NDArray[np.int32]:
    """Corners in sixteenths of a pixel, held near the canvas so that a wild projection can not overflow."""
    return np.clip(np.round(corners * 16), -2e6, 2e6).astype(np.int32)


def _inset(corners: NDArray[np.float64], pixels: int) -> NDArray[np.float64]:
    """Corners moved towards their middle, so that the outlines of neighbours stay apart."""
    towards = corners.mean(0) - corners
    length = np.maximum(np.linalg.norm(towards, axis=1, keepdims=True), 1e-6)
    moved: NDArray[np.float64] = corners + towards / length * np.minimum(1.4 * pixels, length / 4)
    return moved


def _projector(homography: NDArray[np.float64]) -> Callable[[Quad], NDArray[np.float64]]:
    def place(polygon: Quad) -> NDArray[np.float64]:
        points = np.asarray(polygon, np.float64)[None]
        return np.asarray(cv2.perspectiveTransform(points, homography)[0], np.float64)

    return place


def _straight(outcome: Outcome, registration: Registration, size: tuple[int, int]) -> Image:
    assert registration.homography is not None
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    straight = cv2.warpPerspective(outcome.frame.pixels, registration.homography, size, flags=flags)
    light = outcome.view.light
    if light.applied:
        straight = np.clip(straight * np.asarray(light.gain, np.float32), 0, 255).astype(np.uint8)
    return _image(straight)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _label(tag: Tag) -> str:
    if tag.state not in _LABELLED:
        return ""
    sure = tag.state in ANSWERS  # of the others the figure is not how sure the answer is: `blocked` begins at a low one
    return f"{tag.state.value} {tag.confidence:.0%}" if sure else tag.state.value


def _write_labels(canvas: Image, labels: Iterable[tuple[str, State, NDArray[np.float64]]]) -> Image:
    """A small filled label in the corner of every slot that has a text; shortened to its first word where it is narrow."""
    size = max(10, round(max(canvas.shape[:2]) / 68))
    page = Pillow.fromarray(canvas[:, :, ::-1])
    pen = ImageDraw.Draw(page)
    for text, state, corners in labels:
        if not text:
            continue
        (left, top), (right, _) = corners.min(0), corners.max(0)
        if pen.textlength(text, _font(size)) + size > right - left:
            text = text.split()[0]
        at = (float(left) + size * 0.45, float(top) + size * 0.45)
        box = pen.textbbox(at, text, _font(size))
        pen.rounded_rectangle(
            (box[0] - size * 0.35, box[1] - size * 0.25, box[2] + size * 0.35, box[3] + size * 0.3),
            size // 4,
            fill=COLOURS[state],
        )
        pen.text(at, text, _INK if state is State.LOW else _PAPER, _font(size))
    return _image(np.asarray(page)[:, :, ::-1])


def _nothing(size: tuple[int, ...], outcome: Outcome) -> Image:
    """A pane that says why there is no normalized picture."""
    page = Pillow.new("RGB", (size[1], size[0]), _INK)
    reason = outcome.view.reason.value.replace("_", " ") if isinstance(outcome.view, Unusable) else "not registered"
    font = _font(max(10, size[1] // 26))
    ImageDraw.Draw(page).text((size[1] / 2, size[0] / 2), f"not usable: {reason}", _PAPER, font, anchor="mm")
    return _image(np.asarray(page)[:, :, ::-1])


def _caption(outcome: Outcome) -> str:
    view = outcome.view
    if not isinstance(view, View):
        return f"not usable: {view.reason.value.replace('_', ' ')}. {view.detail}".strip()
    parts = [f"registration {view.registration.status.value}"]
    if view.registration.inliers:
        parts.append(f"{view.registration.inliers} inliers")
    parts.append("light corrected" if view.light.applied else "light as it is")
    if outcome.scores:
        parts.append(f"{outcome.scores.model.name} {outcome.scores.model.version}")
    return "  ·  ".join(parts)


def _counts(tags: Mapping[str, Tag], layout: Layout) -> dict[State, int]:
    states = [tags[s.id].state if s.id in tags else State.UNKNOWN for s in layout.slots]
    return {state: states.count(state) for state in State if state in states}


def _framed(body: Image, second: int, caption: str, counts: Mapping[State, int]) -> Image:
    """The panes on white, with titles above and the legend below; a caption that does not fit beside it gets its own line."""
    edge, head, foot = 20, 44, 52
    legend = {state: f"{state.value} {count}" for state, count in counts.items()}
    width = _font(15).getlength(caption)
    taken = sum(44 + _font(16).getlength(text) for text in legend.values())
    below = 24 if taken + width > body.shape[1] else 0
    foot += below
    page = Pillow.new("RGB", (body.shape[1] + 2 * edge, body.shape[0] + head + foot), _PAPER)
    page.paste(Pillow.fromarray(body[:, :, ::-1]), (edge, head))
    pen = ImageDraw.Draw(page)
    pen.text((edge, 14), "as captured", _INK, _font(18))
    pen.text((edge + second, 14), "as normalized and read", _INK, _font(18))
    base = head + body.shape[0] + 17
    at = float(edge)
    for state, text in legend.items():
        pen.rounded_rectangle((at, base + 2, at + 14, base + 16), 3, fill=COLOURS[state])
        pen.text((at + 20, base), text, _INK, _font(16))
        at += 44 + pen.textlength(text, _font(16))
    left = edge if below else page.width - edge - width
    pen.text((left, base + below), caption, (95, 102, 112), _font(15))
    return _image(np.asarray(page)[:, :, ::-1])
