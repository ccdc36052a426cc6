"""One zip, one model version: flat, fixed members, the same bytes for the same content."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import Refused
from edge_runtime.manifest import FileDigest, Manifest, decode_manifest, encode_manifest

REQUIRED = ("model.onnx", "golden.npz", "LICENSE")
MEMBERS = ("manifest.json", "model.onnx", "model.fp32.onnx", "golden.npz", "reference.npz", "LICENSE")
"""All that a bundle may hold, in the order in which it stands in the zip."""
EPOCH = (1980, 1, 1, 0, 0, 0)
MODE = 0o100644 << 16


def pack(manifest: Manifest, files: Mapping[str, bytes]) -> bytes:
    """The bundle's bytes. `manifest.files` is filled in here; every other field is taken as it is.

    Members are stored, not deflated: zlib differs between systems, and weights hardly shrink.
    Raises Refused for a member that is missing or unknown, or a manifest that does not read back.
    """
    missing = [name for name in REQUIRED if name not in files]
    foreign = sorted(set(files) - set(MEMBERS[1:]))
    if missing or foreign:
        raise Refused(
            f"a bundle needs {', '.join(REQUIRED)}; missing: {missing}, unknown: {foreign}",
            f"Give members out of {', '.join(MEMBERS[1:])}",
        )
    digests = {name: FileDigest(hashlib.sha256(body).hexdigest(), len(body)) for name, body in files.items()}
    head = encode_manifest(msgspec.structs.replace(manifest, files=dict(sorted(digests.items()))))
    decode_manifest(head)
    bodies = {"manifest.json": head, **files}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as bundle:
        for name in MEMBERS:
            if name in bodies:
                entry = zipfile.ZipInfo(name, EPOCH)
                entry.external_attr, entry.create_system = MODE, 3
                bundle.writestr(entry, bodies[name])
    return out.getvalue()


def write_bundle(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Path:
    """Pack into `<folder>/<name>-<version>.zip`, replacing it in one step."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{manifest.name}-{manifest.version}.zip"
    fresh = path.with_name(path.name + ".part")
    fresh.write_bytes(pack(manifest, files))
    fresh.replace(path)
    return path


def npz(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """Arrays as npz bytes: stored, fixed times, in the order given; numpy's own writer keeps neither for sure."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as bundle:
        for name, array in arrays.items():
            body = io.BytesIO()
            np.lib.format.write_array(body, np.asarray(array, order="C"), allow_pickle=False)
            bundle.writestr(zipfile.ZipInfo(f"{name}.npy", EPOCH), body.getvalue())
    return out.getvalue()
