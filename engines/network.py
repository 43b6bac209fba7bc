"""A graph's ONNX file as a TensorRT network: contract checked, dimensions pinned, attention made buildable."""

from pathlib import Path
from typing import Any

from dimrt.engines.flavour import Flavour
from dimrt.engines.onnxfile import Port, pin_dimensions, read_ports
from dimrt.errors import BundleError, InputError
from dimrt.manifest import TensorSpec

DTYPES = {"float32": "FLOAT", "float16": "HALF", "int64": "INT64"}
"""TensorRT's names of the contract's element types."""

TensorRt = Any
"""An object of TensorRT's Python API, which has no types."""


def check_contract(path: Path, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> None:
    """The file's inputs and outputs are the manifest's: names, element types and shapes, and all its operators are
    ONNX's. Nothing is built for this.

    Raises:
        BundleError: it is another graph, or of another exporter; the message names the first difference.
        InputError: it was exported for ONNX Runtime alone.
    """
    ports = read_ports(path)
    for kind, found, wanted in (("input", ports.inputs, inputs), ("output", ports.outputs, outputs)):
        difference = _difference(kind, found, wanted)
        if difference:
            writer = f", written by {ports.producer!r}," if ports.producer else ""
            raise BundleError(
                f"{path}{writer} isn't the graph that the manifest describes: {difference}; "
                "export the bundle with `dimrt export`"
            )
    if ports.foreign:
        raise InputError(
            f"{path} was exported for ONNX Runtime alone: TensorRT has no {', '.join(sorted(ports.foreign))}; "
            "export the checkpoint in a recipe without `-cpu`, such as --fp16 or --int8"
        )


def parse(flavour: Flavour, builder: TensorRt, logger: TensorRt, path: Path, pinned: dict[str, int]) -> TensorRt:
    """Parse an ONNX file, its weights beside it, into a strongly typed network of `builder`.

    Args:
        pinned: named dimensions that become numbers first.

    Returns:
        The network, and the parser, which must live as long (it holds the weights).

    Raises:
        BundleError: the flavour can't parse the file.
    """
    trt = flavour.module
    flags = 0
    if hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(pin_dimensions(path.read_bytes(), pinned), str(path)):
        reasons = "; ".join(str(parser.get_error(i)).splitlines()[0] for i in range(parser.num_errors))
        raise BundleError(f"{flavour.name} {flavour.version} can't parse {path}: {reasons}")
    return network, parser


def check_network(network: TensorRt, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> None:
    """The parsed network has the contract's tensors; what the parser left open may be narrower in the contract.

    Raises:
        BundleError: a tensor is missing, or of another type or shape.
    """
    for kind, specs, count, get in (
        ("input", inputs, network.num_inputs, network.get_input),
        ("output", outputs, network.num_outputs, network.get_output),
    ):
        tensors = {tensor.name: tensor for tensor in (get(i) for i in range(count))}
        if tensors.keys() != {spec.name for spec in specs}:
            raise BundleError(f"the network's {kind}s are {', '.join(tensors)}, not {_names(specs)}")
        for spec in specs:
            tensor = tensors[spec.name]
            shape = tuple(tensor.shape)
            same = len(shape) == len(spec.shape) and all(
                size in (-1, wanted) or isinstance(wanted, str) for size, wanted in zip(shape, spec.shape, strict=True)
            )
            if tensor.dtype.name != DTYPES[spec.dtype] or not same:
                raise BundleError(
                    f"{kind} `{spec.name}` of the network is {tensor.dtype.name} {list(shape)}, "
                    f"not {spec.dtype} {list(spec.shape)}"
                )


def decompose_attention(trt: TensorRt, network: TensorRt) -> int:
    """Let every attention be built from plain layers, for sizes that have no kernel of their own; returns how many."""
    count = 0
    for i in range(network.num_layers):
        layer = network.get_layer(i)
        if layer.type.name == "ATTENTION_OUTPUT":
            # The bindings give the base class; the attribute is on the derived one.
            layer.__class__ = trt.IAttentionOutputLayer
            layer.attention.decomposable = True
            count += 1
    return count


def pinned_specs(specs: tuple[TensorSpec, ...], pinned: dict[str, int]) -> tuple[TensorSpec, ...]:
    """The contract with pinned dimensions as numbers."""
    return tuple(
        TensorSpec(
            spec.name,
            spec.dtype,
            tuple(pinned.get(size, size) if isinstance(size, str) else size for size in spec.shape),
        )
        for spec in specs
    )


def _difference(kind: str, found: tuple[Port, ...], wanted: tuple[TensorSpec, ...]) -> str | None:
    """The first difference between a file's ports and the contract, in words."""
    if [port.name for port in found] != [spec.name for spec in wanted]:
        return f"its {kind}s are {_names(found)}, not {_names(wanted)}"
    for port, spec in zip(found, wanted, strict=True):
        if port.dtype != spec.dtype:
            return f"{kind} `{spec.name}` is {port.dtype}, not {spec.dtype}"
        if port.shape != spec.shape:
            return f"{kind} `{spec.name}` has shape {list(port.shape)}, not {list(spec.shape)}"
    return None


def _names(tensors: tuple[Port, ...] | tuple[TensorSpec, ...]) -> str:
    names = [tensor.name for tensor in tensors]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
