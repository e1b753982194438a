"""Guest bus `inline`, as a row: `-device rtl8139,netdev=n0,bus=inline,ip=10.0.2.15/24`.

The guest is the model's own reference driver with `EchoHost` on it, so that a NIC answers a kernel with no virtual
machine.
"""

from __future__ import annotations

from ipaddress import IPv4Interface
from typing import ClassVar, Self

import attrs

from etherloom.config.options import option
from etherloom.context import Context
from etherloom.device import NicModel
from etherloom.errors import ConfigError
from etherloom.guest.host import EchoHost
from etherloom.guest.inline import InlineGuest
from etherloom.kinds import GuestBusKind, NicModelKind

__all__ = ["KIND", "Address", "InlineOptions", "InlinePort"]


@attrs.frozen
class Address:
    """An IPv4 address with the length of its network's prefix."""

    allowed: ClassVar[str] = "an IPv4 address, as 10.0.2.15/24"

    interface: IPv4Interface

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read it; ValueError if it is none."""
        return cls(IPv4Interface(text))

    def __str__(self) -> str:
        return str(self.interface)


@attrs.frozen(kw_only=True)
class InlineOptions:
    """Options of bus `inline`."""

    ip: Address = option(help="address at which the guest answers ARP, ping and UDP echo")


class InlinePort:
    """A device in its inline guest."""

    def __init__(self, host: EchoHost, address: Address) -> None:
        self.host, self._address = host, address

    @property
    def info(self) -> str:
        """Bus and address."""
        return f"bus=inline,ip={self._address}"

    def close(self) -> None:
        """Stop the driver, take the device out."""
        self.host.driver.close()
        self.host.driver.guest.unplug()


def attach(options: InlineOptions, nic: NicModel, model: NicModelKind, context: Context) -> InlinePort:
    """Put the device into a machine of its own and start its driver.

    Raises:
        ConfigError: The model has no driver of its own.
    """
    if model.driver is None:
        raise ConfigError(f"{model.kind!r} has no driver in Python", key="bus", allowed="another bus, or another model")
    driver = model.driver(InlineGuest(nic))
    driver.open()
    return InlinePort(EchoHost(driver, options.ip.interface), options.ip)


KIND = GuestBusKind(
    kind="inline", options=InlineOptions, attach=attach, summary="a Python driver and echo host in this process"
)
