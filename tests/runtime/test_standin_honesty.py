"""The stand-ins offer nothing that the real libraries don't: names, numbers of arguments, values."""

import inspect
from enum import Enum
from typing import Any

import pytest
import standin_cuda
import standin_tensorrt
from standin_cuda import StandinCuda

FUNCTIONS = sorted(name for name in vars(StandinCuda) if name.startswith("cu") and name[2].isupper())
ENUMS = sorted(name for name, kind in vars(StandinCuda).items() if isinstance(kind, type) and issubclass(kind, Enum))
CLASSES = {
    "ICudaEngine": standin_tensorrt.StandinEngine,
    "IExecutionContext": standin_tensorrt.StandinContext,
    "IRuntimeConfig": standin_tensorrt.RuntimeConfig,
    "IRuntimeCache": standin_tensorrt.RuntimeCache,
}
OWN = {"library", "logger", "facts", "inputs", "outputs", "engine", "content", "cache", "strategy"}
"""What the stand-ins keep for themselves."""


@pytest.fixture(scope="module")
def driver() -> Any:
    return pytest.importorskip("cuda.bindings.driver")


@pytest.fixture(scope="module")
def library() -> Any:
    return pytest.importorskip("tensorrt_rtx")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_driver_functions(driver: Any, name: str) -> None:
    signature = getattr(driver, name).__doc__.splitlines()[0]
    arguments = signature.partition("(")[2].rpartition(")")[0]
    count = len([argument for argument in arguments.split(",") if argument.strip()])
    assert count == len(inspect.signature(getattr(StandinCuda, name)).parameters) - 1, signature


@pytest.mark.parametrize("name", ENUMS)
def test_driver_values(driver: Any, name: str) -> None:
    real = getattr(driver, name)
    for member in getattr(standin_cuda, name):
        assert int(getattr(real, member.name)) == int(member), member


@pytest.mark.parametrize("name", CLASSES)
def test_library_classes(library: Any, name: str) -> None:
    mine = {method for method in vars(CLASSES[name]) if not method.startswith("_")} - OWN
    assert mine <= set(dir(getattr(library, name)))


def test_library_values(library: Any) -> None:
    for name in (
        "DataType",
        "TensorIOMode",
        "ExecutionContextAllocationStrategy",
        "CudaGraphStrategy",
        "DynamicShapesKernelSpecializationStrategy",
        "ComputeCapability",
    ):
        for member in getattr(standin_tensorrt, name):
            assert hasattr(getattr(library, name), member.name), (name, member.name)
    for member in standin_tensorrt.ILogger.Severity:
        assert hasattr(library.ILogger.Severity, member.name)
