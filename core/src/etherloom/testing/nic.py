"""Does a NIC model keep what a device promises? Every model asks in a few lines, with or without pytest::

    def test_keeps_the_contract() -> None:
        check_nic_model(lambda context, name: RingNic(name, context, mac=MAC), RingNicDriver, mask=RingNic.MASK)

A NIC model is a net client whose outside is a guest, so it is first held to every promise of a net client, with its
driver at the far end. What a device promises beyond that is the list in `etherloom.testing.nic_promises`, and
`etherloom.testing.nic_storm` is what a hostile guest does to it. The check knows no device: all it does on purpose goes
through the driver, and all it does at random goes everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import attrs

from etherloom.client import NetClient
from etherloom.device import Command, NicModel, Register
from etherloom.device.pci import COMMAND
from etherloom.errors import UsageError
from etherloom.guest import InlineGuest, NicDriver
from etherloom.testing.conformance import Report, check_promise

if TYPE_CHECKING:
    from etherloom.context import Context

__all__ = ["Hooks", "Machine", "NicFactory", "check_nic_model"]

NicFactory: TypeAlias = "Callable[[Context, str], NicModel]"

ENABLE = Command.IO | Command.MEMORY | Command.MASTER


@attrs.frozen(kw_only=True)
class Hooks:
    """What a model tells the check of itself; see `check_nic_model`."""

    driver: Callable[[InlineGuest], NicDriver]
    mask: tuple[int, int] | None  # offset and width: a Register would be read as an attribute of this
    timer: Callable[[InlineGuest, int], None] | None
    storm_steps: int
    storm_seed: int


def check_nic_model(
    factory: NicFactory,
    driver: Callable[[InlineGuest], NicDriver],
    *,
    mask: Register | None = None,
    timer: Callable[[InlineGuest, int], None] | None = None,
    storm_steps: int = 10_000,
    storm_seed: int = 0,
) -> Report:
    """Check every promise that a NIC model makes.

    Args:
        factory: `factory(context, name) -> NicModel`, called anew for each promise; it returns a device that is in no
            network and no guest yet, as a row's `init` does.
        driver: `driver(guest) -> NicDriver`, as in the model's row.
        mask: The register whose zero silences every interrupt, if the device has one.
        timer: `timer(guest, delay_ns)` has the device interrupt once, `delay_ns` from now or at its next tick after
            that, if it has a timer.
        storm_steps: How many things a hostile guest does, for each kind of wire the model can be on.
        storm_seed: Which things.

    Returns:
        The promises kept, and those that are `inapplicable` to a device without mask or timer.

    Raises:
        ConformanceError: One is broken; the text names it and says what was seen.
    """
    from etherloom.testing.nic_promises import NIC_PROMISES
    from etherloom.testing.promises import PROMISES, Promise

    hooks = Hooks(
        driver=driver,
        mask=(mask.offset, mask.width) if mask is not None else None,
        timer=timer,
        storm_steps=storm_steps,
        storm_seed=storm_seed,
    )
    kept = list(PROMISES)
    inapplicable: list[Promise] = []
    for wanted in NIC_PROMISES:
        missing = wanted.hook and getattr(hooks, wanted.hook) is None
        (inapplicable if missing else kept).append(wanted.promise)
    for promise in kept:
        check_promise(promise, factory, lambda client: Machine(client, hooks))
    return Report(tuple(promise.text for promise in kept), tuple(promise.text for promise in inapplicable))


class Machine:
    """A NIC's outside: the guest it is in and the driver that works it. A `FarEnd`.

    Attributes:
        nic: The device.
        hooks: What is known of it.
        power_on: Its `contents` before any guest saw it.
        guest, driver: Where it is now; new ones after each `plug`.
        delivered: The frames that the driver got, until `take`.
        frame_max: The longest frame that Ethernet without tags has, in bytes.
    """

    frame_max = 1514

    def __init__(self, client: NetClient, hooks: Hooks) -> None:
        if not isinstance(client, NicModel):
            raise UsageError(f"{type(client).__name__} is no NicModel")
        self.nic, self.hooks = client, hooks
        self.power_on = contents(client)
        self.delivered: list[bytes] = []
        self.plug()

    def plug(self) -> None:
        """Put the device into a new guest and open its driver."""
        self.guest = InlineGuest(self.nic)
        self.driver = self.hooks.driver(self.guest)
        self.delivered.clear()
        self.driver.deliver = self.delivered.append
        self.guest.interrupt = self.driver.interrupt
        with self.nic.context.network.burst():
            self.driver.open()

    def transmit(self, frames: list[bytes]) -> int:
        """Have the driver transmit; how many frames it had room for."""
        with self.nic.context.network.burst():
            return self.driver.transmit(frames)

    def command(self, command: Command) -> None:
        """Set PCI COMMAND."""
        with self.nic.context.network.burst():
            self.guest.config_write(COMMAND, command, 2)

    def put(self, frame: bytes) -> bool:
        """See `FarEnd`."""
        return self.transmit([frame]) == 1

    def take(self) -> list[bytes]:
        """See `FarEnd`."""
        frames, self.delivered[:] = list(self.delivered), []
        return frames

    def vanish(self) -> None:
        """The guest is gone, and takes no leave of the device."""
        self.guest.unplug()

    def close(self) -> None:
        """See `FarEnd`."""
        if self.nic.dma.memory is not None:
            self.guest.unplug()


def bar_bytes(nic: NicModel) -> int:
    """Size of the largest BAR."""
    return max(bar.size for bar in nic.bars)


def contents(nic: NicModel) -> tuple[bytes, bytes]:
    """What a guest reads, byte by byte, from the BARs and from configuration space."""
    registers = b"".join(nic.bar_read(offset, 1) for offset in range(bar_bytes(nic)))
    return registers, b"".join(nic.pci.read(offset, 1) for offset in range(256))
