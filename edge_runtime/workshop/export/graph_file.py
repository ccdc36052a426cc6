"""Reading an ONNX file that someone else made, and refusing what no device could run, each with the mend."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from edge_runtime.errors import ModelFault, Refused, Unavailable
from edge_runtime.inference.graph import require_standalone

OPSETS = {"ai.onnx": (7, 21), "ai.onnx.ml": (1, 5)}
"""Domain -> lowest and highest version that every onnxruntime of the runtime's range (1.20 and newer) has whole."""
IR_VERSIONS = (3, 10)
OWN_DOMAINS = ("com.microsoft",)
"""Operators that only onnxruntime has, but has in its plain wheel."""
_AGAIN = "Export it again, for example with torch.onnx.export(..., opset_version=17)"


@dataclass(frozen=True, slots=True, eq=False)
class GraphFile:
    """A whole, self-contained ONNX file."""

    model: onnx.ModelProto
    raw: bytes
    opsets: dict[str, int]
    warnings: tuple[str, ...]


def read_graph(path: Path) -> GraphFile:
    """Read and check an ONNX file; all that is wrong with its versions and operators is told at once.

    Raises Unavailable if it can not be read, Refused if it is no ONNX file, is cut off, keeps weights beside it, or needs
    what devices lack.
    """
    try:
        raw = path.read_bytes()
    except OSError as fault:
        raise Unavailable(f"{path} can not be read: {fault.strerror}", "Name an ONNX file") from None
    model = _decoded(path, raw)
    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    faults = [*_version_faults(model, opsets), *_operator_faults(model)]
    if faults:
        raise Refused(f"{path} can not run on devices: {'; '.join(faults)}", _AGAIN)
    return GraphFile(model, raw, opsets, tuple(_notes(model)))


def nodes_of(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes, those of subgraphs (If, Loop, Scan) too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from nodes_of(inner)


def _decoded(path: Path, raw: bytes) -> onnx.ModelProto:
    if not raw:
        raise Refused(f"{path} is empty (0 bytes), an ONNX file was expected", _AGAIN)
    _require_single(path, raw)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(raw)
    except DecodeError:
        raise Refused(f"{path} is not an ONNX file, or is cut off", _AGAIN) from None
    if not model.graph.node or not model.opset_import:
        raise Refused(f"{path} is not an ONNX file: it holds no graph", _AGAIN)
    return model


def _require_single(path: Path, raw: bytes) -> None:
    try:
        require_standalone(raw)
    except ModelFault as fault:
        if "beside it" not in fault.found:
            found = fault.found.replace("the model", str(path), 1)
            raise Refused(found, _AGAIN) from None
        code = f"import onnx; onnx.save(onnx.load('{path.name}'), 'single.onnx')"
        raise Refused(
            f"{path} keeps weights in a file beside it; one file was expected",
            f'Join them in the folder of both, then export single.onnx: python -c "{code}"',
        ) from None


def _version_faults(model: onnx.ModelProto, opsets: dict[str, int]) -> Iterator[str]:
    for domain, (lowest, highest) in OPSETS.items():
        if domain in opsets and not lowest <= opsets[domain] <= highest:
            yield f"opset {opsets[domain]} of {domain} (expected {lowest} to {highest})"
    versions = {(entry.domain or "ai.onnx", entry.version) for entry in model.opset_import}
    for domain in sorted(opsets):
        named = sorted(version for other, version in versions if other == domain)
        if len(named) > 1:
            yield f"{domain} is named in the opsets {', '.join(map(str, named))}, one was expected"
    if model.ir_version < IR_VERSIONS[0]:
        yield f"IR version {model.ir_version} (expected {IR_VERSIONS[0]} or newer)"
    if opsets.get("ai.onnx", 0) <= 0:
        yield "it names no version of the standard operators"


def _operator_faults(model: onnx.ModelProto) -> Iterator[str]:
    own = {function.domain for function in model.functions}
    foreign: dict[str, list[str]] = {}
    for node in nodes_of(model.graph):
        if node.domain not in ("", *OPSETS, *OWN_DOMAINS, *own):
            foreign.setdefault(f"{node.domain}.{node.op_type}", []).append(node.name or node.output[0])
    for kind, names in sorted(foreign.items()):
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield f"{kind} is no operator of onnxruntime (nodes {', '.join(names[:3])}{more})"


def _notes(model: onnx.ModelProto) -> Iterator[str]:
    kinds = sorted({node.op_type for node in nodes_of(model.graph) if node.domain in OWN_DOMAINS})
    if kinds:
        yield (
            f"{', '.join(kinds)}: operators of onnxruntime alone, often written for one kind of processor by its optimizer; "
            "export without optimizing if another runtime or processor must run this"
        )
