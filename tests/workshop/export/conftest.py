"""What the tests of export share: crops that ship with the runtime, and classifiers fitted on their features."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from edge_runtime.workshop.export.samples import Samples, read_samples
from edge_runtime.workshop.features import features
from edge_runtime.workshop.labels import LABELS


@pytest.fixture(scope="session")
def samples() -> Samples:
    return read_samples(None)


@pytest.fixture(scope="session")
def vectors(samples: Samples) -> NDArray[np.float32]:
    return features(samples.current, samples.reference)


@pytest.fixture(scope="session")
def states(samples: Samples) -> NDArray[np.str_]:
    """The calibration pairs come in the order of the labels, in turn."""
    return np.array(LABELS)[np.arange(len(samples)) % len(LABELS)]


@pytest.fixture(scope="session")
def pipeline(vectors: NDArray[np.float32], states: NDArray[np.str_]) -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=60)).fit(vectors, states)
