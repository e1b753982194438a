"""The 8139C+ keeps the contract of NIC models, whatever it does when its ring is full."""

from __future__ import annotations

import pytest

from etherloom.config.mac import Mac
from etherloom.guest import InlineGuest
from etherloom.testing import check_nic_model
from etherloom_rtl8139 import Overflow, Rtl8139Driver, Rtl8139Options, init
from etherloom_rtl8139.registers import Interrupt, Registers

TICK_NS = 30


def set_timer(guest: InlineGuest, delay_ns: int) -> None:
    """TCTR counts from 0 with any write to it; TIMERINT is the count to interrupt at."""
    mask = guest.read(Registers.IMR.offset, 2)
    guest.write(Registers.IMR.offset, mask | Interrupt.TIMEOUT, 2)
    guest.write(Registers.TCTR.offset, 0, 4)
    guest.write(Registers.TIMERINT.offset, -(-delay_ns // TICK_NS), 4)


@pytest.mark.parametrize("overflow", Overflow)
def test_keeps_the_contract(overflow: Overflow) -> None:
    options = Rtl8139Options(mac=Mac.parse("52:54:00:12:34:56"), overflow=overflow)
    report = check_nic_model(
        lambda context, name: init(options, name, None, context),
        Rtl8139Driver,
        mask=Registers.IMR,
        timer=set_timer,
    )
    assert () == report.inapplicable
