"""When to signal INTx, decided without I/O: events in, at most one action out.

A client has one eventfd for a level. QEMU without KVM takes a signal for "the pin goes up", takes the pin down at the
guest's first access to a BAR thereafter, whatever that access does, and says UNMASK. At that moment the guest has
mostly read the interrupt status and not yet acknowledged it, so the line is still high and about to fall. Therefore:

- a rise is signalled at once, whether or not the client said UNMASK since the last one;
- a line that is still high at UNMASK gets a timer: if it falls, the interrupt is over, and if it does not, the guest
  found something new behind its back (a frame came between its read and its acknowledgement) and is told again.

Signalling at every UNMASK instead doubles the guest's interrupts; signalling rises only loses that last case, and the
device is stuck for good. A timer that runs is not started again: cloud-hypervisor says UNMASK after every access.
"""

from __future__ import annotations

from enum import Enum, auto

__all__ = ["PATIENCE_NS", "Action", "Intx"]

# A guest acknowledges some 50-300 us after its read under TCG.
PATIENCE_NS = 500_000


class Action(Enum):
    """What the caller does now."""

    NOTHING = auto()
    FIRE = auto()  # signal the trigger
    ARM = auto()  # call `timer` in PATIENCE_NS
    CANCEL = auto()  # do not


class Intx:
    """The state of one line.

    Attributes:
        line: Asserted by the device.
        masked: By an explicit MASK, until UNMASK.
        connected: There is a trigger.
        owed: The line rose and could not be signalled.
        armed: The timer runs.
    """

    __slots__ = ("armed", "connected", "line", "masked", "owed")

    def __init__(self) -> None:
        self.line = self.masked = self.connected = self.owed = self.armed = False

    def rise(self) -> Action:
        """The line went up."""
        self.line = True
        return self._fire_or_owe()

    def fall(self) -> Action:
        """The line went down: nothing is owed any more."""
        self.line = self.owed = False
        return self._disarm()

    def mask(self) -> Action:
        """The client wants no signal."""
        self.masked = True
        return self._disarm()

    def unmask(self) -> Action:
        """The client has taken the pin down, or wants signals again."""
        self.masked = False
        if not self.line or not self.connected:
            return Action.NOTHING
        if self.owed:
            return self._fire_or_owe()
        if self.armed:
            return Action.NOTHING
        self.armed = True
        return Action.ARM

    def connect(self) -> Action:
        """There is a trigger, a first or a new one: whoever listens there has heard nothing yet."""
        self.connected = True
        return self._fire_or_owe() if self.line else Action.NOTHING

    def disconnect(self) -> Action:
        """There is no trigger, and what a next one will hear starts afresh."""
        self.connected = self.masked = False
        self.owed = self.line
        return self._disarm()

    def timer(self) -> Action:
        """The guest has had its time."""
        self.armed = False
        return Action.FIRE

    def _fire_or_owe(self) -> Action:
        self.owed = self.masked or not self.connected
        return Action.NOTHING if self.owed else Action.FIRE

    def _disarm(self) -> Action:
        armed, self.armed = self.armed, False
        return Action.CANCEL if armed else Action.NOTHING
