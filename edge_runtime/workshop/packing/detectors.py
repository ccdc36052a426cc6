"""Evidence for a detector: canvases, and boxes that must be found again, by the packed file and by the float file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_runtime import __version__
from edge_runtime.errors import Refused, Unavailable
from edge_runtime.inference.detect.golden import golden_of
from edge_runtime.inference.detect.session import DetectSession
from edge_runtime.inference.session import open_session
from edge_runtime.lifecycle.arrays import read_arrays
from edge_runtime.manifest import Manifest
from edge_runtime.workshop.detect import manifest_of, prepare_detector, read_description, sample_canvases
from edge_runtime.workshop.detect_fit import fit_detector
from edge_runtime.workshop.field_bench.dataset import read_bench
from edge_runtime.workshop.pack import npz
from edge_runtime.workshop.packing.assemble import Evidence

PICTURES = (".jpg", ".jpeg", ".png")
FLOAT_TOLERANCE = 0.02
_UNMEASURED = " Nothing was measured on labels."


def pictures_in(folder: Path) -> tuple[Path, ...]:
    """Sample pictures of a folder, by name. Raises Unavailable if it is no folder, Refused if it holds none."""
    if not folder.is_dir():
        raise Unavailable(f"{folder} is not a folder; one of sample pictures was expected", "Check the path")
    found = tuple(sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES and path.is_file()))
    if not found:
        raise Refused(
            f"{folder} holds no picture; sample pictures with things to find were expected",
            "Name a folder of JPEG or PNG files",
        )
    return found


def read_canvases(description: Path, folder: Path, layout: Path | None) -> tuple[Manifest, NDArray[np.uint8]]:
    """A description as a manifest, and canvases (n, h, w, 3) of the pictures in `folder`. Raises as its parts do."""
    manifest = manifest_of(read_description(description), "", (__version__, "2.0.0"))
    assert manifest.crop.canvas is not None, "a detector's manifest has a canvas"
    return manifest, sample_canvases(manifest.crop.canvas, pictures_in(folder), layout)


def from_pictures(
    packed: bytes,
    float32: bytes | None,
    manifest: Manifest,
    pictures: tuple[Path, ...],
    layout: Path | None,
    tolerance: float,
) -> Evidence:
    """Raises ModelFault if a file does not fit the manifest, Refused if nothing is found in the pictures."""
    assert manifest.crop.canvas is not None, "a detector's manifest has a canvas"
    canvases = sample_canvases(manifest.crop.canvas, pictures, layout)
    made = prepare_detector(packed, manifest, canvases, tolerance)
    golden = made.golden
    if float32 is not None:
        golden = _with_float(golden, float32, manifest)
    return Evidence(
        manifest.confidence,
        manifest.thresholds,
        golden,
        made.reference,
        ("confidence and thresholds are the description's: nothing was fitted",),
        (
            (
                "how_measured",
                f"{made.found} boxes found in the sample pictures are its golden set.{_UNMEASURED}",
            ),
        ),
    )


def fitted_to(evidence: Evidence, packed: bytes, manifest: Manifest, datasets: tuple[Path, ...]) -> Evidence:
    """The same evidence with a confidence that is fitted to labelled shelves; thresholds stay the description's.

    Raises Refused if the datasets hold too little to fit to, and what reading them raises.
    """
    fit = fit_detector(packed, manifest, [shelf for folder in datasets for shelf in read_bench(folder)])
    said = f"Confidence is fitted to {fit.slots} labelled slots: negative log-likelihood {fit.loss_before:.3f} to {fit.loss_after:.3f}."
    facts = tuple((heading, f"{text.removesuffix(_UNMEASURED)} {said}") for heading, text in evidence.facts)
    warnings = ("thresholds are the description's: only the confidence was fitted",)
    return replace(evidence, confidence=fit.confidence, facts=facts, warnings=warnings)


def _with_float(golden: bytes, float32: bytes, manifest: Manifest) -> bytes:
    """The same canvases as the float file sees them: `boxes_fp32`, `values_fp32_<k>`, `tolerance_fp32`."""
    members = read_arrays(golden, "golden.npz")
    session = open_session(float32, manifest)
    assert isinstance(session, DetectSession), "the manifest's task is detect"
    members["boxes_fp32"] = golden_of(session, members["canvas"])["boxes"]
    outputs = [session.outputs(canvas) for canvas in members["canvas"]]
    for name in [name for name in members if name.startswith("picks_")]:
        place = int(name.removeprefix("picks_"))
        members[f"values_fp32_{place}"] = _values(outputs, place, members[name])
    members["tolerance_fp32"] = np.asarray(FLOAT_TOLERANCE, np.float32)
    return npz(members)


def _values(
    outputs: list[tuple[NDArray[np.generic], ...]], place: int, picks: NDArray[np.int64]
) -> NDArray[np.float32]:
    return np.stack([found[place].reshape(-1)[picks] for found in outputs]).astype(np.float32)
