"""OpenVINO runs one of dimrt's graphs: the same ONNX file, read as it is."""

from importlib.metadata import version
from pathlib import Path

import numpy as np
import openvino
from peers.protocol import Json, clocked, serve


class OpenvinoGraph:
    """One compiled model and its inputs."""

    def __init__(self, task: Json) -> None:
        core = openvino.Core()
        model = core.read_model(str(Path(task["bundle"]) / "onnx" / f"{task['graph']}.onnx"))
        names = [port.any_name for port in model.inputs]
        with np.load(task["inputs"]) as arrays:
            self._feeds = {name: arrays[name] for name in names}
        # Shapes are fixed as they are in this run: what OpenVINO does best.
        model.reshape({name: list(value.shape) for name, value in self._feeds.items()})
        properties = {"INFERENCE_NUM_THREADS": task["threads"], "INFERENCE_PRECISION_HINT": "f32"}
        self._request = core.compile_model(model, "CPU", properties).create_infer_request()
        self._result = np.empty(0, np.float32)
        self.facts = {
            "versions": {"openvino": version("openvino")},
            "properties": {name: str(value) for name, value in properties.items()},
            "differs": "the same ONNX file, its shapes fixed before it is compiled",
        }

    def run(self) -> Json:
        """Once."""
        seconds: dict[str, float] = {}
        with clocked(seconds, "run"):
            outputs = self._request.infer(self._feeds, share_inputs=True)
        self._result = np.array(outputs[0])
        return {"seconds": seconds, "shape": list(self._result.shape), "sum": float(self._result.sum())}

    def keep(self, path: Path) -> None:
        """The model's first output."""
        np.save(path, self._result)


if __name__ == "__main__":
    serve(OpenvinoGraph)
