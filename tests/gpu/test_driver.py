"""The driver layer on a real GPU: copies, order between streams, capture, full memory."""

import numpy as np
import pytest

from dimrt.backends.cuda import Device, OutOfMemory
from dimrt.backends.cuda_memory import DeviceTensor, Memory
from dimrt.backends.cuda_stream import Event, Stream
from dimrt.backends.lane import Lane
from dimrt.interop import DeviceArray, from_device

pytestmark = pytest.mark.gpu


@pytest.fixture
def memory(device: Device) -> Memory:
    return Memory(device)


def test_facts(device: Device) -> None:
    assert device.facts.name
    assert float(device.facts.capability) >= 5
    free, total = device.memory()
    assert 0 < free <= total


def test_there_and_back_again(memory: Memory) -> None:
    lane = Lane(memory)
    values = np.random.default_rng(0).standard_normal((3, 1000), np.float32)
    first, second = (lane.tensor(values.shape, np.float32, "a test") for _ in range(2))
    lane.send(values, first)
    lane.copy(second.use(lane.stream), first.use(lane.stream), first.nbytes)
    assert np.array_equal(lane.fetch(second), values)
    assert np.array_equal(lane.fetch(second.rows(slice(1, 3))), values[1:])


def test_a_later_stream_waits_for_the_earlier(memory: Memory) -> None:
    lanes = Lane(memory), Lane(memory)
    values = np.arange(1 << 22, dtype=np.int64)
    tensor = lanes[0].tensor(values.shape, np.int64, "a test")
    for number in range(5):
        lanes[number % 2].send(values * number, tensor)
        assert np.array_equal(lanes[1 - number % 2].fetch(tensor), values * number)


def test_captured_work_is_done_again(memory: Memory) -> None:
    lane = Lane(memory)
    source, target = (lane.tensor((1000,), np.float32, "a test") for _ in range(2))
    addresses = target.use(lane.stream), source.use(lane.stream)
    graph = lane.stream.capture(lambda: lane.copy(*addresses, source.nbytes))
    for number in range(3):
        lane.send(np.full(1000, number, np.float32), source)
        graph.launch(lane.stream)
        assert (lane.fetch(target) == number).all()


def test_seconds_of_the_device(memory: Memory) -> None:
    stream = Stream(memory.device)
    begin, end = (Event(memory.device, timing=True) for _ in range(2))
    begin.record(stream)
    end.record(stream)
    end.synchronize()
    assert end.seconds_since(begin) >= 0


def test_more_than_there_is(memory: Memory) -> None:
    lane = Lane(memory)
    _, total = memory.device.memory()
    with pytest.raises(OutOfMemory, match=r"for a test: .* MB are needed") as caught:
        memory.allocate(2 * total, lane.stream, "a test")
    assert caught.value.asked == 2 * total
    assert memory.live_bytes == 0
    assert np.array_equal(lane.fetch(_ones(lane)), np.ones(4, np.float32))


def test_memory_goes_back_to_the_gpu(memory: Memory) -> None:
    lane = Lane(memory)
    before, _ = memory.device.memory()
    buffer = memory.allocate(1 << 28, lane.stream, "a test")
    lane.stream.synchronize()
    assert memory.device.memory()[0] < before
    del buffer
    lane.stream.synchronize()
    memory.trim()
    assert memory.device.memory()[0] >= before - (1 << 24)


@pytest.mark.parametrize("pitch", [None, 512])
def test_a_picture_in_gpu_memory(memory: Memory, pitch: int | None) -> None:
    lane = Lane(memory)
    pixels = np.random.default_rng(1).integers(0, 256, (50, 70, 3), np.uint8)
    rows = np.zeros((50, pitch or 210), np.uint8)
    rows[:, :210] = pixels.reshape(50, 210)
    tensor = lane.tensor(rows.shape, np.uint8, "a test")
    lane.send(rows, tensor)
    strides = None if pitch is None else (pitch, 3, 1)
    given = DeviceArray(
        tensor.use(lane.stream), (50, 70, 3), strides=strides, stream=int(lane.stream.handle), owner=tensor
    )
    assert np.array_equal(from_device(given), pixels)


def test_a_picture_of_pycuda(memory: Memory) -> None:
    pytest.importorskip("pycuda")
    import pycuda.autoprimaryctx  # noqa: F401
    from pycuda import gpuarray

    pixels = np.random.default_rng(2).integers(0, 256, (50, 70, 3), np.uint8)
    assert np.array_equal(from_device(gpuarray.to_gpu(pixels)), pixels)


def test_a_picture_of_pytorch(device: Device) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    pixels = torch.randint(0, 256, (50, 70, 3), dtype=torch.uint8, device="cuda")
    assert np.array_equal(from_device(pixels), pixels.cpu().numpy())


def _ones(lane: Lane) -> DeviceTensor:
    tensor = lane.tensor((4,), np.float32, "a test")
    lane.send(np.ones(4, np.float32), tensor)
    return tensor
