"""tegrastats: what NVIDIA's tool prints on Jetson boards, and power measured with it.

The form of its lines differs by board and by JetPack; `tests/measure/captures/` holds real ones. What the rails are:
NVIDIA's Jetson Linux Developer Guide (tegrastats utility; power monitors of each board).
"""

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from dimrt.errors import ResourceError
from dimrt.measure.energy import Power, Rails, of_gauges

COMMAND = ("tegrastats",)
INTERVAL = 0.1
"""Seconds between two lines; tegrastats prints one a second unless told."""
FIRST_LINE = 5.0
"""Seconds to wait for the first line."""
MILLI = 1e-3

_DATE = re.compile(r"^(\d\d-\d\d-\d{4} \d\d:\d\d:\d\d) ")
_MEMORY = re.compile(r"\b(RAM|SWAP) (\d+)/(\d+)MB")
_CPU = re.compile(r"\bCPU \[([^\]]*)\](?:@(\d+))?")
_EMC = re.compile(r"\bEMC_FREQ (\d+)%(?:@(\d+))?")
_GPU = re.compile(r"\bGR3D_FREQ (?:(\d+)%)?(?:@\[?([\d,]+)\]?)?")
_TEMPERATURE = re.compile(r"([A-Za-z][\w.-]*)@(-?\d+(?:\.\d+)?)C\b")
_RAIL = re.compile(r"(?:^| )([A-Z][A-Za-z0-9_]*) (-?\d+)(?:mW)?/(-?\d+)(?:mW)?(?:/-?\d+(?:mW)?)?(?= |$)")

TOTALS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("VDD_IN",), "the module's whole input"),
    (("POM_5V_IN",), "the module's whole input"),
    (("VIN",), "the board's whole input"),
    (("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), "the module's inputs, added"),
    (("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"), "the module's inputs, added"),
)
"""Rails that add up to all that a module takes, and what they are, in order of preference."""


@dataclass(frozen=True)
class Reading:
    """One line.

    Attributes:
        date: as printed, "MM-DD-YYYY hh:mm:ss"; None where the version prints none.
        memory: megabytes used and in all of "RAM" and "SWAP".
        cores: load (%) and clock (MHz; None where not printed) of each core; None for one that is off.
        emc: load (%) and clock (MHz) of the memory controller.
        gpu_load: percent; None where not printed.
        gpu_clocks: MHz, of each graphics cluster.
        temperatures: °C by sensor. Sensors that are off print impossible values (-256); they are left out.
        rails: watts now by rail.
    """

    date: str | None = None
    memory: dict[str, tuple[int, int]] = field(default_factory=dict)
    cores: tuple[tuple[int, int | None] | None, ...] = ()
    emc: tuple[int, int | None] | None = None
    gpu_load: int | None = None
    gpu_clocks: tuple[int, ...] = ()
    temperatures: dict[str, float] = field(default_factory=dict)
    rails: dict[str, float] = field(default_factory=dict)


ABSENT = -200.0
"""°C below which a sensor says that it has nothing to say."""


def parse_line(line: str) -> Reading | None:
    """What a line says; None for one that isn't of tegrastats."""
    line = line.strip()
    memory = {name: (int(used), int(total)) for name, used, total in _MEMORY.findall(line)}
    if "RAM" not in memory:
        return None
    date, cpu, emc, gpu = _DATE.match(line), _CPU.search(line), _EMC.search(line), _GPU.search(line)
    return Reading(
        date=date[1] if date else None,
        memory=memory,
        cores=_cores(cpu[1], cpu[2]) if cpu else (),
        emc=(int(emc[1]), int(emc[2]) if emc[2] else None) if emc else None,
        gpu_load=int(gpu[1]) if gpu and gpu[1] else None,
        gpu_clocks=tuple(int(clock) for clock in gpu[2].split(",") if clock) if gpu and gpu[2] else (),
        temperatures={name: float(value) for name, value in _TEMPERATURE.findall(line) if float(value) > ABSENT},
        rails={name: int(now) * MILLI for name, now, _ in _RAIL.findall(line)},
    )


def _cores(text: str, common: str | None) -> tuple[tuple[int, int | None] | None, ...]:
    """ "44%@1421,off" or, of old versions, "44%,off" with one clock for all."""
    cores: list[tuple[int, int | None] | None] = []
    for core in text.split(","):
        load, _, clock = core.strip().partition("%")
        if not load.isdecimal():
            cores.append(None)
            continue
        clock = clock.lstrip("@") or common or ""
        cores.append((int(load), int(clock) if clock else None))
    return tuple(cores)


def total(rails: dict[str, float] | Sequence[str]) -> tuple[tuple[str, ...], str] | None:
    """The rails that add up to all that the module takes, and what they are; None where that isn't known."""
    for names, scope in TOTALS:
        if all(name in rails for name in names):
            return names, scope
    return None


class TegrastatsMeter:
    """A meter that runs tegrastats and reads what it prints.

    Attributes:
        readings: of the last measurement, with the seconds since its start: clocks and temperatures too.
    """

    def __init__(self, rails: tuple[str, ...], scope: str, command: Sequence[str] = COMMAND) -> None:
        self._rails = Rails(name="tegrastats " + " + ".join(rails), scope=scope, whole=rails)
        self.name, self.scope, self.interval = self._rails.name, scope, INTERVAL
        self._command = tuple(command)
        self._process: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self._lines: list[tuple[float, Reading]] = []
        self._first = threading.Event()
        self._started = 0.0
        self.readings: tuple[tuple[float, Reading], ...] = ()

    def start(self) -> None:
        """Begin; returns when the first line was read."""
        self._lines, self._first = [], threading.Event()
        self._process = _run(self._command)
        self._thread = threading.Thread(target=self._collect, name="dimrt-tegrastats", daemon=True)
        self._thread.start()
        if not self._first.wait(FIRST_LINE):
            self._end()
            raise ResourceError(f"{self._command[0]} printed no power within {FIRST_LINE:g} s; measure without power")
        self._started = time.perf_counter()

    def _collect(self) -> None:
        process = self._process
        if process is None or process.stdout is None:
            return
        for line in process.stdout:
            reading = parse_line(line)
            if reading is not None and all(name in reading.rails for name in self._rails.whole):
                self._lines.append((time.perf_counter(), reading))
                self._first.set()

    def stop(self) -> Power:
        """End; the last line holds until now."""
        stopped = time.perf_counter()
        self._end()
        lines = [line for line in self._lines if line[0] <= stopped]
        moments = [(max(at, self._started), reading) for at, reading in lines if at >= self._started]
        before = [reading for at, reading in lines if at < self._started]
        first, last = before[-1] if before else moments[0][1], moments[-1][1] if moments else before[-1]
        moments = [(self._started, first), *moments, (stopped, last)]
        self.readings = tuple((at - self._started, reading) for at, reading in moments)
        gauges = [(at, {rail: line.rails.get(rail, 0.0) for rail in first.rails}) for at, line in moments]
        return of_gauges(gauges, self._rails)

    def _end(self) -> None:
        if self._process is not None:
            _quit(self._process)
        if self._thread is not None:
            self._thread.join()
        self._process = self._thread = None


def find(command: Sequence[str] = COMMAND) -> tuple[TegrastatsMeter | None, str]:
    """The board's meter; or None and why there is none. Runs tegrastats for its first line."""
    if shutil.which(command[0]) is None:
        return None, f"no {command[0]}: this is no Jetson (or a container without it; mount /usr/bin/tegrastats)"
    line = _first_line(command)
    reading = parse_line(line)
    if reading is None:
        return None, f"{command[0]} printed {line[:120]!r} instead of its statistics"
    found = total(reading.rails)
    if found is None:
        rails = ", ".join(reading.rails) or "no power at all (this board has no power monitor)"
        return None, f"{command[0]} tells {rails}; which of it is the whole input of this board isn't known"
    return TegrastatsMeter(*found, command), ""


def _run(command: Sequence[str]) -> "subprocess.Popen[str]":
    arguments = [*command, "--interval", str(round(INTERVAL * 1000))]
    try:
        return subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True
        )
    except OSError as error:
        raise ResourceError(f"can't run {command[0]}: {error}; measure without power") from error


def _first_line(command: Sequence[str]) -> str:
    """The first line printed; "" when none comes in time."""
    process = _run(command)
    timer = threading.Timer(FIRST_LINE, process.kill)
    timer.start()
    try:
        return process.stdout.readline() if process.stdout else ""
    finally:
        timer.cancel()
        _quit(process)


def _quit(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
