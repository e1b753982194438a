"""Declared registers: access kinds, widths, hooks (`etherloom.device.registers`)."""

from __future__ import annotations

from enum import IntFlag

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etherloom.device import Access, Register, RegisterFile, registers_of
from etherloom.device.tables import register_table


class Bits(IntFlag):
    LOW = 1
    HIGH = 0x80


class Base:
    A = Register(0x00, 4, "first", reset=0x11223344)


class Device(Base):
    B = Register(0x04, 2, "masked", writable=0x0FF0)
    C = Register(0x06, 2, "status", access=Access.W1C, reset=0x00FF, bits=Bits)
    D = Register(0x08, 1, "fixed", access=Access.RO, reset=0x5A)
    E = Register(0x09, 1, "command", access=Access.WO)
    F = Register(0x0A, 2, "counter")
    G = Register(0x0C, 2, "guarded", allow=lambda device: device.open)
    H = Register(0x10, 6, "wide")

    def __init__(self) -> None:
        self.open = False
        self.calls: list[tuple[str, int]] = []
        self.count = 0
        self.registers = RegisterFile(self, 32)

    @E.on_write
    def _command(self, value: int) -> None:
        self.calls.append(("E", value))

    @Base.A.on_write
    def _first(self, value: int) -> None:
        self.calls.append(("A", value))

    @C.on_write
    def _status(self, value: int) -> None:
        self.calls.append(("C", value))

    @F.on_read
    def _counter(self) -> int:
        self.count += 1
        return self.count

    def get(self, offset: int, size: int) -> int:
        return int.from_bytes(self.registers.read(offset, size), "little")

    def put(self, offset: int, value: int, size: int) -> None:
        self.registers.write(offset, value.to_bytes(size, "little"))


def test_declarations_are_found_by_offset_inherited_ones_too() -> None:
    assert ["A", "B", "C", "D", "E", "F", "G", "H"] == [register.name for register in registers_of(Device)]


def test_reset_values_are_read_in_any_width() -> None:
    device = Device()
    assert [0x44, 0x3344, 0x11223344, 0x2233] == [
        device.get(0, 1),
        device.get(0, 2),
        device.get(0, 4),
        device.get(1, 2),
    ]


def test_an_attribute_is_the_value_and_ignores_masks_and_hooks() -> None:
    device = Device()
    device.D = 0x77
    device.A = 1
    assert (0x77, 1, []) == (device.D, device.A, device.calls)


def test_a_partial_write_keeps_the_other_bytes_and_tells_the_whole_value() -> None:
    device = Device()
    device.put(2, 0xAB, 1)
    assert (0x11AB3344, [("A", 0x11AB3344)]) == (device.A, device.calls)


def test_a_mask_limits_writes_and_only_reserved_bits_survive() -> None:
    device = Device()
    device.B = 0xF00F
    device.put(4, 0x0A5F, 2)
    assert device.B == 0xFA5F


def test_ones_clear_and_zeros_leave() -> None:
    device = Device()
    device.put(6, 0x0F, 1)
    assert (0x00F0, [("C", 0x00F0)]) == (device.C, device.calls)


def test_read_only_stays_and_write_only_reads_zero() -> None:
    device = Device()
    device.put(8, 0xC3FF, 2)
    assert (0x005A, [("E", 0xC3)]) == (device.get(8, 2), device.calls)


def test_reads_compute_only_when_they_touch_the_register() -> None:
    device = Device()
    device.get(8, 2)
    assert device.count == 0
    assert [1, 2] == [device.get(10, 2), device.get(8, 4) >> 16]


def test_a_refused_write_has_no_effect() -> None:
    device = Device()
    device.put(0x0C, 0x1234, 2)
    assert device.G == 0
    device.open = True
    device.put(0x0C, 0x1234, 2)
    assert device.G == 0x1234


def test_an_access_across_registers_writes_each_once_in_order() -> None:
    device = Device()
    device.put(0, 0xFFFF_FFFF_FFFF_FFFF, 8)
    assert [("A", 0xFFFFFFFF), ("C", 0)] == device.calls
    assert device.B == 0x0FF0


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_holes_and_what_lies_behind_read_zero_and_ignore_writes(size: int) -> None:
    device = Device()
    for offset in (0x0E, 0x18, 31, 32, 500):
        device.put(offset, (1 << 8 * size) - 1, size)
    assert 0 == device.get(0x18, size)
    assert bytes(size) == device.registers.read(31, size)


@given(
    st.lists(st.tuples(st.integers(0, 24), st.sampled_from([1, 2, 4, 8]), st.integers(0, (1 << 64) - 1)), max_size=20)
)
def test_a_wide_write_is_its_bytes(writes: list[tuple[int, int, int]]) -> None:
    wide, narrow = Device(), Device()
    for offset, size, value in writes:
        data = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
        wide.registers.write(offset, data)
        for at, byte in enumerate(data):
            narrow.registers.write(offset + at, bytes([byte]))
    assert narrow.registers.shadow[:24] == wide.registers.shadow[:24]


def test_reset_brings_everything_back() -> None:
    device = Device()
    fresh = bytes(device.registers.shadow)
    for offset in range(24):
        device.put(offset, 0xFF, 1)
    device.registers.reset()
    assert fresh == bytes(device.registers.shadow)


def test_values_are_described_by_their_bits() -> None:
    values = [(Device.C, 0x81), (Device.C, 0), (Device.C, 0x04), (Device.A, 0x11223344)]
    assert ["LOW|HIGH", "0x0000", "0x0004", "0x11223344"] == [register.describe(value) for register, value in values]


def test_a_byte_knows_its_register() -> None:
    device = Device()
    covering = [device.registers.covering(offset) for offset in (3, 7, 0x18)]
    assert [Device.A, Device.C, None] == covering


def test_the_table_is_the_declaration() -> None:
    expected = [
        "| offset | bytes | name | access | reset | what |",
        "|---|---|---|---|---|---|",
        "| 00 | 4 | A | RW! | 11223344 | first |",
        "| 04 | 2 | B | RW | 0 | masked |",
        "| 06 | 2 | C | RW1C! | 00FF | status: HIGH 7, LOW 0 |",
        "| 08 | 1 | D | R | 5A | fixed |",
        "| 09 | 1 | E | W! | 0 | command |",
        "| 0A | 2 | F | RW! | 0 | counter |",
        "| 0C | 2 | G | RW* | 0 | guarded |",
        "| 10 | 6 | H | RW | 0 | wide |",
    ]
    assert expected == register_table(Device).splitlines()


class Newer(Device):
    def _command(self, value: int) -> None:
        self.calls.append(("newer E", value))


def test_a_subclass_may_override_a_hook() -> None:
    device = Newer()
    device.registers.write(0x09, b"\x07")
    assert [("newer E", 7)] == device.calls
