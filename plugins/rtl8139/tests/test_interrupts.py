"""When the guest is interrupted: sent frames with the next reason to, and acknowledgements that come late."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from etherloom_rtl8139.receive import Overflow
from etherloom_rtl8139.registers import Command, Interrupt, Poll
from etherloom_rtl8139.registers import Registers as Reg
from etherloom_rtl8139.rings import EOR, LS, OWN

if TYPE_CHECKING:
    from plugins.rtl8139.tests.conftest import Machine

MAC = bytes.fromhex("525400123456")
OTHER = bytes.fromhex("5254000000aa")
FRAME = (MAC + OTHER + b"\x88\xb5").ljust(60, b"\x5a")
ROK, RDU, TOK, TDU, TER = (int(Interrupt[name]) for name in ("ROK", "RDU", "TOK", "TDU", "TER"))
SENT = TOK | TDU
US = 1000
SECOND = 1_000_000_000

MakeMachine = Callable[..., "Machine"]


def send_again(machine: Machine, number: int) -> None:
    """Send `number` frames with a ring that starts over."""
    machine.write(Reg.TNPDS, machine.tx)
    machine.send(*[FRAME] * number)


# Sent frames (R-53) ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mask", "late_ns"), [(0xFFFF, 200 * US), (0xFFFF & ~ROK, 2000 * US)])
def test_a_few_sent_frames_show_at_once_and_interrupt_after_a_while(machine: Machine, mask: int, late_ns: int) -> None:
    """A driver that has masked ROK is busy with its ring anyway."""
    machine.start()
    machine.listen(mask)
    machine.send(*[FRAME] * 3)
    assert (SENT, []) == (machine.read(Reg.ISR), machine.told)
    machine.loop.advance(late_ns - 1)
    assert [] == machine.told
    machine.loop.advance(SECOND)
    assert [(late_ns, SENT)] == machine.told


def test_the_time_runs_from_the_first_frame(machine: Machine) -> None:
    machine.start()
    machine.listen()
    for _ in range(4):
        send_again(machine, 1)
        machine.loop.advance(40 * US)
    machine.loop.advance(SECOND)
    assert [(200 * US, SENT)] == machine.told


def test_sent_frames_are_told_of_with_any_other_reason(machine: Machine) -> None:
    machine.start()
    machine.listen()
    machine.send(FRAME)
    machine.loop.advance(50 * US)
    machine.hear(FRAME)
    machine.loop.advance(SECOND)
    assert [(50 * US, ROK | SENT)] == machine.told


def test_a_masked_reason_is_none(machine: Machine) -> None:
    machine.start()
    machine.listen(0xFFFF & ~Interrupt.SWINT)
    machine.send(FRAME)
    machine.write(Reg.TPPOLL, Poll.FSWINT)
    machine.loop.run_until_idle()
    assert [] == machine.told


def test_what_a_driver_found_by_itself_is_not_told_again(machine: Machine) -> None:
    machine.start()
    machine.listen()
    machine.send(FRAME)
    machine.write(Reg.ISR, SENT)
    machine.loop.advance(SECOND)
    assert [] == machine.told


@pytest.mark.parametrize("counts", [(16,), (10, 6), (1,) * 16])
def test_the_sixteenth_descriptor_interrupts_at_once(machine: Machine, counts: tuple[int, ...]) -> None:
    """8139cp stops its queue when fewer than 18 of 64 are free."""
    machine.start()
    machine.listen()
    for count in counts[:-1]:
        send_again(machine, count)
    assert [] == machine.told
    send_again(machine, counts[-1])
    assert [(0, SENT)] == machine.told
    send_again(machine, 15)
    assert [(0, SENT)] == machine.told


def test_a_transmit_error_interrupts_at_once(machine: Machine) -> None:
    machine.start()
    machine.listen()
    machine.send(FRAME)
    machine.put(machine.tx, 1, OWN | LS | EOR | 60, 0, machine.buffers)
    machine.write(Reg.TPPOLL, Poll.NPQ)
    machine.loop.run_until_idle()
    assert [(0, SENT | TER)] == machine.told


def test_without_mitigation_each_poll_interrupts_at_once(make_machine: MakeMachine) -> None:
    machine = make_machine(mitigation=False)
    machine.start()
    machine.listen()
    for _ in range(3):
        send_again(machine, 1)
    assert [(0, SENT)] * 3 == machine.told


def test_more_sent_frames_do_not_take_back_an_interrupt(machine: Machine) -> None:
    machine.start()
    machine.send(*[FRAME] * 16)
    send_again(machine, 1)
    machine.write(Reg.IMR, TOK)
    assert machine.nic.irq.asserted
    machine.write(Reg.ISR, SENT)


@pytest.mark.parametrize("how", ["CR.RST", "RST#", "D3"])
def test_after_a_reset_nothing_is_owed(machine: Machine, how: str) -> None:
    machine.start()
    machine.listen()
    machine.send(*[FRAME] * 15)
    if how == "CR.RST":
        machine.write(Reg.CR, Command.RST)
    elif how == "D3":
        machine.guest.config_write(0x54, 3, 2)
        machine.guest.config_write(0x54, 0, 2)
    else:
        machine.nic.bus_reset()
        machine.guest.config_write(4, 7, 2)
    machine.start()
    machine.listen()
    machine.loop.advance(SECOND)
    assert [] == machine.told
    machine.send(FRAME)
    assert [] == machine.told  # nor do the 15 count
    machine.loop.advance(200 * US)
    assert [(SECOND + 200 * US, SENT)] == machine.told


def test_after_a_reset_the_time_starts_over(machine: Machine) -> None:
    machine.start()
    machine.send(FRAME)
    machine.loop.advance(100 * US)
    machine.write(Reg.CR, Command.RST)
    machine.start()
    machine.listen()
    machine.send(FRAME)
    machine.loop.advance(SECOND)
    assert [(300 * US, SENT)] == machine.told


# Acknowledgements that were meant for earlier frames ---------------------------------------------------------------


@pytest.mark.parametrize("overflow", list(Overflow))
def test_a_frame_that_lost_its_interrupt_is_told_of_when_unmasked(
    make_machine: MakeMachine, overflow: Overflow
) -> None:
    machine = make_machine(overflow=overflow)
    machine.start()
    machine.hear(FRAME)
    machine.give(0)  # the driver has read the first, and looked at the second descriptor
    machine.hear(FRAME)
    machine.write(Reg.ISR, ROK)
    assert 0 == machine.read(Reg.ISR)
    machine.write(Reg.IMR, SENT)
    assert 0 == machine.read(Reg.ISR)
    machine.write(Reg.IMR, SENT | ROK)
    assert (ROK, True) == (machine.read(Reg.ISR), machine.nic.irq.asserted)
    machine.write(Reg.ISR, ROK)


def test_it_is_told_of_once(machine: Machine) -> None:
    """A driver may leave a frame where it is; the next one is news again."""
    machine.start()
    shown = []
    for _ in range(2):
        machine.hear(FRAME)
        for _ in range(3):
            machine.write(Reg.ISR, ROK)
            machine.write(Reg.IMR, ROK)
            shown.append(machine.read(Reg.ISR))
            machine.write(Reg.IMR, 0)
    assert [ROK, 0, 0, ROK, 0, 0] == shown


def test_a_frame_that_was_read_is_not_told_of(machine: Machine) -> None:
    machine.start()
    machine.hear(FRAME, FRAME)
    machine.give(0)
    machine.give(1)
    machine.write(Reg.ISR, ROK)
    machine.write(Reg.IMR, ROK)
    assert (0, False, 0) == (machine.read(Reg.ISR), machine.nic.irq.asserted, machine.nic.irq.rises)


def test_a_frame_that_found_no_room_does_not_hide_the_last_one(machine: Machine) -> None:
    machine.start(4, buffer_bytes=64)
    machine.hear(FRAME, FRAME.ljust(300, b"\0"))
    machine.write(Reg.ISR, ROK | RDU)
    machine.write(Reg.IMR, ROK)
    assert ROK == machine.read(Reg.ISR)
    machine.write(Reg.ISR, ROK)


def test_a_frame_whose_interrupt_is_on_its_way_is_told_of_once(machine: Machine) -> None:
    machine.start()
    machine.nic.receive(bytes(10) + FRAME)  # its burst is not over
    machine.write(Reg.IMR, ROK)
    machine.write(Reg.ISR, ROK)  # a driver on another processor
    machine.listen()
    machine.loop.run_until_idle()
    assert ([(0, ROK)], 1) == (machine.told, machine.nic.irq.rises)


@pytest.mark.parametrize("how", ["RDSAR", "RE"])
def test_frames_of_an_earlier_ring_are_forgotten(machine: Machine, how: str) -> None:
    machine.start()
    machine.hear(FRAME)
    machine.write(Reg.ISR, ROK)
    if how == "RDSAR":
        machine.write(Reg.RDSAR, machine.rx + 256)
    else:
        machine.write(Reg.CR, 0)
        machine.write(Reg.CR, Command.RE)
    machine.write(Reg.IMR, ROK)
    assert 0 == machine.read(Reg.ISR)


def test_a_ring_that_is_no_memory_owes_nothing(machine: Machine) -> None:
    machine.start()
    machine.hear(FRAME)
    machine.write(Reg.ISR, ROK)
    machine.guest.config_write(4, 3, 2)
    machine.write(Reg.IMR, ROK)
    assert 0 == machine.read(Reg.ISR)


def test_what_was_sent_after_the_driver_read_isr_outlives_its_acknowledgement(machine: Machine) -> None:
    """The wire paused, the driver read of earlier frames, the wire went on, and only then the acknowledgement came."""
    machine.start()
    machine.wire.block()
    machine.send(*[FRAME] * 3)
    seen = machine.read(Reg.ISR)
    machine.wire.unblock()
    machine.loop.run_until_idle()
    machine.write(Reg.ISR, seen)
    assert (TOK, SENT) == (seen, machine.read(Reg.ISR))
    machine.write(Reg.ISR, SENT)
    assert machine.read(Reg.ISR) == 0
