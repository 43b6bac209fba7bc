"""The building process: `python -m dimrt.engines.worker`, a `Job` on stdin, answers as JSON lines on stdout.

One process a graph: its memory goes back to the system, its peak is its own, and a crash of the library is a message
in the process that waits.
"""

import hashlib
import os
import sys
import threading
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from dimrt.engines.flavour import Flavour, load_flavour
from dimrt.engines.job import Answer, Built, Job, Refused, Step
from dimrt.engines.network import TensorRt, check_network, decompose_attention, parse
from dimrt.engines.profiles import Profile, tensor_shapes
from dimrt.errors import BundleError, ResourceError

NO_KERNEL = "dedicated kernel"
"""What the builder says of an attention that it has no kernel for."""
TWICE = 1.5
"""A plan over so many times its weights holds them once for each profile."""
STATUS = Path("/proc/self/status")
SMALL = 64 << 20
"""Bytes of a plan that need no weights' worth of excuse."""


def main() -> None:
    """Build what stdin asks for."""
    answers = os.fdopen(os.dup(1), "wb")
    # Libraries that print do so on stderr: stdout is the protocol's.
    os.dup2(2, 1)
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    threading.Thread(target=leave_with_parent, daemon=True).start()
    try:
        say(answers, build(job, answers))
    except (BundleError, ResourceError) as error:
        say(answers, Refused(type(error).__name__, str(error)))
    except MemoryError:
        say(answers, Refused("ResourceError", "out of memory"))
    answers.close()
    # Nothing is left to be done, and freeing gigabytes piece by piece takes long.
    os._exit(0)


def leave_with_parent() -> None:
    """End this process when stdin does: whoever asked for the engine is gone."""
    sys.stdin.buffer.read()
    os._exit(1)


def say(answers: BinaryIO, answer: Answer) -> None:
    """Write one line."""
    answers.write(msgspec.json.encode(answer) + b"\n")
    answers.flush()


def build(job: Job, answers: BinaryIO) -> Built:
    """Build, with attention decomposed only when the builder has no kernel for it.

    Raises:
        BundleError: the graph can't be parsed or isn't the contract's.
        ResourceError: the builder failed.
    """
    flavour = load_flavour(job.flavour)
    log = make_logger(flavour)
    profiles, decomposed = job.profiles, False
    digest, size = attempt(flavour, log, job, profiles, False, answers)
    if not size and any(NO_KERNEL in line for line in log.errors):
        log.errors.clear()
        decomposed = True
        digest, size = attempt(flavour, log, job, profiles, True, answers)
    if len(profiles) > 1 and size > SMALL and size > TWICE * weights(job):
        profiles = profiles[-1:]
        digest, size = attempt(flavour, log, job, profiles, decomposed, answers)
    if not size:
        raise ResourceError("; ".join(log.errors[:4]) or "the builder gave no reason")
    return Built(digest, size, peak_rss(), profiles, decomposed)


def weights(job: Job) -> int:
    """Bytes of the graph's files."""
    path = Path(job.onnx)
    return sum(file.stat().st_size for file in path.parent.glob(path.name + "*"))


def attempt(
    flavour: Flavour, log: Any, job: Job, profiles: tuple[Profile, ...], decomposed: bool, answers: BinaryIO
) -> tuple[str, int]:
    """Parse and build once; sha256 (hex) and bytes of the plan written, 0 bytes when the builder failed."""
    trt = flavour.module
    builder = trt.Builder(log)
    network, parser = parse(flavour, builder, log, Path(job.onnx), job.pinned)
    check_network(network, job.inputs, job.outputs)
    if decomposed:
        decompose_attention(trt, network)
    config = configure(flavour, builder, job, profiles)
    config.progress_monitor = make_monitor(flavour, answers)
    timing = None
    if job.timing is not None and hasattr(config, "create_timing_cache"):
        path = Path(job.timing)
        timing = config.create_timing_cache(path.read_bytes() if path.is_file() else b"")
        config.set_timing_cache(timing, False)
    with Path(job.plan).open("wb") as file:
        digest, size = write_plan(flavour, builder, network, config, file)
    if timing is not None and job.timing is not None and size:
        Path(job.timing).write_bytes(bytes(timing.serialize()))
    del parser
    return digest, size


def write_plan(
    flavour: Flavour, builder: TensorRt, network: TensorRt, config: TensorRt, file: BinaryIO
) -> tuple[str, int]:
    """Build into a file; sha256 (hex) and bytes of the plan, 0 bytes when the builder failed."""
    if hasattr(builder, "build_serialized_network_to_stream"):
        writer = make_writer(flavour, file)
        done = builder.build_serialized_network_to_stream(network, config, writer)
        return writer.digest.hexdigest(), writer.size if done else 0
    # Older versions give the plan as one piece of memory.
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        return "", 0
    content = memoryview(plan)
    file.write(content)
    return hashlib.sha256(content).hexdigest(), content.nbytes


def configure(flavour: Flavour, builder: TensorRt, job: Job, profiles: tuple[Profile, ...]) -> TensorRt:
    """Builder configuration: targets, memory bound, optimization profiles."""
    trt = flavour.module
    config = builder.create_builder_config()
    if hasattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION"):
        # Without it TensorRT for RTX may allocate while it runs, and such a run can't be captured into a CUDA graph.
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
    if not job.capabilities:
        # Ahead of time there is no device to take the space from: with a limit, the build fails for want of memory.
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, job.workspace_bytes)
    else:
        config.num_compute_capabilities = len(job.capabilities)
        for i, capability in enumerate(job.capabilities):
            name = "SM" + capability.replace(".", "")
            config.set_compute_capability(getattr(trt.ComputeCapability, name), i)
    for bounds in profiles:
        profile = builder.create_optimization_profile()
        for spec in job.inputs:
            if any(isinstance(size, str) for size in spec.shape):
                profile.set_shape(spec.name, *tensor_shapes(spec, bounds))
        config.add_optimization_profile(profile)
    return config


def make_logger(flavour: Flavour) -> Any:
    """A logger that keeps the library's errors."""
    trt = flavour.module

    class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
        """Errors only; warnings and notes are the library talking to itself."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(" ".join(message.split()))

    return Logger()


def make_monitor(flavour: Flavour, answers: BinaryIO) -> Any:
    """A progress monitor that says every step of the outermost phases."""
    trt = flavour.module

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        """Totals by phase; nested phases are left out."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.totals: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if not parent_phase:
                self.totals[phase_name] = num_steps
                say(answers, Step(phase_name, 0, num_steps))

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self.totals:
                say(answers, Step(phase_name, step + 1, self.totals[phase_name]))
            return True

        def phase_finish(self, phase_name: str) -> None:
            self.totals.pop(phase_name, None)

    return Monitor()


def make_writer(flavour: Flavour, file: BinaryIO) -> Any:
    """A stream writer that sums what it writes, so that the plan never exists twice in memory."""
    trt = flavour.module

    class Writer(trt.IStreamWriter):  # type: ignore[misc, name-defined]
        """To `file`, with sha256 and size."""

        def __init__(self) -> None:
            trt.IStreamWriter.__init__(self)
            self.digest = hashlib.sha256()
            self.size = 0

        def write(self, data: bytes) -> int:
            file.write(data)
            self.digest.update(data)
            self.size += len(data)
            return len(data)

    return Writer()


def peak_rss() -> int:
    """The most memory this process ever had, in bytes; 0 where the system doesn't say (Windows).

    Linux is asked for the high-water mark of the address space: `ru_maxrss` starts from the parent's peak there.
    """
    if STATUS.is_file():
        line = next(line for line in STATUS.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    try:
        import resource
    except ModuleNotFoundError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
