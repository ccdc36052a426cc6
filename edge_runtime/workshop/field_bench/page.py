"""The report: one HTML page with its style, plots and pictures inside; no link leads out of it, and no script runs."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

from edge_runtime.normalize.reference import open_reference
from edge_runtime.records import Image, Unusable, View
from edge_runtime.web.annotate import COLOURS
from edge_runtime.workshop.field_bench import sections
from edge_runtime.workshop.field_bench.bench import Bench
from edge_runtime.workshop.field_bench.contenders import OURS, RAW
from edge_runtime.workshop.field_bench.dataset import BenchShelf
from edge_runtime.workshop.field_bench.markup import percent, picture, tag
from edge_runtime.workshop.field_bench.pictures import (
    SMALL_WIDTH,
    Chosen,
    Mistake,
    choose_frames,
    count_mistakes,
    mistakes,
    pane,
    raw_verdicts,
    view_verdicts,
)
from edge_runtime.workshop.field_bench.record import cell_name
from edge_runtime.workshop.field_bench.run import ModelPart, Reader, frame_of, open_reader
from edge_runtime.workshop.field_bench.verdicts import STATES

MOST_MISTAKES = 40


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a frame of the bench comes from."""

    shelf: BenchShelf
    name: str

    @property
    def path(self) -> Path:
        return self.shelf.picture(self.name)

    @property
    def truth(self) -> dict[str, str]:
        return {row.slot: row.state for row in self.shelf.rows if row.frame == self.name}


class _Booth:
    """Reads single frames again for their pictures; readers of a shelf are made once."""

    def __init__(self, shelves: tuple[BenchShelf, ...], part: ModelPart) -> None:
        self.margin = part.crop.margin
        self.places = [_Place(shelf, name) for shelf in shelves for name in shelf.frames]
        self._part = part
        self._made: dict[str, tuple[Image, Reader, Reader]] = {}

    def readers(self, shelf: BenchShelf) -> tuple[Image, Reader, Reader]:
        """Reference, raw reader and ours."""
        if shelf.name not in self._made:
            reference = open_reference(shelf.layout)
            raw, ours = (open_reader(shelf, reference, one, self._part) for one in (RAW, OURS))
            self._made[shelf.name] = (reference, raw, ours)
        return self._made[shelf.name]


def render_page(bench: Bench, shelves: tuple[BenchShelf, ...], part: ModelPart) -> str:
    """The whole page. Raises what reading a picture raises."""
    booth = _Booth(shelves, part)
    style = (Path(__file__).parent / "page.css").read_text("utf-8")
    body = "".join(
        (
            sections.lead(bench),
            sections.conditions(bench),
            sections.baselines_section(bench),
            sections.by_severity_section(bench),
            sections.confidence_section(bench),
            sections.analysis_section(bench),
            _pictures(bench, booth),
            _gallery(bench, booth),
            sections.method(bench),
        )
    )
    title = f"Field bench: {escape(bench.dataset)}, {escape(bench.model.name)} {escape(bench.model.version)}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{style}</style></head><body><main>{body}</main></body></html>\n"
    )


def _pictures(bench: Bench, booth: _Booth) -> str:
    chosen = [one for one in choose_frames(bench.comparison, bench.rows) if one.frame not in bench.benched.unread]
    key = "".join(f'<i style="background:rgb{COLOURS[state]}"></i>{state}' for state in COLOURS)
    return (
        tag("h2", "Pictures")
        + tag(
            "p",
            "One frame of each condition: the one with most errors, and of the last the one with most errors mended. A cross "
            "is a wrong answer. In the last pane the slots are the very crops that the model was fed.",
            class_="soft",
        )
        + tag("p", key, class_="soft key")
        + "".join(_strip(one, bench, booth) for one in chosen)
    )


def _strip(chosen: Chosen, bench: Bench, booth: _Booth) -> str:
    place = booth.places[chosen.frame]
    reference, raw, ours = booth.readers(place.shelf)
    frame = frame_of(place.path)
    layout, truth = place.shelf.layout, place.truth
    before = raw_verdicts(raw.read(frame), layout, truth)
    outcome = ours.read(frame)
    after = view_verdicts(outcome, layout, booth.margin, truth)
    small = _pane(picture(pane(reference, SMALL_WIDTH), "reference"), "Commissioned") + _pane(
        picture(pane(frame.pixels, SMALL_WIDTH), "frame"), "As captured"
    )
    panes = (
        tag("div", small, class_="before"),
        _pane(picture(before, "raw verdicts"), "Raw crops: what the model said"),
        _pane(_refused(outcome.view) if after is None else picture(after, "verdicts"), "With the runtime"),
    )
    row = chosen.row
    figures = f"{percent(row.without.value)} % raw, {percent(row.with_.value)} % with the runtime, {percent(row.coverage)} % covered"
    where = f"{place.shelf.name}, frame {place.name}. {_found(outcome.view)}"
    return (
        tag("h3", f"{escape(cell_name(row.key))}: {chosen.why}")
        + tag("p", f"{escape(figures)}. {escape(where)}", class_="soft")
        + tag("div", "".join(panes), class_="panes")
    )


def _pane(content: str, told: str) -> str:
    return tag("figure", content + tag("figcaption", escape(told)))


def _refused(view: View | Unusable) -> str:
    reason = view.reason.value.replace("_", " ") if isinstance(view, Unusable) else ""
    return tag("div", f"Frame refused: {escape(reason)}.<br>Every slot is unknown.", class_="refused")


def _found(view: View | Unusable) -> str:
    if isinstance(view, Unusable):
        return f"Refused: {view.detail}."
    light = "light corrected" if view.light.applied else "light left as it is"
    return f"Registered on {view.registration.inliers} points, {light}."


def _gallery(bench: Bench, booth: _Booth) -> str:
    shown = mistakes(bench.comparison, MOST_MISTAKES)
    total = count_mistakes(bench.comparison)
    if not shown:
        return tag("h2", "Errors") + tag("p", "No answer was wrong.", class_="soft")
    tiles: dict[Mistake, str] = {}
    for number in sorted({one.frame for one in shown}):
        here = [one for one in shown if one.frame == number]
        tiles |= _mistakes(here, booth.places[number], booth)
    return (
        tag("h2", "Errors, the most confident first")
        + tag(
            "p",
            f"{len(shown)} of {total} wrong answers of the runtime. Left: the crop that the model was fed. Right: the same slot "
            "when the camera was commissioned.",
            class_="soft",
        )
        + tag("div", "".join(tiles[one] for one in shown), class_="gallery")
    )


def _mistakes(shown: list[Mistake], place: _Place, booth: _Booth) -> dict[Mistake, str]:
    """Tiles of one frame's errors."""
    _, _, ours = booth.readers(place.shelf)
    view = ours.read(frame_of(place.path)).view
    assert isinstance(view, View), "a refused frame has no answers, and so no errors"
    tiles = {}
    for one in shown:
        slot = place.shelf.layout.slots[one.slot]
        crops = picture(view.crops[one.slot], "current") + picture(
            ours.normalizer.reference_crops[one.slot], "commissioned"
        )
        told = (
            f"<b>{STATES[one.truth]}</b>, said <b>{STATES[one.said]}</b> {100 * one.confidence:.1f} %<br>"
            f"{escape(cell_name(one.cell))}<br>{escape(place.shelf.name)} {escape(place.name)} {escape(slot.id)}"
        )
        tiles[one] = tag("figure", tag("div", crops, class_="crops") + tag("figcaption", told))
    return tiles
