"""Rounding to each format: error bounds, bytes as ONNX reads them, the effect of clipping."""

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from dimrt.export.precision.feedback import enough, quantize_with_feedback
from dimrt.export.precision.formats import (
    IR_TYPES,
    LARGEST,
    LOWEST,
    Stored,
    best_scale,
    group_size,
    pack,
    quantize_rows,
    quantize_weight,
)


@st.composite
def weights(draw: st.DrawFn) -> torch.Tensor:
    """[in, out] of any scale, with columns of zeros and single large values among them; in is a multiple of 16."""
    rows, columns = 16 * draw(st.integers(1, 6)), draw(st.integers(1, 9))
    seed, scale = draw(st.integers(0, 2**31)), draw(st.sampled_from([1e-4, 0.02, 1.0, 300.0]))
    made = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * scale
    if draw(st.booleans()):
        made[:, 0] = 0
    if draw(st.booleans()):
        made[draw(st.integers(0, rows - 1)), -1] *= 50
    return made


@settings(max_examples=60, deadline=None)
@given(weights(), st.sampled_from([None, 16]), st.sampled_from([torch.float32, torch.float16]))
def test_int8_is_off_by_half_a_step_at_most(weight: torch.Tensor, group: int | None, dtype: torch.dtype) -> None:
    quantized = quantize_weight(weight, "int8", dtype, group)
    assert quantized.values.dtype == torch.int8 and quantized.scales.dtype == dtype
    assert quantized.values.abs().max() <= 127
    step = quantized.scales.float() if group is None else quantized.scales.float().repeat_interleave(group, 0)
    # The scale is rounded, too: a scale that came out smaller clips the largest weight by that much of its size.
    rounding = weight.abs() * 2**-10 if dtype == torch.float16 else 0
    assert ((quantized.dequantized() - weight).abs() <= step * 0.5001 + rounding + 64 * 2.0**-24).all()


@settings(max_examples=60, deadline=None)
@given(weights(), st.sampled_from([16, None]))
def test_int4_is_never_worse_than_without_clipping(weight: torch.Tensor, group: int | None) -> None:
    quantized = quantize_weight(weight, "int4", torch.float32, group)
    assert quantized.values.min() >= -8 and quantized.values.max() <= 7
    size = group or len(weight)
    blocks = weight.reshape(-1, size, weight.shape[1])
    scale = (blocks.abs().amax(1, keepdim=True) / 7).clamp_min(2.0**-24)
    plain = (blocks / scale).round().clamp(-8, 7) * scale
    got = quantized.dequantized().reshape(blocks.shape)
    assert ((got - blocks).square().sum(1) <= (plain - blocks).square().sum(1) * 1.0001 + 1e-20).all()


@settings(max_examples=40, deadline=None)
@given(weights())
def test_fp8_keeps_three_bits_of_every_weight(weight: torch.Tensor) -> None:
    quantized = quantize_weight(weight, "fp8", torch.float32)
    smallest = quantized.scales * 2.0**-10  # half a step below the smallest normal number
    assert ((quantized.dequantized() - weight).abs() <= weight.abs() * 2.0**-4 + smallest + 1e-12).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-8, 7), min_size=1, max_size=41))
def test_packing_is_what_onnx_unpacks(values: list[int]) -> None:
    packed = pack(torch.tensor(values, dtype=torch.int8))
    tensor = helper.make_tensor("q", TensorProto.INT4, [len(values)], packed.tobytes(), raw=True)
    assert numpy_helper.to_array(tensor).astype(np.int8).tolist() == values


@pytest.mark.parametrize("stored", ["int8", "int4", "fp8"])
@pytest.mark.parametrize("group", [None, 32])
def test_onnx_dequantizes_the_bytes_to_the_same_values(stored: Stored, group: int | None) -> None:
    """ONNX's own reference reads values and scales as they are written."""
    if stored == "fp8" and group is not None:
        pytest.skip("fp8 has one scale an output channel")
    weight = torch.randn(96, 6, generator=torch.Generator().manual_seed(3))
    quantized = quantize_weight(weight, stored, torch.float32, group)
    values, scales = quantized.arrays()
    tensor = helper.make_tensor("q", int(IR_TYPES[stored]), [96, 6], values.tobytes(), raw=True)
    attributes = {"axis": 1} if group is None else {"axis": 0, "block_size": group}
    graph = helper.make_graph(
        [helper.make_node("DequantizeLinear", ["q", "s"], ["w"], **attributes)],
        "dequantize",
        [],
        [helper.make_tensor_value_info("w", TensorProto.FLOAT, [96, 6])],
        [tensor, numpy_helper.from_array(scales, "s")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)])
    onnx.checker.check_model(model)
    np.testing.assert_array_equal(ReferenceEvaluator(model).run(None, {})[0], quantized.dequantized().numpy())


@pytest.mark.parametrize(("group", "count"), [(16, 400), (64, 128), (32, 70)])
def test_feedback_lessens_the_error_on_rows_it_has_not_seen(group: int, count: int) -> None:
    """Channels that go together, as activations' do: errors of one are made up for by the others."""
    random = torch.Generator().manual_seed(7)
    mixing = torch.randn(12, 128, generator=random)
    rows = torch.randn(2000, 12, generator=random) @ mixing + 0.3 * torch.randn(2000, 128, generator=random)
    weight = torch.randn(128, 40, generator=random)
    assert enough(rows[:count], group)
    plain = quantize_weight(weight, "int4", torch.float32, group)
    better = quantize_with_feedback(weight, rows[:count], torch.float32, group)
    assert better.values.min() >= -8 and better.values.max() <= 7 and better.scales.shape == plain.scales.shape
    unseen = rows[count:]
    errors = [(unseen @ (made.dequantized() - weight)).norm() for made in (plain, better)]
    assert errors[1] < 0.8 * errors[0]


def test_feedback_leaves_the_weight_and_needs_rows() -> None:
    weight = torch.randn(32, 4, generator=torch.Generator().manual_seed(1))
    before = weight.clone()
    rows = torch.zeros(64, 32)
    rows[:, 3:9] = 1  # six channels that always agree, the others silent
    quantized = quantize_with_feedback(weight, rows, torch.float16, 16)
    assert torch.equal(weight, before) and torch.isfinite(quantized.dequantized()).all()
    off = (quantized.dequantized() - weight)[3:9]
    assert (off.sum(0).abs() < off.abs().amax(0)).all()
    assert not enough(rows[:31], 16)


def test_rows_that_matter_more_are_rounded_better() -> None:
    weight = torch.randn(64, 32, generator=torch.Generator().manual_seed(5))
    weight[7] *= 4
    matters = torch.ones(64, 1)
    matters[7] = 1e4
    errors = []
    for importance in (None, matters):
        scale = best_scale(weight, torch.float32, importance)
        off = (weight / scale).round().clamp(-8, 7) * scale - weight
        errors.append(float(off[7].square().sum()))
    assert errors[1] < errors[0]


def test_scales_stay_storable_in_half_precision() -> None:
    """Tiny weights and none at all: no scale is zero or infinite, nothing is divided by zero."""
    weight = torch.tensor([[0.0, 1e-9, 1e-5, 6e4]]).repeat(16, 1)
    for stored in ("int8", "int4", "fp8"):
        quantized = quantize_weight(weight, stored, torch.float16)
        assert (quantized.scales > 0).all() and torch.isfinite(quantized.scales).all()
        assert torch.isfinite(quantized.dequantized()).all()
        torch.testing.assert_close(quantized.dequantized()[:, 3], weight[:, 3], rtol=1e-3, atol=0)


@pytest.mark.parametrize("stored", ["int8", "fp8"])
def test_activations_saturate_at_the_range(stored: Stored) -> None:
    rows = torch.tensor([-1e9, -1.0, 0.0, 1.0, 1e9])
    scale = 4.0 / LARGEST[stored]
    got = quantize_rows(rows, scale, stored)
    assert got[-1] == pytest.approx(4.0) and got[0] == pytest.approx(min(LOWEST[stored], -128) * scale, rel=0.01)
    assert got[3] == pytest.approx(1.0, rel=0.07)


@pytest.mark.parametrize(
    ("rows", "wanted", "group"),
    [(2048, None, 128), (192, None, 64), (576, 32, 32), (3420, None, None), (48, 128, 16), (24, None, None)],
)
def test_groups_divide_the_rows(rows: int, wanted: int | None, group: int | None) -> None:
    assert group_size(rows, wanted) == group
