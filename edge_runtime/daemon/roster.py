"""All cameras of the device: those that run, and those whose files can not be used (yet)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from threading import Thread

from edge_runtime.config import CameraConfig
from edge_runtime.daemon.deck import ModelDeck
from edge_runtime.daemon.models import LoadedModel
from edge_runtime.daemon.station import Station
from edge_runtime.errors import EdgeError, ModelFault

log = logging.getLogger(__name__)

RETRY_S = 30.0
STOP_S = 3.0

OpenStation = Callable[[CameraConfig, LoadedModel | None], Station]
"""Raises EdgeError if the camera's layout, reference or address can not be used, ModelFault if the model does not fit."""


class Roster:
    """Owned by the inference loop."""

    def __init__(
        self,
        cameras: Sequence[CameraConfig],
        open_station: OpenStation,
        deck: ModelDeck,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._configs = {camera.name: camera for camera in cameras}
        self._open_station = open_station
        self._deck = deck
        self._clock = clock
        self._retry_at_s = float("-inf")
        self.stations: dict[str, Station] = {}
        self.broken: dict[str, str] = {}
        """Camera -> why it can not be run at all, with the mend."""

    def config(self, name: str) -> CameraConfig:
        return self._configs[name]

    def mend(self) -> bool:
        """Open what is not running, now and every RETRY_S: a layout that was drawn again needs no restart.

        True if a camera was added.
        """
        if len(self.stations) == len(self._configs) or self._clock() < self._retry_at_s:
            return False
        self._retry_at_s = self._clock() + RETRY_S
        before = len(self.stations)
        for name, config in self._configs.items():
            if name not in self.stations:
                self._open(name, config)
        return len(self.stations) > before

    def _open(self, name: str, config: CameraConfig) -> None:
        try:
            station = self._opened(config)
        except EdgeError as fault:
            if self.broken.get(name) != str(fault):
                log.warning("camera %s: %s", name, fault)
            self.broken[name] = str(fault)
            return
        self.broken.pop(name, None)
        self.stations[name] = station
        station.parts.camera.start()

    def _opened(self, config: CameraConfig) -> Station:
        """With the model in charge; if that does not fit, with the one that takes over."""
        while True:
            try:
                return self._open_station(config, self._deck.loaded)
            except ModelFault as fault:
                if self._deck.loaded is None:
                    raise
                self._deck.fall_back(fault.found, self.stations.values())

    def close(self) -> None:
        """Stop all captures, side by side and within STOP_S."""
        stops = [
            Thread(target=station.parts.camera.stop, args=(STOP_S,), name=f"stop-{name}", daemon=True)
            for name, station in self.stations.items()
        ]
        for stop in stops:
            stop.start()
        until_s = self._clock() + STOP_S + 1.0
        for stop in stops:
            stop.join(max(0.0, until_s - self._clock()))
