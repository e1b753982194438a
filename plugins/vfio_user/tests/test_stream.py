"""The byte stream: pieces, lumps, descriptors on it, and how it ends."""

from __future__ import annotations

import os
import re
import socket
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etherloom.device import DmaError
from etherloom_vfio_user._wire import ACCESS, DMA_MAP, FDS_MAX, HEADER, MESSAGE_MAX, NO_REPLY, REPLY, Command
from etherloom_vfio_user.testing import Guest, Rig, Style, open_fds, ram_file

EINVAL = 22


def test_messages_byte_by_byte_are_whole_messages(rig: Rig) -> None:
    guest = rig.guest()
    data = guest.message(Command.REGION_WRITE, ACCESS.pack(0, 1, 4) + b"wxyz")
    data += guest.message(Command.REGION_READ, ACCESS.pack(0, 1, 4))
    for at in range(len(data)):
        guest.send(data[at : at + 1])
        rig.loop.run_until_idle()
    assert (False, b"wxyz") == (guest.reply().failed, guest.reply().payload[16:])


def test_descriptor_on_the_first_byte_belongs_to_the_message_that_follows(rig: Rig) -> None:
    guest = rig.guest()
    fd = ram_file(4096)
    os.pwrite(fd, b"here", 0)
    data = guest.message(Command.DMA_MAP, DMA_MAP.pack(32, 3, 0, 1 << 32, 4096))
    guest.send(data[:1], [fd])
    for at in range(1, len(data)):
        rig.loop.run_until_idle()
        guest.send(data[at : at + 1])
    assert not guest.reply().failed
    assert b"here" == rig.nic.dma.read(1 << 32, 4)
    os.close(fd)


def test_descriptor_belongs_to_the_last_message_of_a_lump(rig: Rig) -> None:
    """The kernel glues earlier pieces in front of the one that has descriptors, and nothing behind it."""
    guest = rig.guest()
    fd = ram_file(4096)
    os.pwrite(fd, b"here", 0)
    for _ in range(3):
        guest.post(1, 0, b"\x01")
    guest.send(guest.message(Command.DMA_MAP, DMA_MAP.pack(32, 3, 0, 1 << 32, 4096)), [fd])
    guest.post(1, 0, b"\x02")
    assert not guest.reply().failed
    assert (b"here", b"\x02") == (rig.nic.dma.read(1 << 32, 4), guest.read(1, 0, 1))
    os.close(fd)


@given(cuts=st.lists(st.integers(1, 40), max_size=60), seed=st.integers(0, 2**32 - 1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
def test_answers_do_not_depend_on_how_the_stream_is_cut(rig: Rig, cuts: list[int], seed: int) -> None:
    with rig.guest() as guest:
        values = list(seed.to_bytes(4, "little"))
        data = b"".join(
            guest.message(Command.REGION_WRITE, ACCESS.pack(at, 1, 1) + bytes((value,)), flags=NO_REPLY)
            + guest.message(Command.REGION_READ, ACCESS.pack(0, 1, 4))
            for at, value in enumerate(values)
        )
        for cut in cuts:
            if data:
                guest.send(data[:cut])
                rig.loop.run_until_idle()
            data = data[cut:]
        if data:
            guest.send(data)
        expected = [bytes(values[: at + 1]).ljust(4, b"\0") for at in range(4)]
        assert expected == [guest.reply().payload[16:] for _ in values]
        assert guest.silent()


@pytest.mark.parametrize("size", [0, 15, MESSAGE_MAX + 1, 2**32 - 1])
@pytest.mark.parametrize("flags", [0, NO_REPLY])
def test_size_that_cannot_be_ends_the_connection(rig: Rig, size: int, flags: int) -> None:
    guest = rig.guest()
    guest.send(guest.message(Command.REGION_READ, ACCESS.pack(0, 1, 4), size=size, flags=flags))
    if not flags:
        assert EINVAL == guest.reply().error
    assert guest.hung_up()
    assert not rig.client().introduce().failed


def test_longest_message_is_taken(rig: Rig) -> None:
    guest = rig.guest()
    assert EINVAL == guest.request(Command.DEVICE_FEATURE, bytes(MESSAGE_MAX - 16)).error
    assert b"\xf4\x1a" == guest.read(7, 0, 2)


@pytest.mark.parametrize("kind", [REPLY, 2, 15])
def test_what_is_no_command_is_refused(rig: Rig, kind: int) -> None:
    guest = rig.guest()
    assert EINVAL == guest.request(Command.REGION_READ, ACCESS.pack(0, 1, 4), flags=kind).error
    assert EINVAL == guest.request(Command.DMA_READ, bytes(32), flags=kind).error
    assert [] == rig.nic.accesses


def test_message_without_reply_gets_none_right_or_wrong(rig: Rig) -> None:
    guest = rig.guest()
    for command in (*Command, 99):
        guest.send(guest.message(command, bytes(40), flags=NO_REPLY))
    assert guest.silent()


# Descriptors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [Command.REGION_READ, Command.DEVICE_RESET, Command.DMA_UNMAP, 99])
def test_descriptors_nobody_asked_for_are_closed(rig: Rig, command: int) -> None:
    guest = rig.guest()
    before = len(open_fds())
    guest.request(command, ACCESS.pack(0, 1, 4), fds=[guest.ram_fd] * FDS_MAX)
    assert before == len(open_fds())


@pytest.mark.parametrize("body", [b"", b"\x01"], ids=["with the header", "in the middle"])
def test_descriptors_of_a_message_that_never_ends_are_closed(rig: Rig, body: bytes) -> None:
    guest = rig.guest()
    message = guest.message(Command.DMA_MAP, DMA_MAP.pack(32, 3, 0, 1 << 32, 4096))
    guest.send(message[:16] + body, [guest.ram_fd] * 3)
    rig.loop.run_until_idle()
    guest.close()  # the rig finds what is left


@pytest.mark.parametrize("rounds", [17])
def test_descriptors_on_every_byte_end_the_connection(rig: Rig, rounds: int) -> None:
    guest = rig.guest()
    before = len(open_fds())
    for byte in guest.message(Command.DMA_MAP, bytes(32))[:rounds]:
        guest.send(bytes((byte,)), [guest.ram_fd])
        rig.loop.run_until_idle()
    assert guest.hung_up()
    assert before > len(open_fds())


def test_more_descriptors_than_allowed_end_the_connection(rig: Rig) -> None:
    guest = rig.guest()
    guest.send(guest.message(Command.REGION_READ, ACCESS.pack(0, 1, 4)), [guest.ram_fd] * 40)
    assert guest.hung_up()


def test_received_descriptors_are_not_inherited_by_other_programs(rig: Rig) -> None:
    before = set(open_fds())
    rig.guest(sealed=False)
    received = {fd: what for fd, what in open_fds().items() if fd not in before}
    assert {False} == {os.get_inheritable(int(fd)) for fd in received}
    assert {"memfd", "eventfd"} <= {word for what in received.values() for word in re.findall(r"[a-z]+", what)}


# The end --------------------------------------------------------------------------------------------------------------


def test_device_is_reset_and_cut_off_when_its_client_goes(rig: Rig) -> None:
    guest = rig.guest()
    rig.nic.raise_interrupt()
    guest.close()
    assert (1, False) == (rig.nic.resets, rig.nic.irq.asserted)
    with pytest.raises(DmaError):
        rig.nic.dma.read(0, 1)


@pytest.mark.parametrize("cut", [0, 1, 15, 16, 17, 31])
def test_client_that_goes_in_the_middle_of_a_message_leaves_room_for_the_next(rig: Rig, cut: int) -> None:
    guest = rig.guest()
    guest.send(guest.message(Command.REGION_READ, ACCESS.pack(0, 1, 4))[:cut])
    rig.loop.run_until_idle()
    guest.close()
    assert 1 == rig.nic.resets
    assert b"\xf4\x1a" == rig.guest().read(7, 0, 2)


def test_client_that_goes_without_its_answer_leaves_room_for_the_next(rig: Rig) -> None:
    guest = rig.guest()
    guest.send(guest.message(Command.REGION_READ, ACCESS.pack(0, 1, 4)))
    guest.close()
    assert b"\xf4\x1a" == rig.guest().read(7, 0, 2)


def test_reset_of_the_connection_is_an_end_like_any_other(rig: Rig) -> None:
    guest = rig.guest()
    guest.send(guest.message(Command.REGION_READ, ACCESS.pack(0, 1, 4)))
    rig.loop.run_until_idle()
    guest.close()  # with an answer unread
    assert (1, None) == (rig.nic.resets, rig.nic.failure)


def test_client_that_half_closes_is_gone(rig: Rig) -> None:
    guest = rig.guest()
    guest.socket.shutdown(socket.SHUT_WR)
    assert guest.hung_up()


# Clients that do not listen -------------------------------------------------------------------------------------------


def flood(guest: Guest, rig: Rig, rounds: int) -> int:
    """Ask for much and read nothing; returns the requests that the socket took."""
    request = guest.message(Command.REGION_READ, ACCESS.pack(0, 7, 256))
    taken = 0
    for _ in range(rounds):
        try:
            taken += guest.socket.send(request * 16)
        except BlockingIOError:
            pass
        rig.loop.run_until_idle()
    return taken // len(request)


def test_client_that_does_not_read_is_not_read_from(rig: Rig) -> None:
    guest = rig.guest()
    first = flood(guest, rig, 400)
    assert 0 == flood(guest, rig, 100)
    assert 0 < first < 400 * 16


def test_client_that_reads_again_gets_everything_it_asked_for(rig: Rig) -> None:
    guest = rig.guest()
    request = guest.message(Command.REGION_READ, ACCESS.pack(0, 7, 256))
    unsent, asked, answers = b"", 2000, b""
    for _ in range(asked):
        unsent += request
    while len(answers) < asked * 288:
        try:
            unsent = unsent[guest.socket.send(unsent) :] if unsent else unsent
        except BlockingIOError:
            pass
        rig.loop.run_until_idle()
        try:
            answers += guest.socket.recv(5000)
        except BlockingIOError:
            pass
    assert {288} == {struct.unpack_from("<I", answers, at + 4)[0] for at in range(0, len(answers), 288)}
    assert guest.silent()


def test_client_that_goes_while_it_does_not_read_is_let_go(rig: Rig) -> None:
    guest = rig.guest()
    flood(guest, rig, 400)
    guest.close()
    assert (1, b"\xf4\x1a") == (rig.nic.resets, rig.guest().read(7, 0, 2))


def test_client_that_is_silent_keeps_the_next_one_waiting_and_nothing_else(rig: Rig) -> None:
    silent = rig.client()
    waiting = rig.client()
    waiting.send(waiting.message(Command.VERSION, bytes(4)))
    assert waiting.silent()
    silent.close()
    assert not waiting.reply().failed


@pytest.mark.parametrize("style", [Style.HEADER])
@given(data=st.lists(st.binary(max_size=80), max_size=20), greet=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
def test_noise_takes_nothing_down(rig: Rig, style: Style, data: list[bytes], greet: bool) -> None:
    client = rig.client(style)
    if greet:
        client.introduce()
    for piece in data:
        try:
            client.send(HEADER.pack(1, piece[0] % 19, 16 + len(piece), 0, 0) + piece if piece else b"\xff")
        except OSError:
            break
        rig.loop.run_until_idle()
    client.close()
    assert rig.nic.failure is None


@given(
    command=st.sampled_from([8, 9, 10, 15, 2, 3, 4, 5, 6, 7]),
    words=st.lists(st.one_of(st.integers(0, 40), st.integers(0, 2**32 - 1)), max_size=12),
    fds=st.integers(0, 2),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
def test_any_fields_get_exactly_one_answer(rig: Rig, command: int, words: list[int], fds: int) -> None:
    with rig.guest() as guest:
        payload = struct.pack(f"<{len(words)}I", *words)
        reply = guest.request(command, payload, fds=[guest.ram_fd] * fds if payload else ())
        assert (command, 0) == (reply.command, reply.error & ~0xFF)
        assert guest.silent()
    assert rig.nic.failure is None
