"""The free-running timer: TCTR counts at 33 1/3 MHz, and TIMERINT says at which count an interrupt is wanted."""

from __future__ import annotations

from collections.abc import Callable

from etherloom import Context, NetClient

__all__ = ["WRAP", "FreeTimer"]

TICK_NS = 30
WRAP = 1 << 32


class FreeTimer:
    """Counts lazily: one base time, and one deadline while TIMERINT is not zero.

    `expired` is called when TCTR passes TIMERINT. The next time is a whole turn of 128.8 s later, unless TCTR is
    restarted or TIMERINT moved ahead of it.
    """

    def __init__(self, nic: NetClient, context: Context, expired: Callable[[], None]) -> None:
        self._clock = context.clock
        self._expired = expired
        self._deadline = context.timer(nic, self._fire)
        self._base_ns = self._clock.now_ns()
        self._target = 0

    def restart(self) -> None:
        """TCTR was written, with anything: count from 0."""
        self._base_ns = self._clock.now_ns()
        self._arm()

    def aim(self, target: int) -> None:
        """TIMERINT was written."""
        self._target = target
        self._arm()

    def ticks(self) -> int:
        """Since the restart; TCTR is the lower 32 bits."""
        return (self._clock.now_ns() - self._base_ns) // TICK_NS

    def _arm(self) -> None:
        if not self._target:
            self._deadline.cancel()
            return
        ticks = self.ticks()
        ticks += (self._target - ticks) % WRAP or WRAP
        self._deadline.arm(self._base_ns + ticks * TICK_NS)

    def _fire(self) -> None:
        self._arm()
        self._expired()
