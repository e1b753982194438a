"""Power states, magic packet, and configuration space of the board (R-03, R-70, section 1.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from etherloom_rtl8139.registers import Command, Config3, Interrupt, Poll
from etherloom_rtl8139.registers import Registers as Reg

if TYPE_CHECKING:
    from plugins.rtl8139.tests.conftest import Machine

MAC = bytes.fromhex("525400123456")
MAGIC = b"\xff" * 6 + MAC * 16
PMCSR, PME = 0x54, 0x8000
D0, D1, D3 = 0, 1, 3


def test_configuration_space_is_a_boards(machine: Machine) -> None:
    fields = {0x00: 0x813910EC, 0x08: 0x02000020, 0x2C: 0x813910EC, 0x34: 0x50, 0x3C: 0x40200100, 0x50: 0xF7C20001}
    assert fields == {offset: machine.guest.config_read(offset, 4) for offset in fields}
    assert machine.guest.config_read(6, 2) == 0x0290


def test_both_bars_have_256_bytes_one_of_them_io(machine: Machine) -> None:
    for offset in (0x10, 0x14, 0x18):
        machine.guest.config_write(offset, 0xFFFFFFFF, 4)
    assert [0xFFFFFF01, 0xFFFFFF00, 0] == [machine.guest.config_read(offset, 4) for offset in (0x10, 0x14, 0x18)]


def test_the_interrupt_shows_in_pci_status_and_can_be_disabled(machine: Machine) -> None:
    machine.write(Reg.TPPOLL, Poll.FSWINT)
    machine.nic.IMR = 0xFFFF
    machine.write(Reg.IMR, 0x8100)
    assert (machine.guest.config_read(6, 2) & 0x0008, machine.nic.irq.asserted) == (0x0008, True)
    machine.guest.config_write(4, 0x0407, 2)
    assert (machine.guest.config_read(6, 2) & 0x0008, machine.nic.irq.asserted) == (0x0008, False)


@pytest.mark.parametrize("state", [D1, D3])
def test_asleep_the_chip_neither_answers_nor_listens_nor_interrupts(machine: Machine, state: int) -> None:
    machine.start()
    machine.write(Reg.IMR, 0xFFFF)
    machine.write(Reg.TPPOLL, Poll.FSWINT)
    machine.guest.config_write(PMCSR, state, 2)
    assert ([0] * 256, False) == ([machine.guest.read(at, 1) for at in range(256)], machine.nic.irq.asserted)
    machine.write(Reg.IDR, 0)
    machine.send(bytes(60))
    assert [] == machine.sent
    assert MAC == machine.nic.mac


def test_awake_it_is_as_after_a_reset(machine: Machine) -> None:
    machine.start()
    machine.write(Reg.IMR, 0xFFFF)
    machine.write(Reg.TPPOLL, Poll.FSWINT)
    machine.guest.config_write(PMCSR, D3, 2)
    machine.guest.config_write(PMCSR, D0, 2)
    assert [Command.BUFE, 0, 0, MAC] == [
        *(machine.read(register) for register in (Reg.CR, Reg.IMR, Reg.ISR)),
        machine.read(Reg.IDR).to_bytes(6, "little"),
    ]
    machine.start()
    machine.send(bytes(60))
    assert [bytes(60)] == machine.sent


@pytest.mark.parametrize(
    ("config3", "data", "wakes"),
    [
        (Config3.MAGIC, b"\xff" * 12 + b"\x08\x42" + MAGIC, True),
        (Config3.MAGIC, MAC + bytes(8) + b"some data" + MAGIC + b"more", True),
        (Config3.MAGIC, b"\xff" * 12 + b"\x08\x42" + MAGIC[:-1], False),
        (0, b"\xff" * 12 + b"\x08\x42" + MAGIC, False),
    ],
    ids=["broadcast", "anywhere", "too few", "not asked for"],
)
def test_a_magic_packet_signals_pme(machine: Machine, config3: int, data: bytes, wakes: bool) -> None:
    machine.write(Reg.CR9346, 0xC0)
    machine.write(Reg.CONFIG3, config3)
    machine.guest.config_write(PMCSR, D3 | 0x100, 2)
    machine.hear(data)
    assert (PME if wakes else 0) | D3 | 0x100 == machine.guest.config_read(PMCSR, 2)
    machine.guest.config_write(PMCSR, PME, 2)
    assert 0 == machine.guest.config_read(PMCSR, 2)


def test_a_magic_packet_in_d0_is_a_frame(machine: Machine) -> None:
    machine.start()
    machine.hear(b"\xff" * 12 + b"\x08\x42" + MAGIC)
    assert (0, Interrupt.ROK) == (machine.guest.config_read(PMCSR, 2), machine.take_interrupts())


def test_a_guest_that_takes_mastering_away_gets_system_errors(machine: Machine) -> None:
    machine.start()
    machine.guest.config_write(4, 0x0003, 2)
    machine.send(bytes(60))
    machine.hear(MAC + bytes(54))
    assert ([], Interrupt.SERR) == (machine.sent, machine.take_interrupts())
    machine.guest.config_write(4, 0x0007, 2)
    machine.write(Reg.TPPOLL, Poll.NPQ)
    assert [bytes(60)] == machine.sent
