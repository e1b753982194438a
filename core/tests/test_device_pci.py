"""PCI configuration space and the interrupt line (`etherloom.device.pci`, `etherloom.device.interrupt`)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from etherloom.device import Bar, Capability, Command, InterruptLine, PciFunction, PciIdentity, PowerManagement, Status

IDENTITY = PciIdentity(vendor=0x10EC, device=0x8139, revision=0x20, subsystem_vendor=0x1AF4, subsystem=0x1100)
BARS = (Bar(256, io=True), Bar(4096))


class Function:
    """One with power management, counting changes."""

    def __init__(self) -> None:
        self.irq = InterruptLine()
        self.changes = 0
        capabilities = [PowerManagement.of(0xF7C2), Capability(0x03, bytes(6))]
        self.pci = PciFunction(IDENTITY, BARS, self.irq, capabilities=capabilities, on_change=self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def get(self, offset: int, size: int) -> int:
        return int.from_bytes(self.pci.read(offset, size), "little")

    def put(self, offset: int, value: int, size: int) -> None:
        self.pci.write(offset, value.to_bytes(size, "little"))


def test_the_header_is_the_identity() -> None:
    function = Function()
    expected = {0x00: 0x813910EC, 0x04: 0x02100000, 0x08: 0x02000020, 0x2C: 0x11001AF4, 0x3C: 0x00000100}
    assert expected == {offset: function.get(offset, 4) for offset in expected}


def test_capabilities_are_a_list() -> None:
    function = Function()
    assert [0x50, 0x01, 0x58, 0x03, 0x00] == [function.get(offset, 1) for offset in (0x34, 0x50, 0x51, 0x58, 0x59)]
    assert function.get(0x52, 2) == 0xF7C2


def test_without_capabilities_the_status_bit_is_clear() -> None:
    pci = PciFunction(IDENTITY, BARS, InterruptLine())
    assert (0, b"\x00\x02") == (pci.read(0x34, 1)[0], pci.read(6, 2))


def test_bars_are_sized_as_on_hardware() -> None:
    function = Function()
    for offset in (0x10, 0x14, 0x18):
        function.put(offset, 0xFFFFFFFF, 4)
    assert [0xFFFFFF01, 0xFFFFF000, 0] == [function.get(offset, 4) for offset in (0x10, 0x14, 0x18)]
    function.put(0x10, 0xC001, 4)
    function.put(0x14, 0xFE001234, 4)
    assert [0xC000, 0xFE001000] == [function.pci.bar_address(index) for index in (0, 1)]


def test_command_takes_its_bits_and_tells_changes_once() -> None:
    function = Function()
    function.put(4, 0xFFFF, 2)
    function.put(4, 0xFFFF, 2)
    expected = Command.IO | Command.MEMORY | Command.MASTER | Command.SERR | Command.INTX_DISABLE
    assert (expected, 1, True) == (function.pci.command, function.changes, function.pci.may_master())


def test_identity_is_read_only() -> None:
    function = Function()
    function.put(0, 0xFFFFFFFF, 4)
    function.put(0x2C, 0, 4)
    assert (0x813910EC, 0x11001AF4) == (function.get(0, 4), function.get(0x2C, 4))


def test_error_bits_of_status_are_cleared_by_ones() -> None:
    function = Function()
    function.pci.flag(Status.MASTER_ABORT | Status.SERR)
    assert function.get(6, 2) & 0xF900 == 0x6000
    function.put(6, Status.SERR, 2)
    assert function.get(6, 2) & 0xF900 == 0x2000


def test_the_interrupt_shows_in_status_even_when_disabled() -> None:
    function = Function()
    function.irq.set(True)
    function.put(4, Command.INTX_DISABLE, 2)
    assert (Status.INTERRUPT, False) == (function.get(6, 2) & Status.INTERRUPT, function.irq.asserted)
    function.irq.set(False)
    assert function.get(6, 2) & Status.INTERRUPT == 0


def test_below_d0_there_is_neither_dma_nor_interrupt() -> None:
    function = Function()
    function.put(4, Command.MASTER, 2)
    function.irq.set(True)
    function.put(0x54, 0x0003, 2)
    assert (3, False, False) == (function.pci.power_state, function.pci.may_master(), function.irq.asserted)
    function.put(0x54, 0x0000, 2)
    assert (0, True, True) == (function.pci.power_state, function.pci.may_master(), function.irq.asserted)


def test_pme_is_latched_and_wakes_if_enabled() -> None:
    function = Function()
    assert function.pci.signal_pme() is False
    function.put(0x54, 0x0100, 2)
    assert (True, 0x8100) == (function.pci.signal_pme(), function.get(0x54, 2))
    function.put(0x54, 0x8100, 2)
    assert function.get(0x54, 2) == 0x0100


def test_without_power_management_there_is_no_pme() -> None:
    pci = PciFunction(IDENTITY, BARS, InterruptLine())
    assert (False, 0) == (pci.signal_pme(), pci.power_state)


def test_reset_brings_power_on_values() -> None:
    function = Function()
    fresh = function.pci.read(0, 256)
    for offset in range(0, 256, 4):
        function.put(offset, 0xFFFFFFFF, 4)
    function.pci.reset()
    assert (fresh, 0, False) == (function.pci.read(0, 256), function.pci.power_state, function.pci.may_master())


def test_beyond_256_bytes_there_is_nothing() -> None:
    function = Function()
    function.put(300, 0xFF, 1)
    function.put(254, 0xFFFFFFFF, 4)
    assert bytes(4) == function.pci.read(254, 4)
    assert bytes(2) == function.pci.read(400, 2)


@given(st.lists(st.tuples(st.integers(0, 260), st.binary(min_size=1, max_size=8)), max_size=30))
def test_no_write_changes_what_is_fixed(writes: list[tuple[int, bytes]]) -> None:
    function = Function()
    fixed = [0, 1, 2, 3, 8, 9, 10, 11, 14, 0x2C, 0x2D, 0x2E, 0x2F, 0x34, 0x3D, 0x50, 0x51, 0x52, 0x53, 0x58]
    before = [function.get(offset, 1) for offset in fixed]
    for offset, data in writes:
        function.pci.write(offset, data)
    assert before == [function.get(offset, 1) for offset in fixed]


def test_a_line_tells_edges_of_level_and_mask() -> None:
    line = InterruptLine()
    edges: list[bool] = []
    watched: list[bool] = []
    line.connect(edges.append)
    line.watch(watched.append)
    for action in (line.set, line.set):
        action(True)
    line.disable(True)
    line.disable(True)
    line.disable(False)
    line.set(False)
    assert [True, False, True, False] == edges == watched
    assert line.rises == 2


def test_who_connects_to_an_asserted_line_is_told_at_once() -> None:
    line = InterruptLine()
    edges: list[bool] = []
    line.set(True)
    line.connect(edges.append)
    line.connect(None)
    line.set(False)
    assert [True] == edges
