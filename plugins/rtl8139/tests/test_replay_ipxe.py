"""iPXE's realtek driver on a C+, access by access (RT-1, RT-2, RT-3, RT-10): it polls, with rings of four.

Every change of an EEPROM pin is a read, a write and a read that flushes it; every sample is a read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from etherloom_rtl8139 import board
from etherloom_rtl8139.model import Rtl8139
from etherloom_rtl8139.rings import EOR, FS, LS, OWN

if TYPE_CHECKING:
    from plugins.rtl8139.tests.conftest import Machine

MAC = bytes.fromhex("525400123456")
CS, SK, DI, DO, ENABLE = 0x08, 0x04, 0x02, 0x01, 0x80
RING, BUFFER_BYTES = 4, 2048
TOK, ROK, RDU = 0x04, 0x01, 0x10


class Ipxe:
    """The driver's accesses."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.guest = machine, machine.guest
        self.counts: Counter[str] = Counter()
        self.mac = b""
        self.plus = False
        self.stack: list[bytes] = []
        self.rx_next = self.tx_next = 0
        self.tx_buffer = machine.guest.allocate(RING * BUFFER_BYTES)

    def read(self, offset: int, size: int) -> int:
        self.counts["read"] += 1
        return self.guest.read(offset, size)

    def write(self, offset: int, value: int, size: int) -> None:
        self.counts["write"] += 1
        self.guest.write(offset, value, size)

    # EEPROM: command, address and data all clock a bit out and one in

    def pin(self, pin: int, up: int) -> None:
        value = self.read(0x50, 1)
        self.write(0x50, value | pin if up else value & ~pin, 1)
        self.read(0x50, 1)

    def shift(self, value: int, bits: int) -> int:
        seen = 0
        for bit in reversed(range(bits)):
            self.pin(DI, value >> bit & 1)
            self.pin(SK, 1)
            seen = seen << 1 | self.read(0x50, 1) & DO
            self.pin(SK, 0)
        return seen

    def word(self, address: int) -> int:
        self.write(0x50, ENABLE, 1)
        self.read(0x50, 1)
        self.pin(CS, 0)
        self.pin(SK, 0)
        self.pin(CS, 1)
        self.shift(0b110, 3)
        self.shift(address, 6)
        value = self.shift(0, 16)
        self.pin(CS, 0)
        self.write(0x50, 0, 1)
        self.read(0x50, 1)
        return value

    def probe_kind(self) -> None:
        self.write(0x37, 0x10, 1)
        assert not self.read(0x37, 1) & 0x10
        self.write(0xDA, 0x05F6, 2)
        assert self.read(0xDA, 2) == 0, "taken for an 8169"
        value = self.read(0xE0, 2)
        self.write(0xE0, value | 0x0B, 2)
        self.plus = self.read(0xE0, 2) & 0x0B == 0x0B

    def probe_address(self) -> None:
        assert not self.read(0x44, 4) & 0x40  # a 93C46
        self.counts.clear()
        assert self.word(0) == 0x8129
        self.mac = b"".join(self.word(at).to_bytes(2, "little") for at in (7, 8, 9))

    # Data path

    def open(self) -> None:
        self.rx_next = self.tx_next = 0
        for index in range(RING):
            self.machine.give(index, RING, BUFFER_BYTES)
            self.machine.put(self.machine.tx, index, EOR if index == RING - 1 else 0)
        for offset, value in ((0x24, 0), (0x20, self.machine.tx), (0xE8, 0), (0xE4, self.machine.rx)):
            self.write(offset, value, 4)
        self.write(0x08, 0xFFFFFFFF, 4)
        self.write(0x0C, 0xFFFFFFFF, 4)
        self.write(0x37, 0x0C, 1)
        self.write(0x40, self.read(0x40, 4) | 0x700, 4)
        self.write(0x44, self.read(0x44, 4) & ~0x1FBF | 0xE78F, 4)
        assert not self.read(0x58, 1) & 0x04

    def close(self) -> None:
        self.write(0x37, 0, 1)
        for offset in (0xE4, 0xE8, 0x20, 0x24):
            self.write(offset, 0, 4)

    def transmit(self, frame: bytes) -> None:
        slot = self.tx_next
        buffer = self.tx_buffer + slot * BUFFER_BYTES
        self.machine.poke(buffer, frame)
        end = EOR if slot == RING - 1 else 0
        self.machine.put(self.machine.tx, slot, OWN | FS | LS | end | len(frame), 0, buffer)
        self.tx_next = (slot + 1) % RING
        self.write(0xD9, 0x40, 1)

    def poll(self) -> int:
        """One turn of the loop that never sleeps; returns what ISR showed."""
        status = self.read(0x3E, 2)
        if not status:
            return 0
        self.write(0x3E, status, 2)
        while status & ROK and not self.machine.descriptor(self.machine.rx, self.rx_next)[0] & OWN:
            self.stack.append(self.machine.frame_at(self.rx_next)[:-4])
            self.machine.give(self.rx_next, RING, BUFFER_BYTES)
            self.rx_next = (self.rx_next + 1) % RING
        return status


def frame(number: int, size: int) -> bytes:
    return (MAC + b"\x52\x54\0\0\0\xaa\x88\xb5" + number.to_bytes(4, "big")).ljust(size, bytes([number & 0xFF]))[:size]


@pytest.fixture
def driver(make_machine: Callable[..., Machine]) -> Ipxe:
    return Ipxe(make_machine())


def test_rt_10_the_chip_is_taken_for_a_c_plus(driver: Ipxe) -> None:
    driver.probe_kind()
    assert driver.plus


def test_rt_1_the_address_takes_1064_accesses(driver: Ipxe) -> None:
    driver.probe_kind()
    driver.probe_address()
    assert (MAC, 266 + 798) == (driver.mac, driver.counts.total())


def test_rt_1_with_the_vital_product_data_it_is_9576(driver: Ipxe) -> None:
    driver.probe_kind()
    driver.probe_address()
    assert not driver.guest.read(0x52, 1) & 0x02  # CONFIG1.VPD clear: iPXE looks for its settings in words 32 to 63
    assert [0] * 32 == [driver.word(at) for at in range(32, 64)]
    assert {"read": 6660, "write": 2916} == dict(driver.counts)


def test_vpd_spares_those_accesses(driver: Ipxe) -> None:
    context = driver.machine.network.context
    nic = Rtl8139("another", context, mac=MAC, vpd=True)
    driver.machine.network.add(nic)
    assert (b"\x4f", board.image(MAC, vpd=True)) == (nic.bar_read(0x52, 1), nic.eeprom.words[:22])


def test_rt_2_open_send_receive_close_and_again_without_reset(driver: Ipxe) -> None:
    driver.probe_kind()
    for number in range(3):
        driver.open()
        driver.transmit(frame(number, 60))
        assert driver.poll() & TOK
        driver.machine.hear(frame(number, 80))
        assert driver.poll() & ROK
        driver.close()
    assert [frame(number, 60) for number in range(3)] == driver.machine.sent
    assert [frame(number, 80) for number in range(3)] == driver.stack


def test_isr_collects_while_masked_and_reading_leaves_it(driver: Ipxe) -> None:
    driver.probe_kind()
    driver.open()
    driver.machine.hear(frame(1, 60))
    assert [ROK, ROK] == [driver.read(0x3E, 2), driver.read(0x3E, 2)]
    assert not driver.machine.nic.irq.asserted


def test_every_arrival_sets_rok_again(driver: Ipxe) -> None:
    driver.probe_kind()
    driver.open()
    for number in range(3):
        driver.machine.hear(frame(number, 60))
        assert ROK == driver.poll()


def test_rt_3_5000_frames_each_way_without_loss(driver: Ipxe) -> None:
    driver.probe_kind()
    driver.open()
    sizes = [60 + number % 1455 for number in range(5000)]
    for number, size in enumerate(sizes):
        driver.transmit(frame(number, size))
        driver.machine.hear(frame(number, size))
        driver.poll()
    expected = [frame(number, size) for number, size in enumerate(sizes)]
    assert expected == driver.machine.sent
    assert expected == driver.stack


def test_a_ring_of_four_overflows_and_recovers(driver: Ipxe) -> None:
    driver.probe_kind()
    driver.open()
    driver.machine.hear(*[frame(number, 60) for number in range(6)])
    assert ROK | RDU == driver.poll()
    driver.machine.hear(frame(9, 60))
    driver.poll()
    assert [frame(number, 60) for number in (0, 1, 2, 3, 9)] == driver.stack
