"""From the wire into the ring: filter, descriptors, VLAN, checksum verdicts, overflow (section 1.7)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING
from zlib import crc32

import pytest

from etherloom import Drop
from etherloom.net.offload import GsoType, VnetHeader
from etherloom.net.offload.checksum import checksum, word_sum
from etherloom_rtl8139.receive import FRAME_LONGEST, Overflow
from etherloom_rtl8139.registers import Command, CpCommand, Interrupt, Poll
from etherloom_rtl8139.registers import Registers as Reg
from etherloom_rtl8139.rings import EOR, FS, LS, OWN

if TYPE_CHECKING:
    from plugins.rtl8139.tests.conftest import Machine

MAC = bytes.fromhex("525400123456")
OTHER = bytes.fromhex("5254000000aa")
GROUP = bytes.fromhex("01005e000001")  # hash 31
AAP, APM, AM, AB = 1, 2, 4, 8
KIND_MAR, KIND_PAM, KIND_BAR = 1 << 26, 1 << 25, 1 << 24
MS = 1_000_000

MakeMachine = Callable[..., "Machine"]


def frame(destination: bytes = MAC, size: int = 60, fill: int = 0x5A) -> bytes:
    return (destination + OTHER + b"\x88\xb5").ljust(size, bytes([fill]))


def with_crc(data: bytes) -> bytes:
    return data + crc32(data).to_bytes(4, "little")


def packet(protocol: int, payload: bytes, *, fragment: int = 0) -> bytes:
    """An IPv4 frame to the station."""
    header = struct.pack(
        ">BBHHHBB2x4s4s", 0x45, 0, 20 + len(payload), 7, fragment, 64, protocol, b"\x0a\0\0\1", b"\x0a\0\0\2"
    )
    header = header[:10] + checksum(word_sum(header)).to_bytes(2, "big") + header[12:]
    return MAC + OTHER + b"\x08\0" + header + payload


def tcp(data: bytes = b"hello") -> bytes:
    segment = struct.pack(">HHIIBBHHH", 1, 2, 3, 4, 0x50, 0x10, 500, 0, 0) + data
    pseudo = word_sum(b"\x0a\0\0\1\x0a\0\0\2") + 6 + len(segment)
    return segment[:16] + checksum(word_sum(segment) + pseudo).to_bytes(2, "big") + segment[18:]


def udp(data: bytes = b"hello") -> bytes:
    datagram = struct.pack(">HHHH", 1, 2, 8 + len(data), 0) + data
    pseudo = word_sum(b"\x0a\0\0\1\x0a\0\0\2") + 17 + len(datagram)
    return datagram[:6] + (checksum(word_sum(datagram) + pseudo) or 0xFFFF).to_bytes(2, "big") + datagram[8:]


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_a_frame_comes_with_its_crc_and_an_interrupt(machine: Machine) -> None:
    machine.start()
    machine.hear(frame(size=100))
    assert with_crc(frame(size=100)) == machine.frame_at(0)
    assert (FS | LS | KIND_PAM | 104, 0) == machine.descriptor(machine.rx, 0)
    assert Interrupt.ROK == machine.take_interrupts()


def test_a_burst_costs_one_interrupt(machine: Machine) -> None:
    machine.guest.interrupt = lambda: machine.write(Reg.ISR, 0xFFFF)
    machine.start(8)
    machine.write(Reg.IMR, 0xFFFF)
    machine.hear(*[frame()] * 6)
    assert (1, 6) == (machine.nic.irq.rises, machine.nic.tally.rx_ok)


def test_short_frames_are_padded_as_a_wire_would(machine: Machine) -> None:
    """R-45, A-11."""
    machine.start()
    machine.hear(frame(size=14))
    assert with_crc(frame(size=14).ljust(60, b"\0")) == machine.frame_at(0)


@pytest.mark.parametrize(("size", "stored"), [(FRAME_LONGEST, True), (FRAME_LONGEST + 1, False), (60000, False)])
def test_long_frames_are_refused(machine: Machine, size: int, stored: bool) -> None:
    machine.start(buffer_bytes=2048)
    machine.hear(frame(size=size))
    assert stored is not bool(machine.descriptor(machine.rx, 0)[0] & OWN)
    machine.network.settle()
    assert (0 if stored else 1) == machine.nic.counters.drops.get(Drop.REFUSED, 0)


def test_a_large_frame_goes_on_in_the_next_buffers(machine: Machine) -> None:
    """R-54: FS on the first only, LS and the length on the last only."""
    machine.start(4, buffer_bytes=64)
    data = with_crc(frame(size=150, fill=0x33))
    machine.hear(data[:-4])
    states = [machine.descriptor(machine.rx, index)[0] for index in range(4)]
    assert [FS | KIND_PAM, KIND_PAM, LS | KIND_PAM | 154, OWN | EOR | 64] == states
    assert data == b"".join(machine.peek(machine.buffers + 2048 * index, 64) for index in range(3))[:154]


def test_bits_of_a_descriptor_stay_its_own_when_a_frame_takes_several(machine: Machine) -> None:
    machine.start(2, buffer_bytes=64, features=CpCommand.RX_VLAN)
    machine.put(machine.rx, 0, OWN | 64, 0xA000_0000, machine.buffers)
    machine.hear(MAC + OTHER + b"\x81\x00\x0a\x05\x08\x06" + bytes(82))
    assert [0xA001_050A, 0x0001_050A] == [machine.descriptor(machine.rx, index)[1] for index in range(2)]


def test_a_frame_larger_than_all_buffers_leaves_the_ring_alone(machine: Machine) -> None:
    machine.start(4, buffer_bytes=64)
    before = machine.peek(machine.buffers, 4 * 2048)
    machine.hear(frame(size=300))
    assert [OWN | 64, OWN | 64, OWN | 64, OWN | EOR | 64] == [machine.descriptor(machine.rx, i)[0] for i in range(4)]
    assert before == machine.peek(machine.buffers, 4 * 2048)
    machine.hear(frame())
    assert with_crc(frame()) == machine.frame_at(0)


def test_the_crc_may_lie_in_two_buffers(machine: Machine) -> None:
    machine.start(4, buffer_bytes=62)
    machine.hear(frame())
    parts = machine.peek(machine.buffers, 62) + machine.peek(machine.buffers + 2048, 2)
    assert with_crc(frame()) == parts


def test_the_ring_ends_at_eor(machine: Machine) -> None:
    machine.start(2)
    machine.hear(frame(fill=1), frame(fill=2))
    machine.give(0, 2)
    machine.hear(frame(fill=3))
    assert with_crc(frame(fill=3)) == machine.frame_at(0)
    assert machine.descriptor(machine.rx, 1)[0] & EOR


def test_a_ring_without_eor_ends_after_64(machine: Machine) -> None:
    """A-16, S-10."""
    machine.start(0)
    for index in range(64):
        machine.give(index, size=0)
    behind = machine.peek(machine.rx + 1024, 64)
    machine.hear(*[frame()] * 64)
    machine.give(0, size=0)
    machine.hear(frame(fill=9))
    assert with_crc(frame(fill=9)) == machine.frame_at(0)
    assert behind == machine.peek(machine.rx + 1024, 64)


@pytest.mark.parametrize(
    ("accept", "destination", "kind"),
    [
        (0, b"\xff" * 6, None),
        (AB, b"\xff" * 6, KIND_BAR),
        (AM | APM, b"\xff" * 6, None),
        (APM, MAC, KIND_PAM),
        (AB | AM, MAC, None),
        (APM, OTHER, None),
        (AM, GROUP, KIND_MAR),
        (AM, bytes.fromhex("3333ff123456"), None),
        (AB | APM, GROUP, None),
        (AAP, OTHER, 0),
        (AAP, MAC, KIND_PAM),
        (AAP, GROUP, KIND_MAR),
        (AAP, b"\xff" * 6, KIND_BAR),
    ],
)
def test_the_filter_accepts_and_names_the_kind(
    machine: Machine, accept: int, destination: bytes, kind: int | None
) -> None:
    """R-44; the kind is told in promiscuous mode too (A-8)."""
    machine.start(accept=accept)
    machine.write(Reg.MAR, 1 << 31)
    machine.hear(frame(destination))
    status, _ = machine.descriptor(machine.rx, 0)
    assert kind == (None if status & OWN else status & (KIND_MAR | KIND_PAM | KIND_BAR))


def test_a_refused_frame_counts_nowhere_in_the_chip(machine: Machine) -> None:
    """R-65: QEMU counts it as a receive error."""
    machine.start(accept=APM)
    machine.hear(frame(OTHER))
    assert (0, bytes(64)) == (machine.take_interrupts(), machine.nic.tally.pack())


def test_changing_the_filter_takes_effect_at_once(machine: Machine) -> None:
    machine.start(accept=APM)
    machine.hear(frame(OTHER))
    machine.write(Reg.RCR, AAP)
    machine.hear(frame(OTHER))
    machine.write(Reg.RCR, APM)
    machine.hear(frame(OTHER))
    assert machine.nic.tally.rx_ok == 1


@pytest.mark.parametrize("off", ["never on", "RE", "CPCR", "no ring", "asleep"])
def test_a_receiver_that_is_off_drops_silently(machine: Machine, off: str) -> None:
    """R-50, R-92."""
    if off != "never on":
        machine.start()
    if off == "RE":
        machine.write(Reg.CR, Command.TE)
    elif off == "CPCR":
        machine.write(Reg.CPCR, CpCommand.TX)
    elif off == "asleep":
        machine.guest.config_write(0x54, 3, 2)
    elif off == "no ring":
        machine.write(Reg.RDSAR, 0)
    machine.hear(frame())
    if off == "asleep":
        machine.guest.config_write(0x54, 0, 2)
    # without a ring there is no descriptor, which is an overflow
    assert (Interrupt.RDU if off == "no ring" else 0) == machine.take_interrupts()
    assert machine.nic.tally.rx_ok == 0


def test_a_tag_is_removed_into_the_descriptor(machine: Machine) -> None:
    """R-56: the tag's bytes are swapped, the CRC is the original frame's."""
    machine.start(features=CpCommand.RX_VLAN)
    tagged = MAC + OTHER + b"\x81\x00\x0a\x05" + b"\x08\x06" + bytes(82)
    machine.hear(tagged)
    plain = MAC + OTHER + b"\x08\x06" + bytes(82)
    assert plain + with_crc(tagged)[-4:] == machine.frame_at(0)
    assert (FS | LS | KIND_PAM | 100, 0x1050A) == machine.descriptor(machine.rx, 0)


def test_what_is_too_short_without_its_tag_is_padded(machine: Machine) -> None:
    """A-23."""
    machine.start(features=CpCommand.RX_VLAN)
    tagged = MAC + OTHER + b"\x81\x00\x0a\x05" + b"\x08\x06" + bytes(range(42))
    machine.hear(tagged)
    assert MAC + OTHER + b"\x08\x06" + bytes(range(42)) + bytes(4) + with_crc(tagged)[-4:] == machine.frame_at(0)


@pytest.mark.parametrize("features", [0, CpCommand.RX_VLAN])
def test_an_untagged_frame_clears_the_tag_bit_only(machine: Machine, features: int) -> None:
    machine.start(features=features)
    machine.put(machine.rx, 0, OWN | 2048, 0xFFFFFFFF, machine.buffers)
    machine.hear(frame())
    assert machine.descriptor(machine.rx, 0)[1] == 0xFFFEFFFF


def test_a_tag_stays_without_rxvlan(machine: Machine) -> None:
    machine.start()
    tagged = MAC + OTHER + b"\x81\x00\x0a\x05" + b"\x08\x06" + bytes(82)
    machine.hear(tagged)
    assert with_crc(tagged) == machine.frame_at(0)


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        (frame(), 0),
        (packet(6, tcp()), 0x10000),
        (packet(17, udp()), 0x20000),
        (packet(17, udp()[:6] + b"\0\0" + udp()[8:]), 0x20000),
        (packet(1, b"\x08\0abcdefgh"), 0x30000),
        (flipped(packet(6, tcp()), 50), 0x10000 | 1 << 13),
        (flipped(packet(17, udp()), 43), 0x20000 | 1 << 14),
        (flipped(packet(6, tcp()), 24), 0x10000 | 1 << 15),
        (packet(6, tcp(), fragment=0x2000), 0x30000),
        (packet(6, tcp())[:40], 0),
        (packet(6, tcp()[:10]), 0),
        (MAC + OTHER + b"\x86\xdd" + bytes(60), 0),
    ],
    ids=["other", "tcp", "udp", "udp-none", "icmp", "tcp-bad", "udp-bad", "ip-bad", "fragment", "cut", "stub", "ipv6"],
)
def test_protocol_and_checksum_verdicts(machine: Machine, data: bytes, verdict: int) -> None:
    """R-57: QEMU gives none."""
    machine.start(features=CpCommand.RX_CHECKSUM)
    machine.hear(data)
    assert verdict == machine.descriptor(machine.rx, 0)[0] & 0x3E000


def test_no_verdict_without_rxchksum(machine: Machine) -> None:
    machine.start()
    machine.hear(flipped(packet(6, tcp()), 50))
    assert 0 == machine.descriptor(machine.rx, 0)[0] & 0x3E000


def test_a_full_ring_drops_counts_and_says_so(machine: Machine) -> None:
    """R-55, with `overflow=drop`."""
    machine.start(2)
    machine.hear(*[frame()] * 5)
    assert Interrupt.ROK | Interrupt.RDU == machine.take_interrupts()
    machine.network.settle()
    assert (3, 3) == (machine.read(Reg.MPC), machine.nic.counters.drops[Drop.QUEUE_FULL])
    machine.give(0, 2)
    machine.hear(frame(fill=7))
    assert with_crc(frame(fill=7)) == machine.frame_at(0)


def test_holding_loses_nothing_when_descriptors_come_back_silently(make_machine: MakeMachine) -> None:
    """8139cp gives descriptors back without touching a register."""
    machine = make_machine(overflow=Overflow.HOLD)
    machine.start(2)
    machine.hear(*[frame(fill=fill) for fill in range(4)])
    assert (True, 0) == (machine.wire.pausing, machine.read(Reg.MPC))
    machine.loop.advance(5 * MS)
    machine.give(0, 2)
    machine.give(1, 2)
    machine.loop.advance(MS // 5)
    assert [with_crc(frame(fill=2)), with_crc(frame(fill=3))] == [machine.frame_at(0), machine.frame_at(1)]
    assert (False, 0, 4) == (machine.wire.pausing, machine.read(Reg.MPC), machine.nic.tally.rx_ok)


def test_holding_ends_at_the_guests_next_access(make_machine: MakeMachine) -> None:
    machine = make_machine(overflow=Overflow.HOLD)
    machine.start(2)
    machine.hear(*[frame(fill=fill) for fill in range(3)])
    machine.give(0, 2)
    machine.read(Reg.ISR)
    machine.loop.run_until_idle()
    assert with_crc(frame(fill=2)) == machine.frame_at(0)


def test_holding_turns_into_dropping_after_100_ms(make_machine: MakeMachine) -> None:
    machine = make_machine(overflow=Overflow.HOLD)
    machine.start(2)
    machine.hear(*[frame()] * 6)
    tally = machine.nic.tally  # looked at without an access, which would offer the frame again
    machine.loop.advance(100 * MS - 1)
    assert (True, 0) == (machine.wire.pausing, tally.missed)
    machine.loop.advance(1)
    assert (False, 4) == (machine.wire.pausing, tally.missed)
    machine.hear(frame())  # the guest sleeps: from now on as the chip
    assert (False, 5) == (machine.wire.pausing, tally.missed)
    machine.give(0, 2)
    machine.give(1, 2)
    machine.hear(frame(), frame(), frame())  # and awake again it gets another 100 ms
    assert (True, 5, 5) == (machine.wire.pausing, tally.missed, machine.read(Reg.MPC))


def test_each_frame_that_fits_starts_the_time_over(make_machine: MakeMachine) -> None:
    machine = make_machine(overflow=Overflow.HOLD)
    machine.start(2)
    machine.hear(*[frame(fill=fill) for fill in range(32)])
    for number in range(30):
        machine.loop.advance(90 * MS)
        machine.give(number % 2, 2)
    machine.loop.advance(10 * MS)
    assert (32, 0, False) == (machine.nic.tally.rx_ok, machine.nic.tally.missed, machine.wire.pausing)


def test_a_driver_whose_ring_stays_full_is_told_so(make_machine: MakeMachine) -> None:
    """It may have acknowledged, late, a frame that it did not see; without another frame nothing would wake it."""
    machine = make_machine(overflow=Overflow.HOLD)
    machine.start(2)
    machine.hear(*[frame()] * 3)
    machine.write(Reg.ISR, 0xFFFF)
    machine.loop.advance(MS // 5 - 1)
    assert 0 == machine.nic.ISR
    machine.loop.advance(1)
    assert (Interrupt.RDU, True, 0) == (machine.nic.ISR, machine.wire.pausing, machine.nic.tally.missed)


@pytest.mark.parametrize("large", [False, True])
def test_a_looped_frame_that_takes_the_room_does_not_stall_the_wire(make_machine: MakeMachine, large: bool) -> None:
    machine = make_machine(vnet=True, overflow=Overflow.HOLD)
    machine.start(2)
    machine.hear(frame(fill=1), frame(fill=2))
    if large:
        data = packet(6, tcp(bytes(2000)))
        header = VnetHeader(gso_type=GsoType.TCPV4, gso_size=1000)
        machine.wire.send_all([header.pack() + data])
    else:
        machine.hear(frame(fill=3))
    machine.write(Reg.TCR, 0x60000)
    machine.poke(machine.buffers + 0x8000, frame(fill=4))
    machine.put(machine.tx, 0, OWN | FS | LS | 60, 0, machine.buffers + 0x8000)
    machine.write(Reg.TPPOLL, Poll.NPQ)
    machine.give(0, 2)
    machine.loop.run_until_idle()
    assert with_crc(frame(fill=4)) == machine.frame_at(0)
    for index in (1, 0):
        machine.give(index, 2)
    machine.loop.advance(MS)
    assert (False, 5 if large else 4) == (machine.wire.pausing, machine.nic.tally.rx_ok)


@pytest.mark.parametrize("how", [Command.RST, 0], ids=["reset", "RE off"])
def test_a_receiver_that_is_off_does_not_say_that_its_ring_is_full(make_machine: MakeMachine, how: int) -> None:
    machine = make_machine(overflow=Overflow.HOLD)
    machine.start(2)
    machine.hear(*[frame()] * 3)
    machine.write(Reg.CR, how)
    machine.write(Reg.ISR, 0xFFFF)
    machine.loop.advance(1000 * MS)
    assert 0 == machine.read(Reg.ISR)


@pytest.mark.parametrize("how", ["reset", "RE off", "asleep", "bus reset", "detached", "bus master off"])
def test_nothing_stalls_the_wire_across(make_machine: MakeMachine, how: str) -> None:
    """RT-7: QEMU stalls until CAPR is written, even across a reset."""
    machine = make_machine(overflow=Overflow.HOLD)
    machine.start(2)
    machine.hear(*[frame()] * 5)
    assert machine.wire.pausing
    if how == "bus master off":
        machine.guest.config_write(4, 0x3, 2)
    else:
        machine.switch_off(how)
    machine.loop.advance(MS // 5)
    assert not machine.wire.pausing


def test_dma_errors_drop_the_frame_and_raise_serr(machine: Machine) -> None:
    machine.start()
    machine.put(machine.rx, 0, OWN | 2048, 0, 0xDEAD_0000)
    machine.hear(frame())
    machine.network.settle()
    assert (Interrupt.SERR, {Drop.HOST_ERROR: 1}) == (machine.take_interrupts(), machine.nic.counters.drops)
    assert machine.guest.config_read(6, 2) & 0x2000  # received master abort
    machine.put(machine.rx, 0, OWN | 2048, 0, machine.buffers)
    machine.hear(frame())
    assert with_crc(frame()) == machine.frame_at(0)


def test_a_half_unmapped_scatter_leaves_the_ring_where_it_was(machine: Machine) -> None:
    machine.start(4, buffer_bytes=64)
    machine.put(machine.rx, 1, OWN | 64, 0, 0xDEAD_0000)
    machine.hear(frame(size=150))
    assert machine.rx == machine.nic.receiver.ring.next
    assert [True, True] == [bool(machine.descriptor(machine.rx, index)[0] & OWN) for index in range(2)]
