"""A driver in Python: what it must offer, and all it may use.

The other side of `etherloom.device.nic`. A driver talks to its device through `InlineGuest` only, that is through BARs,
configuration space, its own RAM and an interrupt, exactly as one in a kernel would; so it also serves as the model's
independent partner in `etherloom.testing.check_nic_model`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from etherloom.guest.inline import InlineGuest

__all__ = ["DriverError", "NicDriver"]


class DriverError(Exception):
    """The device did not do what its data sheet says."""


class NicDriver:
    """Base class of drivers.

    Args:
        guest: The machine the device is in.

    Attributes:
        deliver: Called with each received frame (an own copy, without FCS). Set by whoever uses the driver.
        mac: The station address, once `open` has returned.
    """

    def __init__(self, guest: InlineGuest) -> None:
        self.guest = guest
        self.deliver: Callable[[bytes], None] = lambda _: None
        self.mac = b""

    def open(self) -> None:
        """Reset the device, set up its rings, enable both directions and interrupts.

        Raises:
            DriverError: It does not behave.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Stop the device; `open` works again."""
        raise NotImplementedError

    def transmit(self, frames: Sequence[bytes]) -> int:
        """Hand frames to the device; returns how many there was room for. Completed ones make room at the next call."""
        raise NotImplementedError

    def interrupt(self) -> None:
        """The line is asserted: find out why, deliver what came, acknowledge."""
        raise NotImplementedError
