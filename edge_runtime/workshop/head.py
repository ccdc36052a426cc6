"""The last layer: a scikit-learn classifier on the embedding, and its place in the graph.

A store can refit this layer in a minute from its own crops, without a deep-learning framework.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import compose
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.linear_model import LogisticRegression

from edge_runtime.errors import Refused
from edge_runtime.workshop.graph import EMBEDDING, IR_VERSION, OPSET, finished, only_scores
from edge_runtime.workshop.labels import LABELS

LOGITS = "logits"


def fit_head(
    embeddings: NDArray[np.float32],
    labels: NDArray[np.integer],
    inverse_penalty: float = 1.0,
    weights: NDArray[np.floating] | None = None,
) -> LogisticRegression:
    """Multinomial logistic regression over LABELS on embeddings (n, width); classes weigh alike.

    Raises Refused if a class has no example: its column would be missing from the graph.
    """
    missing = sorted(set(range(len(LABELS))) - set(np.unique(labels).tolist()))
    if missing:
        raise Refused(
            f"no example of {', '.join(LABELS[k] for k in missing)} among {len(labels)} crops",
            "Add pictures of it to the training set",
        )
    head = LogisticRegression(C=inverse_penalty, class_weight="balanced", max_iter=400)
    head.fit(embeddings, labels, sample_weight=weights)
    return head


def head_graph(head: LogisticRegression) -> onnx.ModelProto:
    """skl2onnx's graph of the head with one output: `logits` (n, 4), the raw decision function."""
    width = head.coef_.shape[1]
    model = to_onnx(
        head,
        initial_types=[(EMBEDDING, FloatTensorType([None, width]))],
        options={id(head): {"raw_scores": True, "zipmap": False}},
        target_opset={"": OPSET, "ai.onnx.ml": 3},
    )
    return only_scores(model, "head", LOGITS, len(LABELS))


def merge(backbone: onnx.ModelProto, head: onnx.ModelProto) -> onnx.ModelProto:
    """Backbone and head in one graph: uint8 crops in, `logits` out."""
    for model in (backbone, head):
        model.ir_version = IR_VERSION
    body = compose.add_prefix(head, "head_", rename_inputs=True, rename_outputs=False)
    merged = compose.merge_models(
        backbone, body, io_map=[(EMBEDDING, f"head_{EMBEDDING}")], outputs=[LOGITS], producer_name="edge-runtime"
    )
    merged.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "n"
    return finished(merged)
