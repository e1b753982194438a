"""Guest bus `vfio-user`: a NIC model as a PCI device of a virtual machine, over a UNIX socket.

This process is the vfio-user server, QEMU >= 10.1 (`-device vfio-user-pci`) or another client of that protocol brings
the guest. What is refused and what is not modelled: `etherloom_vfio_user._session`.
"""

from __future__ import annotations

from pathlib import Path

import attrs

from etherloom import Context
from etherloom.config.options import option
from etherloom.device import NicModel
from etherloom.kinds import GuestBusKind, NicModelKind
from etherloom_vfio_user._server import VfioUserPort

__all__ = ["KIND", "VfioUserOptions", "VfioUserPort"]


@attrs.frozen(kw_only=True)
class VfioUserOptions:
    """Options of bus `vfio-user`."""

    socket: Path = option(help="UNIX socket to listen on; it is made, and removed at the end")


def attach(options: VfioUserOptions, nic: NicModel, model: NicModelKind, context: Context) -> VfioUserPort:
    """Listen for the guest of `nic`.

    Raises:
        ConfigError, HostError: Nothing is left behind.
    """
    return VfioUserPort(nic, context, options.socket)


def qemu_device(options: VfioUserOptions) -> dict[str, object]:
    """QEMU's side. Its own spelling of options has no way to say a socket's path here, only JSON has."""
    # rombar=0: we have no boot ROM, and the guest need not look for one
    return {"driver": "vfio-user-pci", "socket": {"type": "unix", "path": str(options.socket)}, "rombar": 0}


KIND = GuestBusKind(
    kind="vfio-user",
    options=VfioUserOptions,
    attach=attach,
    summary="a PCI device of QEMU 10.1 or newer, by the vfio-user protocol",
    privilege="none; the socket's directory has to be writable",
    qemu_device=qemu_device,
)
