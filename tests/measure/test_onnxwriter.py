"""Models written by hand: valid to ONNX' own checker, and right in ONNX Runtime."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from dimrt.engines import process
from dimrt.engines.job import Job
from dimrt.manifest import TensorSpec
from dimrt.measure.ceilings import operands
from dimrt.measure.onnxwriter import SCALE, copy_model, product_model

SIZE = 40
FORMS = [("float32", "float32"), ("float16", "float16"), ("int8", "float32"), ("int8", "float16"), ("fp8", "float16")]


@pytest.mark.parametrize(("kind", "ports"), FORMS)
def test_products_are_valid(kind: str, ports: str) -> None:
    weights = operands(kind, SIZE)[1]
    model = onnx.load_model_from_string(product_model(kind, SIZE, weights, ports))
    onnx.checker.check_model(model, full_check=True)
    (held,) = [constant for constant in model.graph.initializer if constant.name == "w"]
    assert held.raw_data == weights.tobytes()


@pytest.mark.parametrize(("kind", "ports", "tolerance"), [(*FORMS[0], 1e-5), (*FORMS[1], 1e-2), (*FORMS[2], 0.05)])
def test_products_are_right(kind: str, ports: str, tolerance: float) -> None:
    """int8: the input is rounded to 1/127, which 40 products add up to well under 0.05."""
    values, weights = operands(kind, SIZE)
    (found,) = ort.InferenceSession(product_model(kind, SIZE, weights, ports)).run(None, {"x": values})
    scale = SCALE.get(kind, 1.0)
    expected = values.astype(np.float64) @ (weights.astype(np.float64) * scale)
    np.testing.assert_allclose(found, expected, atol=tolerance)


def test_fp8_weights_are_numbers() -> None:
    """0x7f and 0xff are NaN in float8e4m3fn."""
    weights = operands("fp8", SIZE)[1].view(np.uint8)
    assert not np.isin(weights, [0x7F, 0xFF]).any()


def test_a_copy_is_valid_and_moves_every_value() -> None:
    model = copy_model(1000)
    onnx.checker.check_model(onnx.load_model_from_string(model), full_check=True)
    values = np.arange(1000, dtype=np.float32)
    (found,) = ort.InferenceSession(model).run(None, {"x": values})
    np.testing.assert_array_equal(found, -values)


def test_tensorrt_builds_an_int8_product(tmp_path: Path) -> None:
    """The builder of TensorRT for RTX needs no card; a GPU would run what it builds."""
    pytest.importorskip("tensorrt_rtx")
    (tmp_path / "int8.onnx").write_bytes(product_model("int8", 64, operands("int8", 64)[1], "float16"))
    job = Job(
        flavour="tensorrt-rtx",
        onnx=str(tmp_path / "int8.onnx"),
        plan=str(tmp_path / "plan"),
        inputs=(TensorSpec("x", "float16", (64, 64)),),
        outputs=(TensorSpec("y", "float16", (64, 64)),),
        pinned={},
        profiles=({},),
        capabilities=("8.6",),
        workspace_bytes=1 << 30,
        timing=None,
    )
    assert process.run(job, "int8 64", lambda _: None).plan_bytes > 0
