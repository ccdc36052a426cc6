"""The demo store: its bay, its camera, its day, and the commissioning that ships in `calibration/demo`."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from edge_runtime.layout import write_layout
from edge_runtime.simulator.bay import layout_slots
from edge_runtime.simulator.day import Day
from edge_runtime.simulator.light import Lighting
from edge_runtime.simulator.planning import random_bay
from edge_runtime.simulator.plans import Capture
from edge_runtime.simulator.render import render
from edge_runtime.simulator.sensor import Sensor, jpeg
from edge_runtime.simulator.stocking import commissioned_stock

SIZE = (1280, 960)
SEED = 16
REFERENCE = "reference.jpg"


@lru_cache(maxsize=4)
def demo_day(seed: int = SEED, speed: float = 1.0, size: tuple[int, int] = SIZE) -> Day:
    """A minute in which a store lives through a day: four boards, 24 slots, packs that no model was trained on."""
    rng = np.random.default_rng(seed)
    bay = random_bay(rng, "heldout", "demo", size, rows=4, slots_per_row=6)
    light = Lighting(exposure_ev=0.15, vignette=0.12)
    return Day(bay, Capture(bay.reference, light, Sensor(snr_db=40.0, jpeg=86)), seed, speed=speed)


def reference_picture(day: Day) -> bytes:
    """The JPEG that a technician takes: everything full, normal light."""
    stock = commissioned_stock(np.random.default_rng((day.seed, 3)), day.bay)
    own = day.commissioned
    return jpeg(render(day.bay, stock, own.camera, own.light, own.sensor).image, own.sensor.jpeg)


def commission(folder: Path, day: Day) -> None:
    """Write layout.json and reference.jpg of the day's camera into `folder`, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / REFERENCE).write_bytes(reference_picture(day))
    write_layout(folder / "layout.json", REFERENCE, day.commissioned.camera.size, layout_slots(day.bay))
