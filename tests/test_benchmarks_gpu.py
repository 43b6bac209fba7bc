"""The GPU benchmark's own arithmetic, and all of its code on nano and the CPU."""

import json
import subprocess
import sys
from pathlib import Path

import gpu

ROOT = Path(__file__).parent.parent


def test_shares_are_of_what_the_device_was_measured_to_do() -> None:
    reference = {"copy_bytes_per_s": 1000.0, "product_bfloat16_flops": 4000.0, "product_float16_flops": 5000.0}
    row = gpu.row([0.5, 0.25, 4.0], flops=500, read=100, reference=reference)
    assert row["median_s"] == 0.5
    assert row["rounds_s"] == [0.5, 0.25, 4.0]
    assert row["share_of_copy_bandwidth"] == 0.2
    assert row["share_of_product_rate"] == 0.2
    assert "share_of_product_rate" not in gpu.row([1.0], None, 100, reference)


def test_every_part_runs_without_a_gpu(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--dry-run", "--no-compile", "--out", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=500)
    measured = json.loads(out.read_text())["measured"]
    assert measured["provider"] == "onnxruntime CPUExecutionProvider"
    assert measured["graphs"]["failed"] == {}
    names = {"vision", "prefill", "decode_token", "connector", "context", "step", "encode", "decode"}
    assert measured["graphs"]["rows"].keys() == names
    assert all("torch eager" in row for name, row in measured["graphs"]["rows"].items() if name != "context")
    assert len(measured["edit"]["dimrt"]) == len(measured["edit"]["torch eager"]) == 1
    assert measured["edit"]["dimrt"][0]["plan_tokens"] == measured["edit"]["torch eager"][0]["plan_tokens"]
    assert set(measured["onnxruntime_placement_of_nano"]["step"]) == {"CPUExecutionProvider"}
    assert measured["tests"]["exit_code"] in (0, 5)
