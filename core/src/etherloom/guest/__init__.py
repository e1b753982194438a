"""The guest's side: how a guest reaches a NIC model, and the bus on which the guest is Python code in this process."""

from etherloom.guest.driver import DriverError, NicDriver
from etherloom.guest.inline import InlineGuest

__all__ = ["DriverError", "InlineGuest", "NicDriver"]
