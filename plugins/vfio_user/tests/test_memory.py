"""Guest memory: what is mapped, how it is reached, and whom a client can hurt with it."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

import pytest

from etherloom.device import DmaError
from etherloom_vfio_user._memory import FILES_MAX, SIZE_MAX, DmaTable
from etherloom_vfio_user._wire import DMA_MAP, DMA_UNMAP, ERROR, HEADER, REPLY, Command, MapFlag, Refusal
from etherloom_vfio_user.testing import Client, Guest, Rig, Style, open_fds, ram_file

EEXIST, EINVAL, ENOENT, ENOSPC, EACCES = 17, 22, 2, 28, 13
RW = MapFlag.READ | MapFlag.WRITE
PAGE = 4096
HIGH = 1 << 32  # where a guest of 1 MiB has nothing


@pytest.fixture
def guest(rig: Rig) -> Guest:
    """One with 1 MiB of RAM at address 0, which the device has looked into."""
    guest = rig.guest()
    guest.ram[0] = 1
    rig.nic.dma.read(0, 1)
    return guest


@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "unsealed"])
def test_device_and_guest_see_the_same_memory(rig: Rig, style: Style, sealed: bool) -> None:
    guest = rig.guest(style, sealed=sealed)
    guest.ram[0x1000:0x1004] = b"desc"
    assert b"desc" == rig.nic.dma.read(0x1000, 4)
    rig.nic.dma.write(0x2000, b"frame")
    assert b"frame" == guest.ram[0x2000:0x2005]


def test_sealed_file_is_mapped_and_an_unsealed_one_is_not(rig: Rig) -> None:
    for sealed, mapped in ((True, 2), (False, 1)):  # the guest maps it too
        guest = rig.guest(sealed=sealed)
        maps = Path("/proc/self/maps").read_text()
        assert mapped == maps.count(":memory-backend-memfd")
        guest.close()


def test_one_file_costs_one_descriptor_and_one_mapping_however_many_ranges_show_it(guest: Guest) -> None:
    """With a vIOMMU each page is a range of its own, and comes with a descriptor of its own."""
    before, maps = len(open_fds()), Path("/proc/self/maps").read_text().count(":memory-backend-memfd")
    for page in range(200):
        assert not guest.map(HIGH + page * PAGE, PAGE, guest.ram_fd, offset=page * PAGE).failed
    assert (before, maps) == (len(open_fds()), Path("/proc/self/maps").read_text().count(":memory-backend-memfd"))


def test_one_access_crosses_neighbouring_ranges(rig: Rig, guest: Guest) -> None:
    for page, offset in ((0, 0x9000), (1, 0x3000), (2, 0x7000)):
        guest.map(HIGH + page * PAGE, PAGE, guest.ram_fd, offset=offset)
    data = bytes(range(256)) * 20
    rig.nic.dma.write(HIGH + 0xF00, data)
    assert data == rig.nic.dma.read(HIGH + 0xF00, len(data))
    assert data[0x100:0x1100] == guest.ram[0x3000:0x4000]


def test_offset_in_the_file_need_not_be_aligned(rig: Rig, guest: Guest) -> None:
    guest.map(HIGH, 100, guest.ram_fd, offset=0x1001)
    guest.ram[0x1001:0x1003] = b"hi"
    assert b"hi" == rig.nic.dma.read(HIGH, 2)


def test_read_only_range_refuses_the_devices_writes(rig: Rig, guest: Guest) -> None:
    guest.map(HIGH, PAGE, guest.ram_fd, flags=MapFlag.READ)
    with pytest.raises(DmaError):
        rig.nic.dma.write(HIGH, b"x")
    assert b"\x01" == rig.nic.dma.read(HIGH, 1)


def test_file_that_is_open_for_reading_only_can_be_read(rig: Rig, guest: Guest) -> None:
    fd = os.open(f"/proc/self/fd/{guest.ram_fd}", os.O_RDONLY)
    try:
        assert EACCES == guest.map(HIGH, PAGE, fd).error
        assert not guest.map(HIGH, PAGE, fd, flags=MapFlag.READ).failed
    finally:
        os.close(fd)
    assert b"\x01" == rig.nic.dma.read(HIGH, 1)


def test_nothing_is_reached_without_bus_mastering(rig: Rig, guest: Guest) -> None:
    """Nothing but the device itself keeps it from doing so."""
    guest.write(7, 4, b"\x03\x00")
    with pytest.raises(DmaError):
        rig.nic.dma.read(0, 1)


# Requests that are wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "size", "flags", "offset", "error"),
    [
        (HIGH, 0, RW, 0, EINVAL),
        (2**64 - PAGE, 2 * PAGE, RW, 0, EINVAL),
        (HIGH, PAGE, 0, 0, EINVAL),
        (HIGH, PAGE, 0x13, 0, EINVAL),
        (HIGH, PAGE, RW, 1 << 20, EINVAL),
        (HIGH, (1 << 20) + 1, RW, 0, EINVAL),
        (HIGH, PAGE, RW, 2**64 - PAGE, EINVAL),
        (HIGH, SIZE_MAX + 1, RW, 0, ENOSPC),
        (0, PAGE, RW, 0, EEXIST),
        (0, 1 << 20, RW, 0, EEXIST),
        ((1 << 20) - 1, PAGE, RW, 0, EEXIST),
    ],
)
def test_map_that_is_wrong_is_refused(
    guest: Guest, address: int, size: int, flags: int, offset: int, error: int
) -> None:
    assert error == guest.map(address, size, guest.ram_fd, offset=offset, flags=flags).error


def test_last_byte_of_the_address_space_can_be_mapped(rig: Rig, guest: Guest) -> None:
    assert not guest.map(2**64 - PAGE, PAGE, guest.ram_fd).failed
    assert b"\x01" == rig.nic.dma.read(2**64 - PAGE, 1)


@pytest.mark.parametrize(
    "payload",
    [b"", bytes(31), DMA_MAP.pack(8, RW, 0, HIGH, PAGE), DMA_MAP.pack(31, RW, 0, HIGH, PAGE)],
)
def test_short_map_is_refused_and_its_descriptor_closed(guest: Guest, payload: bytes) -> None:
    before = len(open_fds())
    assert EINVAL == guest.request(Command.DMA_MAP, payload, fds=[guest.ram_fd]).error
    assert before == len(open_fds())


@pytest.mark.parametrize("flag", [MapFlag.MMAP, MapFlag.FILE_IO])
def test_way_of_access_without_a_file_is_refused(guest: Guest, flag: MapFlag) -> None:
    assert EINVAL == guest.map(HIGH, PAGE, flags=RW | flag).error


def test_two_files_for_one_range_are_refused(guest: Guest) -> None:
    payload = DMA_MAP.pack(32, RW, 0, HIGH, PAGE)
    assert EINVAL == guest.request(Command.DMA_MAP, payload, fds=[guest.ram_fd, guest.ram_fd]).error


def test_what_is_no_file_of_memory_is_refused_with_the_arguments_that_help(
    guest: Guest, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """A disk, or who serves a FUSE file system, could keep every device of the process waiting."""
    ends = socket.socketpair()
    with Path("/proc/version").open() as proc, Path("/dev/zero").open() as device:
        for fd in (ends[0].fileno(), guest.irq_fd, proc.fileno(), device.fileno()):
            assert EINVAL == guest.map(HIGH, PAGE, fd, flags=MapFlag.READ).error
    for end in ends:
        end.close()
    assert "-object memory-backend-memfd,id=mem0,size=SIZE,share=on -machine memory-backend=mem0" in caplog.text


def test_files_of_one_client_are_limited(guest: Guest) -> None:
    """Each costs a descriptor, of which the other devices need some too."""
    before = len(open_fds())
    errors = []
    for number in range(FILES_MAX + 5):
        fd = ram_file(PAGE)
        errors.append(guest.map(HIGH + number * PAGE, PAGE, fd).error)
        os.close(fd)
    assert [0] * (FILES_MAX - 1) + [ENOSPC] * 6 == errors
    assert before + FILES_MAX - 1 == len(open_fds())


def test_ranges_of_one_client_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etherloom_vfio_user._memory.MAPS_MAX", 3)
    table = DmaTable(print)
    for number in range(3):
        table.map(number * PAGE, PAGE, RW, 0, None)
    with pytest.raises(Refusal) as refusal:
        table.map(3 * PAGE, PAGE, RW, 0, None)
    assert ENOSPC == refusal.value.errno


# Files that change ----------------------------------------------------------------------------------------------------


def test_file_that_shrinks_fails_the_access_and_not_the_process(rig: Rig) -> None:
    """Mapped, it would be SIGBUS."""
    guest = rig.guest(sealed=False)
    guest.ram[PAGE] = 1
    assert b"\x01" == rig.nic.dma.read(PAGE, 1)
    os.ftruncate(guest.ram_fd, 0)
    with pytest.raises(DmaError):
        rig.nic.dma.read(PAGE, 1)
    with pytest.raises(DmaError):
        rig.nic.dma.read(PAGE - 1, 2)
    os.ftruncate(guest.ram_fd, 1 << 20)


def test_file_that_was_sealed_against_writing_since_fails_the_access(rig: Rig) -> None:
    fd = ram_file(PAGE, sealed=False)
    guest = rig.guest()
    guest.map(HIGH, PAGE, fd)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    with pytest.raises(DmaError):
        rig.nic.dma.write(HIGH, b"x")
    os.close(fd)


def test_file_that_is_sealed_against_writing_cannot_be_mapped_writable(guest: Guest) -> None:
    fd = ram_file(PAGE, sealed=False)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK)
    before = len(open_fds())
    assert guest.map(HIGH, PAGE, fd).failed
    assert before == len(open_fds())
    os.close(fd)


def test_file_that_has_grown_can_be_mapped_in_full(rig: Rig) -> None:
    fd = ram_file(PAGE, sealed=False)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    guest = rig.guest()
    assert not guest.map(HIGH, PAGE, fd).failed
    assert EINVAL == guest.map(HIGH + PAGE, PAGE, fd, offset=PAGE).error
    os.ftruncate(fd, 2 * PAGE)
    assert not guest.map(HIGH + PAGE, PAGE, fd, offset=PAGE).failed
    os.pwrite(fd, b"ab", PAGE - 1)
    assert b"ab" == rig.nic.dma.read(HIGH + PAGE - 1, 2)
    assert not guest.unmap(HIGH, PAGE).failed
    assert b"b" == rig.nic.dma.read(HIGH + PAGE, 1)
    os.close(fd)


# Unmapping ------------------------------------------------------------------------------------------------------------


def test_unmapped_memory_is_out_of_reach_and_let_go(rig: Rig, style: Style) -> None:
    guest = rig.guest(style)
    guest.ram[0] = 1
    rig.nic.dma.read(0, 1)
    before = len(open_fds())
    reply = guest.unmap(0, 1 << 20)
    assert DMA_UNMAP.pack(24, 0, 0, 1 << 20) == reply.payload
    with pytest.raises(DmaError):
        rig.nic.dma.read(0, 1)
    assert before - 1 == len(open_fds())
    assert 1 == Path("/proc/self/maps").read_text().count(":memory-backend-memfd"), "the guest's own"


@pytest.mark.parametrize(("address", "size"), [(0, PAGE), (PAGE, PAGE), (HIGH, 1 << 20), (0, 0)])
def test_unmap_of_what_is_no_mapping_is_refused(rig: Rig, guest: Guest, address: int, size: int) -> None:
    assert ENOENT == guest.unmap(address, size).error
    assert b"\x01" == rig.nic.dma.read(0, 1)


@pytest.mark.parametrize("payload", [b"", bytes(23), DMA_UNMAP.pack(23, 0, 0, 1 << 20)])
def test_short_unmap_is_refused(guest: Guest, payload: bytes) -> None:
    assert EINVAL == guest.request(Command.DMA_UNMAP, payload).error


def test_unmap_of_all(rig: Rig, guest: Guest) -> None:
    guest.map(HIGH, PAGE, guest.ram_fd)
    guest.map(2 * HIGH, PAGE)
    assert not guest.unmap(0, 0, flags=2).failed
    for address in (0, HIGH, 2 * HIGH):
        with pytest.raises(DmaError):
            rig.nic.dma.read(address, 1)


@pytest.mark.parametrize(("address", "size", "flags"), [(1, 0, 2), (0, 1, 2), (0, 1 << 20, 1), (0, 0, 3), (0, 0, 4)])
def test_unmap_with_flags_that_are_wrong_is_refused(
    rig: Rig, guest: Guest, address: int, size: int, flags: int
) -> None:
    assert EINVAL == guest.unmap(address, size, flags).error
    assert b"\x01" == rig.nic.dma.read(0, 1)


def test_burst_of_unmaps_and_maps_is_followed_in_order(rig: Rig, guest: Guest) -> None:
    """As QEMU remaps all RAM at a guest's reset: in one piece, with other borders."""
    pieces = [(0, 0xC3000), (0xC3000, 0x2D000), (0xF0000, 0x10000)]
    burst = guest.message(Command.DMA_UNMAP, DMA_UNMAP.pack(24, 0, 0, 1 << 20))
    guest.send(burst)
    for address, size in pieces:
        guest.send(guest.message(Command.DMA_MAP, DMA_MAP.pack(32, RW, address, address, size)), [guest.ram_fd])
    assert [False] * 4 == [guest.reply().failed for _ in range(4)]
    guest.ram[0xC2FFF:0xC3001] = b"ab"
    assert b"ab" == rig.nic.dma.read(0xC2FFF, 2)


# Memory that the client does not share --------------------------------------------------------------------------------


def test_memory_without_a_file_fails_the_device_and_says_what_helps(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    guest = rig.guest()
    assert not guest.map(HIGH, 1 << 30).failed, "a BIOS comes like this, and nobody minds"
    assert "" == caplog.text
    for access in (lambda: rig.nic.dma.read(HIGH, 16), lambda: rig.nic.dma.write(HIGH, b"x")):
        with pytest.raises(DmaError):
            access()
    assert 1 == caplog.text.count("share=on"), "once is enough"
    assert not guest.unmap(HIGH, 1 << 30).failed


def answer_with(guest: Client, address: int, data: bytes, *, early: bool = False, error: int = 0) -> None:
    """Answer the server's DMA_READ as QEMU does: `early` as it did before 11.1."""
    asked = guest.reply()
    expected = (Command.DMA_READ, 0, address.to_bytes(8, "little") + len(data).to_bytes(8, "little"))
    assert expected == (asked.command, asked.flags, asked.payload)
    count = len(data).to_bytes(4 if early else 8, "little")
    payload = b"" if error else asked.payload[:8] + count + data
    flags = REPLY | ERROR if error else REPLY
    guest.send(HEADER.pack(asked.ident, asked.command, 16 + len(payload), flags, error) + payload)


@pytest.mark.parametrize("early", [False, True], ids=["QEMU 11.1", "QEMU 10.1"])
def test_private_memory_is_found_out_and_its_client_dropped(
    rig: Rig, caplog: pytest.LogCaptureFixture, early: bool
) -> None:
    """With share=off the guest's writes go into copies, and the file that QEMU passes stays empty."""
    guest = rig.guest()
    assert bytes(16) == rig.nic.dma.read(0x1000, 16)
    guest.read(1, 0, 1)
    answer_with(guest, 0x1000, b"a descriptor....", early=early)
    assert guest.hung_up()
    assert "share=on" in caplog.text


@pytest.mark.parametrize("error", [0, 19], ids=["zeros", "bus mastering is off again"])
def test_answer_that_proves_nothing_is_asked_for_again_at_the_next_doubt(rig: Rig, error: int) -> None:
    guest = rig.guest()
    for address in (0x1000, 0x5000):
        rig.nic.dma.read(address, 16)
        guest.read(1, 0, 1)
        answer_with(guest, address, bytes(16), error=error)
        assert guest.silent()


def test_memory_that_the_guest_wrote_meanwhile_is_shared(rig: Rig) -> None:
    guest = rig.guest()
    rig.nic.dma.read(0x1000, 16)
    guest.read(1, 0, 1)
    guest.ram[0x1000] = 7
    answer_with(guest, 0x1000, b"\x07" + bytes(15))
    assert guest.silent()


def test_memory_that_shows_what_the_guest_wrote_is_never_asked_about(rig: Rig) -> None:
    guest = rig.guest()
    guest.ram[0x1000] = 7
    rig.nic.dma.read(0x1000, 16)
    rig.nic.dma.read(0x2000, 16)
    guest.read(1, 0, 1)
    assert guest.silent()


def test_memory_that_is_gone_before_the_answer_is_not_held_against_the_client(rig: Rig) -> None:
    guest = rig.guest()
    rig.nic.dma.read(0x1000, 16)
    guest.read(1, 0, 1)
    asked = guest.reply()
    guest.unmap(0, 1 << 20)
    guest.send(HEADER.pack(asked.ident, asked.command, 48, REPLY, 0) + asked.payload + b"\x01" * 16)
    assert guest.silent()


def test_client_that_is_not_qemu_is_never_sent_a_command(rig: Rig) -> None:
    """rust-vmm would take it for the answer it waits for."""
    client = rig.client(Style.FIXED)
    client.introduce({"capabilities": {"max_msg_fds": 1, "max_data_xfer_size": 1048576, "migration": {"pgsize": 4096}}})
    fd = ram_file(1 << 20)
    client.map(0, 1 << 20, fd)
    os.close(fd)
    client.write(7, 4, b"\x07\x00")
    rig.nic.dma.read(0x1000, 16)
    client.read(1, 0, 1)
    assert client.silent()
