"""From the rings onto the wire: descriptors, priorities, offloads, VLAN, loopback, back-pressure (section 1.7)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING
from zlib import crc32

import pytest

from etherloom import Drop
from etherloom.net.offload import GsoType, VnetFlag, VnetHeader
from etherloom.net.offload.checksum import checksum, word_sum
from etherloom_rtl8139.receive import Overflow
from etherloom_rtl8139.registers import Command, CpCommand, Interrupt, Poll
from etherloom_rtl8139.registers import Registers as Reg
from etherloom_rtl8139.rings import EOR, FS, LS, OWN

if TYPE_CHECKING:
    from plugins.rtl8139.tests.conftest import Machine

MAC = bytes.fromhex("525400123456")
OTHER = bytes.fromhex("5254000000aa")
LGSEN, IPCS, UDPCS, TCPCS = 1 << 27, 1 << 18, 1 << 17, 1 << 16
TES, TAGC = 1 << 23, 1 << 17
SOURCE, TARGET = b"\x0a\0\0\1", b"\x0a\0\0\2"
CWR_PSH_FIN_ACK = 0x80 | 0x08 | 0x01 | 0x10

MakeMachine = Callable[..., "Machine"]


def frame(size: int = 60, fill: int = 0x5A) -> bytes:
    return (OTHER + MAC + b"\x88\xb5").ljust(size, bytes([fill]))


def packet(protocol: int, payload: bytes, *, fragment: int = 0, sums: bool = False) -> bytes:
    """An IPv4 frame as a driver hands it over: without checksums, or with."""
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 7, fragment, 64, protocol, 0, SOURCE, TARGET)
    if sums:
        header = header[:10] + checksum(word_sum(header)).to_bytes(2, "big") + header[12:]
        at = {6: 16, 17: 6}[protocol]
        pseudo = word_sum(SOURCE + TARGET) + protocol + len(payload)
        total = checksum(word_sum(payload) + pseudo) or 0xFFFF
        payload = payload[:at] + total.to_bytes(2, "big") + payload[at + 2 :]
    return OTHER + MAC + b"\x08\0" + header + payload


def tcp(data: bytes, *, sequence: int = 3, flags: int = 0x10, words: int = 5) -> bytes:
    return struct.pack(">HHIIBBHHH", 1, 2, sequence, 4, words << 4, flags, 500, 0, 0) + data


def udp(data: bytes) -> bytes:
    return struct.pack(">HHHH", 1, 2, 8 + len(data), 0) + data


def test_a_frame_leaves_and_its_descriptor_comes_back(machine: Machine) -> None:
    machine.start()
    machine.send(frame(100))
    assert [frame(100)] == machine.sent
    assert (FS | LS | 100, 0) == machine.descriptor(machine.tx, 0)
    assert Interrupt.TOK | Interrupt.TDU == machine.take_interrupts()


@pytest.mark.parametrize("mitigation", [False, True])
def test_one_poll_costs_one_interrupt(make_machine: MakeMachine, mitigation: bool) -> None:
    machine = make_machine(mitigation=mitigation)
    machine.start()
    machine.listen()
    machine.send(*[frame(fill=fill) for fill in range(10)])
    machine.loop.advance(1_000_000_000)
    assert ([frame(fill=fill) for fill in range(10)], 1) == (machine.sent, machine.nic.irq.rises)


def test_status_bits_are_cleared_and_others_kept(machine: Machine) -> None:
    """Also those of the checksum offloads, in whose place a driver reads how many collisions there were."""
    machine.start()
    machine.send(frame(), command=0x02F0_0000 | IPCS)
    assert FS | LS | 60 == machine.descriptor(machine.tx, 0)[0]


def test_short_frames_are_padded(machine: Machine) -> None:
    """A-12: QEMU sends 30 bytes as 30."""
    machine.start()
    machine.send(frame(30))
    assert [frame(30).ljust(60, b"\0")] == machine.sent


@pytest.mark.parametrize("size", [0, 13])
def test_less_than_a_header_is_no_frame(machine: Machine, size: int) -> None:
    machine.start()
    machine.send(bytes(size), frame())
    assert ([frame()], {Drop.SHORT: 1}) == (machine.sent, machine.nic.counters.drops)


def test_a_frame_is_gathered_from_its_descriptors(machine: Machine) -> None:
    machine.start()
    data = frame(200, 0x77)
    machine.poke(machine.buffers, data)
    machine.put(machine.tx, 0, OWN | FS | 14, 0, machine.buffers)
    machine.put(machine.tx, 1, OWN | 0, 0, machine.buffers)
    machine.put(machine.tx, 2, OWN | LS | 186, 0, machine.buffers + 14)
    machine.write(Reg.TPPOLL, Poll.NPQ)
    assert [data] == machine.sent
    assert [FS | 14, 0, LS | 186] == [machine.descriptor(machine.tx, index)[0] for index in range(3)]


def test_a_chain_may_go_on_in_the_next_poll(machine: Machine) -> None:
    machine.start()
    machine.poke(machine.buffers, frame(100))
    machine.put(machine.tx, 0, OWN | FS | 40, 0, machine.buffers)
    machine.write(Reg.TPPOLL, Poll.NPQ)
    machine.put(machine.tx, 1, OWN | LS | 60, 0, machine.buffers + 40)
    machine.write(Reg.TPPOLL, Poll.NPQ)
    assert [frame(100)] == machine.sent


def test_a_last_without_a_first_is_an_error(machine: Machine) -> None:
    """R-58, A-14: QEMU sends it."""
    machine.start()
    machine.put(machine.tx, 0, OWN | LS | 60, 0, machine.buffers)
    machine.write(Reg.TPPOLL, Poll.NPQ)
    assert ([], LS | TES | 60) == (machine.sent, machine.descriptor(machine.tx, 0)[0])
    assert (Interrupt.TER, 1) == (machine.take_interrupts(), machine.nic.tally.tx_err)


def test_a_new_first_gives_the_old_chain_up(machine: Machine) -> None:
    machine.start()
    machine.put(machine.tx, 0, OWN | FS | 60, 0, machine.buffers)
    machine.poke(machine.buffers + 100, frame())
    machine.put(machine.tx, 1, OWN | FS | LS | 60, 0, machine.buffers + 100)
    machine.write(Reg.TPPOLL, Poll.NPQ)
    assert [frame()] == machine.sent


def test_the_ring_ends_at_eor_and_after_64(machine: Machine) -> None:
    machine.start()
    machine.put(machine.tx, 0, OWN | FS | LS | EOR | 60, 0, machine.buffers)
    machine.write(Reg.TPPOLL, Poll.NPQ)
    assert machine.tx == machine.nic.transmitter.normal.next
    assert machine.descriptor(machine.tx, 0)[0] & EOR
    for index in range(64):
        machine.put(machine.tx, index, OWN | FS | LS | 60, 0, machine.buffers)
    machine.write(Reg.TPPOLL, Poll.NPQ)
    assert machine.tx == machine.nic.transmitter.normal.next
    assert len(machine.sent) == 65


def test_the_high_priority_ring_goes_first(machine: Machine) -> None:
    """R-39: QEMU never runs it."""
    machine.start()
    for ring, fill in ((machine.tx, 1), (machine.high, 2)):
        machine.poke(machine.buffers + 100 * fill, frame(fill=fill))
        machine.put(ring, 0, OWN | FS | LS | 60, 0, machine.buffers + 100 * fill)
    machine.write(Reg.TPPOLL, Poll.NPQ | Poll.HPQ)
    assert [frame(fill=2), frame(fill=1)] == machine.sent


def test_a_poll_names_its_ring(machine: Machine) -> None:
    machine.start()
    machine.send(frame(fill=2), ring=machine.high)
    assert [frame(fill=2)] == machine.sent
    assert machine.nic.transmitter.normal.left == 0


@pytest.mark.parametrize("off", ["TE", "CPCR", "no ring"])
def test_a_transmitter_that_is_off_sends_nothing_then_or_later(machine: Machine, off: str) -> None:
    machine.start()
    if off == "TE":
        machine.write(Reg.CR, Command.RE)
    elif off == "CPCR":
        machine.write(Reg.CPCR, CpCommand.RX)
    else:
        machine.write(Reg.TNPDS, 0)
    machine.send(frame())
    machine.start()
    machine.loop.run_until_idle()
    assert ([], 0) == (machine.sent, machine.take_interrupts())


def test_a_link_that_is_down_completes_frames_into_nowhere(machine: Machine) -> None:
    machine.start()
    machine.network.set_link(machine.nic, False)
    machine.take_interrupts()
    machine.send(frame())
    assert (Interrupt.TOK | Interrupt.TDU, {Drop.LINK_DOWN: 1}) == (
        machine.take_interrupts(),
        machine.nic.counters.drops,
    )


def test_a_wire_that_pauses_is_resumed_without_loss_or_another_poll(machine: Machine) -> None:
    machine.start()
    machine.wire.block()
    machine.send(*[frame(fill=fill) for fill in range(5)])
    assert ([], True) == (machine.sent, bool(machine.descriptor(machine.tx, 1)[0] & OWN))
    machine.wire.unblock()
    machine.loop.run_until_idle()
    assert [frame(fill=fill) for fill in range(5)] == machine.sent


def test_a_reset_while_the_wire_pauses_leaves_a_working_transmitter(machine: Machine) -> None:
    machine.start()
    machine.wire.block()
    machine.send(frame(fill=1), frame(fill=2))
    machine.write(Reg.CR, Command.RST)
    machine.put(machine.tx, 1, 0)
    machine.start()
    machine.wire.unblock()
    machine.loop.run_until_idle()
    machine.send(frame(fill=3))
    assert [frame(fill=1), frame(fill=3)] == machine.sent


def test_frames_before_a_dma_error_are_reported(machine: Machine) -> None:
    machine.start()
    machine.poke(machine.buffers, frame())
    machine.put(machine.tx, 0, OWN | FS | LS | 60, 0, machine.buffers)
    machine.put(machine.tx, 1, OWN | FS | LS | 60, 0, 0xDEAD_0000)
    machine.write(Reg.TPPOLL, Poll.NPQ)
    assert [frame()] == machine.sent
    assert Interrupt.TOK | Interrupt.TDU | Interrupt.SERR == machine.take_interrupts()


def test_a_tag_is_inserted_once(machine: Machine) -> None:
    """R-62; 86Box sends three broken frames."""
    machine.start()
    machine.send(frame(80), vlan=TAGC | 0x050A)
    assert [frame(80)[:12] + b"\x81\x00\x0a\x05" + frame(80)[12:]] == machine.sent


@pytest.mark.parametrize("vnet", [False, True])
@pytest.mark.parametrize("tag", [0, TAGC | 0x0100])
@pytest.mark.parametrize(
    ("protocol", "payload", "command"),
    [(6, tcp(b"x" * 31), IPCS | TCPCS), (17, udp(b"y" * 30), IPCS | UDPCS), (6, tcp(b""), IPCS | TCPCS)],
    ids=["tcp", "udp", "tcp-empty"],
)
def test_checksums_are_completed(
    make_machine: MakeMachine, vnet: bool, tag: int, protocol: int, payload: bytes, command: int
) -> None:
    """R-59, on a wire that leaves them to the receiver and on one that does not."""
    from etherloom.net.offload import complete

    machine = make_machine(vnet=vnet)
    machine.start()
    machine.send(packet(protocol, payload), command=command, vlan=tag)
    (raw,) = machine.wire.received
    (left,) = complete(raw) if vnet else (raw,)
    done = packet(protocol, payload, sums=True)
    if tag:
        done = done[:12] + b"\x81\x00\x00\x01" + done[12:]
    assert done.ljust(60, b"\0") == left
    if vnet:
        assert VnetHeader.unpack(raw).flags == VnetFlag.NEEDS_CSUM


def test_a_udp_checksum_of_zero_leaves_as_ffff(machine: Machine) -> None:
    """R-59."""
    machine.start()
    pseudo = word_sum(SOURCE + TARGET) + 17 + 10
    word = checksum(word_sum(udp(b"\0\0")) + pseudo)
    machine.send(packet(17, udp(word.to_bytes(2, "big"))), command=UDPCS)
    assert machine.sent[0][40:42] == b"\xff\xff"


def test_a_sum_is_made_here_where_padding_is_not_zero(make_machine: MakeMachine) -> None:
    machine = make_machine(vnet=True)
    machine.start()
    data = packet(17, udp(b"abc"), sums=True)
    machine.send(packet(17, udp(b"abc")) + b"\xaa" * 20, command=IPCS | UDPCS)
    assert [bytes(10) + data + b"\xaa" * 20] == machine.wire.received


@pytest.mark.parametrize("vlan", [0, TAGC | 0x0200])
def test_offload_reaches_behind_a_tag_that_is_in_the_frame_already(machine: Machine, vlan: int) -> None:
    """8139cp's, when it does not leave the tag to the chip; a second one from the descriptor leaves the first be."""
    machine.start()
    inner = b"\x81\x00\x00\x07"
    data = packet(6, tcp(b"x" * 40))
    done = packet(6, tcp(b"x" * 40), sums=not vlan)
    machine.send(data[:12] + inner + data[12:], command=IPCS | TCPCS, vlan=vlan)
    outer = b"\x81\x00\x00\x02" if vlan else b""
    assert [data[:12] + outer + inner + done[12:]] == machine.sent


@pytest.mark.parametrize("size", [14, 15, 16, 17])
def test_a_tag_that_is_cut_short_leaves_as_it_is(machine: Machine, size: int) -> None:
    machine.start()
    data = (OTHER + MAC + b"\x81\x00\x00\x07\x08\x00")[:size]
    machine.send(data, command=IPCS | TCPCS)
    assert [data.ljust(60, b"\0")] == machine.sent


@pytest.mark.parametrize(
    ("protocol", "payload", "flag"),
    [(6, tcp(b"x" * 40), UDPCS), (17, udp(b"x" * 40), TCPCS), (1, b"\x08\0" + bytes(40), TCPCS | UDPCS)],
)
def test_the_flag_of_another_protocol_does_nothing(machine: Machine, protocol: int, payload: bytes, flag: int) -> None:
    machine.start()
    machine.send(packet(protocol, payload), command=flag)
    assert [packet(protocol, payload)] == machine.sent


def test_a_fragment_gets_its_header_checksum_only(machine: Machine) -> None:
    """A-15."""
    machine.start()
    machine.send(packet(6, tcp(b"x" * 40), fragment=0x2000), command=IPCS | TCPCS)
    data = packet(6, tcp(b"x" * 40), fragment=0x2000)
    header = data[14:24] + checksum(word_sum(data[14:34])).to_bytes(2, "big") + data[26:34]
    assert [data[:14] + header + data[34:]] == machine.sent


def large(payload: bytes) -> bytes:
    return packet(6, tcp(payload, flags=CWR_PSH_FIN_ACK))


def test_large_send_leaves_as_one_frame_on_a_vnet_wire(make_machine: MakeMachine) -> None:
    machine = make_machine(vnet=True)
    machine.start()
    machine.send(large(bytes(3000)), command=LGSEN | 1000 << 16)
    (raw,) = machine.wire.received
    expected = VnetHeader(
        flags=VnetFlag.NEEDS_CSUM,
        gso_type=GsoType.TCPV4,
        ecn=True,
        hdr_len=54,
        gso_size=1000,
        csum_start=34,
        csum_offset=16,
    )
    assert (expected, 10 + 3054, 3) == (VnetHeader.unpack(raw), len(raw), machine.nic.tally.tx_ok)


@pytest.mark.parametrize("tag", [0, TAGC | 0x0100])
def test_large_send_is_cut_into_exact_segments_on_a_plain_wire(machine: Machine, tag: int) -> None:
    """R-60: FIN and PSH on the last, CWR on the first, ids and sequence numbers counted up."""
    machine.start()
    payload = bytes(range(256)) * 10
    machine.send(large(payload), command=LGSEN | 1000 << 16, vlan=tag)
    expected = []
    for index, flags in enumerate((0x90, 0x10, 0x19)):
        part = payload[1000 * index : 1000 * index + 1000]
        segment = bytearray(packet(6, tcp(part, sequence=3 + 1000 * index, flags=flags)))
        segment[18:20] = (7 + index).to_bytes(2, "big")
        segment[24:26] = checksum(word_sum(segment[14:34])).to_bytes(2, "big")
        pseudo = word_sum(SOURCE + TARGET) + 6 + len(segment) - 34
        segment[50:52] = checksum(word_sum(segment[34:]) + pseudo).to_bytes(2, "big")
        if tag:
            segment[12:12] = b"\x81\x00\x00\x01"
        expected.append(bytes(segment))
    assert expected == machine.sent


@pytest.mark.parametrize("payload", [0, 1, 1000])
def test_large_send_with_nothing_to_cut_leaves_once_with_checksums(machine: Machine, payload: int) -> None:
    """A-15: QEMU loses the one without payload."""
    machine.start()
    machine.send(large(bytes(payload)), command=LGSEN | 1000 << 16)
    assert [packet(6, tcp(bytes(payload), flags=CWR_PSH_FIN_ACK), sums=True).ljust(60, b"\0")] == machine.sent


@pytest.mark.parametrize(
    ("data", "command"),
    [(packet(17, udp(bytes(3000))), LGSEN | 1000 << 16), (large(bytes(3000)), LGSEN)],
    ids=["udp", "no mss"],
)
def test_large_send_of_udp_or_without_mss_leaves_as_it_is(machine: Machine, data: bytes, command: int) -> None:
    machine.start()
    machine.send(data, command=command)
    assert [data] == machine.sent


def test_loopback_receives_own_frames_later_and_sends_nothing(machine: Machine) -> None:
    """R-63."""
    machine.start()
    machine.write(Reg.TCR, 0x60000)
    machine.poke(machine.buffers + 0x8000, MAC + frame()[6:])
    machine.put(machine.tx, 0, OWN | FS | LS | 60, 0, machine.buffers + 0x8000)
    machine.write(Reg.TPPOLL, Poll.NPQ)
    assert machine.descriptor(machine.rx, 0)[0] & OWN  # not from within the engine
    machine.loop.run_until_idle()
    data = MAC + frame()[6:]
    assert (data + crc32(data).to_bytes(4, "little"), []) == (machine.frame_at(0), machine.sent)
    assert Interrupt.TOK | Interrupt.TDU | Interrupt.ROK == machine.take_interrupts()


def test_a_reset_forgets_frames_on_their_way_back(machine: Machine) -> None:
    machine.start()
    machine.write(Reg.TCR, 0x60000)
    machine.poke(machine.buffers + 0x8000, MAC + frame()[6:])
    machine.put(machine.tx, 0, OWN | FS | LS | 60, 0, machine.buffers + 0x8000)
    machine.write(Reg.TPPOLL, Poll.NPQ)
    machine.write(Reg.CR, Command.RST)
    machine.start()
    machine.loop.run_until_idle()
    assert (0, 0) == (machine.nic.tally.rx_ok, machine.take_interrupts())


def test_half_a_loopback_is_none(machine: Machine) -> None:
    machine.start()
    machine.write(Reg.TCR, 0x20000)
    machine.send(frame())
    assert [frame()] == machine.sent


def test_loopback_completes_checksums_and_segments(machine: Machine) -> None:
    machine.start(8, features=CpCommand.RX_CHECKSUM)
    machine.write(Reg.TCR, 0x60000)
    data = MAC + large(bytes(2500))[6:]
    machine.poke(machine.buffers + 0x8000, data)
    machine.put(machine.tx, 0, OWN | FS | LS | LGSEN | 1000 << 16 | len(data), 0, machine.buffers + 0x8000)
    machine.write(Reg.TPPOLL, Poll.NPQ)
    machine.loop.run_until_idle()
    verdicts = [machine.descriptor(machine.rx, index)[0] & 0x3E000 for index in range(3)]
    assert ([0x10000] * 3, 3) == (verdicts, machine.nic.tally.rx_ok)


@pytest.mark.parametrize("overflow", list(Overflow))
def test_loopback_into_a_full_ring_is_missed_not_held(make_machine: MakeMachine, overflow: Overflow) -> None:
    machine = make_machine(overflow=overflow)
    machine.start(2)
    machine.write(Reg.TCR, 0x60000)
    machine.poke(machine.buffers + 0x8000, MAC + frame()[6:])
    for index in range(4):
        machine.put(machine.tx, index, OWN | FS | LS | 60, 0, machine.buffers + 0x8000)
    machine.write(Reg.TPPOLL, Poll.NPQ)
    machine.loop.run_until_idle()
    assert (2, 2) == (machine.nic.tally.rx_ok, machine.read(Reg.MPC))
