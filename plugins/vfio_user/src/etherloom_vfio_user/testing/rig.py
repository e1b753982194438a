"""A served device in a virtual loop, and the clients it is served to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from etherloom import Context
from etherloom.device import Access, Bar, NicModel, PciIdentity, Register
from etherloom.net.network import Network
from etherloom.testing import VirtualLoop
from etherloom_vfio_user._server import VfioUserPort
from etherloom_vfio_user.testing.client import Client, Guest, Style

__all__ = ["ProbeNic", "Rig", "open_fds"]


class ProbeNic(NicModel):
    """A device with little on it, which raises what a test wants to see raised."""

    identity = PciIdentity(vendor=0x1AF4, device=0x10F1, revision=1)
    bars = (Bar(256, io=True), Bar(256))

    SCRATCH = Register(0x00, 8, "scratch")
    SECRET = Register(0x08, 4, "write-only", access=Access.WO)
    ISR = Register(0x3E, 2, "interrupt status", access=Access.W1C)

    def __init__(self, name: str, context: Context) -> None:
        super().__init__(name, context, mac=bytes(6))
        self.accesses: list[tuple[str, int, int]] = []
        self.resets = 0
        self.on_read: Callable[[], None] = lambda: None

    @ISR.on_write
    def _acknowledged(self, value: int) -> None:
        self.irq.set(value != 0)

    def raise_interrupt(self) -> None:
        """Something happened."""
        self.ISR |= 1
        self.irq.set(True)

    def reset(self) -> None:
        self.resets += 1

    def bar_read(self, offset: int, size: int) -> bytes:
        self.accesses.append(("read", offset, size))
        self.on_read()
        return super().bar_read(offset, size)

    def bar_write(self, offset: int, data: bytes) -> None:
        self.accesses.append(("write", offset, len(data)))
        super().bar_write(offset, data)


class Rig:
    """A served device.

    Attributes:
        nic, port: The device and its place.
        path: Of the socket.
        polls: Until when the server asked the loop to poll. In virtual time that would be a thousand idle turns each.
    """

    def __init__(self, loop: VirtualLoop, path: Path) -> None:
        self.loop, self.path = loop, path
        self.network = Network(loop, clock=loop.clock)
        self.polls: list[int] = []
        self.network.context.keep_polling = self.polls.append  # type: ignore[method-assign, assignment]
        self.nic = ProbeNic("nic", self.network.context)
        self.network.add(self.nic)
        self.port = self.network.own(self.nic, VfioUserPort(self.nic, self.network.context, path))
        self._clients: list[Client] = []

    def client(self, style: Style = Style.HEADER) -> Client:
        """One that has only connected."""
        self._clients.append(Client(self.path, style=style, pump=self.loop.run_until_idle))
        return self._clients[-1]

    def guest(self, style: Style = Style.HEADER, *, sealed: bool = True) -> Guest:
        """One with RAM and an interrupt, and the device as bus master."""
        guest = Guest(self.path, style=style, pump=self.loop.run_until_idle, sealed=sealed)
        guest.write(7, 4, b"\x07\x00")
        self._clients.append(guest)
        self.nic.accesses.clear()
        return guest

    def close(self) -> None:
        """Everything goes, whatever state it is in."""
        for client in self._clients:
            if client.socket.fileno() != -1:
                client.close()
        self.network.close()
        self.loop.run_until_idle()


def open_fds() -> dict[str, str]:
    """Descriptors of this process and what they are."""
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found[entry.name] = str(entry.readlink())
        except FileNotFoundError:  # the one this loop reads with
            continue
    return found
