"""manifest.json of a bundle: exact, bounded, and the same bytes for the same manifest."""

from __future__ import annotations

import json
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

from edge_runtime.errors import Refused
from edge_runtime.manifest import MAX_MANIFEST_BYTES, decode_manifest, encode_manifest
from edge_runtime.records import CanvasSpec, CropSpec
from tests.inference.detect import graphs
from tests.lifecycle.bundles import manifest_of

GOOD: dict[str, Any] = json.loads(encode_manifest(manifest_of()))


def changed(path: str, value: object, good: dict[str, Any] = GOOD) -> bytes:
    """The good manifest with the value at `a.b.c` replaced; DELETE takes it out."""
    record = json.loads(json.dumps(good))
    *parents, last = path.split(".")
    place = record
    for name in parents:
        place = place[name]
    if value is DELETE:
        del place[last]
    else:
        place[last] = value
    return json.dumps(record).encode()


DELETE = object()


def test_what_is_encoded_is_decoded_and_always_the_same_bytes() -> None:
    manifest = manifest_of()
    raw = encode_manifest(manifest)
    assert decode_manifest(raw) == manifest
    assert encode_manifest(decode_manifest(raw)) == raw
    assert manifest.crop == CropSpec((64, 64), 0.1)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("format", "edge-bundle/2"),
        ("name", "Shelf"),
        ("name", "../up"),
        ("name", "a" * 64),
        ("version", "1.0"),
        ("version", "1.0.0\n"),
        ("version", "1.0.0-rc1"),
        ("task", "chat"),
        ("licence", DELETE),
        ("surprise", 1),
        ("input.size", [4, 64]),
        ("input.size", [64, 4096]),
        ("input.size", [64]),
        ("input.colour", "HSV"),
        ("input.dtype", "int8"),
        ("input.margin", 1.5),
        ("input.std", [1.0, 0.0, 1.0]),
        ("input.std", [1.0, -1.0, 1.0]),
        ("input.current", ""),
        ("input.reference", "current"),
        ("output.kind", "scores"),
        ("output.labels", ["stocked", "low"]),
        ("output.labels", ["stocked", "low", "empty", "empty"]),
        ("output.labels", ["stocked", "low", "empty", "unknown"]),
        ("thresholds.answer", 1.01),
        ("thresholds.blocked", -0.1),
        ("thresholds.density", -1.0),
        ("runtime", ["1.0.0"]),
        ("files", {"model.onnx": {"sha256": "x" * 64, "bytes": 1}}),
        ("files", {"model.onnx": {"sha256": "A" * 64, "bytes": 1}}),
        ("files", {"model.onnx": {"sha256": "a" * 64 + "\n", "bytes": 1}}),
        ("files", {"model.onnx": {"sha256": "a" * 64, "bytes": -1}}),
    ],
)
def test_what_is_not_exactly_a_manifest_is_refused(path: str, value: object) -> None:
    with pytest.raises(Refused):
        decode_manifest(changed(path, value))


@pytest.mark.parametrize("name", ["mean", "std"])
@pytest.mark.parametrize("number", ["1e999", "NaN", "-1e999", "Infinity"])
def test_numbers_are_finite(name: str, number: str) -> None:
    raw = changed(f"input.{name}", ["@", 1.0, 1.0]).replace(b'"@"', number.encode())
    with pytest.raises(Refused):
        decode_manifest(raw)


def test_a_model_without_the_blocked_label_or_the_reference_is_a_model() -> None:
    assert decode_manifest(changed("output.labels", ["empty", "stocked", "low"])).output.labels[0] == "empty"
    assert decode_manifest(changed("input.reference", None)).input.reference is None


def test_a_manifest_that_is_too_large_or_too_deep_is_refused() -> None:
    for raw in (b" " * (MAX_MANIFEST_BYTES + 1), b"[" * 200_000, b'{"provenance":' + b"[" * 200_000):
        with pytest.raises(Refused):
            decode_manifest(raw)


@settings(max_examples=300)
@given(st.binary(max_size=300) | st.tuples(st.integers(0, 3000), st.binary(max_size=3)).map(lambda cut: _spliced(*cut)))
@example(b"")
@example(b"\xff")
def test_any_bytes_give_a_manifest_or_refused(raw: bytes) -> None:
    try:
        manifest = decode_manifest(raw)
    except Refused as fault:
        assert fault.mend
    else:
        assert decode_manifest(encode_manifest(manifest)) == manifest


def _spliced(place: int, piece: bytes) -> bytes:
    raw = encode_manifest(manifest_of())
    return raw[:place] + piece + raw[place + len(piece) :]


@pytest.mark.parametrize("family", graphs.FAMILIES)
def test_a_detectors_manifest_is_decoded_as_it_was_encoded(family: str) -> None:
    manifest = graphs.manifest_of(family)
    raw = encode_manifest(manifest)
    assert decode_manifest(raw) == manifest and encode_manifest(decode_manifest(raw)) == raw


def test_a_detector_wants_a_canvas_and_small_crops() -> None:
    crop = graphs.manifest_of().crop
    assert crop.canvas == CanvasSpec((64, 64), overlap=0.1, centred=True) and crop.size == (64, 64)
    assert manifest_of().crop.canvas is None


def test_a_classifiers_manifest_does_not_speak_of_decoders() -> None:
    assert b"decoder" not in encode_manifest(manifest_of())


@pytest.mark.parametrize(
    ("family", "path", "value", "told"),
    [
        ("yolox", "decoder", DELETE, "without a decoder"),
        ("yolox", "task", "classify-slots", "with a decoder"),
        ("yolox", "decoder.surprise", 1, "surprise"),
        ("yolox", "decoder.family", "yolo3", "yolo3"),
        ("yolox", "decoder.classes", 0, "classes"),
        ("yolox", "decoder.classes", 1025, "classes"),
        ("yolox", "decoder.products", [2], "has 2"),
        ("yolox", "decoder.products", [-1], "products"),
        ("yolox", "decoder.products", [0], "twice"),
        ("yolox", "decoder.products", [1] * 1025, "products"),
        ("yolox", "decoder.blockers", [1], "twice"),
        ("yolox", "decoder.score", 0.0, "score"),
        ("yolox", "decoder.nms", 1.5, "nms"),
        ("yolox", "decoder.max_boxes", 100_000, "max_boxes"),
        ("yolox", "decoder.max_candidates", 100_000, "max_candidates"),
        ("yolox", "decoder.cover.stocked", 0.0, "stocked"),
        ("yolox", "decoder.cover.low", 0.5, "less than cover.stocked"),
        ("yolox", "decoder.look.fit", "crop", "fit"),
        ("yolox", "decoder.look.pad", [0, 0, 256], "pad"),
        ("yolox", "decoder.look.tiles", [5, 1], "tiles"),
        ("yolox", "decoder.look.tiles", [3, 3], "at most 8 tiles"),
        ("yolox", "decoder.look.overlap", 0.9, "overlap"),
        ("fastestdet", "input.size", [1025, 64], "size"),
        ("yolox", "decoder.strides", [], "needs the strides"),
        ("yolox", "decoder.strides", [0], "strides"),
        ("yolox", "decoder.strides", [24], "no multiple"),
        ("yolox", "decoder.strides", [8] * 9, "strides"),
        ("yolox", "decoder.activation", "softmax", "softmax"),
        ("yolox", "decoder.background", "first", "belong to ssd"),
        ("yolox", "decoder.scores_output", "scores", "belong to ssd"),
        ("yolov8", "decoder.scored_by", "object", "no object score"),
        ("end2end", "decoder.activation", "softmax", "softmax"),
        ("ssd", "decoder.scores_output", None, "scores_output"),
        ("ssd", "decoder.scores_output", "boxes", "more than once"),
        ("ssd-labels", "decoder.labels_output", "scores", "more than once"),
        ("ssd-labels", "decoder.background", "last", "background"),
        ("ssd-labels", "decoder.first_label", 2, "first_label"),
        ("yolox", "input.reference", "second", "takes one picture"),
        ("yolox", "output.kind", "logits", "probabilities over"),
        ("yolox", "output.labels", ["low", "stocked", "empty"], "were expected"),
        ("yolox", "output.labels", ["stocked", "low", "empty", "blocked"], "were expected"),
    ],
)
def test_a_decoder_that_contradicts_itself_is_refused(family: str, path: str, value: object, told: str) -> None:
    good = json.loads(encode_manifest(graphs.manifest_of(family)))
    with pytest.raises(Refused) as fault:
        decode_manifest(changed(path, value, good))
    assert told in fault.value.found and fault.value.mend


def test_a_canvas_is_bounded_as_a_whole() -> None:
    good = json.loads(encode_manifest(graphs.manifest_of("yolov8")))
    good["decoder"]["look"]["tiles"] = [2, 2]
    assert decode_manifest(changed("input.size", [640, 640], good)).crop.canvas is not None
    with pytest.raises(Refused, match="at most 2000000 pixels"):
        decode_manifest(changed("input.size", [1024, 1024], good))


def test_a_decoder_without_products_or_voids_is_refused() -> None:
    good = json.loads(encode_manifest(graphs.manifest_of()))
    good["decoder"]["voids"] = []
    with pytest.raises(Refused, match="no class as product or as void"):
        decode_manifest(changed("decoder.products", [], good))


@settings(max_examples=300)
@given(st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=3)))
def test_any_change_of_a_detectors_manifest_gives_a_manifest_or_refused(cut: tuple[int, bytes]) -> None:
    good = encode_manifest(graphs.manifest_of("ssd"))
    place, piece = cut
    try:
        manifest = decode_manifest(good[:place] + piece + good[place + len(piece) :])
    except Refused as fault:
        assert fault.mend
    else:
        assert decode_manifest(encode_manifest(manifest)) == manifest
