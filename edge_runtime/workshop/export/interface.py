"""What an ONNX graph takes and gives, against what was declared: the input and output specification of a bundle."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import onnx
from onnx import helper

from edge_runtime.errors import Refused, Usage
from edge_runtime.manifest import InputSpec
from edge_runtime.workshop.export.receipt import Tensor
from edge_runtime.workshop.graph import CURRENT, REFERENCE

Axis = int | str
PREPROCESS: dict[str, tuple[str, tuple[float, ...], tuple[float, ...]]] = {
    "none": ("as declared", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "unit": ("pixel / 255", (0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
    "symmetric": ("(pixel - 127.5) / 127.5", (127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "lite": ("(pixel - 127) / 128, as EfficientNet-Lite", (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
    "imagenet": ("torchvision's, in 0..255", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}
"""Name -> what it is, mean and deviation in RGB order."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What the user said of the inputs and outputs; None: take it from the graph."""

    colour: Literal["BGR", "RGB"] | None = None
    preprocess: str | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    layout: Literal["NHWC", "NCHW"] | None = None
    size: tuple[int, int] | None = None
    margin: float = 0.2
    current: str | None = None
    reference: str | None = None
    output: str | None = None


def inputs_of(model: onnx.ModelProto) -> tuple[Tensor, ...]:
    """The graph's inputs without its weights (before IR version 4 those stand among the inputs)."""
    weights = {weight.name for weight in model.graph.initializer}
    return tuple(_tensor(entry) for entry in model.graph.input if entry.name not in weights)


def outputs_of(model: onnx.ModelProto) -> tuple[Tensor, ...]:
    """The graph's outputs; a sequence or map has the dtype `sequence` or `map`."""
    return tuple(_tensor(entry) for entry in model.graph.output)


def input_spec(inputs: tuple[Tensor, ...], declared: Declared) -> InputSpec:
    """The specification that the graph and the declaration give together. Raises Refused where they contradict, Usage
    where something was not declared that can not be seen in the graph."""
    current, reference = _roles(inputs, declared)
    tensors = [entry for entry in inputs if entry.name in (current, reference)]
    layouts = {_layout(entry, declared) for entry in tensors}
    kinds = {entry.dtype for entry in tensors}
    if len(layouts) != 1 or len(kinds) != 1:
        raise Refused(f"{current!r} and {reference!r} differ in type or layout", "Give both the same shape and type")
    (layout,), (kind,) = layouts, kinds
    size = _size(tensors, layout, declared)
    dtype = _dtype(kind, tensors[0].name)
    colour = _colour(declared)
    mean, std = _scaling(dtype, colour, declared)
    return InputSpec(layout, size, colour, dtype, mean, std, declared.margin, current, reference)


def pick_output(outputs: tuple[Tensor, ...], name: str | None) -> Tensor:
    """The output with the scores: (n, columns) float32. Raises Refused or Usage if it is not clear which, or none fits."""
    named = {entry.name: entry for entry in outputs}
    if name is not None and name not in named:
        raise Refused(f"the graph has no output {name!r}; it has {', '.join(named)}", "Mend --output")
    fitting = [entry for entry in outputs if entry.dtype == "float32" and len(entry.shape) == 2]
    chosen = named[name] if name else (fitting[0] if len(fitting) == 1 else None)
    if chosen is None:
        listed = ", ".join(f"{entry.name} {entry.dtype} {list(entry.shape)}" for entry in outputs)
        if fitting:
            raise Usage(f"the graph has several outputs of scores: {listed}", "Name one with --output")
        raise Refused(
            f"no output holds scores, float32 [slots, columns] was expected; there is {listed}",
            "Flatten it and cast it to float32 before exporting; for skl2onnx set zipmap to False",
        )
    if chosen not in fitting:
        raise Refused(
            f"output {chosen.name!r} is {chosen.dtype} {list(chosen.shape)}, float32 [slots, columns] was expected",
            "Flatten it and cast it to float32 before exporting",
        )
    return chosen


def _tensor(entry: onnx.ValueInfoProto) -> Tensor:
    kind = entry.type.WhichOneof("value") or "unknown"
    if kind != "tensor_type":
        return Tensor(entry.name, kind.removesuffix("_type"), ())
    tensor = entry.type.tensor_type
    known = tensor.elem_type in onnx.TensorProto.DataType.values() and tensor.elem_type
    dtype = str(helper.tensor_dtype_to_np_dtype(tensor.elem_type)) if known else "unknown"
    axes = [axis.dim_value if axis.HasField("dim_value") else axis.dim_param or "?" for axis in tensor.shape.dim]
    return Tensor(entry.name, dtype, tuple(axes))


def _roles(inputs: tuple[Tensor, ...], declared: Declared) -> tuple[str, str | None]:
    names = [entry.name for entry in inputs]
    for wanted in (declared.current, declared.reference):
        if wanted is not None and wanted not in names:
            raise Refused(
                f"the graph has no input {wanted!r}; it has {', '.join(names)}", "Mend --current or --reference"
            )
    current = declared.current or (CURRENT if CURRENT in names else names[0] if len(names) == 1 else None)
    reference = declared.reference or (REFERENCE if REFERENCE in names and current != REFERENCE else None)
    if current is None:
        raise Usage(
            f"the graph takes {', '.join(names)}",
            "Say which one takes the current crops: --current NAME [--reference NAME]",
        )
    others = sorted(set(names) - {current, reference})
    if others:
        raise Refused(
            f"the graph also takes {', '.join(others)}; only the current and the reference crops are fed",
            "Make it a constant before exporting, or name it with --reference",
        )
    return current, reference


def _layout(entry: Tensor, declared: Declared) -> Literal["NHWC", "NCHW"]:
    shape = entry.shape
    if len(shape) != 4:
        raise Refused(
            f"input {entry.name!r} has the shape {list(shape)}, four axes (crops, height, width, colours) were expected",
            "A model of feature vectors is exported from scikit-learn itself, with its features",
        )
    found: list[Literal["NHWC", "NCHW"]] = []
    if shape[1] == 3:
        found.append("NCHW")
    if shape[3] == 3:
        found.append("NHWC")
    if declared.layout:
        colours = shape[1] if declared.layout == "NCHW" else shape[3]
        if colours != 3 and isinstance(colours, int):
            raise Refused(
                f"input {entry.name!r} is {list(shape)}, which is not {declared.layout} with 3 colours", "Mend --layout"
            )
        return declared.layout
    if len(found) != 1:
        if not any(isinstance(axis, str) for axis in shape[1:]) and not found:
            raise Refused(
                f"input {entry.name!r} is {list(shape)}: no axis has 3 colours",
                "Export a model that takes colour pictures",
            )
        raise Usage(
            f"input {entry.name!r} is {list(shape)}: the colour axis is not clear", "Give --layout NCHW or NHWC"
        )
    return found[0]


def _size(tensors: list[Tensor], layout: str, declared: Declared) -> tuple[int, int]:
    sizes: set[tuple[Axis, Axis]] = set()
    for entry in tensors:
        height, width = entry.shape[2:4] if layout == "NCHW" else entry.shape[1:3]
        sizes.add((width, height))
    found = sizes.pop()
    if sizes:
        raise Refused(f"the two inputs have the sizes {found} and {sizes.pop()}", "Give both crops the same size")
    for got, want in zip(found, declared.size or found, strict=True):
        if isinstance(got, int) and got != want:
            raise Refused(
                f"the graph takes crops of {found[0]}x{found[1]}, --size says {want}", "Mend --size, or leave it out"
            )
    width, height = declared.size or found
    if isinstance(width, str) or isinstance(height, str):
        raise Usage(
            f"the graph leaves the crop's size free ({width}x{height})", "Give the size it was trained at: --size 80x80"
        )
    if not (8 <= width <= 1024 and 8 <= height <= 1024):
        raise Refused(
            f"the graph takes crops of {width}x{height}, 8 to 1024 pixels a side were expected", "Export another size"
        )
    return width, height


def _dtype(kind: str, name: str) -> Literal["uint8", "float32"]:
    if kind == "uint8":
        return "uint8"
    if kind == "float32":
        return "float32"
    raise Refused(
        f"input {name!r} is {kind}, uint8 or float32 was expected", "Export the model in float32 (model.float())"
    )


def _colour(declared: Declared) -> Literal["BGR", "RGB"]:
    if declared.colour is None:
        raise Usage(
            "the order of the colours can not be seen in a graph",
            "Give --colour RGB (PIL, torchvision, TensorFlow) or --colour BGR (OpenCV)",
        )
    return declared.colour


def _scaling(
    dtype: str, colour: str, declared: Declared
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    _require_one_scaling(declared)
    if declared.preprocess is None and declared.mean is None:
        if dtype == "uint8":
            return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        names = "; ".join(f"{name}: {what}" for name, (what, _, _) in PREPROCESS.items() if name != "none")
        raise Usage(
            "the graph takes float32: what was done to the pixels in training can not be seen",
            f"Give --preprocess ({names}), or --mean and --std in grey levels",
        )
    if declared.mean is not None and declared.std is not None:
        mean, std = declared.mean, declared.std
    else:
        _, first, second = PREPROCESS[declared.preprocess or "none"]
        turned = slice(None, None, -1) if colour == "BGR" else slice(None)
        (a, b, c), (d, e, f) = first[turned], second[turned]
        mean, std = (a, b, c), (d, e, f)
    if not all(map(math.isfinite, (*mean, *std))) or min(std) <= 0:
        raise Usage(
            f"--mean is {mean} and --std {std}; numbers were expected, those of --std above zero",
            "Mend --mean and --std",
        )
    if dtype == "uint8" and (set(mean), set(std)) != ({0.0}, {1.0}):
        raise Refused("the graph takes uint8, so it scales pixels itself", "Leave out --preprocess, --mean and --std")
    return mean, std


def _require_one_scaling(declared: Declared) -> None:
    if (declared.mean is None) != (declared.std is None):
        raise Usage("--mean and --std belong together", "Give both, in grey levels 0..255, in the order of --colour")
    if declared.preprocess is not None and declared.mean is not None:
        raise Usage(
            f"--preprocess {declared.preprocess} and --mean, --std both say what was done to the pixels",
            "Give one of the two",
        )
