"""A measurement in a process of its own, for its memory, or so that nothing of the bench is in its way."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

__all__ = ["alone"]


def alone(module: str, function: str, *arguments: int) -> Callable[[float], float]:
    """A function of a module that prints its number when it is run, called in a fresh process."""

    def measure(_: float) -> float:
        command = [sys.executable, "-m", module, function, *map(str, arguments)]
        return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)

    return measure
