"""A file with any bytes changed is read, or refused with a sentence: nothing else comes out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_runtime.errors import EdgeError
from edge_runtime.workshop.export.batch import freed
from edge_runtime.workshop.export.graph_file import read_graph
from edge_runtime.workshop.export.interface import Declared, input_spec, inputs_of, outputs_of, pick_output

from .graphs import classifier

BODY = classifier(rows=1).SerializeToString(deterministic=True)
DECLARED = Declared(colour="RGB", preprocess="unit")


def mutated(rng: np.random.Generator) -> bytes:
    """One to eight changes: a byte, a cut, a piece twice. Weights are spared, the structure is not."""
    body = bytearray(BODY)
    for _ in range(rng.integers(1, 9)):
        at = int(rng.integers(len(body)))
        match rng.integers(4):
            case 0:
                body = body[:at] + body[at + int(rng.integers(1, 9)) :]
            case 1:
                body = body[:at] + body[at : at + 16] + body[at:]
            case _:
                body[at] = int(rng.integers(256))
        body = body or bytearray(b"\0")
    return bytes(body)


@pytest.mark.parametrize("seed", range(6))
def test_mutated_files_are_read_or_refused(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    path, refused = tmp_path / "x.onnx", 0
    for _ in range(250):
        path.write_bytes(mutated(rng))
        try:
            model = read_graph(path).model
            spec = input_spec(inputs_of(model), DECLARED)
            pick_output(outputs_of(model), None)
            freed(model)
        except EdgeError as fault:
            refused += 1
            assert fault.found
            assert "\n" not in str(fault) or len(str(fault)) < 2000
        else:
            assert spec.dtype == "float32"
    assert refused > 20
