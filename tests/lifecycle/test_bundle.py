"""A bundle is read whole or refused with the member at fault: never half, never with a traceback."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import Refused, Unavailable
from edge_runtime.lifecycle.arrays import MAX_ARRAY_BYTES, read_arrays
from edge_runtime.lifecycle.bundle import LIMITS, Bundle, read_bundle, read_manifest, sha256_of_file, verify_bundle
from edge_runtime.lifecycle.strict_zip import list_members, read_member

from .bundles import golden, make_bundle, manifest_of, model_bytes, zip_bytes


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("good") / "shelf-test-1.0.0.zip", members={"golden.npz": small_golden()})


@pytest.fixture(scope="module")
def good_content(good: Path) -> object:
    return content(read_bundle(good))


def small_golden() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, tolerance=np.array(0.1, np.float32), logits=np.eye(4, dtype=np.float32))
    return buffer.getvalue()


def parts_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def content(bundle: Bundle) -> tuple[object, ...]:
    return (bundle.manifest, bundle.model, bundle.fp32, bundle.golden, bundle.reference, bundle.licence)


def refused(path: Path, raw: bytes) -> Refused:
    path.write_bytes(raw)
    with pytest.raises(Refused) as fault:
        read_bundle(path)
    assert fault.value.found.startswith(str(path)) and fault.value.mend
    return fault.value


def test_a_bundle_is_read_with_all_its_members(tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "b.zip", "2.3.4", members={"model.fp32.onnx": b"fp32"})
    bundle = read_bundle(path)
    assert bundle.id.version == "2.3.4" and bundle.sha256 == sha256_of_file(path)
    assert bundle.model == model_bytes() and bundle.fp32 == b"fp32" and bundle.licence == b"Apache-2.0\n"
    assert np.array_equal(bundle.golden_arrays()["logits"], golden()["logits"])
    assert bundle.reference_arrays()["embedding_mean"].shape == (8,)
    report = verify_bundle(path)
    assert report.id == bundle.id and report.members["model.onnx"] == len(bundle.model)
    assert read_manifest(path) == bundle.manifest


def test_a_deflated_or_dated_zip_of_the_same_members_is_refused_because_bytes_could_hide_in_it(
    tmp_path: Path, good: Path
) -> None:
    for method, date, mode in (
        (zipfile.ZIP_DEFLATED, (1980, 1, 1, 0, 0, 0), 0o100644),
        (zipfile.ZIP_STORED, (2026, 1, 1, 0, 0, 0), 0o100644),
        (zipfile.ZIP_STORED, (1980, 1, 1, 0, 0, 0), 0o100755),
    ):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive:
            for name, raw in parts_of(good).items():
                info = zipfile.ZipInfo(name, date)
                info.external_attr = mode << 16
                archive.writestr(info, raw, method)
        assert "manifest.json" in refused(tmp_path / "b.zip", buffer.getvalue()).found


def test_what_is_not_a_bundle_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="can not be read"):
        read_bundle(tmp_path / "absent.zip")
    with pytest.raises(Refused, match="not a file"):
        read_bundle(tmp_path)
    os.mkfifo(tmp_path / "pipe.zip")
    with pytest.raises(Refused, match="not a file"):
        read_bundle(tmp_path / "pipe.zip")
    for raw in (b"", b"PK", b"not a zip, only text that goes on for a while", bytes(4096)):
        refused(tmp_path / "x.zip", raw)


@pytest.mark.parametrize("member", ["model.onnx", "golden.npz", "reference.npz", "LICENSE"])
def test_changed_bytes_are_refused_by_the_name_of_the_member(tmp_path: Path, good: Path, member: str) -> None:
    parts = parts_of(good)
    changed = bytearray(parts[member])
    changed[len(changed) // 2] ^= 1
    fault = refused(tmp_path / "b.zip", zip_bytes({**parts, member: bytes(changed)}))
    assert f"{member} is not what the manifest vouches for" in fault.found


def test_every_member_must_be_there_and_no_other(tmp_path: Path, good: Path) -> None:
    parts = parts_of(good)
    for member in parts:
        assert member in refused(tmp_path / "b.zip", zip_bytes({n: r for n, r in parts.items() if n != member})).found
    for extra in (
        "notes.txt",
        "../model.onnx",
        "/etc/passwd",
        "a/../../x",
        "MODEL.ONNX",
        "model.onnx\\x",
        "sub/",
        "m\0",
    ):
        assert "only" in refused(tmp_path / "b.zip", zip_bytes({**parts, extra: b"x"})).found
    assert "vouches" in refused(tmp_path / "b.zip", zip_bytes({**parts, "model.fp32.onnx": b"x"})).found


def test_bytes_before_after_and_between_are_refused(tmp_path: Path, good: Path) -> None:
    raw = good.read_bytes()
    for changed in (b"\0" + raw, raw + b"\0", b"#!/bin/sh\n" + raw, raw + raw):
        refused(tmp_path / "b.zip", changed)
    with zipfile.ZipFile(good) as archive:
        second = archive.infolist()[1].header_offset
    refused(tmp_path / "b.zip", raw[:second] + b"\0" * 16 + raw[second:])


def test_every_truncation_is_refused(tmp_path: Path, good: Path) -> None:
    raw = good.read_bytes()
    for length in range(0, len(raw), 11):
        refused(tmp_path / "b.zip", raw[:length])


def rewritten(good: Path, edit: Callable[[zipfile.ZipInfo], None]) -> bytes:
    """The good bundle, with one edit to the header of model.onnx before it is written."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, raw in parts_of(good).items():
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o100644 << 16
            if name == "model.onnx":
                edit(info)
            archive.writestr(info, raw)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", [0o120777, 0o040755, 0o020666, 0o060666, 0o010666, 0o140777])
def test_links_folders_and_devices_are_refused(tmp_path: Path, good: Path, mode: int) -> None:
    def edit(info: zipfile.ZipInfo) -> None:
        info.external_attr = mode << 16

    assert "model.onnx is a link, a folder or a device" in refused(tmp_path / "b.zip", rewritten(good, edit)).found


def test_comments_extra_fields_and_other_methods_are_refused(tmp_path: Path, good: Path) -> None:
    def comment(info: zipfile.ZipInfo) -> None:
        info.comment = b"hello"

    def extra(info: zipfile.ZipInfo) -> None:
        info.extra = b"\x75\x70\x04\x00abcd"

    def method(info: zipfile.ZipInfo) -> None:
        info.compress_type = zipfile.ZIP_BZIP2

    for edit in (comment, extra, method):
        assert "model.onnx" in refused(tmp_path / "b.zip", rewritten(good, edit)).found


def test_two_members_of_one_name_are_refused(tmp_path: Path, good: Path) -> None:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as archive:
        warnings.simplefilter("ignore")
        for name, raw in [*parts_of(good).items(), ("model.onnx", b"another")]:
            if name != "LICENSE":
                info = zipfile.ZipInfo(name)
                info.external_attr = 0o100644 << 16
                archive.writestr(info, raw)
    assert "twice" in refused(tmp_path / "b.zip", buffer.getvalue()).found


def poked(raw: bytes, name: str, local: int, central: int, form: str, value: int) -> bytes:
    """Set one field of a member in its local header, its directory entry, or both (offset 0: leave)."""
    changed = bytearray(raw)
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        start = archive.getinfo(name).header_offset
    entry = raw.index(name.encode(), raw.index(b"PK\x01\x02")) - 46
    if local:
        struct.pack_into(form, changed, start + local, value)
    if central:
        struct.pack_into(form, changed, entry + central, value)
    return bytes(changed)


def test_encryption_and_lying_sizes_are_refused(tmp_path: Path, good: Path) -> None:
    raw = good.read_bytes()
    size = len(parts_of(good)["model.onnx"])
    path = tmp_path / "b.zip"
    assert "encrypted" in refused(path, poked(raw, "model.onnx", 6, 8, "<H", 1)).found
    assert "two different things" in refused(path, poked(raw, "model.onnx", 22, 0, "<I", size + 1)).found
    assert "model.onnx" in refused(path, poked(raw, "model.onnx", 22, 24, "<I", size - 1)).found
    assert "at most" in refused(path, poked(raw, "model.onnx", 22, 24, "<I", 0xFFFFFFFF)).found
    assert "model.onnx" in refused(path, poked(raw, "model.onnx", 14, 16, "<I", 12345)).found


def test_a_bomb_is_refused_before_a_byte_of_it_is_read(tmp_path: Path, good: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, raw in ({**parts_of(good), "model.onnx": bytes(LIMITS["model.onnx"] - 1)}).items():
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o100644 << 16
            archive.writestr(info, raw, zipfile.ZIP_DEFLATED if name == "model.onnx" else zipfile.ZIP_STORED)
    path = tmp_path / "b.zip"
    path.write_bytes(buffer.getvalue())
    del buffer
    fault, peak = refused_within(path)
    assert "model.onnx is packed with method 8" in fault.found and peak < 1_000_000


def test_a_directory_of_many_megabytes_is_not_read(tmp_path: Path) -> None:
    size = 64_000_000
    path = tmp_path / "b.zip"
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(size)
        file.write(struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 5, 5, size, 0, 0))
    fault, peak = refused_within(path)
    assert "directory" in fault.found and peak < 1_000_000


def refused_within(path: Path) -> tuple[Refused, int]:
    """The refusal of a bundle, and the most memory that it took."""
    tracemalloc.start()
    try:
        with pytest.raises(Refused) as fault:
            read_bundle(path)
        return fault.value, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_key_of_the_manifest_that_stands_twice_is_refused(tmp_path: Path, good: Path) -> None:
    manifest = parts_of(good)["manifest.json"].rstrip().rstrip(b"}") + b',"version":"9.9.9"}'
    fault = refused(tmp_path / "b.zip", zip_bytes({**parts_of(good), "manifest.json": manifest}))
    assert "'version' twice" in fault.found


@pytest.mark.parametrize(
    "raw",
    [b"[" * 200_000, b"{", b"", b"\xff\xfe", b'{"a":' * 40_000, b'{"receipt":{"x":NaN}}', b'{"receipt":{"x":1e999}}'],
)
def test_a_manifest_that_is_nonsense_is_refused(tmp_path: Path, good: Path, raw: bytes) -> None:
    assert "manifest" in refused(tmp_path / "b.zip", zip_bytes({**parts_of(good), "manifest.json": raw})).found


def test_the_runtime_range_is_kept(tmp_path: Path) -> None:
    def beyond(manifest: object) -> object:
        return msgspec.structs.replace(manifest, runtime=("99.0.0", "100.0.0"))

    with pytest.raises(Refused, match="needs runtime 99"):
        read_bundle(make_bundle(tmp_path / "b.zip", change=beyond))


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_mutated_bundles_are_refused(good: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    whole = good.read_bytes()
    raw = bytearray(whole)
    kind = data.draw(st.sampled_from(["flip", "flip", "flip", "cut", "insert", "swap", "zero"]))
    at = data.draw(st.integers(0, len(raw) - 1))
    length = data.draw(st.integers(1, 40))
    if kind == "flip":
        for place in [at, *data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=3))]:
            raw[place] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        del raw[at : at + length]
    elif kind == "insert":
        raw[at:at] = data.draw(st.binary(min_size=1, max_size=40))
    elif kind == "swap":
        other = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + length], raw[other : other + length] = raw[other : other + length], raw[at : at + length]
    else:
        raw[at : at + length] = bytes(len(raw[at : at + length]))
    path = tmp_path_factory.getbasetemp() / "mutant.zip"
    if raw != whole:
        assert refused(path, bytes(raw)).mend


def test_every_byte_of_a_bundle_when_changed_is_named(good: Path, tmp_path: Path) -> None:
    """Headers, directory, end record and all members: by the member's name, or as the zip's own."""
    raw = good.read_bytes()
    with good.open("rb") as file:
        members = list_members(file, len(raw), LIMITS)
    owner = {place: m.name for m in members.values() for place in range(m.at, m.at + m.size)}
    path = tmp_path / "mutant.zip"
    structure = set(range(len(raw))) - set(owner)
    for place in sorted(structure | set(range(0, len(raw), 5))):  # all of them: benchmarks/faults/bundle_mutations.py
        fault = refused(path, raw[:place] + bytes([raw[place] ^ (1 << place % 8)]) + raw[place + 1 :])
        said = fault.found.removeprefix(f"{path}: ")
        assert owner[place] in said if place in owner else "zip" in said or any(name in said for name in members)


names = st.lists(st.sampled_from(sorted(LIMITS)), unique=True, max_size=6)


@given(names, st.data())
def test_what_is_packed_is_listed_and_read_back(chosen: list[str], data: st.DataObject) -> None:
    parts = {name: data.draw(st.binary(max_size=200)) for name in chosen}
    raw = zip_bytes(parts)
    file = io.BytesIO(raw)
    members = list_members(file, len(raw), LIMITS)
    assert {name: read_member(file, member) for name, member in members.items()} == parts
    assert list(members) == chosen
    for cut in range(1, min(len(raw), 40)):
        with pytest.raises(Refused):
            list_members(io.BytesIO(raw[:-cut]), len(raw) - cut, LIMITS)


@pytest.mark.parametrize(
    "array",
    [np.arange(6, dtype=np.int16).reshape(2, 3), np.asfortranarray(np.eye(3)), np.array(True), np.array(["a", "bc"])],
)
def test_arrays_come_back_as_they_were_saved(array: np.ndarray) -> None:
    for save in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        save(buffer, value=array)
        back = read_arrays(buffer.getvalue(), "x.npz")["value"]
        assert np.array_equal(back, array) and back.dtype == array.dtype


def npz(**entries: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in entries.items():
            archive.writestr(f"{name}.npy", raw)
    return buffer.getvalue()


def test_arrays_that_are_pickles_bombs_or_nonsense_are_refused() -> None:
    pickled = io.BytesIO()
    np.save(pickled, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (4000000000, 4000000000), }\n"
    vast = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    none = vast.replace(b"(4000000000, 40", b"(0000000000, 40").replace(b"4000000000)", b"9" * 10 + b")")
    for raw in (
        npz(a=pickled.getvalue()),
        npz(a=vast),
        npz(a=none),
        npz(a=vast.replace(b"f4", b"f3")),
        npz(a=b"text"),
        npz(a=b""),
        b"",
        b"PK\x05\x06",
        bytes(100),
    ):
        with pytest.raises(Refused):
            read_arrays(raw, "x.npz")
    with pytest.raises(Refused, match="at most"):
        read_arrays(npz(a=bytes(MAX_ARRAY_BYTES + 1)), "x.npz")


def test_arrays_that_want_much_memory_are_refused_with_little(tmp_path: Path) -> None:
    """A directory of very many entries, and zeros that inflate to the most that is allowed."""
    crowd = io.BytesIO()
    with zipfile.ZipFile(crowd, "w") as archive:
        for number in range(20_000):
            archive.writestr(f"{number}.npy", b"")
    zeros = npz(a=bytes(MAX_ARRAY_BYTES - 1))
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (5,), }\n"
    lying = npz(a=b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(MAX_ARRAY_BYTES - 200))
    for raw in (crowd.getvalue(), zeros, lying):
        tracemalloc.start()
        try:
            with pytest.raises(Refused):
                read_arrays(raw, "x.npz")
            assert tracemalloc.get_traced_memory()[1] < 2_000_000
        finally:
            tracemalloc.stop()


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_mutated_arrays_are_refused_or_read(data: st.DataObject) -> None:
    raw = bytearray(small_golden())
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=4)):
        raw[place] ^= data.draw(st.integers(1, 255))
    try:
        read_arrays(bytes(raw), "x.npz")
    except Refused as fault:
        assert fault.found.startswith("x.npz")


def test_what_the_packer_writes_is_what_the_device_reads(tmp_path: Path) -> None:
    from edge_runtime.workshop.pack import npz as packed_arrays
    from edge_runtime.workshop.pack import write_bundle

    parts = {
        "model.onnx": model_bytes(),
        "LICENSE": b"Apache-2.0\n",
        "reference.npz": packed_arrays({"lab": np.eye(2)}),
    }
    parts |= {"golden.npz": packed_arrays(golden()), "model.fp32.onnx": model_bytes()}
    path = write_bundle(tmp_path, manifest_of(version="4.5.6"), parts)
    bundle = read_bundle(path)
    assert bundle.id.version == "4.5.6" and bundle.model == parts["model.onnx"]
    assert all(np.array_equal(bundle.golden_arrays()[name], array) for name, array in golden().items())
    assert verify_bundle(path).members.keys() == parts.keys()
