"""The benchmark of kernels: what it reads from a profile, and what it compares."""

import argparse
from pathlib import Path
from typing import Any

from kernels import ceiling, kinds, nodes_of


def event(name: str, kind: str, microseconds: int, enters: list[list[int]], leaves: list[int]) -> dict[str, Any]:
    """As ONNX Runtime writes it."""
    shapes = {"input_type_shape": [{"float": shape} for shape in enters], "output_type_shape": [{"float": leaves}]}
    return {"cat": "Node", "name": f"{name}_kernel_time", "dur": microseconds, "args": {"op_name": kind, **shapes}}


FLOAT = [
    event("node_matmul_1", "MatMul", 400, [[1, 8, 100]], [1, 8, 50]),
    event("node_matmul_2", "MatMul", 70, [[2, 8, 8], [2, 8, 8]], [2, 8, 8]),
    {"cat": "Session", "name": "model_run", "dur": 900},
]
INTEGER = [
    event("node_matmul_1", "MatMulNBits", 120, [[1, 8, 100], [200]], [1, 8, 50]),
    event("node_matmul_1", "MatMulNBits", 100, [[1, 8, 100], [200]], [1, 8, 50]),
    event("node_matmul_2/MatmulTransposeFusion/", "FusedMatMul", 60, [[2, 8, 8], [2, 8, 8]], [2, 8, 8]),
    event("node_add", "Add", 40, [[1, 8, 50]], [1, 8, 50]),
]


def test_the_least_of_the_runs_counts_and_products_by_weights_have_operations() -> None:
    nodes = {node.kind: node for node in nodes_of(INTEGER)}
    assert nodes["MatMulNBits"].microseconds == 100
    assert nodes["MatMulNBits"].operations == 2 * 8 * 50 * 100
    assert nodes["FusedMatMul"].name == "node_matmul_2"
    assert nodes["FusedMatMul"].operations == nodes["Add"].operations == 0


def test_a_product_is_compared_with_the_same_one_in_float32() -> None:
    table = kinds(nodes_of(INTEGER), nodes_of(FLOAT))
    assert list(table) == ["MatMulNBits by weights", "FusedMatMul", "Add"]
    assert table["MatMulNBits by weights"] == {
        "nodes": 1,
        "us": 100,
        "share": 0.5,
        "gop_per_s": 0.8,
        "times_fp32": 4.0,
    }
    assert "times_fp32" not in table["FusedMatMul"]


def test_a_real_profile_is_read(tmp_path: Path) -> None:
    assert ceiling(argparse.Namespace(threads=1, runs=1), tmp_path) > 0
