"""Lines that tegrastats really printed on a dozen boards (captures/README.md says where they are from)."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from dimrt.measure.meters.tegrastats import Reading, parse_line, total

CAPTURES = Path(__file__).parent / "captures"


@dataclass(frozen=True)
class Expected:
    """What the first line of a capture says, read by eye."""

    watts: float | None  # of the whole board
    memory: tuple[int, int]
    cores: tuple[int, int]  # on, all
    gpu_load: int | None
    gpu_clocks: tuple[int, ...]
    emc: tuple[int, int | None] | None
    hottest: tuple[str, float] | None = None  # one sensor's
    date: str | None = None


EXPECTED = {
    "tx1-l4t-28": Expected(None, (748, 3854), (0, 0), None, (), None),
    "tx1-jetpack3": Expected(2.532, (1179, 3983), (4, 4), 0, (76,), (7, 408), ("PMIC", 100)),
    "nano-jetpack4": Expected(1.057, (717, 3964), (4, 4), 0, (76,), (2, 204), ("iwlwifi", 33)),
    "nano-jetpack4.6.1": Expected(1.750, (1923, 3964), (4, 4), 0, (76,), (0, 1600), ("AO", 45)),
    "tx2-jetpack3": Expected(1.931, (1685, 7854), (6, 6), 0, (140,), (0, 1866), ("thermal", 39.9)),
    "tx2-jetpack4.2": Expected(3.140, (2020, 7852), (6, 6), 0, (), (0, None), ("Tdiode", 41.25)),
    "tx2-jetpack4": Expected(3.056, (2344, 7852), (4, 6), 0, (624,), (4, 1600), ("GPU", 35)),
    "xavier-nx-jetpack4": Expected(6.140, (5246, 7771), (6, 6), 0, (1109,), (2, 1600), ("CPU", 33.5)),
    "xavier-nx-jetpack5.1.2": Expected(
        2.763, (3168, 6851), (6, 6), 0, (114,), (2, 204), ("GPU", 45.5), "07-09-2024 13:31:31"
    ),
    "agx-xavier-jetpack4.2": Expected(7.632, (14700, 15692), (8, 8), 0, (), (0, None), ("Tdiode", 32)),
    "agx-xavier-jetpack4": Expected(3.346, (721, 31927), (4, 8), 0, (318,), (0, 665), ("AUX", 36)),
    "orin-nx-jetpack5": Expected(5.299, (6334, 15388), (4, 8), 0, (611,), (0, 2133), ("CV1", 46.406)),
    "orin-nano-jetpack6": Expected(
        4.824, (3452, 7620), (6, 6), 0, (), None, ("tj", 50.25), "06-18-2025 11:25:24"
    ),
    "agx-orin-jetpack5": Expected(
        9.428, (1205, 30623), (12, 12), 0, (114,), (0, 204), ("GPU", 38.156), "10-16-2023 10:59:22"
    ),
    "agx-orin-jetpack6": Expected(
        8.726, (18207, 62841), (12, 12), 0, (0, 0), (3, 2133), ("soc0", 49.093), "05-09-2026 18:42:06"
    ),
    "agx-orin-jetpack6-spaced": Expected(
        12.377, (29114, 30697), (12, 12), 0, (305, 305), (1, 2133), ("gpu", 47.812)
    ),
    "agx-orin-jetpack6-not-root": Expected(10.370, (2448, 62840), (12, 12), 0, (), None, ("cpu", 42)),
    "agx-orin-jetpack7.2": Expected(
        13.907, (20642, 62817), (12, 12), 12, (1300, 1300), (3, 3199), ("cpu", 52.968), "07-25-2026 09:08:28"
    ),
    "thor-jetpack7": Expected(
        8.291, (4208, 125773), (14, 14), None, (0, 0, 0), (0, 665), ("soc345", 34.5), "05-17-2026 10:00:32"
    ),
    "thor-jetpack7.2": Expected(
        20.402, (9101, 125811), (14, 14), None, (314, 314, 314), (7, 3200), ("tj", 35.906), "07-23-2026 15:29:26"
    ),
}  # fmt: skip


def lines(name: str) -> list[str]:
    return (CAPTURES / f"{name}.txt").read_text(encoding="utf-8").splitlines()


def first(name: str) -> Reading:
    reading = parse_line(lines(name)[0])
    assert reading is not None
    return reading


def watts(reading: Reading) -> float | None:
    found = total(reading.rails)
    return None if found is None else sum(reading.rails[rail] for rail in found[0])


def test_every_capture_is_expected() -> None:
    assert {path.stem for path in CAPTURES.glob("*.txt")} == set(EXPECTED)
    listed = (CAPTURES / "README.md").read_text(encoding="utf-8")
    assert [name for name in EXPECTED if f"{name}.txt" not in listed] == []


@pytest.mark.parametrize("name", EXPECTED)
def test_first_line(name: str) -> None:
    reading, expected = first(name), EXPECTED[name]
    assert watts(reading) == (None if expected.watts is None else pytest.approx(expected.watts))
    assert reading.memory["RAM"] == expected.memory
    assert (sum(core is not None for core in reading.cores), len(reading.cores)) == expected.cores
    assert (reading.gpu_load, reading.gpu_clocks, reading.emc) == (
        expected.gpu_load,
        expected.gpu_clocks,
        expected.emc,
    )
    assert reading.date == expected.date
    if expected.hottest is not None:
        sensor, degrees = expected.hottest
        assert reading.temperatures[sensor] == degrees


@pytest.mark.parametrize("name", EXPECTED)
def test_every_line_has_the_same_rails_and_sensors(name: str) -> None:
    readings = [parse_line(line) for line in lines(name)]
    assert None not in readings
    assert len({tuple(reading.rails) for reading in readings if reading}) == 1
    assert all(-50 < degrees < 150 for reading in readings if reading for degrees in reading.temperatures.values())


def test_rails_are_what_is_drawn_now_and_not_the_average() -> None:
    assert first("xavier-nx-jetpack4").rails == {"VDD_IN": 6.140, "VDD_CPU_GPU_CV": 2.706, "VDD_SOC": 1.074}
    assert [parse_line(line).rails["POM_5V_IN"] for line in lines("nano-jetpack4")] == [1.057, 1.015, 1.057]  # type: ignore[union-attr]


def test_a_rail_inside_another_is_not_added() -> None:
    """AGX Orin's VDDQ_VDD2_1V8AO hangs on VIN_SYS_5V0; channels named NC hold nothing."""
    reading = first("agx-orin-jetpack5")
    assert reading.rails == {"VDD_GPU_SOC": 4.788, "VDD_CPU_CV": 0.798, "VIN_SYS_5V0": 3.842, "VDDQ_VDD2_1V8AO": 0.707}
    assert total(reading.rails) == (
        ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
        "the module without its carrier board",
    )


def test_sensors_that_are_off_are_left_out() -> None:
    assert {"CV0", "CV1", "CV2"}.isdisjoint(first("agx-orin-jetpack5").temperatures)


def test_thor_with_its_carrier_board() -> None:
    """The power of a Thor that tells VIN, as posted (the line was posted shortened)."""
    reading = parse_line(
        "12-09-2025 04:56:58 RAM 16614/125772MB (lfb 106x4MB) cpu@35.25C tj@36.343C VDD_GPU 5956mW/5956mW "
        "VDD_CPU_SOC_MSS 7148mW/7148mW VIN_SYS_5V0 6807mW/6807mW VIN 25530mW/12765mW"
    )
    assert reading is not None and total(reading.rails) == (("VIN",), "the board with its carrier")
    assert watts(reading) == 25.530


def test_cores() -> None:
    cores = first("tx2-jetpack4").cores
    assert cores == ((1, 345), None, None, (1, 345), (0, 345), (2, 345))


@pytest.mark.parametrize("line", ["", "ERROR: failed to load /tmp/.tstats.txt", "Segmentation fault (core dumped)"])
def test_other_lines_are_none(line: str) -> None:
    assert parse_line(line) is None


@pytest.mark.parametrize("name", EXPECTED)
def test_no_cut_of_a_line_breaks_the_parser(name: str) -> None:
    """A line read while it's written: whatever is there is read, nothing is raised."""
    line = lines(name)[0]
    for end in range(len(line)):
        parse_line(line[:end])
