"""For tests of plugins and of Etherloom itself. Needs no pytest; who uses it has the fixtures of `pytest_plugin`.

VirtualLoop        an asyncio loop on virtual time
MemoryPeer         a net client with hooks for evil; MemoryNic, GatheringPeer
check_net_client   does a net client keep every promise of the contract?
check_nic_model    does a NIC model, with its driver?
"""

from etherloom.testing.conformance import ConformanceError, FarEnd, Report, check_net_client
from etherloom.testing.loop import SECOND_NS, VirtualClock, VirtualLoop
from etherloom.testing.nic import check_nic_model
from etherloom.testing.peers import GatheringPeer, MemoryNic, MemoryPeer, raises

__all__ = [
    "SECOND_NS",
    "ConformanceError",
    "FarEnd",
    "GatheringPeer",
    "MemoryNic",
    "MemoryPeer",
    "Report",
    "VirtualClock",
    "VirtualLoop",
    "check_net_client",
    "check_nic_model",
    "raises",
]
