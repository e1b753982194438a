"""The 93C46 serial EEPROM: 64 words of 16 bits behind three pins.

Models the part as its data sheets describe it: sampled on the rising edge of SK while CS is high; leading zeros, start
bit, 2-bit opcode, 6-bit address; all seven instructions, sequential read, and the write-enable latch. Programming takes
no time: DO reads ready as soon as it is asked for. (QEMU's stops after one word and discards writes, R-66.)
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from pathlib import Path

from etherloom.errors import ConfigError, HostError

__all__ = ["WORDS", "Eeprom93c46"]

WORDS = 64
ADDRESS_BITS = 6


class State(Enum):
    """What the next bit belongs to."""

    IDLE = auto()
    COMMAND = auto()
    READING = auto()
    WRITING = auto()
    DONE = auto()


class Eeprom93c46:
    """The part.

    Args:
        words: Up to 64 words; the rest is zero.

    Attributes:
        words: The content, as it is now.
        do: The data output.
        changed: Whether a guest has programmed anything since the last `save`.
    """

    def __init__(self, words: Sequence[int] = ()) -> None:
        self.words = [word & 0xFFFF for word in words][:WORDS]
        self.words += [0] * (WORDS - len(self.words))
        self.do = True
        self.changed = False
        self._clock = self._selected = self._enabled = False
        self._state = State.IDLE
        self._bits = self._count = 0
        self._address = 0
        self._store: slice | None = None  # what the running write goes to

    @staticmethod
    def load(path: Path) -> list[int] | None:
        """The words kept in a file by `save`; None if there is no such file yet.

        Raises:
            ConfigError: It is not an image.
            HostError: It cannot be read.
        """
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise HostError("read the EEPROM image", error.errno or 0, device=str(path)) from error
        if len(data) != 2 * WORDS:
            raise ConfigError(f"{path} has {len(data)} bytes", key="eeprom", allowed=f"an image of {2 * WORDS} bytes")
        return [int.from_bytes(data[at : at + 2], "little") for at in range(0, len(data), 2)]

    def save(self, path: Path) -> None:
        """Write the content to a file, whole or not at all; nothing counts as changed then, whatever comes of it.

        Raises:
            HostError: It cannot be written.
        """
        self.changed = False
        partial = path.with_name(f"{path.name}.partial")
        try:
            partial.write_bytes(b"".join(word.to_bytes(2, "little") for word in self.words))
            partial.replace(path)
        except OSError as error:
            raise HostError("write the EEPROM image", error.errno or 0, device=str(path)) from error

    def pins(self, cs: bool, sk: bool, di: bool) -> bool:
        """Set the inputs; returns DO."""
        rising = sk and not self._clock
        self._clock = sk
        if cs and not self._selected:
            self._state, self.do = State.IDLE, True  # also the answer to "ready?" after a write
        elif self._selected and not cs:
            self._deselect()
        elif cs and rising:
            self._shift(di)
        self._selected = cs
        return self.do

    def _deselect(self) -> None:
        """CS fell: programming starts here, so a write cut short has no effect."""
        if self._state is State.DONE and self._store is not None and self._enabled:
            count = self._store.stop - self._store.start
            self.words[self._store] = [self._bits] * count
            self.changed = True
        self._state, self._store = State.IDLE, None

    def _shift(self, di: bool) -> None:
        if self._state is State.IDLE:
            if di:
                self._state, self._bits, self._count = State.COMMAND, 0, 0
        elif self._state is State.COMMAND:
            self._bits, self._count = self._bits << 1 | di, self._count + 1
            if self._count == 2 + ADDRESS_BITS:
                self._start(self._bits >> ADDRESS_BITS, self._bits & (WORDS - 1))
        elif self._state is State.READING:
            self.do = bool(self.words[self._address] >> (15 - self._count) & 1)
            self._count += 1
            if self._count == 16:  # CS still high: the next word follows
                self._address, self._count = (self._address + 1) % WORDS, 0
        elif self._state is State.WRITING:
            self._bits, self._count = self._bits << 1 | di, self._count + 1
            if self._count == 16:
                self._state = State.DONE

    def _start(self, opcode: int, address: int) -> None:
        self._address, self._bits, self._count = address, 0, 0
        this, everything = slice(address, address + 1), slice(0, WORDS)
        if opcode == 0b10:
            self._state, self.do = State.READING, False  # the dummy zero
        elif opcode == 0b01:
            self._state, self._store = State.WRITING, this
        elif opcode == 0b11:
            self._state, self._store, self._bits = State.DONE, this, 0xFFFF
        elif address >> 4 == 0b11:  # EWEN
            self._state, self._enabled = State.DONE, True
        elif address >> 4 == 0b00:  # EWDS
            self._state, self._enabled = State.DONE, False
        elif address >> 4 == 0b10:  # ERAL
            self._state, self._store, self._bits = State.DONE, everything, 0xFFFF
        else:  # WRAL
            self._state, self._store = State.WRITING, everything
