"""Etherloom: QEMU's network subsystem as a Python framework."""

from etherloom.client import FRAME_MAX, FRAME_MIN, FRAME_PAD, VNET_HEADER_BYTES, Frame, NetClient, Offload
from etherloom.context import Context
from etherloom.counters import Counters, Drop
from etherloom.errors import (
    ConfigError,
    ContractMismatch,
    EtherloomError,
    HostError,
    PeerError,
    PluginConflict,
    PluginError,
    PluginImportError,
    PluginNotFound,
    UsageError,
)
from etherloom.kinds import GENERATION, GuestBusKind, GuestPort, NetClientKind, NicModelKind
from etherloom.net.network import Network
from etherloom.net.segment import Segment

__all__ = [
    "FRAME_MAX",
    "FRAME_MIN",
    "FRAME_PAD",
    "GENERATION",
    "VNET_HEADER_BYTES",
    "ConfigError",
    "Context",
    "ContractMismatch",
    "Counters",
    "Drop",
    "EtherloomError",
    "Frame",
    "GuestBusKind",
    "GuestPort",
    "HostError",
    "NetClient",
    "NetClientKind",
    "Network",
    "NicModelKind",
    "Offload",
    "PeerError",
    "PluginConflict",
    "PluginError",
    "PluginImportError",
    "PluginNotFound",
    "Segment",
    "UsageError",
]
