"""A detector made ready to be packed: an ONNX file and a description (`detector/1`, TOML) to a manifest and members.

`docs/detectors.md` shows descriptions of each family. What the description says is tried at once: the graph is opened as the
device would, shown the sample pictures, and what it finds there becomes the golden set.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args, get_type_hints

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_runtime.camera.still import decode_still
from edge_runtime.decoder import Decoder, Share
from edge_runtime.errors import BadConfig, Refused, Unavailable
from edge_runtime.inference.detect.golden import check_detect_golden, golden_of
from edge_runtime.inference.detect.session import DetectSession
from edge_runtime.inference.session import open_session
from edge_runtime.layout import read_layout
from edge_runtime.manifest import (
    Confidence,
    InputSpec,
    Manifest,
    OutputSpec,
    Thresholds,
    decode_manifest,
    encode_manifest,
)
from edge_runtime.normalize.canvas import CanvasPainter
from edge_runtime.normalize.warp import Warp, scaling
from edge_runtime.records import CanvasSpec, Image, Layout
from edge_runtime.workshop.pack import npz

MAX_PICTURES, MAX_CANVASES = 32, 6
"""Sample pictures that are looked at, and canvases of them that are kept; of more, evenly spread ones."""
TOLERANCE = 0.02
"""Of scores, and of outputs in shares of their size: float kernels of other processors stay far below it, int8 below it by
little; a decoder that is one grid off does not."""
EDGES = np.linspace(0.0, 1.0, 21, dtype=np.float32)
Side = Annotated[int, msgspec.Meta(ge=8, le=1024)]
_MEND = "docs/detectors.md shows a description of each family"


class DetectorInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[input]` of a description; `manifest.InputSpec` says what each means."""

    name: str
    size: tuple[Side, Side]
    colour: Literal["BGR", "RGB"]
    layout: Literal["NHWC", "NCHW"] = "NCHW"
    dtype: Literal["uint8", "float32"] = "float32"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    margin: Share = 0.05


class Description(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One detector, as a person writes it."""

    format: Literal["detector/1"]
    name: str
    version: str
    description: str
    licence: str
    output: str
    """Graph output with the boxes."""
    input: DetectorInput
    decoder: Decoder
    thresholds: Thresholds = Thresholds(0.5, 0.5)
    confidence: Confidence = Confidence()
    card: dict[str, str] = {}
    tolerance: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = TOLERANCE


@dataclass(frozen=True, slots=True, eq=False)
class PreparedDetector:
    """What `pack.pack` needs of a detector beside the model and its licence."""

    manifest: Manifest
    golden: bytes
    reference: bytes
    found: int
    """Boxes in the sample pictures."""
    agreement: float
    """Of a second session with the first, over the golden set; 1 unless the model is not repeatable."""


def read_description(path: Path) -> Description:
    """Raises Unavailable if the file can not be read, BadConfig if it is no description."""
    try:
        described = msgspec.toml.decode(path.read_bytes(), type=Description)
    except OSError as fault:
        raise Unavailable(f"{path} can not be read: {fault.strerror}", "Name a detector description") from None
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as fault:
        raise BadConfig(f"{path} is not a detector description: {_plainly(fault)}", _MEND) from None
    mean, std = described.input.mean, described.input.std
    if not all(map(math.isfinite, (*mean, *std))) or min(std) <= 0.0:
        raise BadConfig(
            f"{path}: input.mean is {mean} and input.std {std}; numbers were expected, those of std above zero", _MEND
        )
    return described


def _plainly(fault: Exception) -> str:
    """The decoder names a wrong word, not those that it knows."""
    families = ", ".join(get_args(get_type_hints(Decoder)["family"]))
    return f"{fault}; families are {families}" if "decoder.family" in str(fault) else str(fault)


def manifest_of(described: Description, created: str, runtime: tuple[str, str]) -> Manifest:
    """The manifest without files, checked. Raises Refused if the description contradicts itself."""
    given, decoder = described.input, described.decoder
    labels = ("stocked", "low", "empty", *(("blocked",) if decoder.blockers else ()))
    manifest = Manifest(
        format="edge-bundle/1",
        name=described.name,
        version=described.version,
        task="detect",
        created=created,
        description=described.description,
        licence=described.licence,
        input=InputSpec(
            given.layout, given.size, given.colour, given.dtype, given.mean, given.std, given.margin, given.name
        ),
        output=OutputSpec(described.output, "probabilities", labels),
        confidence=described.confidence,
        thresholds=described.thresholds,
        runtime=runtime,
        provenance={},
        receipt={},
        files={},
        card=described.card,
        decoder=decoder,
    )
    return decode_manifest(encode_manifest(manifest))


def prepare_detector(
    model: bytes, manifest: Manifest, canvases: NDArray[np.uint8], tolerance: float
) -> PreparedDetector:
    """Open the model, show it canvases (n, h, w, 3), and keep what it says of them as its golden set.

    Raises ModelFault if the model does not fit its manifest, Refused if its answers could tell it from no other model.
    """
    session = open_session(model, manifest)
    assert isinstance(session, DetectSession), "the manifest's task is detect"
    chosen = canvases[np.linspace(0, len(canvases) - 1, min(MAX_CANVASES, len(canvases))).round().astype(np.intp)]
    members = golden_of(session, chosen)
    found = members["boxes"]
    if not len(found):
        raise Refused(
            f"the detector found nothing of its {len(manifest.decoder.products) if manifest.decoder else 0} product and void"
            f" classes in {len(chosen)} sample canvases",
            "Give sample pictures with what it finds, or check score, colour, mean and std of the description",
        )
    members["tolerance"] = np.asarray(tolerance, np.float32)
    again = check_detect_golden(open_session(model, manifest, threads=2), manifest, members)
    if again.max_error > tolerance:
        raise Refused(
            f"a second run differs from the first by {again.max_error:.3g}, at most {tolerance:.3g} was expected",
            "The graph is not repeatable: export it in inference mode, without dropout or random parts",
        )
    return PreparedDetector(manifest, npz(members), _reference_of(found, len(chosen)), len(found), again.agreement)


def sample_canvases(spec: CanvasSpec, pictures: Sequence[Path], layout: Path | None = None) -> NDArray[np.uint8]:
    """Canvases (n, h, w, 3) of sample pictures, at most MAX_PICTURES: frames of the camera of `layout`, or else any photographs.

    Raises what reading a picture or a layout raises.
    """
    if not pictures:
        raise Refused(
            "no sample picture was given; the golden set is made from some", "Name a few with what is to be found"
        )
    places = np.linspace(0, len(pictures) - 1, min(MAX_PICTURES, len(pictures))).round().astype(int)
    return np.concatenate([_painted(spec, decode_still(pictures[place]), layout) for place in places])


def _painted(spec: CanvasSpec, picture: Image, layout: Path | None) -> NDArray[np.uint8]:
    size = (picture.shape[1], picture.shape[0])
    shown = read_layout(layout) if layout else Layout(Path(), Path(), size, ())
    if layout is None and spec.slots_only:
        raise Refused(
            "decoder.look.region is `slots`, which photographs alone have none of", "Give the layout of the samples"
        )
    warp = Warp(scaling(shown.image_size, size), size)
    return CanvasPainter(shown, spec).paint(picture, warp).pixels.copy()


def _reference_of(boxes: NDArray[np.float32], canvases: int) -> bytes:
    """reference.npz: `edges`, `scores` (histogram of the boxes' scores, shares) and `boxes` (boxes a canvas)."""
    counts, _ = np.histogram(boxes[:, 5], EDGES)
    shares = (counts / max(1, counts.sum())).astype(np.float32)
    return npz({"edges": EDGES, "scores": shares, "boxes": np.asarray(len(boxes) / canvases, np.float32)})
