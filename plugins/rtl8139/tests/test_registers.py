"""What a guest sees of the registers: widths, locks, reset, side effects (RT-11, sections 1.2 and 1.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from etherloom.device import registers_of
from etherloom.testing import SECOND_NS
from etherloom_rtl8139.model import Rtl8139
from etherloom_rtl8139.registers import Command, CpCommand, Interrupt, Poll
from etherloom_rtl8139.registers import Registers as Reg

if TYPE_CHECKING:
    from plugins.rtl8139.tests.conftest import Machine

UNLOCK = 0xC0
TICK_NS = 30


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_rt_11_a_read_of_any_width_is_its_bytes(machine: Machine, size: int) -> None:
    image = b"".join(machine.nic.bar_read(offset, 1) for offset in range(256))
    wide = {offset: machine.nic.bar_read(offset, size) for offset in range(257 - size)}
    assert {offset: image[offset : offset + size] for offset in range(257 - size)} == wide


@pytest.mark.parametrize("size", [2, 4])
def test_rt_11_a_write_of_any_width_is_its_bytes(machine: Machine, size: int) -> None:
    def image_after(step: int) -> bytes:
        machine.nic.bus_reset()
        machine.write(Reg.CR9346, UNLOCK)
        machine.write(Reg.CR, Command.TE)  # TCR is writable
        for offset in range(0, 0x50, step):
            machine.nic.bar_write(offset, bytes((7 * at) & 0xEF for at in range(offset, offset + step)))
        return b"".join(machine.nic.bar_read(offset, 1) for offset in range(0x50) if not 0x48 <= offset < 0x4C)

    assert image_after(1) == image_after(size)


def test_everything_undeclared_reads_zero_and_ignores_writes(machine: Machine) -> None:
    declared = {at for register in registers_of(Rtl8139) for at in range(register.offset, register.end)}
    holes = [offset for offset in range(256) if offset not in declared]
    for offset in holes:
        machine.guest.write(offset, 0xFF, 1)
    assert [0] * len(holes) == [machine.guest.read(offset, 1) for offset in holes]


def test_ixpe_sees_no_8169_since_da_does_not_stick_and_cpcr_does(machine: Machine) -> None:
    """RT-10."""
    machine.guest.write(0xDA, 0x05F6, 2)
    machine.write(Reg.CPCR, 0x0001)
    assert (0, 0x0001) == (machine.guest.read(0xDA, 2), machine.read(Reg.CPCR))


def test_registers_after_power_on_are_a_boards(machine: Machine) -> None:
    names = "CR CAPR TCR RCR IMR ISR MSR CONFIG0 CONFIG1 CONFIG3 CONFIG4 RERID TSAD BMCR BMSR ANAR ANLPAR ANER CSCR MPC"
    values = {name: machine.read(getattr(Rtl8139, name)) for name in names.split()}
    expected = {"CR": 0x01, "CAPR": 0xFFF0, "TCR": 0x74800000, "RCR": 0, "IMR": 0, "ISR": 0, "MSR": 0x10}
    expected |= {"CONFIG0": 0x10, "CONFIG1": 0x4D, "CONFIG3": 0xC1, "CONFIG4": 0x88, "RERID": 0x20, "TSAD": 0x000F}
    expected |= {"BMCR": 0x1100, "BMSR": 0x782D, "ANAR": 0x01E1, "ANLPAR": 0x41E1, "ANER": 1, "CSCR": 0x07C8, "MPC": 0}
    assert expected == values


def test_all_ones_reach_the_writable_bits_only(machine: Machine) -> None:
    machine.write(Reg.CR9346, UNLOCK)
    machine.write(Reg.CR, Command.TE)
    registers = (Reg.RCR, Reg.TCR, Reg.MULINT, Reg.IMR, Reg.CPCR, Reg.ETTHR, Reg.TIMERINT, Reg.CONFIG1, Reg.CONFIG5)
    for register in registers:
        machine.write(register, (1 << 8 * register.width) - 1)
    expected = {"RCR": 0x0F03FFBF, "TCR": 0x778F07F0, "MULINT": 0x0FFF, "IMR": 0xE1FF, "CPCR": 0x7B, "ETTHR": 0xFF}
    expected |= {"TIMERINT": 0xFFFFFFFF, "CONFIG1": 0xFF, "CONFIG5": 0x7F}
    assert expected == {register.name: machine.read(register) for register in registers}


@pytest.mark.parametrize(
    "register", [Reg.IDR, Reg.CONFIG0, Reg.CONFIG1, Reg.CONFIG3, Reg.CONFIG4], ids=lambda r: r.name
)
def test_configuration_takes_writes_only_unlocked(machine: Machine, register: object) -> None:
    assert isinstance(register, type(Reg.IDR))
    before = machine.read(register)
    machine.write(register, ~before & (1 << 8 * register.width) - 1)
    assert before == machine.read(register)
    machine.write(Reg.CR9346, UNLOCK)
    machine.write(register, ~before & (1 << 8 * register.width) - 1)
    assert before != machine.read(register)


def test_config5_needs_no_unlocking(machine: Machine) -> None:
    machine.write(Reg.CONFIG5, 0x40)
    assert machine.read(Reg.CONFIG5) == 0x40


def test_a_written_address_is_the_station_address(machine: Machine) -> None:
    machine.write(Reg.CR9346, UNLOCK)
    machine.guest.write(0, 0x33221102, 4)
    machine.guest.write(4, 0xFFFF5544, 4)
    assert bytes.fromhex("021122334455") == machine.nic.mac
    assert machine.guest.read(6, 2) == 0


def test_tcr_takes_writes_only_while_te_is_set(machine: Machine) -> None:
    machine.write(Reg.TCR, 0x03000600)
    assert machine.read(Reg.TCR) == 0x74800000
    machine.write(Reg.CR, Command.TE)
    machine.write(Reg.TCR, 0x03000600)
    assert machine.read(Reg.TCR) == 0x77800600


def test_soft_reset_clears_engines_interrupts_and_rings_and_keeps_addresses_filter_and_link(machine: Machine) -> None:
    """R-67, A-4."""
    machine.write(Reg.CR9346, UNLOCK)
    for register, value in (
        (Reg.IDR, 0x665544332202),
        (Reg.MAR, 0x1122334455667788),
        (Reg.CONFIG3, 0x70),
        (Reg.MULINT, 0x10),
    ):
        machine.write(register, value)
    machine.start()
    machine.write(Reg.IMR, 0xFFFF)
    machine.write(Reg.TIMERINT, 5)
    machine.write(Reg.TPPOLL, Poll.FSWINT)
    machine.write(Reg.CR, Command.RST)
    cleared = (Reg.CR, Reg.IMR, Reg.ISR, Reg.TCR, Reg.RCR, Reg.CPCR, Reg.RDSAR, Reg.TIMERINT, Reg.DTCCR, Reg.MPC)
    assert [register.reset for register in cleared] == [machine.read(register) for register in cleared]
    kept = {
        Reg.IDR: 0x665544332202,
        Reg.MAR: 0x1122334455667788,
        Reg.CONFIG3: 0xF1,
        Reg.MULINT: 0x10,
        Reg.CR9346: UNLOCK,
    }
    kept |= {Reg.TNPDS: machine.tx, Reg.BMSR: 0x782D}
    assert kept == {register: machine.read(register) for register in kept}
    assert not machine.nic.irq.asserted


def test_soft_reset_wins_over_enabling_in_one_write(machine: Machine) -> None:
    machine.write(Reg.CR, Command.RST | Command.RE | Command.TE)
    assert machine.read(Reg.CR) == Command.BUFE


def test_missed_packets_have_24_bits_and_any_write_clears_them(machine: Machine) -> None:
    machine.nic.MPC = 0xFFFFFE
    for _ in range(3):
        machine.nic.miss()
    assert machine.read(Reg.MPC) == 0xFFFFFF
    machine.guest.write(Reg.MPC.offset + 2, 0x55, 1)
    assert machine.read(Reg.MPC) == 0


def test_isr_is_cleared_by_ones_and_not_by_reading(machine: Machine) -> None:
    machine.nic.raise_now(Interrupt.ROK | Interrupt.TOK)
    assert [5, 5] == [machine.read(Reg.ISR), machine.read(Reg.ISR)]
    machine.guest.write(Reg.ISR.offset, 0x01, 1)
    assert machine.read(Reg.ISR) == Interrupt.TOK


def test_the_line_is_a_level_without_pulses(machine: Machine) -> None:
    """R-20: unmasking raises, masking and acknowledging all lowers, acknowledging some does nothing."""
    edges: list[bool] = []
    machine.nic.irq.connect(edges.append)
    machine.nic.raise_now(Interrupt.ROK | Interrupt.TOK)
    assert edges == []
    machine.write(Reg.IMR, Interrupt.ROK | Interrupt.TOK)
    machine.write(Reg.ISR, Interrupt.ROK)
    machine.nic.raise_now(Interrupt.TOK)
    assert edges == [True]
    machine.write(Reg.IMR, 0)
    machine.write(Reg.IMR, 0xFFFF)
    machine.write(Reg.ISR, 0xFFFF)
    assert edges == [True, False, True, False]


def test_a_32_bit_write_reaches_mask_and_status(machine: Machine) -> None:
    machine.nic.raise_now(Interrupt.ROK)
    machine.guest.write(Reg.IMR.offset, 0x0001_0004, 4)
    assert (4, 0) == (machine.read(Reg.IMR), machine.read(Reg.ISR))


def test_a_software_interrupt_is_raised_by_tppoll(machine: Machine) -> None:
    machine.write(Reg.TPPOLL, Poll.FSWINT)
    assert (Interrupt.SWINT, 0) == (machine.read(Reg.ISR), machine.read(Reg.TPPOLL))


def test_tctr_counts_30_ns_and_any_write_restarts_it(machine: Machine) -> None:
    machine.write(Reg.TCTR, 0x1234)
    machine.loop.advance(1_000_000)
    assert machine.read(Reg.TCTR) == 33333
    assert machine.guest.read(Reg.TCTR.offset + 1, 1) == 33333 >> 8
    machine.guest.write(Reg.TCTR.offset + 3, 0, 1)
    assert machine.read(Reg.TCTR) == 0


def test_the_timer_fires_once_when_tctr_passes_timerint(machine: Machine) -> None:
    machine.write(Reg.TCTR, 0)
    machine.write(Reg.TIMERINT, 40000)
    machine.loop.advance(39999 * TICK_NS)
    assert machine.take_interrupts() == 0
    machine.loop.advance(TICK_NS)
    assert machine.take_interrupts() == Interrupt.TIMEOUT
    machine.loop.advance(100 * SECOND_NS)
    assert machine.take_interrupts() == 0
    machine.loop.advance(29 * SECOND_NS)  # 2**32 ticks are 128.8 s
    assert machine.take_interrupts() == Interrupt.TIMEOUT


def test_the_timer_fires_again_after_a_restart_or_when_timerint_moves_ahead(machine: Machine) -> None:
    machine.write(Reg.TCTR, 0)
    machine.write(Reg.TIMERINT, 1000)
    machine.loop.advance(1000 * TICK_NS)
    assert machine.take_interrupts() == Interrupt.TIMEOUT
    machine.write(Reg.TCTR, 0)
    machine.loop.advance(1000 * TICK_NS)
    assert machine.take_interrupts() == Interrupt.TIMEOUT
    machine.write(Reg.TIMERINT, 1500)
    machine.loop.advance(500 * TICK_NS)
    assert machine.take_interrupts() == Interrupt.TIMEOUT


@pytest.mark.parametrize("off", [Reg.TIMERINT, Reg.CR], ids=["timerint", "reset"])
def test_the_timer_is_off_with_timerint_zero_and_after_reset(machine: Machine, off: object) -> None:
    machine.write(Reg.TCTR, 0)
    machine.write(Reg.TIMERINT, 1000)
    if off is Reg.CR:
        machine.write(Reg.CR, Command.RST)
    else:
        machine.write(Reg.TIMERINT, 0)
    machine.loop.advance(300 * SECOND_NS)
    assert machine.take_interrupts() == 0


def test_link_loss_shows_in_all_registers_and_interrupts_once(machine: Machine) -> None:
    """R-68: QEMU interrupts at each `set_link`."""
    machine.network.set_link(machine.nic, False)
    machine.network.set_link(machine.nic, False)
    registers = (Reg.MSR, Reg.BMSR, Reg.ANLPAR, Reg.ANER, Reg.CSCR)
    assert machine.take_interrupts() == Interrupt.LINKCHG
    assert [0x1C, 0x7809, 0, 0, 0x0BC0] == [machine.read(register) for register in registers]
    machine.network.set_link(machine.nic, False)
    assert machine.take_interrupts() == 0
    machine.network.set_link(machine.nic, True)
    assert machine.take_interrupts() == Interrupt.LINKCHG
    assert [0x10, 0x782D, 0x41E1, 1, 0x0FC8] == [machine.read(register) for register in registers]


def test_cscr_tells_a_link_change_once(machine: Machine) -> None:
    machine.network.set_link(machine.nic, False)
    assert [0x0BC0, 0x03C0] == [machine.read(Reg.CSCR), machine.read(Reg.CSCR)]


def test_the_phy_resets_and_restarts_at_once(machine: Machine) -> None:
    """R-34, R-98."""
    machine.write(Reg.BMCR, 0x1300)
    assert machine.read(Reg.BMCR) == 0x1100
    machine.write(Reg.BMCR, 0x2100)
    machine.write(Reg.ANAR, 0x0061)
    assert [0x2100, 0x780D, 0x0061, 0] == [machine.read(r) for r in (Reg.BMCR, Reg.BMSR, Reg.ANAR, Reg.ANLPAR)]
    machine.write(Reg.BMCR, 0x8000)
    assert [0x1100, 0x782D, 0x01E1] == [machine.read(r) for r in (Reg.BMCR, Reg.BMSR, Reg.ANAR)]


def test_tallies_are_dumped_to_memory_and_the_command_bit_clears(machine: Machine) -> None:
    """R-65, in the order 8139cp writes."""
    machine.start(accept=0x0D | 0x02)
    machine.write(Reg.MAR, (1 << 64) - 1)
    for destination in (b"\xff" * 6, bytes.fromhex("01005e000001"), machine.nic.mac, machine.nic.mac, machine.nic.mac):
        machine.hear(destination + bytes(54))
    machine.hear(bytes(60))  # for nobody, but there is no descriptor left
    machine.send(bytes(60), bytes(60))
    target = machine.guest.allocate(64, 64)
    machine.guest.write(0x14, 0, 4)
    machine.guest.write(0x10, target | 0x08, 4)
    assert target == machine.read(Reg.DTCCR)
    expected = [2, 4, 0, 0, 0, 0, 0, 0, 2, 1, 1, 0, 0]
    expected[4] = 2  # missed
    data = machine.peek(target, 64)
    sizes = (8, 8, 8, 4, 2, 2, 4, 4, 8, 8, 4, 2, 2)
    values, at = [], 0
    for size in sizes:
        values.append(int.from_bytes(data[at : at + size], "little"))
        at += size
    assert expected == values


def test_a_tally_dump_to_no_memory_is_a_system_error(machine: Machine) -> None:
    machine.write(Reg.DTCCR, 0xDEAD_0000_0008)
    assert Interrupt.SERR == machine.take_interrupts()
    assert machine.read(Reg.DTCCR) == 0xDEAD_0000_0000


def test_rewriting_enables_does_not_restart_the_rings_and_off_and_on_does(machine: Machine) -> None:
    """R-16: QEMU restarts them at each write of CR."""
    machine.start()
    machine.hear(machine.nic.mac + bytes(54))
    machine.send(bytes(60))
    rings = machine.nic.receiver.ring, machine.nic.transmitter.normal
    machine.write(Reg.CR, Command.RE | Command.TE)
    machine.write(Reg.CPCR, CpCommand.RX | CpCommand.TX | CpCommand.RX_CHECKSUM)
    assert [machine.rx + 16, machine.tx + 16] == [ring.next for ring in rings]
    machine.write(Reg.CPCR, 0)
    machine.write(Reg.CPCR, CpCommand.RX | CpCommand.TX)
    assert [machine.rx, machine.tx] == [ring.next for ring in rings]


@pytest.mark.parametrize("half", [0, 4])
def test_writing_a_ring_address_restarts_the_ring(machine: Machine, half: int) -> None:
    machine.start()
    machine.hear(machine.nic.mac + bytes(54))
    machine.send(bytes(60))
    for register, address in ((Reg.RDSAR, machine.rx), (Reg.TNPDS, machine.tx)):
        machine.guest.write(register.offset + half, address >> 8 * half, 4)
    rings = machine.nic.receiver.ring, machine.nic.transmitter.normal
    assert [machine.rx, machine.tx] == [ring.next for ring in rings]
