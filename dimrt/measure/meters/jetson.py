"""Power of a Jetson board, from what tegrastats prints while something runs."""

import shutil
import subprocess
import threading
import time
from collections.abc import Sequence

from dimrt.errors import ResourceError
from dimrt.measure.meters.energy import Power, Rails, of_gauges
from dimrt.measure.meters.tegrastats import Reading, parse_line, total

COMMAND = ("tegrastats",)
INTERVAL = 0.1
"""Seconds between two lines; tegrastats prints one a second unless told."""
WAIT = 5.0
"""Seconds to wait for lines."""
ENOUGH = 2
"""Lines before a measurement begins: averages of the first one are still empty on some boards."""


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
        self._ready = threading.Event()
        self._started = 0.0
        self.readings: tuple[tuple[float, Reading], ...] = ()

    def start(self) -> None:
        """Begin; returns when tegrastats runs."""
        self._lines, self._ready = [], threading.Event()
        self._process = _run(self._command)
        self._thread = threading.Thread(target=self._collect, name="dimrt-tegrastats", daemon=True)
        self._thread.start()
        self._ready.wait(WAIT)
        if len(self._lines) < ENOUGH:
            self._end()
            raise ResourceError(f"{self._command[0]} printed no power within {WAIT:g} s; measure without power")
        self._started = time.perf_counter()

    def _collect(self) -> None:
        process = self._process
        if process is None or process.stdout is None:
            return
        for line in process.stdout:
            reading = parse_line(line)
            if reading is not None and all(name in reading.rails for name in self._rails.whole):
                self._lines.append((time.perf_counter(), reading))
                if len(self._lines) >= ENOUGH:
                    self._ready.set()
        self._ready.set()

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
    reading = _first_reading(command)
    if reading is None:
        return None, f"{command[0]} printed no statistics within {WAIT:g} s; run it to see why"
    if not reading.rails:
        return None, f"{command[0]} tells no power: run as root (JetPack 4), or the board has no monitor (Nano 2 GB)"
    found = total(reading.rails)
    if found is None:
        return None, f"{command[0]} tells {', '.join(reading.rails)}, but which of them is the whole board isn't known"
    return TegrastatsMeter(*found, command), ""


def _run(command: Sequence[str]) -> "subprocess.Popen[str]":
    arguments = [*command, "--interval", str(round(INTERVAL * 1000))]
    try:
        return subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="ascii",
            errors="replace",
        )
    except OSError as error:
        raise ResourceError(f"can't run {command[0]}: {error}; measure without power") from error


def _first_reading(command: Sequence[str]) -> Reading | None:
    """What the first line of statistics says; None when none comes in time."""
    process = _run(command)
    timer = threading.Timer(WAIT, process.kill)
    timer.start()
    try:
        readings = (parse_line(line) for line in process.stdout or ())
        return next((reading for reading in readings if reading is not None), None)
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
