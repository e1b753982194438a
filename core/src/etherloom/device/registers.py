"""Declared registers, and the file that holds their values.

A model declares its registers as class attributes, in the datasheet's names; the declaration is at once the code, the
table in the model's README and the names in a trace::

    class Nic(NicModel):
        IMR = Register(0x3C, 2, "interrupt mask", bits=Interrupt)
        ISR = Register(0x3E, 2, "interrupt status", bits=Interrupt, access=Access.W1C)

        @IMR.on_write
        @ISR.on_write
        def _interrupts(self, value: int) -> None:
            self.irq.set(self.ISR & self.IMR != 0)

Values live in one *shadow*, which always holds what a read returns: reading any width at any offset is then one slice,
and a register costs a call only if a read computes its value. Writes decode as bytes, as on the chip: an access that
covers a part of a register, or several, is a write of those bytes. Whatever no register covers reads zero and ignores
writes. All values are little-endian.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterator
from enum import Enum, IntFlag
from typing import Any, TypeAlias, TypeVar, overload

__all__ = ["Access", "Register", "RegisterFile", "registers_of"]

# Of the usual widths, twice as fast as `int.from_bytes` of a slice.
LAYOUTS = {1: struct.Struct("<B"), 2: struct.Struct("<H"), 4: struct.Struct("<I"), 8: struct.Struct("<Q")}

Method = TypeVar("Method", bound=Callable[..., Any])


class Access(Enum):
    """What a write does to the stored value. Side effects are the hook's."""

    RW = "read/write"
    RO = "read-only"
    W1C = "write 1 to clear"
    WO = "write-only"  # reads zero; the hook gets what was written


class Register:
    """One register of a model; as an attribute of an instance, its value.

    Reading the attribute gives the shadow's value as an int, assigning stores one: neither runs a hook, and both ignore
    masks, since they are the device's own access.

    Args:
        offset: Of the first byte, from the start of the register space.
        width: Bytes; any, a guest access is still at most 8.
        doc: What the datasheet calls it, for tables.
        reset: Value after power-on.
        access: What a guest's write does.
        writable: Bits a guest's write reaches; all by default.
        bits: The register's bits, for traces and tables.
        allow: `allow(device) -> bool`: whether writes are taken now; a refused one has no effect at all.
    """

    def __init__(
        self,
        offset: int,
        width: int,
        doc: str,
        *,
        reset: int = 0,
        access: Access = Access.RW,
        writable: int | None = None,
        bits: type[IntFlag] | None = None,
        allow: Callable[[Any], bool] | None = None,
    ) -> None:
        self.name = ""
        self._layout = LAYOUTS.get(width)
        self.offset, self.width, self.end = offset, width, offset + width
        self.doc, self.reset, self.access, self.bits, self.allow = doc, reset, access, bits, allow
        full = (1 << 8 * width) - 1
        self.writable = 0 if access is Access.RO else full if writable is None else int(writable)
        self.writer: Callable[[Any, int], None] | None = None
        self.reader: Callable[[Any], int] | None = None

    def on_write(self, method: Method) -> Method:
        """Decorate `method(self, value)`, called after a guest's write; a subclass may override it.

        `value` is the register's new value, or for a write-only one what was written.
        """
        self.writer = method
        return method

    def on_read(self, method: Method) -> Method:
        """Decorate `method(self) -> int`, which computes the value for a guest's read just before it."""
        self.reader = method
        return method

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, device: None, owner: type) -> Register: ...
    @overload
    def __get__(self, device: Any, owner: type) -> int: ...
    def __get__(self, device: Any, owner: type) -> Register | int:
        if device is None:
            return self
        if self._layout is not None:
            value: int = self._layout.unpack_from(device.registers.shadow, self.offset)[0]
            return value
        return int.from_bytes(device.registers.shadow[self.offset : self.end], "little")

    def __set__(self, device: Any, value: int) -> None:
        if self._layout is not None:
            self._layout.pack_into(device.registers.shadow, self.offset, value)
        else:
            device.registers.shadow[self.offset : self.end] = value.to_bytes(self.width, "little")

    @property
    def plain(self) -> bool:
        """Whether a write of its own width does no more than store, before the hook."""
        everything = (1 << 8 * self.width) - 1
        return self.access is Access.RW and self.writable == everything and self.allow is None

    def describe(self, value: int) -> str:
        """A value for a person: `ROK|TOK` where the bits have names, hexadecimal otherwise."""
        if self.bits is not None and value and (names := self.bits(value).name):
            return names
        return f"{value:#0{2 + 2 * self.width}x}"


def registers_of(model: type) -> list[Register]:
    """The registers a model class declares or inherits, by offset."""
    found = {
        name: value
        for base in reversed(model.__mro__)
        for name, value in vars(base).items()
        if isinstance(value, Register)
    }
    return sorted(found.values(), key=lambda register: register.offset)


Hook: TypeAlias = Callable[[Any, int], None]

# What one guest access writes to one register: which bytes of the access (first, last), where they belong in the
# register (shift, in bits), and the mask of what they reach there.
Step: TypeAlias = tuple[Register, Hook | None, int, int, int, int]


class Layout:
    """The registers of a model class, as tables; an access is keyed by offset << 4 | size.

    Attributes:
        registers: By offset.
        computed: Accesses that must compute something first: registers and their readers.
        stored: Writes that merely store, and the hook to call then.
    """

    def __init__(self, model: type, size: int) -> None:
        self.registers = registers_of(model)
        self.computed: dict[int, list[tuple[Register, Callable[[Any], int]]]] = {}
        self.stored: dict[int, tuple[Register, Hook | None]] = {}
        self._writers = {r: _method(model, r.writer) for r in self.registers if r.writer is not None}
        self._plans: dict[int, tuple[Step, ...]] = {}
        for register in self.registers:
            if register.plain:
                key = register.offset << 4 | register.width
                self.stored[key] = register, self._writers.get(register)
            if register.reader is not None:
                reader = _method(model, register.reader)
                for width in (1, 2, 4, 8):
                    for offset in range(max(0, register.offset - width + 1), min(size, register.end)):
                        self.computed.setdefault(offset << 4 | width, []).append((register, reader))

    def touched(self, offset: int, size: int) -> Iterator[Register]:
        """The registers that an access overlaps."""
        return (r for r in self.registers if r.offset < offset + size and offset < r.end)

    def plan(self, offset: int, size: int) -> tuple[Step, ...]:
        """What a write does, register by register; at most four for each offset are kept."""
        key = offset << 4 | size
        if key not in self._plans:
            self._plans[key] = tuple(self._steps(offset, size))
        return self._plans[key]

    def _steps(self, offset: int, size: int) -> Iterator[Step]:
        for register in self.touched(offset, size):
            low, high = max(offset, register.offset), min(offset + size, register.end)
            shift = 8 * (low - register.offset)
            lanes = ((1 << 8 * (high - low)) - 1) << shift
            writer = self._writers.get(register)
            if register.writable or writer is not None:
                yield register, writer, low - offset, high - offset, shift, register.writable & lanes


def _method(model: type, hook: Callable[..., Any]) -> Any:
    """What a subclass has made of a hook, which is declared as a function and known by its name from there on."""
    return getattr(model, hook.__name__)


layout_of: Callable[[type, int], Layout] = functools.cache(Layout)  # once a class, not once a device


class RegisterFile:
    """The registers of one device.

    Args:
        device: Whose they are; hooks are called on it.
        size: Bytes of the register space.
    """

    def __init__(self, device: object, size: int) -> None:
        self._device = device
        self._layout = layout_of(type(device), size)
        self.size = size
        self.shadow = bytearray(size + 7)  # an access at the last byte may be 8 wide
        self.reset()

    def reset(self) -> None:
        """Every register to its power-on value; no hooks run."""
        self.shadow[:] = bytes(len(self.shadow))
        for register in self._layout.registers:
            self.shadow[register.offset : register.end] = register.reset.to_bytes(register.width, "little")

    def read(self, offset: int, size: int) -> bytes:
        """A guest's read of 1, 2, 4 or 8 bytes at any offset within the space."""
        for register, reader in self._layout.computed.get(offset << 4 | size, ()):
            register.__set__(self._device, reader(self._device))
        return bytes(self.shadow[offset : offset + size])

    def write(self, offset: int, data: bytes) -> None:
        """A guest's write of as many at any offset; each register it touches is written once, in order of offset."""
        layout = self._layout
        stored = layout.stored.get(offset << 4 | len(data))
        if stored is not None:
            register, writer = stored
            self.shadow[offset : register.end] = data
            if writer is not None:
                writer(self._device, int.from_bytes(data, "little"))
            return
        for register, writer, first, last, shift, writable in layout.plan(offset, len(data)):
            if register.allow is not None and not register.allow(self._device):
                continue
            value = int.from_bytes(data[first:last], "little") << shift
            if register.access is not Access.WO:
                old = int.from_bytes(self.shadow[register.offset : register.end], "little")
                value &= writable
                value = old & ~value if register.access is Access.W1C else old & ~writable | value
                self.shadow[register.offset : register.end] = value.to_bytes(register.width, "little")
            if writer is not None:
                writer(self._device, value)

    def covering(self, offset: int) -> Register | None:
        """The register that a byte belongs to."""
        return next(self._layout.touched(offset, 1), None)
