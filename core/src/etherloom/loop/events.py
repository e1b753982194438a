"""What the loop can be asked for: fd watches, bottom halves, timers (L-02, L-03, L-08, L-09).

Thin handles over asyncio: level-triggered, one thread, any loop that has `add_reader`. Each is idempotent and can be
closed at any time, from inside its own callback too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from etherloom.loop.clock import Clock

__all__ = ["BottomHalf", "FdWatch", "Timer"]


class FdWatch:
    """Read and write switches of one fd. Both are off until `readable(True)` or `writable(True)`."""

    __slots__ = ("_loop", "_on_readable", "_on_writable", "_reading", "_writing", "fd")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        fd: int,
        on_readable: Callable[[], None] | None,
        on_writable: Callable[[], None] | None,
    ) -> None:
        self.fd = fd
        self._loop = loop
        self._on_readable, self._on_writable = on_readable, on_writable
        self._reading = self._writing = False

    def readable(self, on: bool) -> None:
        """Call `on_readable` while there is something to read. Off is back-pressure: the kernel keeps the data."""
        if on == self._reading or self._on_readable is None:
            return
        self._reading = on
        if on:
            self._loop.add_reader(self.fd, self._on_readable)
        else:
            self._loop.remove_reader(self.fd)

    def writable(self, on: bool) -> None:
        """Call `on_writable` while the fd has room; switch off in the callback."""
        if on == self._writing or self._on_writable is None:
            return
        self._writing = on
        if on:
            self._loop.add_writer(self.fd, self._on_writable)
        else:
            self._loop.remove_writer(self.fd)

    def close(self) -> None:
        """Both switches off, for good. The fd itself is the client's to close, afterwards."""
        self.readable(False)
        self.writable(False)
        self._on_readable = self._on_writable = None


class BottomHalf:
    """A callback that runs once per `schedule`, however often it is scheduled before it runs."""

    __slots__ = ("_callback", "_handle", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback: Callable[[], None] | None = callback
        self._handle: asyncio.Handle | None = None

    @property
    def scheduled(self) -> bool:
        """Whether it is going to run."""
        return self._handle is not None

    def schedule(self) -> None:
        """Run from the loop's next turn; while halves run, from the turn after."""
        if self._handle is None and self._callback is not None:
            self._handle = self._loop.call_soon(self._run)

    def cancel(self) -> None:
        """Do not run, until scheduled again."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def close(self) -> None:
        """Do not run, ever again."""
        self.cancel()
        self._callback = None

    def _run(self) -> None:
        self._handle = None
        if self._callback is not None:
            self._callback()


class Timer:
    """A one-shot timer on a `Clock`; re-arm it with `arm`.

    To arm and cancel costs a call and no more where the loop is going to call before the new time anyway: a timer that
    mostly does not come to fire, such as one that guards an answer, is put on the loop once a period.
    """

    __slots__ = ("_callback", "_clock", "_handle", "_look_ns", "_loop", "armed", "when_ns")

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, callback: Callable[[], None]) -> None:
        self._loop, self._clock = loop, clock
        self._callback: Callable[[], None] | None = callback
        self._handle: asyncio.Handle | None = None
        self._look_ns = 0  # when the handle is due
        self.armed = False  # whether it is going to fire
        self.when_ns = 0

    def arm(self, when_ns: int) -> None:
        """Fire once the clock reads `when_ns`, or from the next turn if that is past. Replaces an earlier `arm`."""
        if self._callback is None:
            return
        self.when_ns, self.armed = when_ns, True
        if self._handle is None or when_ns < self._look_ns:
            self._look_at(when_ns)

    def arm_in(self, delay_ns: int) -> None:
        """`arm` at `delay_ns` from now."""
        self.arm(self._clock.now_ns() + delay_ns)

    def cancel(self) -> None:
        """Do not fire, until armed again."""
        self.armed = False

    def close(self) -> None:
        """Do not fire, ever again."""
        self.armed = False
        self._callback = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _look_at(self, when_ns: int) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._look_ns = when_ns
        self._handle = self._loop.call_later(max(0, when_ns - self._clock.now_ns()) / 1e9, self._look)

    def _look(self) -> None:
        self._handle = None
        if not self.armed or self._callback is None:
            return
        if self._clock.now_ns() < self.when_ns:  # armed again since, or the loop rounds its time-outs downwards
            self._look_at(self.when_ns)
            return
        self.armed = False
        self._callback()
