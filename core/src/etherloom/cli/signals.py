"""The signals of a run: which stop it, which has its file read again, and what the end of its terminal is."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["handled"]

STANDARD_STREAMS = (0, 1, 2)


@contextmanager
def handled(
    loop: asyncio.AbstractEventLoop, stop: Callable[[str], None], reload: Callable[[], None] | None
) -> Iterator[None]:
    """SIGINT and SIGTERM stop. The second of them is the system's: it ends us at once.

    SIGHUP has two senders. Of somebody's `kill` it is a wish to reload, if there is anything to read again; of a
    terminal that goes away, of ssh or of a window, it is the end of whoever does not ask otherwise with `nohup`.

    Python's handlers and not the loop's, which would have to wait for whatever hangs: for a script, say.
    """
    terminal = _Terminal()
    outlives_terminal = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

    def on_stop(number: int, _: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)
        loop.call_soon_threadsafe(stop, signal.Signals(number).name)

    def on_hangup(_: int, __: FrameType | None) -> None:
        if terminal.has_hung_up():
            terminal.leave()
            if not outlives_terminal:
                loop.call_soon_threadsafe(stop, "the terminal hung up")
        elif reload is not None:
            loop.call_soon_threadsafe(reload)
        elif not outlives_terminal:
            loop.call_soon_threadsafe(stop, signal.SIGHUP.name)

    before = {each: signal.signal(each, on_stop) for each in (signal.SIGINT, signal.SIGTERM)}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, on_hangup)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


class _Terminal:
    """The controlling terminal, if we were started on one, and our standard streams on it."""

    def __init__(self) -> None:
        self._there = _has_terminal()
        self._streams = [fd for fd in STANDARD_STREAMS if os.isatty(fd)]

    def has_hung_up(self) -> bool:
        """Whether it has gone, and was not left yet."""
        return self._there and not _has_terminal()

    def leave(self) -> None:
        """Put the streams on nothing: to write to a terminal that has gone is an error, at exit too."""
        self._there = False
        nothing = os.open(os.devnull, os.O_RDWR)
        for fd in self._streams:
            if not os.isatty(fd):
                os.dup2(nothing, fd)
        os.close(nothing)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:  # ENXIO: we have none. EIO: it is hanging up just now
        return False
    return True
