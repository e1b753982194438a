"""Linux's 8139cp, access by access (RT-1, RT-2, RT-3, RT-6): order, widths and values as traced, in our words.

A posted write is flushed by reading the register back, which the sequences write `+R`.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING
from zlib import crc32

import pytest

from etherloom_rtl8139.receive import Overflow
from etherloom_rtl8139.registers import Interrupt
from etherloom_rtl8139.registers import Registers as Reg
from etherloom_rtl8139.rings import EOR, FS, LS, OWN

if TYPE_CHECKING:
    from plugins.rtl8139.tests.conftest import Machine

MakeMachine = Callable[..., "Machine"]

MAC = bytes.fromhex("525400123456")
RING = 64
RX_BYTES = 1536
RX_BITS, ALL_BITS = 0x53, 0x80FF
CS, SK, DI, DO, ENABLE = 0x08, 0x04, 0x02, 0x01, 0x80


class Cp8139:
    """The driver's accesses. `stack` gets received frames; `counts` has reads and writes."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.guest = machine, machine.guest
        self.counts: Counter[str] = Counter()
        self.stack: list[bytes] = []
        self.mac = b""
        self.rx_buffers, self.tx_buffers = (machine.guest.allocate(RING * RX_BYTES) for _ in range(2))
        self.rx_tail = self.tx_head = self.tx_tail = 0
        machine.guest.interrupt = self.interrupt

    def read(self, offset: int, size: int) -> int:
        self.counts["read"] += 1
        return self.guest.read(offset, size)

    def write(self, offset: int, value: int, size: int, *, flush: bool = False) -> None:
        self.counts["write"] += 1
        self.guest.write(offset, value, size)
        if flush:
            self.read(offset, size)

    # Probe

    def probe(self) -> None:
        self.stop()
        bits = 8 if self.eeprom_word(0, 8) == 0x8129 else 6
        words = [self.eeprom_word(at, bits) for at in (7, 8, 9)]
        self.mac = b"".join(word.to_bytes(2, "little") for word in words)

    def stop(self) -> None:
        self.read(0x3E, 2)
        self.write(0x3E, 0xFFFF, 2)
        self.write(0x3C, 0, 2, flush=True)
        self.write(0x37, 0, 1)
        self.write(0xE0, 0, 2, flush=True)
        self.read(0x3E, 2)
        self.write(0x3E, 0xFFFF, 2)
        self.read(0x3E, 2)

    def eeprom_word(self, address: int, address_bits: int) -> int:
        self.write(0x50, ENABLE, 1)
        self.write(0x50, ENABLE | CS, 1, flush=True)
        self.eeprom_command(0b110 << address_bits | address, 3 + address_bits)
        word = 0
        for _ in range(16):
            self.write(0x50, ENABLE | CS | SK, 1, flush=True)
            word = word << 1 | self.read(0x50, 1) & DO
            self.write(0x50, ENABLE | CS, 1, flush=True)
        self.write(0x50, 0, 1, flush=True)
        return word

    def eeprom_command(self, command: int, bits: int) -> None:
        for bit in reversed(range(bits)):
            value = ENABLE | CS | (DI if command >> bit & 1 else 0)
            self.write(0x50, value, 1, flush=True)
            self.write(0x50, value | SK, 1, flush=True)
        self.write(0x50, ENABLE | CS, 1, flush=True)

    # Open and close

    def open(self) -> None:
        self.init_rings()
        self.write(0x37, 0x10, 1)
        assert not self.read(0x37, 1) & 0x10
        self.start(0x2B | 0x10)
        self.write(0x3C, ALL_BITS, 2, flush=True)
        assert [0x782D, 0x782D, 0x01E1, 0x41E1] == [self.read(at, 2) for at in (0x64, 0x64, 0x66, 0x68)]

    def init_rings(self) -> None:
        self.rx_tail = self.tx_head = self.tx_tail = 0
        for index in range(RING):
            self.give(index)
            self.machine.put(self.machine.tx, index, 0)

    def start(self, cpcr: int) -> None:
        """What 8139cp does with the hardware in `open`, on resume, and after a time-out without a reset."""
        low, high = (int.from_bytes(part, "little") for part in (self.machine.nic.mac[:4], self.machine.nic.mac[4:]))
        self.write(0x50, 0xC0, 1, flush=True)
        self.write(0x00, low, 4, flush=True)
        self.write(0x04, high, 4, flush=True)
        self.write(0xE0, cpcr, 2)
        for offset, value in (
            (0x28, 0),
            (0x2C, 0),
            (0xE4, self.machine.rx),
            (0xE8, 0),
            (0x20, self.machine.tx),
            (0x24, 0),
        ):
            self.write(offset, value, 4, flush=True)
        self.write(0x37, 0x0C, 1)
        self.write(0xEC, 6, 1)
        self.set_rx_mode()
        self.write(0x40, 0x03000600, 4, flush=True)
        self.write(0x52, self.read(0x52, 1) | 0x21, 1)
        self.write(0x59, 0x40, 1)
        self.write(0xD8, self.read(0xD8, 1) & 0x03, 1)
        self.write(0x5C, 0, 2)
        self.write(0x50, 0, 1, flush=True)

    def set_rx_mode(self) -> None:
        self.write(0x44, 0xA40E, 4, flush=True)
        self.write(0x08, 0x80000000, 4, flush=True)
        self.write(0x0C, 0x40000000, 4, flush=True)

    def close(self) -> None:
        self.set_rx_mode()
        self.stop()

    def time_out(self) -> None:
        """The watchdog: everything off, rings made anew, on again, and no CR.RST."""
        for offset, size in ((0x37, 1), (0xE0, 2), (0x3E, 2), (0x3C, 2)):
            self.read(offset, size)
        self.stop()
        self.init_rings()
        self.start(0x2B)
        self.write(0x3C, ALL_BITS, 2, flush=True)

    # Data path

    def transmit(self, frame: bytes) -> None:
        slot = self.tx_head
        buffer = self.tx_buffers + slot * RX_BYTES
        self.machine.poke(buffer, frame)
        command = OWN | FS | LS | len(frame) | (EOR if slot == RING - 1 else 0)
        self.machine.put(self.machine.tx, slot, command, 0, buffer)
        self.tx_head = (slot + 1) % RING
        self.write(0xD9, 0x40, 1)

    def interrupt(self) -> None:
        if not self.read(0x3C, 2):
            return
        status = self.read(0x3E, 2)
        assert status not in (0, 0xFFFF)
        self.write(0x3E, status & ~RX_BITS, 2)
        if status & RX_BITS:
            self.write(0x3C, ALL_BITS & ~RX_BITS, 2, flush=True)
            self.poll()
        while self.tx_tail != self.tx_head and not self.machine.descriptor(self.machine.tx, self.tx_tail)[0] & OWN:
            self.tx_tail = (self.tx_tail + 1) % RING

    def poll(self) -> None:
        self.write(0x3E, RX_BITS, 2)
        self.read_ring()
        self.write(0x3C, ALL_BITS, 2, flush=True)

    def read_ring(self) -> None:
        while not (status := self.machine.descriptor(self.machine.rx, self.rx_tail)[0]) & OWN:
            assert status & (FS | LS | 1 << 20) == FS | LS
            data = self.machine.peek(self.rx_buffers + self.rx_tail * RX_BYTES, status & 0x1FFF)
            assert crc32(data[:-4]) == struct.unpack("<I", data[-4:])[0]
            self.stack.append(data[:-4])
            self.give(self.rx_tail)
            self.rx_tail = (self.rx_tail + 1) % RING

    def give(self, index: int) -> None:
        command = OWN | RX_BYTES | (EOR if index == RING - 1 else 0)
        self.machine.put(self.machine.rx, index, command, 0, self.rx_buffers + index * RX_BYTES)


class PostedCp8139(Cp8139):
    """On a bus whose writes arrive late: the acknowledgement is there when the ring has been looked at.

    Attributes:
        meanwhile: Bursts that come in between, one each time.
    """

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.meanwhile: list[list[bytes]] = []

    def read_ring(self) -> None:
        super().read_ring()
        if self.meanwhile:
            self.machine.wire.send_all(self.meanwhile.pop(0))
        self.write(0x3E, RX_BITS, 2)


def frame(number: int, size: int) -> bytes:
    return (MAC + b"\x52\x54\0\0\0\xaa\x88\xb5" + number.to_bytes(4, "big")).ljust(size, bytes([number & 0xFF]))[:size]


@pytest.fixture
def driver(machine: Machine) -> Cp8139:
    return Cp8139(machine)


def test_rt_1_probe_takes_510_accesses_and_finds_the_address(driver: Cp8139) -> None:
    driver.probe()
    assert (MAC, {"read": 285, "write": 225}) == (driver.mac, dict(driver.counts))


def test_rt_1_probing_with_8_address_bits_does_not_read_the_signature(driver: Cp8139) -> None:
    """The two extra clocks shift the answer by two bits, and the next word's follow."""
    assert (0x8129 << 2 & 0xFFFF | 0x10EC >> 14) == driver.eeprom_word(0, 8)


def test_rt_2_open_send_receive_close(driver: Cp8139) -> None:
    driver.probe()
    driver.open()
    machine = driver.machine
    assert (0x25, 0xF9 & 0x70) == (machine.read(Reg.CONFIG1) & 0x25, machine.read(Reg.CONFIG3) & 0x70 | 0x30)
    driver.transmit(frame(1, 60))
    machine.hear(frame(2, 100))
    assert ([frame(1, 60)], [frame(2, 100)]) == (machine.sent, driver.stack)
    driver.counts.clear()
    driver.close()
    assert {"read": 8, "write": 8} == dict(driver.counts)
    machine.hear(frame(3, 60))
    assert (1, False, 0) == (len(driver.stack), machine.nic.irq.asserted, machine.read(Reg.ISR))


def test_a_frame_each_way_takes_4_reads_and_5_writes(driver: Cp8139) -> None:
    """Section 3.1: a ping. TDU comes with TOK, so sending costs no interrupt of its own beside the answer's."""
    driver.probe()
    driver.open()
    driver.counts.clear()
    driver.transmit(frame(1, 60))
    driver.machine.hear(frame(2, 60))
    assert {"read": 4, "write": 5} == dict(driver.counts)


def test_rt_3_5000_frames_each_way_without_loss(driver: Cp8139) -> None:
    driver.probe()
    driver.open()
    machine = driver.machine
    sizes = [60 + number % 1455 for number in range(5000)]
    for first in range(0, 5000, 40):
        frames = [frame(number, sizes[number]) for number in range(first, first + 40)]
        for data in frames:
            driver.transmit(data)
        machine.hear(*frames)
    expected = [frame(number, size) for number, size in enumerate(sizes)]
    assert expected == machine.sent
    assert expected == driver.stack
    assert 0 == machine.read(Reg.MPC)


@pytest.mark.parametrize("burst", [1, 63, 64, 65, 300])
def test_an_acknowledgement_that_comes_late_loses_no_frame(make_machine: MakeMachine, burst: int) -> None:
    """Nor does it stall the wire where what comes meanwhile fills the ring."""
    driver = PostedCp8139(make_machine(overflow=Overflow.HOLD))
    driver.probe()
    driver.open()
    machine = driver.machine
    frames = [frame(number, 60) for number in range(1 + 3 * burst)]
    driver.meanwhile = [frames[1 + at * burst :][:burst] for at in range(3)]
    machine.hear(frames[0])
    machine.loop.advance(1_000_000)
    assert frames == driver.stack
    assert (False, 0, 0) == (machine.wire.pausing, machine.read(Reg.MPC), machine.read(Reg.ISR))


def test_rt_6_a_transmit_time_out_starts_both_rings_over_without_reset(driver: Cp8139) -> None:
    driver.probe()
    driver.open()
    machine = driver.machine
    for number in range(3):
        driver.transmit(frame(number, 60))
        machine.hear(frame(number, 60))
    driver.time_out()
    driver.transmit(frame(7, 60))
    machine.hear(frame(8, 60))
    assert (frame(7, 60), frame(8, 60)) == (machine.sent[-1], driver.stack[-1])
    assert (1, 1) == (driver.rx_tail, driver.tx_tail)


def test_changing_the_receive_mode_between_frames_loses_none(driver: Cp8139) -> None:
    """RT-4 for C+."""
    driver.probe()
    driver.open()
    for number in range(100):
        driver.set_rx_mode()
        driver.machine.hear(frame(number, 60))
    assert [frame(number, 60) for number in range(100)] == driver.stack


def test_statistics_read_and_clear_missed_packets(driver: Cp8139) -> None:
    driver.probe()
    driver.open()
    driver.machine.nic.miss()
    assert 1 == driver.read(0x4C, 4)
    driver.write(0x4C, 0, 4)
    assert 0 == driver.read(0x4C, 4)


def test_resume_from_d3_runs_open_again(driver: Cp8139) -> None:
    driver.probe()
    driver.open()
    machine = driver.machine
    machine.hear(frame(1, 60))
    driver.close()
    machine.guest.config_write(0x54, 3, 2)
    assert 0 == machine.guest.read(0x37, 1)
    machine.guest.config_write(0x54, 0, 2)
    driver.open()
    machine.hear(frame(2, 60))
    assert [frame(1, 60), frame(2, 60)] == driver.stack


def test_nothing_is_pending_once_all_is_done(driver: Cp8139) -> None:
    driver.probe()
    driver.open()
    driver.transmit(frame(1, 60))
    driver.machine.hear(frame(2, 60))
    assert (0, Interrupt(0)) == (driver.machine.read(Reg.ISR), Interrupt(driver.machine.nic.irq.level))
