"""The other end of the socket in Python, and a device to be served: for tests and for measurements."""

from etherloom_vfio_user.testing.client import QEMU_CAPABILITIES, Client, Guest, Reply, Style, ram_file
from etherloom_vfio_user.testing.rig import ProbeNic, Rig, open_fds

__all__ = ["QEMU_CAPABILITIES", "Client", "Guest", "ProbeNic", "Reply", "Rig", "Style", "open_fds", "ram_file"]
