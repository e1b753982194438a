"""The example keeps the contract of NIC models."""

from __future__ import annotations

from etherloom import Context
from etherloom.config.mac import Mac
from etherloom.testing import check_nic_model
from etherloom_ringnic import KIND, RingNic, RingNicDriver, RingNicOptions

OPTIONS = RingNicOptions(mac=Mac.parse("52:54:00:12:34:56"))


def make(context: Context, name: str) -> RingNic:
    nic = KIND.init(OPTIONS, name, None, context)
    assert isinstance(nic, RingNic)
    return nic


def test_keeps_the_contract() -> None:
    report = check_nic_model(make, RingNicDriver, mask=RingNic.MASK)
    assert ("The timer interrupts when it is due, not before and not again.",) == report.inapplicable
