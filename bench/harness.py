"""One way of measuring: all sides in turn, round after round, and the median of what each round says.

A round measures every side once, and every other round goes backwards, so that a machine that slows down meanwhile
does not favour anybody. A comparison is the median of the rounds' own ratios.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs

__all__ = ["Benchmark", "Goal", "Result", "Unavailable", "format_result", "machine", "measure"]


class Unavailable(Exception):
    """A side cannot be measured here; the text says what lacks."""


@attrs.frozen
class Goal:
    """What is to be shown: the first side's number over the number of `against`.

    Attributes:
        against: The other side; empty for the first side's number itself.
        bound: At least this, or at most where less is better; None where nothing is promised.
        aim: What we would like.
    """

    against: str
    bound: float | None
    aim: float


@attrs.frozen
class Benchmark:
    """One row of the table.

    Attributes:
        name: To pick it by.
        what: One line of what is measured.
        unit: Of one number.
        sides: Name to a function that measures once, given the seconds it may take. The first side is Etherloom.
        goals: See `Goal`.
        more_is_better: Frames per second, not microseconds.
    """

    name: str
    what: str
    unit: str
    sides: Mapping[str, Callable[[float], float]]
    goals: tuple[Goal, ...] = ()
    more_is_better: bool = True


@attrs.frozen
class Result:
    """The numbers of one benchmark, by side, one for each round, and why a side has none."""

    benchmark: Benchmark
    numbers: Mapping[str, Sequence[float]]
    unavailable: Mapping[str, str]

    def against(self, side: str) -> float:
        """The first side over another one: the median of the rounds' ratios."""
        own = self.numbers[next(iter(self.benchmark.sides))]
        if not side:
            return statistics.median(own)
        return statistics.median(a / b for a, b in zip(own, self.numbers[side], strict=True))


def measure(benchmark: Benchmark, rounds: int, seconds: float, progress: Callable[[str], None]) -> Result:
    """Run a benchmark.

    Args:
        benchmark: What to run.
        rounds: How often each side is measured.
        seconds: How long each measurement lasts, where it is a matter of time.
        progress: Told what runs now.
    """
    numbers: dict[str, list[float]] = {side: [] for side in benchmark.sides}
    unavailable: dict[str, str] = {}
    for number in range(rounds):
        order = list(benchmark.sides)
        for side in order if number % 2 == 0 else reversed(order):
            if side in unavailable:
                continue
            progress(f"{benchmark.name}: round {number + 1} of {rounds}: {side}")
            try:
                numbers[side].append(benchmark.sides[side](seconds))
            except Unavailable as error:
                unavailable[side] = str(error)
                del numbers[side]
    return Result(benchmark, numbers, unavailable)


def format_result(result: Result) -> Iterator[str]:
    """The lines of a result's table."""
    benchmark = result.benchmark
    first = next(iter(benchmark.sides))
    yield f"{benchmark.name}: {benchmark.what}"
    yield f"  {benchmark.unit:<22}{'min':>12}{'median':>12}{'max':>12}   {first} / side"
    for side in benchmark.sides:
        if side in result.unavailable:
            yield f"  {side:<22}not measured: {result.unavailable[side]}"
            continue
        values = result.numbers[side]
        low, middle, high = min(values), statistics.median(values), max(values)
        ratio = f"{result.against(side):.2f}" if side != first and first in result.numbers else ""
        yield f"  {side:<22}{_short(low):>12}{_short(middle):>12}{_short(high):>12}   {ratio}"
    for goal in benchmark.goals:
        if first in result.unavailable or goal.against in result.unavailable:
            continue
        value = result.against(goal.against)
        subject = f"{first} / {goal.against}" if goal.against else first
        yield f"  goal: {subject}: {value:.3g}, {_verdict(value, goal, benchmark.more_is_better)}"


def machine() -> str:
    """One line that says where the numbers come from."""
    cpu = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    words = [
        f"{len(os.sched_getaffinity(0))} x {cpu}",
        f"Linux {platform.release()}",
        f"Python {platform.python_version()}",
    ]
    try:
        said = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=True).stdout
        words.append(said.splitlines()[0])
    except (OSError, subprocess.CalledProcessError):
        pass  # then QEMU is not among the sides either
    return ", ".join(words)


def _verdict(value: float, goal: Goal, more_is_better: bool) -> str:
    word = "at least" if more_is_better else "at most"

    def said(name: str, limit: float) -> str:
        met = value >= limit if more_is_better else value <= limit
        return f"{name} {word} {limit:g} {'met' if met else 'MISSED'}"

    parts = [said("bound", goal.bound)] if goal.bound is not None else []
    return ", ".join([*parts, said("aim", goal.aim)])


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
