from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_runtime.errors import Refused
from edge_runtime.manifest import (
    Confidence,
    InputSpec,
    Manifest,
    OutputSpec,
    Thresholds,
    decode_manifest,
)
from edge_runtime.workshop.labels import LABELS
from edge_runtime.workshop.pack import EPOCH, MEMBERS, npz, pack, write_bundle

FILES = {"LICENSE": b"Apache", "golden.npz": b"golden", "model.onnx": b"graph"}


@pytest.fixture
def manifest() -> Manifest:
    return Manifest(
        format="edge-bundle/1",
        name="tiny",
        version="1.2.3",
        task="classify-slots",
        created="2026-11-23",
        description="",
        licence="Apache-2.0",
        input=InputSpec("NHWC", (64, 64), "BGR", "uint8", (0.0,) * 3, (1.0,) * 3, 0.12, "current", "reference"),
        output=OutputSpec("logits", "logits", LABELS),
        confidence=Confidence(),
        thresholds=Thresholds(0.5, 0.5),
        runtime=("0.1.0", "1.0.0"),
        provenance={},
        receipt={},
        files={},
    )


def test_packing_twice_gives_the_same_bytes(manifest: Manifest) -> None:
    assert pack(manifest, FILES) == pack(manifest, dict(reversed(FILES.items())))


def test_the_manifest_lists_every_member_with_digest_and_size(manifest: Manifest) -> None:
    with zipfile.ZipFile(io.BytesIO(pack(manifest, FILES))) as bundle:
        read = decode_manifest(bundle.read("manifest.json"))
        members = {name: bundle.read(name) for name in bundle.namelist() if name != "manifest.json"}
        assert {entry.date_time for entry in bundle.infolist()} == {EPOCH}
        assert {entry.compress_type for entry in bundle.infolist()} == {zipfile.ZIP_STORED}
    assert set(read.files) == set(members) == set(FILES)
    for name, body in members.items():
        assert read.files[name].sha256 == hashlib.sha256(body).hexdigest()
        assert read.files[name].bytes == len(body)


def test_members_stand_in_the_fixed_order(manifest: Manifest) -> None:
    files = dict.fromkeys(reversed(MEMBERS[1:]), b"")
    with zipfile.ZipFile(io.BytesIO(pack(manifest, files))) as bundle:
        assert tuple(bundle.namelist()) == MEMBERS


@pytest.mark.parametrize("name", ["../model.onnx", "weights.bin", "manifest.json", "sub/model.onnx"])
def test_a_foreign_member_is_refused(manifest: Manifest, name: str) -> None:
    with pytest.raises(Refused, match="unknown"):
        pack(manifest, {**FILES, name: b""})


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_member_is_refused(manifest: Manifest, name: str) -> None:
    with pytest.raises(Refused, match=r"missing: \['" + name):
        pack(manifest, {key: body for key, body in FILES.items() if key != name})


def test_a_manifest_that_no_device_would_read_is_not_packed(manifest: Manifest) -> None:
    wrong = msgspec.structs.replace(manifest, version="one")
    with pytest.raises(Refused, match="version"):
        pack(wrong, FILES)


def test_a_bundle_is_named_by_its_manifest_and_leaves_nothing_else(manifest: Manifest, tmp_path: Path) -> None:
    write_bundle(tmp_path, manifest, FILES)
    path = write_bundle(tmp_path, manifest, FILES)
    assert [entry.name for entry in tmp_path.iterdir()] == ["tiny-1.2.3.zip"] == [path.name]


def test_arrays_read_back_and_their_bytes_repeat() -> None:
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.asarray(0.5, np.float32)}
    assert npz(arrays) == npz(arrays)
    with np.load(io.BytesIO(npz(arrays)), allow_pickle=False) as back:
        assert list(back) == ["a", "b"]
        assert all(
            np.array_equal(back[name], value) and back[name].shape == value.shape for name, value in arrays.items()
        )
