"""What a client is told of the device, and its registers, through the socket."""

from __future__ import annotations

import struct

import pytest

from etherloom_vfio_user._wire import (
    ACCESS,
    DEVICE_INFO,
    IRQ_INFO,
    NO_REPLY,
    REGION_INFO,
    REGION_IO_FDS,
    WRITE,
    WRITES,
    Command,
)
from etherloom_vfio_user.testing import Reply, Rig, Style

EINVAL = 22


def refused(reply: Reply) -> bool:
    """An error is a header alone."""
    return (reply.failed, reply.error, reply.payload) == (True, EINVAL, b"")


# What the device is ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argsz", [16, 32, 4096])
def test_device_has_nine_regions_five_interrupts_and_a_reset(rig: Rig, style: Style, argsz: int) -> None:
    """cloud-hypervisor counts the header in."""
    reply = rig.guest(style).request(Command.DEVICE_GET_INFO, DEVICE_INFO.pack(argsz, 0, 0, 0), room=16)
    assert DEVICE_INFO.pack(16, 3, 9, 5) == reply.payload


@pytest.mark.parametrize("payload", [b"", bytes(15), DEVICE_INFO.pack(15, 0, 0, 0)])
def test_device_info_without_room_is_refused(rig: Rig, payload: bytes) -> None:
    assert refused(rig.guest().request(Command.DEVICE_GET_INFO, payload))


@pytest.mark.parametrize(
    ("index", "size"), [(0, 256), (1, 256), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0), (7, 256), (8, 0)]
)
def test_region_is_readable_writable_and_not_mappable(rig: Rig, style: Style, index: int, size: int) -> None:
    payload = REGION_INFO.pack(4096, 0, index, 0, 0, 0)
    reply = rig.guest(style).request(Command.DEVICE_GET_REGION_INFO, payload, room=32)
    assert REGION_INFO.pack(32, 3 if size else 0, index, 0, size, 0) == reply.payload


@pytest.mark.parametrize(
    "payload", [b"", bytes(31), REGION_INFO.pack(8, 0, 0, 0, 0, 0), REGION_INFO.pack(32, 0, 9, 0, 0, 0)]
)
def test_region_info_that_is_wrong_is_refused(rig: Rig, payload: bytes) -> None:
    assert refused(rig.guest().request(Command.DEVICE_GET_REGION_INFO, payload))


@pytest.mark.parametrize(("index", "flags", "count"), [(0, 7, 1), (1, 0, 0), (2, 0, 0), (4, 0, 0)])
def test_interrupt_is_one_intx_and_nothing_else(rig: Rig, style: Style, index: int, flags: int, count: int) -> None:
    payload = IRQ_INFO.pack(32, 0, index, 0)
    reply = rig.guest(style).request(Command.DEVICE_GET_IRQ_INFO, payload, room=16)
    assert IRQ_INFO.pack(16, flags, index, count) == reply.payload


@pytest.mark.parametrize(
    "payload", [b"", bytes(15), IRQ_INFO.pack(15, 0, 0, 0), IRQ_INFO.pack(16, 0, 3, 0), IRQ_INFO.pack(16, 0, 5, 0)]
)
def test_irq_info_that_is_wrong_or_of_the_error_interrupt_is_refused(rig: Rig, payload: bytes) -> None:
    """A count of zero for ERR would make QEMU warn."""
    assert refused(rig.guest().request(Command.DEVICE_GET_IRQ_INFO, payload))


def test_no_region_has_ioeventfds(rig: Rig, style: Style) -> None:
    """alioth asks."""
    reply = rig.guest(style).request(Command.DEVICE_GET_REGION_IO_FDS, REGION_IO_FDS.pack(4096, 0, 1, 0), room=16)
    assert REGION_IO_FDS.pack(16, 0, 1, 0) == reply.payload


@pytest.mark.parametrize("payload", [b"", REGION_IO_FDS.pack(8, 0, 1, 0), REGION_IO_FDS.pack(16, 0, 9, 0)])
def test_io_fds_request_that_is_wrong_is_refused(rig: Rig, payload: bytes) -> None:
    assert refused(rig.guest().request(Command.DEVICE_GET_REGION_IO_FDS, payload))


@pytest.mark.parametrize(
    "command",
    [
        Command.DEVICE_FEATURE,
        Command.MIG_DATA_READ,
        Command.MIG_DATA_WRITE,
        Command.DMA_READ,
        Command.DMA_WRITE,
        0,
        14,
        99,
        65535,
    ],
)
def test_command_that_is_unknown_or_not_for_us_is_refused(rig: Rig, command: int) -> None:
    guest = rig.guest()
    assert refused(guest.request(command, bytes(64)))
    assert b"\xf4\x1a" == guest.read(7, 0, 2)


def test_reset_resets_the_device_and_keeps_memory(rig: Rig, style: Style) -> None:
    guest = rig.guest(style)
    guest.write(1, 0, b"\x55")
    guest.request(Command.DEVICE_RESET)
    guest.request(Command.DEVICE_RESET)
    assert (2, b"\0", b"\0\0") == (rig.nic.resets, guest.read(1, 0, 1), guest.read(7, 4, 2))
    guest.write(7, 4, b"\x07\x00")
    guest.ram[0x100:0x104] = b"DATA"
    assert b"DATA" == rig.nic.dma.read(0x100, 4)


# Registers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("region", [0, 1])
@pytest.mark.parametrize("width", [1, 2, 4])
def test_register_access_reaches_the_device_as_it_is(rig: Rig, style: Style, region: int, width: int) -> None:
    guest = rig.guest(style)
    guest.write(region, 0, b"\x11\x22\x33\x44"[:width])
    assert b"\x11\x22\x33\x44"[:width] == guest.read(region, 0, width)
    assert [("write", 0, width), ("read", 0, width)] == rig.nic.accesses


def test_eight_byte_access_is_two_of_four(rig: Rig) -> None:
    guest = rig.guest()
    guest.write(1, 0, b"\x01\x02\x03\x04\x05\x06\x07\x08")
    assert b"\x01\x02\x03\x04\x05\x06\x07\x08" == guest.read(1, 0, 8)
    assert [("write", 0, 4), ("write", 4, 4), ("read", 0, 4), ("read", 4, 4)] == rig.nic.accesses


@pytest.mark.parametrize(
    ("offset", "count", "cut"),
    [(0, 3, [(0, 2), (2, 1)]), (1, 7, [(1, 1), (2, 2), (4, 4)]), (2, 8, [(2, 2), (4, 4), (8, 2)])],
)
def test_odd_access_is_cut_into_aligned_ones(rig: Rig, offset: int, count: int, cut: list[tuple[int, int]]) -> None:
    rig.guest().read(1, offset, count)
    assert [("read", *piece) for piece in cut] == rig.nic.accesses


def test_whole_region_is_read_at_once(rig: Rig) -> None:
    guest = rig.guest()
    assert (256, 64) == (len(guest.read(1, 0, 256)), len(rig.nic.accesses))


def test_read_of_a_write_only_register_is_zero(rig: Rig) -> None:
    guest = rig.guest()
    guest.write(1, 8, b"\xff\xff\xff\xff")
    assert bytes(4) == guest.read(1, 8, 4)


def test_access_of_nothing_succeeds_and_does_not_reach_the_device(rig: Rig) -> None:
    guest = rig.guest()
    guest.write(1, 16, b"")
    assert (b"", []) == (guest.read(1, 256, 0), rig.nic.accesses)


@pytest.mark.parametrize(
    ("offset", "region", "count"),
    [
        (2**64 - 1, 1, 1),
        (256, 1, 1),
        (253, 1, 4),
        (0, 1, 257),
        (0, 1, 2**32 - 1),
        (0, 2, 4),
        (0, 2, 0),
        (0, 6, 4),
        (0, 8, 1),
        (0, 9, 1),
        (0, 2**32 - 1, 1),
        (256, 7, 4),
    ],
)
def test_read_outside_of_a_region_is_refused(rig: Rig, offset: int, region: int, count: int) -> None:
    guest = rig.guest()
    assert refused(guest.request(Command.REGION_READ, ACCESS.pack(offset, region, count)))
    assert [] == rig.nic.accesses


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        bytes(15),
        ACCESS.pack(0, 1, 4),
        ACCESS.pack(0, 1, 4) + bytes(3),
        ACCESS.pack(0, 1, 4) + bytes(5),
        ACCESS.pack(253, 1, 4) + bytes(4),
        ACCESS.pack(2**64 - 4, 1, 4) + bytes(4),
        ACCESS.pack(0, 5, 4) + bytes(4),
    ],
)
def test_write_that_is_wrong_is_refused_and_posted_in_silence(rig: Rig, payload: bytes) -> None:
    guest = rig.guest()
    assert refused(guest.request(Command.REGION_WRITE, payload))
    guest.send(guest.message(Command.REGION_WRITE, payload, flags=NO_REPLY))
    assert (True, []) == (guest.silent(), rig.nic.accesses)


def test_posted_write_is_seen_by_the_read_behind_it(rig: Rig) -> None:
    guest = rig.guest()
    for value in range(50):
        guest.post(1, 0, bytes((value,)))
    assert b"\x31" == guest.read(1, 0, 1)
    assert guest.silent()


def test_reads_in_one_piece_are_answered_in_order(rig: Rig) -> None:
    guest = rig.guest()
    guest.write(1, 0, bytes(range(8)))
    guest.send(b"".join(guest.message(Command.REGION_READ, ACCESS.pack(at, 1, 1)) for at in range(8)))
    assert list(range(8)) == [guest.reply().payload[-1] for _ in range(8)]


def test_many_writes_in_one_message_are_done_in_order(rig: Rig, style: Style) -> None:
    guest = rig.guest(style)
    writes = [(0, 1, 4, b"AAAA"), (2, 0, 1, b"B"), (4, 7, 2, b"\x07\x01"), (0x3C, 7, 1, b"\x0a")]
    payload = WRITES.pack(len(writes)) + b"".join(WRITE.pack(*write) for write in writes)
    assert WRITES.pack(4) == guest.request(Command.REGION_WRITE_MULTI, payload, room=8).payload
    guest.send(guest.message(Command.REGION_WRITE_MULTI, payload, flags=NO_REPLY))
    assert (b"AABA", b"\x07\x01", b"\x0a") == (guest.read(1, 0, 4), guest.read(7, 4, 2), guest.read(7, 0x3C, 1))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        WRITES.pack(1),
        WRITES.pack(2**64 - 1) + bytes(24),
        WRITES.pack(1) + bytes(23),
        WRITES.pack(1) + WRITE.pack(0, 1, 9, bytes(8)),
        WRITES.pack(2) + WRITE.pack(0, 1, 4, bytes(8)) + WRITE.pack(0, 3, 4, bytes(8)),
    ],
)
def test_many_writes_of_which_one_is_wrong_do_nothing(rig: Rig, payload: bytes) -> None:
    guest = rig.guest()
    assert refused(guest.request(Command.REGION_WRITE_MULTI, payload))
    assert [] == rig.nic.accesses


# Configuration space --------------------------------------------------------------------------------------------------


def test_configuration_is_read_whole_as_qemu_does(rig: Rig) -> None:
    config = rig.guest().read(7, 0, 256)
    assert (256, (0x1AF4, 0x10F1), 1) == (len(config), struct.unpack_from("<HH", config), config[0x3D])


@pytest.mark.parametrize(("offset", "size"), [(0x10, 0xFFFFFF01), (0x14, 0xFFFFFF00), (0x18, 0), (0x30, 0)])
def test_bars_are_sized_through_configuration_space(rig: Rig, style: Style, offset: int, size: int) -> None:
    """cloud-hypervisor does so; QEMU asks for the region."""
    guest = rig.guest(style)
    guest.write(7, offset, b"\xff\xff\xff\xff")
    assert size.to_bytes(4, "little") == guest.read(7, offset, 4)


def test_write_to_a_read_only_register_is_ignored_without_an_error(rig: Rig) -> None:
    guest = rig.guest()
    guest.write(7, 0, b"\xff\xff\xff\xff")
    assert b"\xf4\x1a\xf1\x10" == guest.read(7, 0, 4)
