"""9346CR and the board behind it: modes, commands through the pins, the image in a file (RT-12, section 1.4)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from etherloom import ConfigError, HostError
from etherloom.testing import SECOND_NS
from etherloom_rtl8139 import board
from etherloom_rtl8139.model import Rtl8139
from etherloom_rtl8139.registers import Registers as Reg

if TYPE_CHECKING:
    from plugins.rtl8139.tests.conftest import Machine

MAC = bytes.fromhex("525400123456")
CS, SK, DI, DO, ENABLE = 0x08, 0x04, 0x02, 0x01, 0x80
READ, WRITE, ERASE, OTHER = 0b110, 0b101, 0b111, 0b100
EWEN, EWDS, ERAL, WRAL = 0b110000, 0b000000, 0b100000, 0b010000


class Pins:
    """Bit-bangs 9346CR."""

    def __init__(self, nic: Rtl8139) -> None:
        self.nic = nic

    def set(self, value: int) -> int:
        self.nic.bar_write(0x50, bytes([value]))
        return self.nic.bar_read(0x50, 1)[0] & DO

    def shift(self, value: int, bits: int) -> int:
        seen = 0
        for bit in reversed(range(bits)):
            di = DI if value >> bit & 1 else 0
            self.set(ENABLE | CS | di)
            seen = seen << 1 | self.set(ENABLE | CS | di | SK)
        return seen

    def select(self) -> None:
        self.set(ENABLE)
        self.set(ENABLE | CS)

    def command(self, command: int, address: int, data: int | None = None) -> None:
        self.select()
        self.shift(command << 6 | address, 9)
        if data is not None:
            self.shift(data, 16)
        self.set(ENABLE)

    def word(self, address: int) -> int:
        self.select()
        self.shift(READ << 6 | address, 9)
        value = self.shift(0, 16)
        self.set(ENABLE)
        return value


@pytest.fixture
def pins(machine: Machine) -> Iterator[Pins]:
    yield Pins(machine.nic)
    machine.nic.bar_write(0x50, b"\0")


def test_the_board_is_plausible(pins: Pins) -> None:
    words = [pins.word(at) for at in range(22)]
    expected = [0x8129, 0x10EC, 0x8139, 0x10EC, 0x8139, 0x4020, 0xC110, 0x5452, 0x1200, 0x5634, 0x4D10, 0xF7C2, 0x8801]
    assert expected == words[:13]
    assert board.image(MAC) == words


def test_rt_12_a_read_goes_on_with_the_next_word(pins: Pins) -> None:
    """R-66: QEMU stops after one."""
    pins.select()
    pins.shift(READ << 6 | 0, 9)
    assert [0x8129, 0x10EC, 0x8139] == [pins.shift(0, 16) for _ in range(3)]


def test_rt_12_a_read_wraps_after_word_63(pins: Pins) -> None:
    pins.select()
    pins.shift(READ << 6 | 63, 9)
    assert [0, 0x8129] == [pins.shift(0, 16) for _ in range(2)]


def test_rt_12_a_dummy_zero_comes_with_the_last_address_bit(pins: Pins) -> None:
    pins.select()
    assert pins.shift(READ << 6 | 0, 9) & 1 == 0


def test_rt_12_leading_zeros_are_ignored(pins: Pins) -> None:
    """FreeBSD sends them."""
    pins.select()
    pins.shift(0, 5)
    pins.shift(READ << 6 | 1, 9)
    assert pins.shift(0, 16) == 0x10EC


def test_rt_12_writing_takes_ewen(pins: Pins) -> None:
    pins.command(WRITE, 40, 0xBEEF)
    assert pins.word(40) == 0
    pins.command(OTHER, EWEN)
    pins.command(WRITE, 40, 0xBEEF)
    assert pins.word(40) == 0xBEEF
    pins.command(OTHER, EWDS)
    pins.command(WRITE, 40, 0x1234)
    assert pins.word(40) == 0xBEEF


def test_rt_12_ready_shows_when_cs_is_high_again(pins: Pins) -> None:
    pins.command(OTHER, EWEN)
    pins.command(WRITE, 40, 0xBEEF)
    assert pins.set(ENABLE | CS) == DO


def test_a_write_that_is_cut_short_does_nothing(pins: Pins) -> None:
    pins.command(OTHER, EWEN)
    pins.select()
    pins.shift(WRITE << 6 | 40, 9)
    pins.shift(0x7F, 15)
    pins.set(ENABLE)
    assert pins.word(40) == 0


def test_normal_mode_moves_no_pins(pins: Pins) -> None:
    pins.select()
    pins.shift(READ << 6 | 0, 9)
    pins.set(CS | SK)  # mode 00, which deselects
    pins.set(ENABLE | CS)
    assert pins.shift(0, 16) == 0xFFFF


def test_autoload_reads_the_eeprom_again_and_resets_nothing(machine: Machine, pins: Pins) -> None:
    """R-25, A-18: QEMU resets the device."""
    machine.start()
    pins.command(OTHER, EWEN)
    pins.command(WRITE, 7, 0x2202)
    machine.write(Reg.CR9346, 0x40)
    assert (0, 0x0C) == (machine.read(Reg.CR9346), machine.read(Reg.CR) & 0x0C)
    address = bytes.fromhex("022200123456")
    assert (address, address) == (machine.read(Reg.IDR).to_bytes(6, "little"), machine.nic.mac)
    machine.hear(address + bytes(54))
    assert machine.nic.tally.rx_ok == 1


def test_power_on_takes_the_address_from_the_eeprom(machine: Machine, pins: Pins) -> None:
    machine.write(Reg.CR9346, 0xC0)
    machine.write(Reg.IDR, 0x010203040506)
    machine.nic.bus_reset()
    assert MAC == machine.nic.mac


def attach(machine: Machine, path: Path, mac: bytes = MAC) -> Rtl8139:
    nic = Rtl8139("kept", machine.network.context, mac=mac, eeprom=path)
    machine.network.add(nic)
    return nic


def program(nic: Rtl8139, address: int, word: int) -> None:
    pins = Pins(nic)
    pins.command(OTHER, EWEN)
    pins.command(WRITE, address, word)


def test_what_a_guest_programs_is_in_the_file_a_second_later(machine: Machine, tmp_path: Path) -> None:
    path = tmp_path / "eeprom"
    nic = attach(machine, path)
    program(nic, 40, 0xBEEF)
    assert not path.exists()
    machine.loop.advance(SECOND_NS)
    assert path.read_bytes()[80:82] == b"\xef\xbe"
    assert [path] == list(tmp_path.iterdir())


def test_closing_saves_and_the_next_device_has_it_and_its_address(machine: Machine, tmp_path: Path) -> None:
    path = tmp_path / "eeprom"
    nic = attach(machine, path)
    program(nic, 7, 0x2202)
    machine.network.remove(nic)
    machine.loop.run_until_idle()
    assert attach(machine, path, mac=bytes(6)).mac == bytes.fromhex("022200123456")


def test_a_file_that_nobody_programmed_is_not_made(machine: Machine, tmp_path: Path) -> None:
    nic = attach(machine, tmp_path / "eeprom")
    machine.network.remove(nic)
    machine.loop.run_until_idle()
    assert [] == list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_logged_and_the_device_lives(
    machine: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nic = attach(machine, tmp_path / "missing" / "eeprom")
    program(nic, 40, 1)
    with caplog.at_level(logging.ERROR):
        machine.loop.advance(SECOND_NS)
    assert (None, 1) == (nic.failure, len(caplog.records))


def test_a_file_of_another_size_is_refused(machine: Machine, tmp_path: Path) -> None:
    path = tmp_path / "eeprom"
    path.write_bytes(bytes(100))
    with pytest.raises(ConfigError, match="100 bytes"):
        attach(machine, path)


def test_a_file_that_cannot_be_read_is_the_hosts_refusal(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(HostError, match="EEPROM"):
        attach(machine, tmp_path)
