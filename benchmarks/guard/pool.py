"""Real models of known quality: the shipped one, the one before it, and damaged copies of the shipped one.

A damage has a strength, and is made as strong as takes a given number of points of accuracy on the validation crops. The
damages are those that happen: weights that went wrong, a head that leans to one class, colours in the wrong order, a
reference picture that never arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edge_runtime.inference.session import Session, open_session
from edge_runtime.lifecycle.bundle import Bundle, read_bundle
from edge_runtime.manifest import Manifest
from edge_runtime.workshop.crops import load_crops

SHIPPED, BEFORE = Path("models/bundles/shelf-occupancy-1.1.0.zip"), Path("models/bundles/shelf-occupancy-0.9.0.zip")
CROPS = Path("var/crops/validation-2974457c3479-80-0.2")
Damage = Callable[[onnx.ModelProto, float], None]
Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Pupil:
    """One model of the pool."""

    name: str
    manifest: Manifest
    session: Session
    swap_colours: bool = False
    blind: bool = False
    """Its reference crops are grey."""


@dataclass(frozen=True, slots=True)
class Exam:
    """Crops with known states, a few of each condition."""

    current: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    label: NDArray[np.int8]

    def points(self, session: Session) -> float:
        """Accuracy in points."""
        answers = session.run(self.current, self.reference)[:, :3].argmax(1)
        return float(100.0 * (answers == self.label).mean())


def open_exam(count: int = 900, seed: int = 1) -> Exam:
    parts = []
    for path in sorted(CROPS.glob("*.npz")):
        crops = load_crops(path)
        rows = np.flatnonzero(crops.usable & (crops.label < 3) & (crops.severity <= 3) & (crops.inside > 0.7))
        parts.append((crops.current[rows], crops.reference_of(rows), crops.label[rows]))
    current, reference, label = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    chosen = np.random.default_rng(seed).choice(len(label), count, replace=False)
    return Exam(current[chosen], reference[chosen], label[chosen])


def pool() -> Iterator[Pupil]:
    """The shipped model first."""
    shipped, before = read_bundle(SHIPPED), read_bundle(BEFORE)
    exam = open_exam()
    assert shipped.fp32 is not None
    yield Pupil("shipped", shipped.manifest, _open(shipped, shipped.model))
    yield Pupil("float", shipped.manifest, _open(shipped, shipped.fp32))
    yield Pupil("before", before.manifest, _open(before, before.model))
    for name, damage, loss in (
        ("noise-3", noisy(1), 3.0),
        ("noise-5", noisy(2), 5.0),
        ("noise-10", noisy(3), 10.0),
        ("noise-20", noisy(4), 20.0),
        ("other-20", noisy(5), 20.0),
        ("low-20", leaning(1), 20.0),
        ("empty-20", leaning(2), 20.0),
        ("empty-10", leaning(2), 10.0),
    ):
        yield Pupil(name, shipped.manifest, _open(shipped, damaged(shipped, damage, loss, exam)))
    yield Pupil("colours", shipped.manifest, _open(shipped, shipped.model), swap_colours=True)
    yield Pupil("blind", shipped.manifest, _open(shipped, shipped.model), blind=True)


def _open(bundle: Bundle, model: bytes) -> Session:
    return open_session(model, bundle.manifest)


def noisy(seed: int) -> Damage:
    """Noise on every weight, in shares of its layer's deviation."""

    def apply(model: onnx.ModelProto, strength: float) -> None:
        random = np.random.default_rng(seed)
        for tensor in model.graph.initializer:
            values = numpy_helper.to_array(tensor)
            noise = random.standard_normal(values.shape)
            if tensor.name.endswith("_w"):
                changed = (values + strength * values.std() * noise).astype(np.float32)
                tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))

    return apply


def leaning(label: int) -> Damage:
    """The head prefers one class."""

    def apply(model: onnx.ModelProto, strength: float) -> None:
        (head,) = (node for node in model.graph.node if node.op_type == "LinearClassifier")
        (intercepts,) = (one for one in head.attribute if one.name == "intercepts")
        intercepts.floats[label] += 20.0 * strength

    return apply


def damaged(bundle: Bundle, damage: Damage, loss: float, exam: Exam) -> bytes:
    """The float model with so many points less on the exam, as near as twelve halvings come."""
    assert bundle.fp32 is not None
    wanted = exam.points(_open(bundle, bundle.fp32)) - loss
    low, high = 0.0, 1.0
    for _ in range(12):
        middle = 0.5 * (low + high)
        better = exam.points(_open(bundle, _with(bundle.fp32, damage, middle))) > wanted
        low, high = (middle, high) if better else (low, middle)
    return _with(bundle.fp32, damage, high)


def _with(raw: bytes, damage: Damage, strength: float) -> bytes:
    model = onnx.load_from_string(raw)
    damage(model, strength)
    return bytes(model.SerializeToString())
