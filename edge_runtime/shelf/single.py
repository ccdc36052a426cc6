"""Frames that have no time between them: photographs, a directory of stills, one look."""

from __future__ import annotations

from edge_runtime.manifest import Thresholds
from edge_runtime.records import Event, Layout, Scores, SlotReading, SlotStatus, Unusable, View
from edge_runtime.shelf.reading import read_slots


class SingleFrames:
    """`pipeline.Shelf` without memory: readings only, never a status or an event."""

    def __init__(self, layout: Layout, thresholds: Thresholds) -> None:
        self._layout = layout
        self.thresholds = thresholds

    def observe(
        self, view: View | Unusable, scores: Scores | None
    ) -> tuple[tuple[SlotReading, ...], tuple[SlotStatus, ...], tuple[Event, ...]]:
        return read_slots(self._layout, view, scores, self.thresholds), (), ()
