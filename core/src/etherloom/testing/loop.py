"""An asyncio loop on virtual time: tests never sleep, and a test that would hang fails instead.

Time stands still until `advance` moves it, from timer to timer in order. File descriptors are real: the loop polls
them without waiting, so sockets, pipes and taps of the same process work as they do elsewhere. What the kernel or
another process does in its own time is waited for by `run_until` and `run_until_complete`, and by nothing else::

    loop = VirtualLoop()
    network = Network(loop, clock=loop.clock)
    ...
    loop.run_until_idle()  # everything that is ready, until nothing is
    loop.advance(3 * SECOND_NS)  # and what falls due in the next three seconds
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

from etherloom.loop.clock import Clock

__all__ = ["SECOND_NS", "VirtualClock", "VirtualLoop"]

SECOND_NS = 1_000_000_000

# Turns after which a test is told that something reschedules itself for ever. Draining a full queue takes 20 (10,000
# frames, 512 a turn), so no honest work comes near.
TURNS_MAX = 100_000

# How long to wait for the kernel or another process before the test has failed.
WAIT_S = 10.0

Result = TypeVar("Result")


class VirtualClock(Clock):
    """A clock that its `VirtualLoop` moves; it starts at 0."""

    def __init__(self) -> None:
        self._now_ns = 0

    def now_ns(self) -> int:
        """Virtual nanoseconds since the loop was made."""
        return self._now_ns


class _Selector(selectors.DefaultSelector):
    """Polls, and waits only while `until` says so. asyncio's time-out tells it how far off the next timer is.

    Attributes:
        stop: Called when nothing is ready and nothing is waited for.
        until: What to wait for in real time; None for nothing.
        timer_s: Seconds to the next timer when the loop was last idle; None without one.
        turns: Turns since the loop was started.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stop: Callable[[], None] = lambda: None
        self.until: Callable[[], bool] | None = None
        self.timer_s: float | None = None
        self.turns = 0
        self._idle = False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.turns += 1
        if self.turns > TURNS_MAX:
            self.stop()
        ready = super().select(0)
        if ready or timeout == 0:
            self._idle = False
        elif not self._idle:
            # asyncio fires what is due within its clock's resolution after this poll, so one idle poll proves nothing.
            self._idle = True
        else:
            self.timer_s = timeout
            if self.until is not None and not self.until():
                ready = super().select(WAIT_S)
            self._idle = False
            if not ready:
                self.stop()
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module's text. What escapes into the loop is raised by the call that ran it.

    Attributes:
        clock: The same time in nanoseconds, for `Network(loop, clock=loop.clock)`.
    """

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self._polls = _Selector()
        self._escaped: list[BaseException] = []
        super().__init__(self._polls)
        self._polls.stop = self.stop
        self.set_exception_handler(self._keep)

    def time(self) -> float:
        """Virtual seconds, which asyncio's own timers go by."""
        return self.clock.now_ns() / SECOND_NS

    @property
    def next_timer_ns(self) -> int | None:
        """When the next timer was due, at the loop's last idle moment; None without one."""
        if self._polls.timer_s is None:
            return None
        # A timer less than half a nanosecond away would round to now and never be reached.
        return self.clock._now_ns + max(1, round(self._polls.timer_s * SECOND_NS))

    def run_until_idle(self) -> None:
        """Run callbacks, bottom halves, due timers and ready fds until nothing is left to do at this time.

        Raises:
            RuntimeError: Something reschedules itself for ever.
            BaseException: What a callback let escape; asyncio would only have logged it.
        """
        self._polls.turns = 0
        self.run_forever()
        self._raise_escaped()
        if self._polls.turns > TURNS_MAX:
            raise RuntimeError(f"the loop did not become idle in {TURNS_MAX} turns")

    def advance(self, delay_ns: int) -> None:
        """Move time on by `delay_ns`, stopping at each timer on the way; the loop is idle before and after each."""
        end_ns = self.clock._now_ns + delay_ns
        self.run_until_idle()
        while (due_ns := self.next_timer_ns) is not None and due_ns <= end_ns:
            self.clock._now_ns = due_ns
            self.run_until_idle()
        self.clock._now_ns = end_ns
        self.run_until_idle()

    def run_until(self, condition: Callable[[], bool]) -> None:
        """Wait for what the kernel or another process does in real time, until `condition()` holds.

        Raises:
            TimeoutError: It does not hold, and nothing has happened for 10 real seconds.
        """
        self._polls.until = condition
        try:
            self.run_until_idle()
        finally:
            self._polls.until = None
        if not condition():
            raise TimeoutError(f"nothing happened for {WAIT_S} s")

    def run_until_complete(self, future: Generator[Any, None, Result] | Awaitable[Result]) -> Result:
        """Run a coroutine to its end, waiting for real events. Virtual time stands still meanwhile.

        Raises:
            RuntimeError: It has not ended, and nothing has happened for 10 real seconds.
        """
        self._polls.turns = 0
        self._polls.until = lambda: False
        try:
            result = super().run_until_complete(future)
        finally:
            self._polls.until = None
        self._raise_escaped()
        return result

    def _keep(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._escaped.append(context.get("exception") or RuntimeError(context["message"]))

    def _raise_escaped(self) -> None:
        if self._escaped:
            escaped, self._escaped = self._escaped, []
            raise escaped[0]
