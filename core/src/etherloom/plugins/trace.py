"""ETHERLOOM_TRACE: one line for every hook call, its arguments, its result or exception, its duration.

`1` or `stderr` writes to standard error, any other value names a file to append to. A call made from within another
is indented, and stands before it, since a line is written when its call ends.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from reprlib import Repr
from typing import TYPE_CHECKING

from etherloom.errors import ConfigError

if TYPE_CHECKING:
    from pluggy import HookImpl, PluginManager, Result

__all__ = ["VARIABLE", "Tracer"]

VARIABLE = "ETHERLOOM_TRACE"

_OFF = ("", "0")
_STDERR = ("1", "stderr")


class Tracer:
    """Writes the lines.

    Args:
        path: The file to append to, opened for each line so that a rotated or removed file is no trouble; None for
            standard error.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._started_ns: list[int] = []
        self._repr = Repr()  # never raises, whatever the object's own __repr__ does
        self._repr.maxother = self._repr.maxstring = 120
        self._repr.maxlist = self._repr.maxtuple = self._repr.maxdict = 10

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Tracer | None:
        """The tracer that ETHERLOOM_TRACE asks for, or None.

        Raises:
            ConfigError: The file cannot be written.
        """
        value = environment.get(VARIABLE, "")
        if value in _OFF:
            return None
        if value in _STDERR:
            return cls()
        try:
            with Path(value).open("a"):
                return cls(Path(value))
        except OSError as error:
            raise ConfigError(
                f"cannot write {value!r}: {error.strerror}", origin=VARIABLE, allowed="1, or a file to append to"
            ) from error

    def attach(self, manager: PluginManager, owner: str) -> None:
        """Trace every call that `manager` makes; `owner` is whose plugins it has."""

        def before(hook: str, implementations: Sequence[HookImpl], arguments: Mapping[str, object]) -> None:
            self._started_ns.append(time.perf_counter_ns())

        def after(
            outcome: Result[object], hook: str, implementations: Sequence[HookImpl], arguments: Mapping[str, object]
        ) -> None:
            duration_us = (time.perf_counter_ns() - self._started_ns.pop()) / 1000
            if not implementations:
                return
            given = ", ".join(f"{name}={self._repr.repr(value)}" for name, value in arguments.items())
            if outcome.exception is not None:
                ending = f"raised {self._repr.repr(outcome.exception)}"
            else:
                ending = f"returned {self._repr.repr(outcome.get_result())}"
            self._write(f"{'  ' * len(self._started_ns)}{owner}: {hook}({given}) {ending} in {duration_us:.1f} us")

        manager.add_hookcall_monitoring(before, after)

    def _write(self, line: str) -> None:
        line = line.replace("\n", "\\n") + "\n"
        if self._path is None:
            sys.stderr.write(line)
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:  # a full disk must not stop the network
            sys.stderr.write(f"{VARIABLE}: {error}: {line}")
