"""manifest.json of a bundle (`edge-bundle/1`): what the model is, wants, says, and where it comes from.

Written by the workshop, read by lifecycle, obeyed by inference and shelf; hence it stands on the ground floor.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from edge_runtime.decoder import Decoder, check_decoder
from edge_runtime.errors import Refused
from edge_runtime.records import CanvasSpec, CropSpec

MAX_MANIFEST_BYTES = 262_144
DETECTOR_CROP = CropSpec((64, 64), 0.1)
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class InputSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the graph is fed: one batch row a slot; a detector's is one canvas a run (`decoder.look`), margin and all."""

    layout: Literal["NHWC", "NCHW"]
    size: tuple[Annotated[int, msgspec.Meta(ge=8, le=1024)], Annotated[int, msgspec.Meta(ge=8, le=1024)]]
    """(width, height) in pixels."""
    colour: Literal["BGR", "RGB"]
    dtype: Literal["uint8", "float32"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """For float32 inputs x = (pixel - mean) / std, in the given colour order; a uint8 graph does this inside and has 0 and 1 here."""
    margin: Share
    current: Name
    """Name of the graph input that takes the current crops."""
    reference: Name | None = None
    """Name of the graph input that takes the reference crops; None if the model does not look at them."""


class OutputSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Name
    kind: Literal["logits", "probabilities"]
    labels: tuple[str, ...]
    """Column names, out of stocked, low, empty, blocked; the first three must all be there. Of a detector: what its boxes
    are turned into (`inference.detect.cover`); `name` is then the graph output with the boxes, and `kind` probabilities."""


class Confidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Temperature of the softmax as a function of measured quality (Guo et al. 2017, with covariates).

    T = exp(base + blur * max(0, 1 - sharpness) + noise * sigma / 16 + density * max(0, 1 - density) + saturated * share),
    held within 0.25..8.
    """

    base: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    density: float = 0.0
    saturated: float = 0.0


class Thresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a slot is answered, and when it is `blocked` or `unknown` instead; `shelf.reading` applies them."""

    answer: Share
    """A slot whose best probability is below this is `unknown`."""
    blocked: Share
    """A slot whose blocked probability is at least this is `blocked`."""
    inside: Share = 0.7
    """A slot that lies less than this inside the frame is `unknown`."""
    saturated: Share = 0.35
    density: Annotated[float, msgspec.Meta(ge=0.0)] = 0.2
    view: Share = 0.0
    """A view whose visible slots are answered less surely than this on average is not trusted as a whole ..."""
    sure: Share = 0.98
    """... and only answers of at least this probability stand in it."""


class FileDigest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    bytes: Annotated[int, msgspec.Meta(ge=0)]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The whole of manifest.json."""

    format: Literal["edge-bundle/1"]
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}\Z")]
    version: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}\Z")]
    task: Literal["classify-slots", "detect"]
    created: str
    description: str
    licence: str
    input: InputSpec
    output: OutputSpec
    confidence: Confidence
    thresholds: Thresholds
    runtime: tuple[str, str]
    """Runtime range: first version that may run it, first that may not."""
    provenance: dict[str, str | int | float]
    """Recipe, its data digest, seed, versions."""
    receipt: dict[str, float]
    """Parity source -> ONNX -> int8: max error, agreement, accuracy delta, latency."""
    files: dict[str, FileDigest]
    card: dict[str, str] = {}
    """The model card in a few paragraphs, by heading: intended use, limits, training data, how it was measured."""
    decoder: Decoder | None = None
    """Of a detector, and of nothing else."""

    @property
    def crop(self) -> CropSpec:
        """The slot crops to cut: the model's input; or a detector's canvas, and crops for quality and people to look at."""
        if self.decoder is None:
            return CropSpec(self.input.size, self.input.margin)
        look = self.decoder.look
        canvas = CanvasSpec(
            self.input.size,
            look.tiles,
            look.overlap,
            look.fit == "letterbox",
            look.pad_at == "centre",
            look.pad,
            look.region == "slots",
            self.input.margin,
        )
        return CropSpec(DETECTOR_CROP.size, DETECTOR_CROP.margin, canvas)


def decode_manifest(raw: bytes) -> Manifest:
    """Bytes to a manifest. Raises Refused for anything that is not exactly an edge-bundle/1 manifest."""
    if len(raw) > MAX_MANIFEST_BYTES:
        raise Refused(
            f"the manifest has {len(raw)} bytes, at most {MAX_MANIFEST_BYTES} were expected",
            "Pack the bundle again",
        )
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as fault:
        raise Refused(
            f"the manifest is not an edge-bundle/1 manifest: {fault}",
            "Pack the bundle again with `edge-runtime build pack`",
        ) from None
    _check_labels(manifest)
    _check_task(manifest)
    return manifest


def encode_manifest(manifest: Manifest) -> bytes:
    """A manifest to bytes: sorted keys, so that the same manifest always gives the same bytes."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1) + b"\n"


def _check_labels(manifest: Manifest) -> None:
    labels = manifest.output.labels
    known = {"stocked", "low", "empty", "blocked"}
    if len(set(labels)) != len(labels) or not set(labels) <= known or not known - {"blocked"} <= set(labels):
        raise Refused(
            f"the labels are {labels}; stocked, low, empty and at most blocked were expected, each once",
            "Map the model's classes when packing",
        )
    if any(s <= 0 for s in manifest.input.std):
        raise Refused(
            f"input.std is {manifest.input.std}, numbers above zero were expected",
            "Give the deviation that the model was trained with",
        )
    if manifest.input.reference == manifest.input.current:
        raise Refused(
            f"the graph input {manifest.input.current!r} is named for both crops", "Name the input of each, or one only"
        )


def _check_task(manifest: Manifest) -> None:
    decoder = manifest.decoder
    if (manifest.task == "detect") != (decoder is not None):
        found = "without a decoder" if decoder is None else "with a decoder"
        raise Refused(
            f"the task is {manifest.task!r} {found}; a detector has one, a classifier of slots has none",
            "Pack it with `edge-runtime build pack --detector` (docs/detectors.md), or as a classifier without a decoder",
        )
    if decoder is not None:
        check_decoder(decoder, manifest.input.size)
        _check_detector(manifest, decoder)


def _check_detector(manifest: Manifest, decoder: Decoder) -> None:
    labels, kind = manifest.output.labels, manifest.output.kind
    wanted = ("stocked", "low", "empty", *(("blocked",) if decoder.blockers else ()))
    if labels != wanted or kind != "probabilities":
        raise Refused(
            f"a detector's output is {kind} over {labels}; probabilities over {wanted} were expected",
            "`blocked` stands last exactly if the decoder names blockers",
        )
    if manifest.input.reference is not None:
        raise Refused(
            f"a detector takes one picture, but input.reference names {manifest.input.reference!r}",
            "Leave input.reference out",
        )
    names = decoder.outputs(manifest.output.name)
    if len(set(names)) != len(names):
        raise Refused(f"the graph outputs {names} are named more than once", "Name each output of the graph once")
