"""What the demo says while it runs, on a terminal that `etherloom run` draws its table on at the same time."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable

__all__ = ["Progress"]

# ECMA-48, and DEC's save and restore cursor: the table's own cursor movements are relative, so a line at the top of
# the screen can be rewritten at any time if the cursor is put back.
CLEAR_AND_START_AT_LINE_3 = "\x1b[2J\x1b[3;1H"
AT_LINE_1 = "\x1b7\x1b[1;1H\x1b[2K\x1b[1m{}\x1b[0m\x1b8"


class Progress:
    """The top line of a terminal; one line for each phase where there is no terminal."""

    def __init__(self) -> None:
        self._live = sys.stdout.isatty()
        self._phase = ""
        if self._live:
            self._write(CLEAR_AND_START_AT_LINE_3)

    def phase(self, text: str) -> None:
        """Something new begins."""
        self._phase = text
        if self._live:
            self.part("")
        else:
            self._write(f"demo: {text}\n")

    def part(self, text: str) -> None:
        """How far it has come."""
        if self._live:
            line = f"{self._phase}  {text}"[
                : shutil.get_terminal_size().columns
            ]  # the next one would not clear a second
            self._write(AT_LINE_1.format(line))

    def counter(self, count: int) -> Callable[[int], None]:
        """What to call with how many of `count` are done; it shows one in twenty of them."""

        def done(number: int) -> None:
            if number % max(1, count // 20) == 0:
                self.part(f"{number} of {count}")

        return done

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
