"""What core knows by name of the kinds that come with Etherloom, and why. Beyond this page no kind is special.

They are plugins like a stranger's: core imports none of them and runs without them.
"""

from __future__ import annotations

__all__ = ["DEFAULT_NIC_MODEL", "DISTRIBUTIONS", "HUB_PORT", "QEMU_BUS"]

DEFAULT_NIC_MODEL = "rtl8139"
"""What `-nic` and `-net nic` give to who names no model; in QEMU the machine says that (O-22), and here is none."""

HUB_PORT = "hubport"
"""What QEMU's `-net` puts on hub 0 unasked (O-20), and what we name to who types the `vlan=` of old (O-25)."""

QEMU_BUS = "vfio-user"
"""For the message only: `etherloom boot` takes any bus whose row has a `qemu_device`."""

DISTRIBUTIONS = {
    ("net_client", HUB_PORT): "etherloom-hub",
    ("net_client", "noop"): "etherloom-noop",
    ("net_client", "tap"): "etherloom-tap",
    ("nic_model", DEFAULT_NIC_MODEL): "etherloom-rtl8139",
    ("guest_bus", QEMU_BUS): "etherloom-vfio-user",
}
"""By table and kind, what to install: for messages only."""
