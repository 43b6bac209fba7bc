"""The TensorRT backend on a stand-in GPU: the whole chain's numbers, what crosses to the host, what is replayed."""

import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from standin_cuda import CUresult
from standin_gpu import LENGTH, StandinGpu, write_target

from dimrt.backends.base import ROLES
from dimrt.backends.onnxruntime import OrtBackend
from dimrt.backends.tensorrt import TensorRtBackend
from dimrt.bundle import Bundle
from dimrt.editor import Editor
from dimrt.errors import Cancelled, InputError, ResourceError
from dimrt.events import PlanReady, PlanText, Progress
from dimrt.options import EditOptions
from dimrt.result import EditResult

INSTRUCTION = "make it red"
OPTIONS = EditOptions(steps=4, max_new_tokens=12, schedule="teacher")
TOKENS = 12
pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def on_cpu(nano: Bundle, nano_backend: OrtBackend, gpu: StandinGpu) -> Editor:
    """ONNX Runtime, with caches as long as the engine's."""
    return Editor(nano, nano_backend)


def assert_same(result: EditResult, expected: EditResult) -> None:
    assert result.blueprint == expected.blueprint
    assert np.array_equal(result.painted, expected.painted)
    assert np.array_equal(result.image, expected.image)


def launched(gpu: StandinGpu) -> int:
    return gpu.cuda.calls.get("cuGraphLaunch", 0)


def test_the_chain_gives_the_same_bytes_as_onnx_runtime(
    gpu_editor: Editor, on_cpu: Editor, photo: NDArray[np.uint8]
) -> None:
    result = gpu_editor.edit(photo, INSTRUCTION, OPTIONS)
    assert result.provider == "tensorrt-rtx 1.0.standin on Stand-in GPU"
    assert_same(result, on_cpu.edit(photo, INSTRUCTION, OPTIONS))


def test_in_single_precision_and_any_aspect(
    gpu: StandinGpu, edit_bundle: Bundle, edit_backend: OrtBackend, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    target = write_target(tmp_path, "tiny")
    gpu.fill(edit_bundle, target)
    editor = Editor(edit_bundle, TensorRtBackend(edit_bundle, target=target))
    length = editor._backend.engine("language").pinned("length")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dimrt.language.CACHE_STEP", length)
        assert_same(
            editor.edit(photo, INSTRUCTION, OPTIONS),
            Editor(edit_bundle, edit_backend).edit(photo, INSTRUCTION, OPTIONS),
        )


def test_the_second_edit_of_a_photo_reads_its_prefix_from_the_cache(
    gpu_editor: Editor, gpu: StandinGpu, on_cpu: Editor, photo: NDArray[np.uint8]
) -> None:
    gpu_editor.edit(photo, INSTRUCTION, OPTIONS)
    gpu.library.executions.clear()
    result = gpu_editor.edit(photo, "make it black and white", OPTIONS)
    assert "vision" not in gpu.library.executions
    assert_same(result, on_cpu.edit(photo, "make it black and white", OPTIONS))
    other = photo[::-1].copy()
    assert_same(gpu_editor.edit(other, INSTRUCTION, OPTIONS), on_cpu.edit(other, INSTRUCTION, OPTIONS))


def test_a_plan_on_another_view_does_not_spoil_the_one_cache(
    gpu_editor: Editor, on_cpu: Editor, photo: NDArray[np.uint8]
) -> None:
    native = EditOptions(steps=1, max_new_tokens=4, plan_view="native")
    assert_same(gpu_editor.edit(photo, INSTRUCTION, native), on_cpu.edit(photo, INSTRUCTION, native))
    assert_same(gpu_editor.edit(photo, INSTRUCTION, OPTIONS), on_cpu.edit(photo, INSTRUCTION, OPTIONS))


def test_prompts_longer_than_the_engine_reads_at_once_are_read_in_pieces(
    gpu: StandinGpu, nano: Bundle, on_cpu: Editor, photo: NDArray[np.uint8], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    target = write_target(tmp_path, "short", tokens=10)
    gpu.fill(nano, target)
    editor = Editor(nano, TensorRtBackend(nano, target=target))
    result = editor.edit(photo, INSTRUCTION, OPTIONS)
    assert gpu.library.executions.count("language") > TOKENS + 4
    monkeypatch.setattr("dimrt.language.PREFILL_ROWS", 10)
    assert_same(result, Editor(nano, on_cpu._backend).edit(photo, INSTRUCTION, OPTIONS))


def test_what_crosses_to_the_host(gpu_editor: Editor, gpu: StandinGpu, nano: Bundle, photo: NDArray[np.uint8]) -> None:
    """A token of the plan: its inputs in, its logits out. A step of the painter: scalars in, nothing out."""
    crossings: list[tuple[object, list[tuple[str, int]]]] = []

    def on_event(event: object) -> None:
        crossings.append((event, list(gpu.cuda.copied)))
        gpu.cuda.copied.clear()

    gpu_editor.edit(photo, INSTRUCTION, OPTIONS, on_event=on_event)
    steps = [copies for event, copies in crossings if isinstance(event, Progress) and event.phase == "paint"]
    assert len(steps) == OPTIONS.steps
    for copies in steps[1:]:
        assert [nbytes for kind, nbytes in copies if kind == "in"] in ([], [3 * 256])
        assert not [nbytes for kind, nbytes in copies if kind == "out"]
    logits = nano.manifest.designer.language.vocab_size * 4
    out = [nbytes for event, copies in crossings for kind, nbytes in copies if kind == "out"]
    latent = 32 * 16 * 16 * 4
    pixels = 3 * 128 * 128 * 4
    assert sorted(set(out)) == [-(-logits // 256) * 256, latent, pixels]
    assert out.count(pixels) == 2
    assert out.count(latent) == 1  # the source's, which serves the next edit of the photo


def test_the_photo_goes_through_the_autoencoder_beside_the_plan(
    gpu_editor: Editor, gpu: StandinGpu, photo: NDArray[np.uint8]
) -> None:
    """Queued after the plan's first token; nothing waits for it until the plan is written."""
    painter = gpu.cuda.streams[int(gpu_editor._backend._lanes["painter"].stream.handle)]
    waiting: dict[int, int] = {}

    def on_event(event: object) -> None:
        if isinstance(event, Progress) and event.phase == "plan":
            waiting[event.done] = len(painter.queue)
        if isinstance(event, PlanReady):
            assert "encode" not in gpu.library.executions

    session = gpu_editor.open(photo)
    session.edit(INSTRUCTION, OPTIONS, on_event=on_event)
    assert waiting[1] == 0
    assert all(count > 0 for token, count in waiting.items() if token > 1)
    assert gpu.library.executions.count("encode") == 1
    assert gpu.library.executions.count("decode") == 2
    gpu.library.executions.clear()
    session.edit("make it black and white", OPTIONS)
    assert gpu.library.executions.count("encode") == 0
    assert gpu.library.executions.count("decode") == 1


def test_what_was_queued_for_a_cancelled_edit_is_dropped(
    gpu_editor: Editor, gpu: StandinGpu, on_cpu: Editor, photo: NDArray[np.uint8]
) -> None:
    stop = threading.Event()

    def on_event(event: object) -> None:
        if event == Progress("plan", 3):
            stop.set()

    gpu_editor.edit(photo, INSTRUCTION, OPTIONS)
    held = gpu_editor._backend._memory.live_bytes
    with pytest.raises(Cancelled):
        gpu_editor.edit(photo[::-1].copy(), INSTRUCTION, OPTIONS, on_event=on_event, cancel=stop)
    assert gpu_editor._backend._memory.live_bytes == held
    other = photo[:, ::-1].copy()
    assert_same(gpu_editor.edit(other, INSTRUCTION, OPTIONS), on_cpu.edit(other, INSTRUCTION, OPTIONS))


def tokens_read(events: list[object]) -> int:
    """Tokens of the plan that were read again: all but the last one allowed."""
    return min(sum(isinstance(event, Progress) and event.phase == "plan" for event in events), TOKENS - 1)


def test_decoding_is_replayed(gpu_editor: Editor, gpu: StandinGpu, photo: NDArray[np.uint8]) -> None:
    """Of runs of one shape the first runs as it is, the second is captured; all but the first are launched."""
    events: list[object] = []
    gpu_editor.edit(photo, INSTRUCTION, OPTIONS, on_event=events.append)
    reads = tokens_read(events)
    assert launched(gpu) == reads - 1
    gpu_editor.edit(photo, INSTRUCTION, OPTIONS)
    assert launched(gpu) == 2 * reads - 1
    assert gpu.cuda.graphs == {}


def test_how_kernels_are_compiled_and_captured(gpu_editor: Editor, gpu: StandinGpu, photo: NDArray[np.uint8]) -> None:
    """TensorRT for RTX: decoding waits for its kernels, the painter's runs are captured by the library."""
    gpu_editor.edit(photo, INSTRUCTION, OPTIONS)
    found = [
        (graph, config.dynamic_shapes_kernel_specialization_strategy.name, config.cuda_graph_strategy.name)
        for graph, config in gpu.library.contexts
    ]
    assert found == [
        ("vision", "LAZY", "DISABLED"),
        ("language", "LAZY", "DISABLED"),
        ("encode", "LAZY", "DISABLED"),
        ("decode", "LAZY", "DISABLED"),
        ("language", "EAGER", "DISABLED"),
        ("connector", "LAZY", "DISABLED"),
        ("context", "LAZY", "DISABLED"),
        ("step", "LAZY", "WHOLE_GRAPH_CAPTURE"),
    ]


def test_with_tensorrt_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, nano: Bundle, on_cpu: Editor, photo: NDArray[np.uint8]
) -> None:
    """Two profiles for reading and decoding; dimrt captures the steps as well; engines are of this GPU and driver."""
    gpu = StandinGpu(monkeypatch, tmp_path / "jetson", flavour="tensorrt")
    target = write_target(tmp_path, "jetson", flavour="tensorrt")
    gpu.fill(nano, target)
    editor = Editor(nano, TensorRtBackend(nano, target=target, build="never"))
    events: list[object] = []
    result = editor.edit(photo, INSTRUCTION, OPTIONS, on_event=events.append)
    assert result.provider == "tensorrt 1.0.standin on Stand-in GPU"
    assert_same(result, on_cpu.edit(photo, INSTRUCTION, OPTIONS))
    reads = tokens_read(events)
    assert launched(gpu) == (reads - 1) + (4 - 1)
    editor.edit(photo, INSTRUCTION, OPTIONS)
    assert launched(gpu) == (2 * reads - 1) + 2 * (4 - 1)
    assert len(editor._backend._records["language"].profiles) == 2
    gpu.cuda.driver += 10
    assert len(TensorRtBackend(nano, target=target).missing()) == len(nano.manifest.graphs)


def test_replay_equals_running_as_it_is(
    gpu_editor: Editor, gpu: StandinGpu, nano: Bundle, target: Path, photo: NDArray[np.uint8]
) -> None:
    expected = gpu_editor.edit(photo, INSTRUCTION, OPTIONS)
    gpu.library.capturable = False
    plain = Editor(nano, TensorRtBackend(nano, target=target))
    before = launched(gpu)
    result = plain.edit(photo, INSTRUCTION, OPTIONS)
    assert launched(gpu) == before
    assert_same(result, expected)
    assert result.provider.endswith("without CUDA graphs: language (the library can't capture it yet)")
    gpu.library.capturable = True
    assert "without" not in plain.edit(photo, INSTRUCTION, OPTIONS).provider


def test_a_capture_that_fails_is_told_and_the_edit_goes_on(
    gpu_editor: Editor, gpu: StandinGpu, on_cpu: Editor, photo: NDArray[np.uint8]
) -> None:
    gpu.cuda.fail("cuStreamEndCapture", 0, CUresult.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, times=1000)
    result = gpu_editor.edit(photo, INSTRUCTION, OPTIONS)
    assert "without CUDA graphs: language (the GPU reported CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED" in result.provider
    assert_same(result, on_cpu.edit(photo, INSTRUCTION, OPTIONS))


def test_memory_freed_while_a_stream_is_captured_stays_out_of_the_graph(
    gpu_editor: Editor, gpu: StandinGpu, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = gpu_editor._backend
    victims = [backend.to_device(np.zeros(8, np.float32)) for _ in range(20)]
    begin = gpu.cuda.cuStreamBeginCapture

    def and_drop(*args: int) -> object:
        answer = begin(*args)
        victims.pop()
        return answer

    monkeypatch.setattr(gpu.cuda, "cuStreamBeginCapture", and_drop)
    gpu_editor.edit(photo, INSTRUCTION, OPTIONS)
    assert len(victims) < 20
    assert launched(gpu) > 0


def test_two_edits_can_not_take_turns_on_the_one_cache(gpu_editor: Editor, photo: NDArray[np.uint8]) -> None:
    first = gpu_editor.events(photo, INSTRUCTION, OPTIONS)
    while not isinstance(next(first), PlanText):
        pass
    gpu_editor.edit(photo, INSTRUCTION, OPTIONS)
    with pytest.raises(InputError, match="another edit began"):
        list(first)


def test_a_plan_fills_the_cache_to_its_end_and_no_further(
    gpu: StandinGpu, nano: Bundle, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    gpu.library.computes = False  # writes on and on
    target = write_target(tmp_path, "little", length=64)
    gpu.fill(nano, target)
    editor = Editor(nano, TensorRtBackend(nano, target=target))
    turn = len(editor._chain._briefing._designer.prompts.plan_turn(INSTRUCTION, 16).ids)
    events: list[object] = []
    result = editor.edit(photo, INSTRUCTION, EditOptions(steps=1), on_event=events.append)
    assert result.blueprint is not None
    assert sum(isinstance(event, Progress) and event.phase == "plan" for event in events) == 64 - turn
    with pytest.raises(InputError, match=r"leave no room for a plan \(limit 64\)"):
        editor.edit(photo, "word " * 40, EditOptions(steps=1))
    with pytest.raises(InputError, match=r"take \d+ tokens and the engine of `language` was built for 64; .*`length`"):
        editor.edit(photo, "word " * 40, EditOptions(steps=1, think=False))


def test_a_shape_the_engine_was_not_built_for_names_its_bounds(gpu: StandinGpu, nano: Bundle, tmp_path: Path) -> None:
    target = write_target(tmp_path, "narrow")
    target.write_text(target.read_text().replace("windows = [1, 16, 64]", "windows = [1, 4, 4]"))
    gpu.fill(nano, target)
    editor = Editor(nano, TensorRtBackend(nano, target=target))
    large = np.zeros((250, 250, 3), np.uint8)
    with pytest.raises(InputError, match=r"`vision`: (windows|patches) is \d+, .* \[shapes.vision\]"):
        editor.edit(large, INSTRUCTION, EditOptions(steps=1, plan_view="native"))
    editor.edit(large, INSTRUCTION, EditOptions(steps=1, max_new_tokens=2))


def test_one_role_at_a_time_where_memory_is_short(
    gpu: StandinGpu, nano: Bundle, on_cpu: Editor, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    target = write_target(tmp_path, "phased", residency="phased")
    gpu.fill(nano, target)
    backend = TensorRtBackend(nano, target=target)
    editor = Editor(nano, backend)
    held: dict[str, set[str]] = {}

    def on_event(event: object) -> None:
        if isinstance(event, Progress):
            held[event.phase] = set(backend._engines)

    for instruction in (INSTRUCTION, "make it black and white"):
        result = editor.edit(photo, instruction, OPTIONS, on_event=on_event)
        designer, painter = (set(ROLES[role]) for role in ("designer", "painter"))
        assert held == {"load": painter, "plan": designer, "paint": painter}
        assert_same(result, on_cpu.edit(photo, instruction, OPTIONS))


def test_pixels_stay_on_the_gpu_for_the_caller(gpu_editor: Editor, gpu: StandinGpu, photo: NDArray[np.uint8]) -> None:
    latent = gpu_editor.encode(photo)
    expected = gpu_editor.decode(latent)
    pixels = gpu_editor.decode(latent, on_device=True)
    gpu_editor.close()
    interface = pixels.__cuda_array_interface__
    assert (interface["shape"], interface["typestr"], interface["version"]) == (expected.shape, "<f4", 3)
    values = gpu.cuda.at(interface["data"][0], expected.nbytes).view(np.float32).reshape(expected.shape)
    assert np.array_equal(values, expected)
    del pixels
    assert gpu.cuda.used == 0


def test_no_pixels_on_a_gpu_without_one(on_cpu: Editor) -> None:
    with pytest.raises(InputError, match="runs on the CPU"):
        on_cpu.decode(np.zeros((1, 32, 16, 16), np.float32), on_device=True)


def test_closing_gives_everything_back_and_the_next_edit_loads_again(
    gpu_editor: Editor, gpu: StandinGpu, photo: NDArray[np.uint8]
) -> None:
    expected = gpu_editor.edit(photo, INSTRUCTION, OPTIONS)
    kept = gpu_editor._backend.to_device(np.ones(3, np.float32))
    gpu_editor.close()
    assert gpu.cuda.used == 0
    assert gpu.cuda.pinned == {}
    with pytest.raises(ResourceError, match="given back"):
        gpu_editor._backend.to_host(kept)
    assert_same(gpu_editor.edit(photo, INSTRUCTION, OPTIONS), expected)


def test_nothing_is_left_when_the_editor_is_gone(
    gpu: StandinGpu, nano: Bundle, target: Path, photo: NDArray[np.uint8]
) -> None:
    gpu.fill(nano, target)
    editor = Editor(nano, TensorRtBackend(nano, target=target))
    editor.edit(photo, INSTRUCTION, OPTIONS)
    del editor
    assert (gpu.cuda.used, gpu.cuda.retained, gpu.cuda.contexts) == (0, 0, [])
    assert (gpu.cuda.streams, gpu.cuda.events, gpu.cuda.executables, gpu.cuda.pinned) == ({}, {}, {}, {})


def test_compiled_kernels_are_kept_for_the_next_process(
    gpu: StandinGpu, nano: Bundle, target: Path, photo: NDArray[np.uint8]
) -> None:
    gpu.fill(nano, target)
    first = Editor(nano, TensorRtBackend(nano, target=target))
    first.edit(photo, INSTRUCTION, OPTIONS)
    first.close()
    kept = sorted((gpu.cache.root / "runtime").iterdir())
    assert len(kept) == len(nano.manifest.graphs)
    record = TensorRtBackend(nano, target=target)
    record.missing()
    assert gpu.cache.load_sealed("runtime", kept[0].name).startswith(b"kernel ")
    kept[0].write_bytes(kept[0].read_bytes()[:-1] + b"!")
    assert gpu.cache.load_sealed("runtime", kept[0].name) == b""
    Editor(nano, record).edit(photo, INSTRUCTION, OPTIONS)


def test_without_memory_pools(
    gpu: StandinGpu, nano: Bundle, on_cpu: Editor, target: Path, photo: NDArray[np.uint8]
) -> None:
    gpu.cuda.pools = False
    gpu.fill(nano, target)
    editor = Editor(nano, TensorRtBackend(nano, target=target))
    assert_same(editor.edit(photo, INSTRUCTION, OPTIONS), on_cpu.edit(photo, INSTRUCTION, OPTIONS))
    assert gpu.cuda.calls.get("cuMemAllocFromPoolAsync") is None
    editor.close()
    assert gpu.cuda.used == 0


def test_limits_and_pins(gpu_editor: Editor) -> None:
    language = gpu_editor._backend.engine("language")
    assert language.limit("tokens") == LENGTH
    assert language.pinned("length") == LENGTH
    assert language.pinned("tokens") is None
    assert gpu_editor._backend.engine("decode").limit("height") is None
