"""What goes wrong on a GPU: full memory at every place, failing runs, engines that don't belong; nothing leaks."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from standin_cuda import CUresult
from standin_gpu import StandinGpu, write_target
from standin_tensorrt import MAGIC

from dimrt.backends.cuda import OutOfMemory
from dimrt.backends.tensorrt import TensorRtBackend
from dimrt.bundle import Bundle
from dimrt.editor import Editor
from dimrt.errors import Cancelled, InputError, ResourceError
from dimrt.events import Event, PhaseStarted, Progress
from dimrt.options import EditOptions

INSTRUCTION = "make it red"
QUICK = EditOptions(steps=3, max_new_tokens=4, schedule="teacher")
PHASES = ("read", "vision", "plan", "condition", "encode", "paint", "decode", "composite")
FULL = CUresult.CUDA_ERROR_OUT_OF_MEMORY
FOR_EVER = 10**9
pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")


def assert_empty(gpu: StandinGpu) -> None:
    assert gpu.cuda.used == 0
    assert gpu.cuda.pinned == {}
    assert gpu.cuda.executables == {}
    assert gpu.cuda.contexts == []


def assert_works(editor: Editor, photo: NDArray[np.uint8]) -> None:
    assert editor.edit(photo, INSTRUCTION, QUICK).image.shape == photo.shape


@pytest.mark.parametrize("function", ["cuMemAllocFromPoolAsync", "cuMemHostAlloc"])
def test_memory_that_is_full_at_any_place_leaves_nothing_allocated(
    gpu_editor: Editor, gpu: StandinGpu, photo: NDArray[np.uint8], function: str
) -> None:
    gpu.library.computes = False
    assert_works(gpu_editor, photo)
    gpu_editor.close()
    places = 0
    while True:
        gpu.cuda.fail(function, places, FULL, times=FOR_EVER)
        try:
            gpu_editor.edit(photo, INSTRUCTION, QUICK)
            break
        except OutOfMemory as error:
            assert "MB are free; use a bundle of a smaller recipe" in str(error)
            assert_empty(gpu)
        places += 1
        gpu.cuda.heal()
    assert places > {"cuMemAllocFromPoolAsync": 40, "cuMemHostAlloc": 6}[function]
    gpu.cuda.heal()
    assert_works(gpu_editor, photo)


def test_an_error_names_what_did_not_fit_and_how_much_it_is(
    gpu_editor: Editor, gpu: StandinGpu, photo: NDArray[np.uint8]
) -> None:
    gpu_editor.edit(photo, INSTRUCTION, QUICK)
    latent = 32 * 16 * 16 * 4
    gpu.cuda.fail("cuMemAllocFromPoolAsync", 0, FULL, times=FOR_EVER)
    with pytest.raises(OutOfMemory, match=r"for a tensor from the host: 0\.0 MB are needed") as caught:
        gpu_editor._backend.to_device(np.zeros(latent, np.uint8))
    assert caught.value.asked == latent
    assert caught.value.free == gpu.cuda.limit - gpu.cuda.used


def test_spare_memory_is_given_back_before_an_allocation_is_given_up(gpu_editor: Editor, gpu: StandinGpu) -> None:
    trims = gpu.cuda.calls.get("cuMemPoolTrimTo", 0)
    gpu.cuda.fail("cuMemAllocFromPoolAsync", 0, FULL)
    gpu_editor._backend.to_device(np.zeros(4, np.float32))
    assert gpu.cuda.calls["cuMemPoolTrimTo"] == trims + 1


def test_weights_that_do_not_fit(gpu_editor: Editor, gpu: StandinGpu, photo: NDArray[np.uint8]) -> None:
    limit, gpu.cuda.limit = gpu.cuda.limit, 1000
    with pytest.raises(OutOfMemory, match=r"out of GPU memory for graph `vision`: .* MB are needed"):
        gpu_editor.edit(photo, INSTRUCTION, QUICK)
    assert_empty(gpu)
    gpu.cuda.limit = limit
    assert_works(gpu_editor, photo)


def test_a_context_that_can_not_be_made(gpu_editor: Editor, gpu: StandinGpu, photo: NDArray[np.uint8]) -> None:
    gpu.library.contexts_fail = True
    with pytest.raises(OutOfMemory, match="graph `vision`"):
        gpu_editor.edit(photo, INSTRUCTION, QUICK)
    assert_empty(gpu)


@pytest.mark.parametrize(
    "when", [(PhaseStarted, "vision"), (Progress, "plan"), (PhaseStarted, "encode"), (Progress, "paint")]
)
def test_a_run_that_fails_mid_edit_leaves_the_editor_usable(
    gpu_editor: Editor, gpu: StandinGpu, photo: NDArray[np.uint8], when: tuple[type[Event], str]
) -> None:
    kind, phase = when
    expected = gpu_editor.edit(photo, INSTRUCTION, QUICK)
    gpu.library.capturable = False  # replayed runs don't go through the library

    def on_event(event: Event) -> None:
        if isinstance(event, kind) and event.phase == phase:
            gpu.library.refuse = "Cuda Runtime (misaligned address)"

    gpu_editor.close()
    with pytest.raises(ResourceError, match=r"could not be run \(tensorrt-rtx 1.0.standin: Cuda Runtime \(misaligned"):
        gpu_editor.edit(photo, INSTRUCTION, QUICK, on_event=on_event)
    assert_empty(gpu)
    gpu.library.refuse = None
    assert np.array_equal(gpu_editor.edit(photo, INSTRUCTION, QUICK).image, expected.image)


def test_an_error_of_a_kernel_says_that_the_process_is_lost(
    gpu_editor: Editor, gpu: StandinGpu, photo: NDArray[np.uint8]
) -> None:
    gpu.cuda.fail("cuStreamSynchronize", 3, CUresult.CUDA_ERROR_ILLEGAL_ADDRESS, times=FOR_EVER)
    with pytest.raises(ResourceError, match=r"CUDA_ERROR_ILLEGAL_ADDRESS in cuStreamSynchronize; .* new process"):
        gpu_editor.edit(photo, INSTRUCTION, QUICK)


@pytest.mark.parametrize("phase", PHASES)
def test_a_cancelled_edit_frees_its_memory(
    gpu_editor: Editor, gpu: StandinGpu, photo: NDArray[np.uint8], phase: str
) -> None:
    expected = gpu_editor.edit(photo, INSTRUCTION, QUICK)
    idle = gpu.cuda.used
    cancel = threading.Event()

    def on_event(event: Event) -> None:
        if isinstance(event, PhaseStarted) and event.phase == phase:
            cancel.set()

    with pytest.raises(Cancelled):
        gpu_editor.edit(photo, INSTRUCTION, QUICK, on_event=on_event, cancel=cancel)
    assert gpu.cuda.used <= idle
    assert np.array_equal(gpu_editor.edit(photo, INSTRUCTION, QUICK).image, expected.image)
    assert gpu.cuda.used == idle


def test_engines_that_are_missing_name_the_command_that_builds_them(
    gpu: StandinGpu, nano: Bundle, target: Path, photo: NDArray[np.uint8]
) -> None:
    gpu.fill(nano, target, [graph for graph in nano.manifest.graphs if graph != "step"])
    backend = TensorRtBackend(nano, target=target, build="never")
    assert backend.missing() == ("step",)
    with pytest.raises(ResourceError, match=r"no engine of `step` for Stand-in GPU .* `dimrt build .*nano`"):
        Editor(nano, backend).edit(photo, INSTRUCTION, QUICK)


@pytest.mark.parametrize("other", ["version", "gpu", "target"])
def test_engines_of_another_gpu_version_or_target_are_not_used(
    gpu: StandinGpu, nano: Bundle, target: Path, tmp_path: Path, other: str
) -> None:
    gpu.fill(nano, target)
    assert TensorRtBackend(nano, target=target).missing() == ()
    if other == "version":
        gpu.library.__version__ = "2.0.standin"
    elif other == "gpu":
        gpu.cuda.capability = "8.6"
    else:
        target = write_target(tmp_path, "another", length=128)
    assert TensorRtBackend(nano, target=target).missing() == tuple(nano.manifest.graphs)
    assert gpu.library.deserialized == []


def test_a_changed_byte_never_reaches_the_library(
    gpu_editor: Editor, gpu: StandinGpu, nano: Bundle, photo: NDArray[np.uint8]
) -> None:
    gpu_editor._backend.missing()
    record = gpu_editor._backend._records["language"]
    plan = gpu.cache.root / "engines" / record.key / "plan"
    content = bytearray(plan.read_bytes())
    content[-2] ^= 1
    plan.write_bytes(content)
    with pytest.raises(ResourceError, match=rf"engine {record.key} was altered .* `dimrt engines rm {record.key}`"):
        gpu_editor.edit(photo, INSTRUCTION, QUICK)
    assert bytes(content) not in gpu.library.deserialized
    assert_empty(gpu)


def test_an_engine_removed_meanwhile(gpu_editor: Editor, gpu: StandinGpu, photo: NDArray[np.uint8]) -> None:
    gpu_editor._backend.missing()
    gpu.cache.remove(gpu_editor._backend._records["vision"].key)
    with pytest.raises(ResourceError, match="`vision`: its engine can't be read"):
        gpu_editor.edit(photo, INSTRUCTION, QUICK)


def test_an_engine_the_library_refuses_quotes_it(
    gpu_editor: Editor, gpu: StandinGpu, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("standin_tensorrt.MAGIC", b"another format\n")
    with pytest.raises(ResourceError, match=r"can't be used on this GPU; .*\(tensorrt-rtx 1.0.standin: the plan is no"):
        gpu_editor.edit(photo, INSTRUCTION, QUICK)
    assert gpu.library.deserialized[0].startswith(MAGIC)


def test_a_driver_too_old_for_the_library(
    gpu_editor: Editor, gpu: StandinGpu, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: object, logger: Any, plan: bytes) -> None:
        logger.log(1, "cudaError 35: CUDA driver version is insufficient for CUDA runtime version")

    monkeypatch.setattr("standin_tensorrt.StandinTensorRt._deserialize", refuse)
    with pytest.raises(ResourceError, match=r"needs a newer NVIDIA driver than the one installed \(CUDA 13\.0\)"):
        gpu_editor.edit(photo, INSTRUCTION, QUICK)


def test_an_engine_with_other_tensors_than_its_record(
    gpu_editor: Editor, gpu: StandinGpu, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("standin_tensorrt.StandinEngine.get_tensor_name", lambda self, index: f"other_{index}")
    monkeypatch.setattr("standin_tensorrt.StandinEngine.get_tensor_dtype", lambda self, name: None)
    with pytest.raises(ResourceError, match="its engine's tensors aren't those of its record"):
        gpu_editor.edit(photo, INSTRUCTION, QUICK)


def test_an_engine_that_does_not_update_its_cache_in_place(
    gpu_editor: Editor, gpu: StandinGpu, photo: NDArray[np.uint8]
) -> None:
    gpu.library.aliased = False
    with pytest.raises(Exception, match="doesn't update it in place; build it with a flavour"):
        gpu_editor.edit(photo, INSTRUCTION, QUICK)


def test_without_a_driver(gpu: StandinGpu, nano: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library(_flags: int) -> None:
        raise RuntimeError('"cuda" is a driver library and was not found')

    monkeypatch.setattr(gpu.cuda, "cuInit", no_library)
    with pytest.raises(ResourceError, match=r"no NVIDIA driver can be used .*install one"):
        TensorRtBackend(nano)


@pytest.mark.parametrize(
    ("code", "match"),
    [
        (CUresult.CUDA_ERROR_NO_DEVICE, "the driver sees no GPU"),
        (CUresult.CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, "install a newer one"),
    ],
)
def test_a_driver_that_can_not(gpu: StandinGpu, nano: Bundle, code: CUresult, match: str) -> None:
    gpu.cuda.fail("cuInit", 0, code)
    with pytest.raises(ResourceError, match=match):
        TensorRtBackend(nano)
    assert gpu.cuda.retained == 0


def test_a_driver_too_old_for_a_function(
    gpu: StandinGpu, nano: Bundle, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(*_args: object) -> None:
        raise RuntimeError('Function "cuMemPoolCreate" not found')

    monkeypatch.setattr(gpu.cuda, "cuMemPoolCreate", absent)
    with pytest.raises(ResourceError, match="has no cuMemPoolCreate: it is too old"):
        TensorRtBackend(nano, target=target)


def test_without_the_packages(gpu: StandinGpu, nano: Bundle, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorrt_rtx", None)
    with pytest.raises(ResourceError, match=r"dimrt\[rtx\]"):
        TensorRtBackend(nano, target=target)
    monkeypatch.setitem(__import__("sys").modules, "cuda.bindings", None)
    with pytest.raises(ResourceError, match=r"cuda-bindings can't be imported .*dimrt\[rtx\]"):
        TensorRtBackend(nano, target=target)


def test_a_processor_is_no_target(gpu: StandinGpu, nano: Bundle) -> None:
    with pytest.raises(InputError, match="`cpu` is a processor"):
        TensorRtBackend(nano, target="cpu")
