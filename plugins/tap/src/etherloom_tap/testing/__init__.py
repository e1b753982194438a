"""Hosts for tests: a fake kernel that needs no privilege, and the running one behind the same methods.

host = FakeHost()  # or RealHost(namespace)
tap = host.tap(network, "a", ifname="t0")
interface = host.interface(tap)
interface.transmit(frame)  # the host sends: the tap's fd is readable
interface.received()  # what the host got
"""

from etherloom_tap.testing.fake import FakeInterface, FakeKernel
from etherloom_tap.testing.hosts import FakeHost, Host, Interface, InterfaceFarEnd, RealHost

__all__ = ["FakeHost", "FakeInterface", "FakeKernel", "Host", "Interface", "InterfaceFarEnd", "RealHost"]
