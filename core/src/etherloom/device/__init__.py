"""The device kit: what a NIC model is written with, and nothing else. Start at `etherloom.device.nic`."""

from etherloom.device.eeprom import Eeprom93c46
from etherloom.device.interrupt import InterruptLine
from etherloom.device.memory import Dma, DmaError, GuestMemory
from etherloom.device.mii import Bmcr, Bmsr, MiiPhy
from etherloom.device.nic import NicModel
from etherloom.device.pci import Bar, Capability, Command, PciFunction, PciIdentity, PowerManagement, Status
from etherloom.device.registers import Access, Register, RegisterFile, registers_of

__all__ = [
    "Access",
    "Bar",
    "Bmcr",
    "Bmsr",
    "Capability",
    "Command",
    "Dma",
    "DmaError",
    "Eeprom93c46",
    "GuestMemory",
    "InterruptLine",
    "MiiPhy",
    "NicModel",
    "PciFunction",
    "PciIdentity",
    "PowerManagement",
    "Register",
    "RegisterFile",
    "Status",
    "registers_of",
]
