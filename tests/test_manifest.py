"""manifest.json of a bundle: exact, bounded, and the same bytes for the same manifest."""

from __future__ import annotations

import json
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

from edge_runtime.errors import Refused
from edge_runtime.manifest import MAX_MANIFEST_BYTES, decode_manifest, encode_manifest
from edge_runtime.records import CropSpec
from tests.lifecycle.bundles import manifest_of

GOOD: dict[str, Any] = json.loads(encode_manifest(manifest_of()))


def changed(path: str, value: object) -> bytes:
    """The good manifest with the value at `a.b.c` replaced; DELETE takes it out."""
    record = json.loads(json.dumps(GOOD))
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
