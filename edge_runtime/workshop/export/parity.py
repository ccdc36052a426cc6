"""Does the exported file say what its source says?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import Refused
from edge_runtime.workshop.export.receipt import Parity

TOLERANCE = 1e-3
"""Of the largest magnitude of the source's answers, at least of 1: float32 against float64 stays far below."""
MIN_AGREEMENT = 0.99
Scores = NDArray[np.floating]


def compare(source: Scores, output: Scores, samples: str, tolerance: float = TOLERANCE) -> Parity:
    """Largest error and agreement of two (n, ...) answers over the same rows; the tolerance grows with the source."""
    require_finite(source)
    allowed = tolerance * max(1.0, float(np.abs(source).max()))
    error = float(np.abs(source.astype(np.float64) - output).max())
    flat = source.reshape(len(source), -1), output.reshape(len(output), -1)
    agreement = float(np.mean(flat[0].argmax(1) == flat[1].argmax(1)))
    return Parity(samples, len(source), float(f"{error:.3g}"), agreement, float(f"{allowed:.3g}"))


def require_finite(source: Scores) -> None:
    """Raise Refused if the source answers with anything but numbers."""
    wrong = ~np.isfinite(source.reshape(len(source), -1)).all(1)
    if wrong.any():
        raise Refused(
            f"the source itself answers NaN or infinity for {int(wrong.sum())} of {len(source)} crops",
            "Mend the model first",
        )


def passed(parity: Parity) -> bool:
    """Whether an export may be used."""
    return parity.max_error <= parity.tolerance and parity.agreement >= MIN_AGREEMENT


def require_parity(parity: Parity) -> None:
    """Raise Refused if the export says something else than its source."""
    if not passed(parity):
        raise Refused(
            f"the exported file differs from its source by {parity.max_error:g} on {parity.rows} crops "
            f"(agreement {parity.agreement:.1%}); at most {parity.tolerance:g} and {MIN_AGREEMENT:.0%} were expected",
            "Fit on float32 features; if the difference is known and harmless, raise --tolerance",
        )
