"""Reading and pinning ONNX without an ONNX package, compared with the ONNX package."""

from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimrt.bundle import Bundle
from dimrt.engines.onnxfile import pin_dimensions, read_ports
from dimrt.errors import BundleError
from dimrt.manifest import GRAPHS


@pytest.mark.parametrize("graph", GRAPHS)
def test_ports_are_what_the_onnx_package_reads(nano: Bundle, graph: str) -> None:
    path = nano.graph_path(graph)
    model = onnx.load(path, load_external_data=False)
    ports = read_ports(path)
    for mine, theirs in ((ports.inputs, model.graph.input), (ports.outputs, model.graph.output)):
        assert [port.name for port in mine] == [value.name for value in theirs]
        for port, value in zip(mine, theirs, strict=True):
            tensor = value.type.tensor_type
            assert port.dtype == onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
            assert port.shape == tuple(
                dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in tensor.shape.dim
            )
    assert ports.producer == model.producer_name
    assert ports.foreign == frozenset()


@pytest.mark.parametrize("graph", GRAPHS)
def test_nothing_pinned_changes_nothing(nano: Bundle, graph: str) -> None:
    content = nano.graph_path(graph).read_bytes()
    assert pin_dimensions(content, {}) == content
    assert pin_dimensions(content, {"nobody": 5}) == content


def test_a_pinned_dimension_is_a_number_wherever_it_was_named(nano: Bundle) -> None:
    content = nano.graph_path("language").read_bytes()
    before, after = onnx.load_from_string(content), onnx.load_from_string(pin_dimensions(content, {"length": 4096}))
    pinned = 0
    for kind in ("input", "output", "value_info"):
        for old, new in zip(getattr(before.graph, kind), getattr(after.graph, kind), strict=True):
            for was, now in zip(old.type.tensor_type.shape.dim, new.type.tensor_type.shape.dim, strict=True):
                if was.dim_param == "length":
                    assert now.dim_value == 4096
                    pinned += 1
                else:
                    assert was == now
    assert pinned > 20
    for kind in ("input", "output", "value_info"):
        after.graph.ClearField(kind)
        before.graph.ClearField(kind)
    assert before == after


def test_a_file_that_is_not_onnx_says_so(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    for content in (b"", b"PK\x03\x04 a zip archive", b"\x0a\xff\xff\xff\xff\x7f", bytes(range(256))):
        path.write_bytes(content)
        with pytest.raises(BundleError, match="isn't an ONNX file"):
            read_ports(path)


@given(cut=st.integers(0, 2000), junk=st.binary(max_size=40))
def test_no_damage_does_more_than_raise(
    nano: Bundle, tmp_path_factory: pytest.TempPathFactory, cut: int, junk: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    content = nano.graph_path("connector").read_bytes()
    path.write_bytes(content[:cut] + junk + content[cut + len(junk) :])
    try:
        read_ports(path)
    except BundleError as error:
        assert str(path) in str(error)
